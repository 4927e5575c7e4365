#!/usr/bin/env bats
# monitor - counts for Prometheus, as a plugin or from the history, answers on a socket, and gives alarm
# shellcheck disable=SC2016  # texts of other programs
load helper
load react

# value SERIES [FILE]: the number that stands behind it.
value() { grep -F -- "$1 " "${2:-m.prom}" | sed 's/.* //'; }

# sleeps PID SECONDS: the process comes to rest: for so long no thread of it wakes up. Each waiting that ended counts as a
# voluntary switch.
sleeps() {
    local before until=$((SECONDS + 60))
    while
        before=$(grep -h ^voluntary "/proc/$1/task/"*/status)
        has "$before" voluntary
        sleep "$2"
        [[ $before != "$(grep -h ^voluntary "/proc/$1/task/"*/status)" ]]
    do
        ((SECONDS < until)) || { echo "it wakes up again and again" >&2; return 1; }
    done
}

@test "runs, calls, tokens, cost, durations and errors are counted by their kind" {
    mkdir -p "$HOME/.config/agentutils"
    printf '[prices."test-model"]\ninput = 1000000\noutput = 0\n' >"$HOME/.config/agentutils/config.toml"
    scripted
    tool good 'echo 1'
    tool bad 'exit 3'
    react --name worker --plugin 'monitor m.prom' $'good {} & bad {}\nmade_up {}\n= done'
    equal '0 done' "$status $output"
    react --name worker --plugin 'monitor m.prom' '! 400 no'
    react --name worker --plugin 'monitor m.prom' --max-iterations 1 'good {}'
    equal '3 1 1 1' "$(value 'agent_runs_started_total{agent="worker"}') $(value 'agent_runs_total{agent="worker",outcome="ok"}') \
$(value 'agent_runs_total{agent="worker",outcome="invalid_request"}') $(value 'agent_runs_total{agent="worker",outcome="limit_exceeded"}')"
    equal '2 1 1' "$(value 'agent_tool_calls_total{agent="worker",tool="good",outcome="ok"}') \
$(value 'agent_tool_calls_total{agent="worker",tool="bad",outcome="tool_error"}') \
$(value 'agent_tool_calls_total{agent="worker",tool="other",outcome="tool_not_found"}')"
    lacks "$(<m.prom)" made_up
    equal '1 1 1' "$(value 'agent_errors_total{agent="worker",where="tool",kind="tool_error"}') \
$(value 'agent_errors_total{agent="worker",where="tool",kind="tool_not_found"}') \
$(value 'agent_errors_total{agent="worker",where="run",kind="invalid_request"}')"
    local model='agent="worker",provider="openai",model="test-model"'
    equal 4 "$(value "agent_model_calls_total{$model}")"
    equal "$(value "agent_tokens_total{$model,direction=\"input\"}")" "$(value "agent_cost_usd_total{$model}")"
    equal '4 3 3' "$(value "agent_model_call_seconds_count{$model}") $(value 'agent_run_seconds_count{agent="worker"}') \
$(value 'agent_run_seconds_bucket{agent="worker",le="+Inf"}')"
    equal '644 # EOF' "$(stat -c %a m.prom) $(tail -1 m.prom)"
    local ended
    ended=$(value 'agent_last_run_timestamp_seconds{agent="worker"}')
    ((${ended%.*} > EPOCHSECONDS - 60))
}

@test "a hundred tasks at once and eight processes at once: nothing is lost" {
    scripted
    jq -cn 'range(100) | {type:"task",id:"\(.)",input:"= x"}' >tasks
    run -0 agent-react --quiet --jobs 20 --plugin 'monitor m.prom' <tasks
    equal 100 "$(value 'agent_runs_total{agent="agent-react",outcome="ok"}')"
    local n pids=()
    for n in 1 2 3 4 5 6 7 8; do
        agent-react --quiet --plugin 'monitor m.prom' '= x' </dev/null 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    equal '108 108' "$(value 'agent_runs_total{agent="agent-react",outcome="ok"}') $(value 'agent_runs_started_total{agent="agent-react"}')"
    equal 'm.prom m.prom.lock' "$(echo m.prom*)"
}

@test "node_exporter shows every sample" {
    uses prometheus-node-exporter curl
    scripted
    tool good 'echo 1'
    react --name $'a "b"\\\n\r\u2028{c},le="1"}' --plugin 'monitor all/agents.prom' 'good {}'
    prometheus-node-exporter --collector.disable-defaults --collector.textfile --collector.textfile.directory="$PWD/all" \
        --web.listen-address=127.0.0.1:0 >node.log 2>&1 3>&- &
    local pid=$! address
    wait_until grep -q 'Listening on.*address=127' node.log
    address=$(sed -n 's/.*Listening on.*address=\([0-9.:]*\).*/\1/p' node.log)
    curl -s "http://$address/metrics" >got
    kill "$pid"
    equal "$(grep -c '^agent_' all/agents.prom)" "$(grep -c '^agent_' got)"
    has "$(<got)" 'node_textfile_scrape_error 0'
    has "$(<got)" 'agent_tool_calls_total{agent="a \"b\"\\   {c},le=\"1\"}",outcome="ok",tool="good"} 1'
}

@test "an alert runs once, as soon as its condition holds, with its record and in words, and without keys" {
    scripted
    tool good 'echo 1'
    printf '#!/bin/sh\ncat >>record\necho "$*" >>words\nenv >environment\n' >alarm
    chmod +x alarm
    react --name w --plugin "monitor m.prom --when 'tool_calls>=2' --when 'runs > 5' -- ./alarm now {}" $'good {"a":1}\ngood {"a":2}\ngood {"a":3}\n= well'
    equal well "$output"
    equal '["alert","tool_calls>=2",2,"w"]' "$(jq -c '[.type,.when,.value,.agent]' record)"
    equal 'now w: tool_calls>=2: it is 2' "$(<words)"
    lacks "$(<environment)" test-key
}

@test "an alert that fails or hangs is reported and costs the run ten seconds at most" {
    scripted
    react --plugin "monitor m.prom --when 'runs>0' -- false" '= x'
    equal '0 x' "$status $output"
    has "$stderr" 'monitor: --when runs>0: false: ended with status 1'
    local began=$SECONDS
    react --plugin "monitor m.prom --when 'runs>0' -- sleep 99" '= x'
    equal '0 x' "$status $output"
    has "$stderr" 'timed out after 10 s'
    ((SECONDS - began < 60))
}

@test "wrong usage and a file that is not ours end the program before it begins" {
    scripted
    echo mine >notes.txt
    local words
    for words in 'notes.txt' '--when cost_usd>1' "m.prom -- echo" "--when 'cost>1' -- echo" "--when 'runs=1' -- echo" \
        '--socket notes.txt' "--socket /$(printf '%0120d' 0)" '/proc/no/m.prom' '/dev/null'; do
        react --plugin "monitor $words" '= x'
        ((status)) && has "$stderr" 'monitor: '
        lacks "$stderr" Traceback && lacks "$stderr" 'internal error'
        equal '' "$output"
    done
    equal mine "$(<notes.txt)"
}

@test "a disk that fills up in the middle costs no run, and no count once there is room" {
    scripted
    printf '#!/bin/sh\nrm -rf place; mkdir place; touch place/m.prom.lock/x 2>/dev/null; mkdir place/m.prom.lock\n' >spoil
    chmod +x spoil
    tool good "cd $PWD && ./spoil; sleep 2.1; echo 1" # after 2 s it writes, however slow the last writing was
    tool mend "cd $PWD && rm -r place; echo 2"
    mkdir place
    run --separate-stderr timeout 60 agent-react --sandbox off --plugin 'monitor place/m.prom' $'good {}\ngood {"a":1}\nmend {}\n= x' <tools.jsonl
    equal '0 x' "$status $output"
    equal 1 "$(grep -c 'the counts are kept for later' <<<"$stderr")"
    equal '2 1' "$(value 'agent_tool_calls_total{agent="agent-react",tool="good",outcome="ok"}' place/m.prom) \
$(value 'agent_runs_total{agent="agent-react",outcome="ok"}' place/m.prom)"
}

@test "the socket answers with the same, in HTTP and bare; the next process takes over" {
    uses curl
    scripted
    tool wait1 'touch begun1; until [ -e end1 ]; do sleep 0.05; done'
    tool wait2 'touch begun2; until [ -e end2 ]; do sleep 0.05; done'
    local n pids=()
    for n in 1 2; do
        agent-react --quiet --sandbox off --plugin 'monitor m.prom --socket s.sock' "wait$n {}" <tools.jsonl 3>&- &
        pids+=($!)
        until [[ -e begun$n ]]; do sleep 0.05; done
    done
    equal 600 "$(stat -c %a s.sock)"
    equal "$(<m.prom)" "$(curl -s --unix-socket s.sock http://x/metrics)"
    has "$(curl -si --unix-socket s.sock http://x/metrics)" 'Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8'
    equal "$(<m.prom)" "$(python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("s.sock"); s.shutdown(1); print(s.makefile().read(), end="")')"
    touch end1
    wait "${pids[0]}"
    until has "$(curl -s --unix-socket s.sock http://x/metrics)" 'agent_runs_total{agent="agent-react",outcome="ok"} 1' 2>/dev/null; do sleep 0.05; done
    touch end2
    wait "${pids[1]}"
    [[ ! -e s.sock ]]
}

@test "idle, it does not wake up" {
    scripted
    tool long 'touch begun; until [ -e end ]; do sleep 0.05; done'
    agent-react --quiet --sandbox off --plugin 'monitor m.prom --socket s.sock' 'long {}' <tools.jsonl 3>&- &
    local pid agent=$!
    until [[ -e begun ]]; do sleep 0.05; done
    for pid in $(survivors); do
        if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'plugins/monitor m.prom'; then break; fi
    done
    sleeps "$pid" 3
    touch end
    wait "$agent"
}

@test "monitor-agent reads what was counted" {
    model 'def reply(body):
    return "seen" if "agent_errors_total{agent=\"w\",where=\"run\",kind=\"invalid_request\"} 1" in body["messages"][-1]["content"] else "lost"'
    run -0 monitor-agent </dev/null
    equal lost "$output"
    scripted
    run -100 agent-react --quiet --name w --plugin monitor '! 400 no' </dev/null
    model 'def reply(body):
    return "seen" if "agent_errors_total{agent=\"w\",where=\"run\",kind=\"invalid_request\"} 1" in body["messages"][-1]["content"] else "lost"'
    run -0 monitor-agent </dev/null
    equal seen "$output"
}

@test "--history counts all programs of the suite, each run once, and goes on where it was" {
    scripted
    tool good 'echo 1'
    react --name worker 'good {}'
    agent-llm '= one' </dev/null >/dev/null
    agent-llm '! 401 no' </dev/null >/dev/null 2>&1 || true
    agent-reflect --quiet --tries 1 --check false -- agent-llm '= two' </dev/null || equal 1 $?
    run -0 "$ROOT/plugins/monitor" --history all.prom
    equal '' "$output"
    run -0 "$ROOT/plugins/monitor" --history all.prom
    equal '2 1 1 1 1' "$(value 'agent_runs_total{agent="agent-llm",outcome="ok"}' all.prom) \
$(value 'agent_runs_total{agent="agent-llm",outcome="auth"}' all.prom) $(value 'agent_runs_total{agent="worker",outcome="ok"}' all.prom) \
$(value 'agent_runs_total{agent="agent-reflect",outcome="incomplete"}' all.prom) $(value 'agent_tool_calls_total{agent="worker",tool="good",outcome="ok"}' all.prom)"
    equal 2 "$(value 'agent_model_calls_total{agent="worker",provider="openai",model="test-model"}' all.prom)"
    printf '{"type":"result","run":5,"time":[]}\n{"type":"message","role":[]}\n[]\n{"type":"mess' >>"$(newest)"
    agent-llm '= three' </dev/null >/dev/null
    run -0 "$ROOT/plugins/monitor" --history all.prom
    equal 3 "$(value 'agent_runs_total{agent="agent-llm",outcome="ok"}' all.prom)"
    react --plugin 'monitor all.prom' '= x'
    has "$stderr" 'monitor --history counts the same runs there'
    react --plugin 'monitor own.prom' '= x'
    run -2 "$ROOT/plugins/monitor" --history own.prom
    has "$output" 'the plugin monitor counts the same runs there'
    run -2 "$ROOT/plugins/monitor" --follow
}

@test "--history --follow counts as runs end, alone on its file, and does no work when idle" {
    scripted
    "$ROOT/plugins/monitor" --history --follow all.prom --when 'runs>=2' -- tee alert </dev/null >out 2>&1 3>&- &
    local pid=$!
    agent-llm '= one' </dev/null >/dev/null
    until [[ -e all.prom && $(value 'agent_runs_total{agent="agent-llm",outcome="ok"}' all.prom) == 1 ]]; do sleep 0.05; done
    run ! "$ROOT/plugins/monitor" --history all.prom
    has "$output" 'all.prom.history'
    sleeps "$pid" 2
    agent-llm '= two' </dev/null >/dev/null
    until [[ -s alert ]]; do sleep 0.05; done
    equal 2 "$(value 'agent_runs_total{agent="agent-llm",outcome="ok"}' all.prom)"
    kill "$pid"
    wait "$pid" || equal 143 $?
    equal '' "$(<out)"
}
