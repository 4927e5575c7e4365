#!/usr/bin/env bats
# The history: what agent-llm and agent-react keep of what was asked and answered, and how one continues it.
# shellcheck disable=SC2016,SC2030,SC2031  # bodies are for their own shell; each test is a subshell
load helper
load react

kept() { cat "$HOME"/.local/state/agentutils/history/*.jsonl; }
said() { kept | jq -r 'select(.type == "message") | "\(.role): \(.content)"'; }

@test "agent-llm and agent-react keep question and answer, in files that are the user's alone" {
    local before
    before=$(date -u +%F)
    rm -rf "$HOME/.local"
    model 'def reply(body):
    return "fine"'
    run -0 --separate-stderr agent-llm one </dev/null
    equal "fine " "$output $stderr"
    agent-react two </dev/null
    equal $'user: one\nassistant: fine\nuser: two\nassistant: fine' "$(said)"
    equal '["run","message","message","result"]' "$(kept | head -4 | jq -sc 'map(.type)')"
    equal "700 600" "$(stat -c %a "$HOME/.local/state/agentutils/history" "$HOME"/.local/state/agentutils/history/* | paste -sd ' ')"
    has "$before.jsonl $(date -u +%F).jsonl" "$(basename "$(newest)")" # it may be midnight
}

@test "a stream of requests is kept, a run each; a failure with its kind" {
    model 'def reply(body):
    return {"status": 401, "body": {}} if "bad" in str(body) else "fine"'
    printf '{"type":"request","id":"%s","messages":[{"role":"user","content":"%s"}]}\n' 1 good 2 bad | agent-llm >/dev/null 2>&1 || true
    equal '["auth",null]' "$(kept | jq -sc 'map(select(.type == "result") | .error.kind) | sort | reverse')"
}

@test "the model's and the tools' part of agent-react is kept once, with ids that join it" {
    scripted
    tool t 'echo ok'
    agent-react $'t {}\n= done' <tools.jsonl
    equal 1 "$(kept | jq -r 'select(.type == "message") | .run' | sort -u | wc -l)"
    equal 'user assistant tool assistant' "$(kept | jq -r 'select(.type == "message") | .role' | paste -sd ' ')"
}

@test "--no-history, AGENT_HISTORY=off and history = false keep nothing" {
    model fine
    agent-llm --no-history one </dev/null
    agent-react --no-history one </dev/null
    AGENT_HISTORY=off agent-llm one </dev/null
    AGENT_HISTORY=off agent-react one </dev/null
    mkdir -p "$HOME/.config/agentutils"
    echo 'history = false' >"$HOME/.config/agentutils/config.toml"
    agent-llm one </dev/null
    agent-react one </dev/null
    equal "" "$(ls "$HOME/.local/state/agentutils/history")"
    echo 'history = {megabytes = 1, days = 2}' >"$HOME/.config/agentutils/config.toml"
    agent-react one </dev/null
    equal 2 "$(said | wc -l)"
    echo 'history = {weeks = 2}' >"$HOME/.config/agentutils/config.toml"
    run -2 agent-llm one </dev/null
    has "$output" "weeks is no setting"
}

@test "AGENT_HISTORY that is neither on nor off is reported; on is stronger than history = false" {
    model fine
    for program in agent-llm agent-react; do
        AGENT_HISTORY=bogus run -2 "$program" one </dev/null
        has "$output" "AGENT_HISTORY=bogus: it is one of off 0 false no on 1 true yes"
    done
    mkdir -p "$HOME/.config/agentutils"
    echo 'history = false' >"$HOME/.config/agentutils/config.toml"
    AGENT_HISTORY=on agent-llm one </dev/null
    equal 2 "$(said | wc -l)"
}

@test "a state folder that is a file, or has a folder in the place of the file, costs one line" {
    model fine
    state=$HOME/.local/state/agentutils
    for program in agent-llm agent-react; do
        for spoil in ": >$HOME/.local/state" "mkdir -p $state && : >$state/history" \
            "mkdir -p $state/history/$(date -u +%F).jsonl"; do
            rm -rf "$HOME/.local/state" && bash -c "$spoil"
            run -0 --separate-stderr "$program" one </dev/null
            equal fine "$output"
            equal 1 "${#stderr_lines[@]}"
            has "$stderr" "$program: the history is not kept: $HOME/.local/state"
        done
    done
}

@test "kill -9 in the middle leaves every whole record, and the next one goes on behind a half line" {
    scripted
    tool wait 'touch started; exec sleep 30' '{"annotations":{"readOnlyHint":true}}'
    agent-react --sandbox off 'wait {}' <tools.jsonl &
    until [[ -e started ]]; do sleep 0.05; done
    kill -9 $!
    wait $! || true
    equal $'user: wait {}\nassistant: ' "$(said)"
    printf '{"type":"message","run":"00' >>"$(newest)"
    agent-llm '= two' </dev/null
    equal $'user: wait {}\nassistant: \nuser: = two\nassistant: two' "$(said)"
    equal killed "$(agent-trace --failed --json </dev/null | jq -r 'select(.type == "run") | .status')"
}

@test "a full disk and a home that cannot be written cost one line, never the answer" {
    bwrap --ro-bind / / true 2>/dev/null || skip "no bubblewrap that works here"
    model fine
    for program in agent-llm agent-react; do
        for disk in "--size 65536 --tmpfs $HOME" "--ro-bind $HOME $HOME"; do
            # shellcheck disable=SC2086  # one word each
            run -0 --separate-stderr bwrap --bind / / --dev /dev --proc /proc $disk bash -c "
                mkdir -p '$HOME/.cache/agentutils' 2>/dev/null
                dd if=/dev/zero of='$HOME/fill' bs=4k 2>/dev/null; $program one </dev/null"
            equal fine "$output"
            equal 1 "$(grep -c 'the history is not kept: ' <<<"$stderr")"
        done
    done
}

@test "a secret of the environment is in nothing that is kept or shown, as it is, in JSON, in pieces" {
    model 'def reply(body):
    return "your key is " + body["messages"][-1]["content"][-40:]'
    export MY_TOKEN='planted"key\0123456789abcdefghijklmno' DB=postgres://me:hidden-word@db/x
    OPENAI_API_KEY=sk-planted0123456789abcdefghijklmnopqrstuv
    for program in agent-llm agent-react; do
        "$program" "look: $MY_TOKEN $OPENAI_API_KEY hidden-word ghp_0123456789012345678901234567890123ab" </dev/null >/dev/null
    done
    equal 2 "$(said | grep -c '^user: look: \*\*\* \*\*\* \*\*\* \*\*\*$')"
    for word in planted hidden-word ghp_01; do
        lacks "$(kept; agent-trace </dev/null; agent-trace --json </dev/null)" "$word"
    done
}

@test "no tool can read it in the sandbox, in the home or in a folder of the user's" {
    scripted
    agent-llm '= the secret of the other run' </dev/null
    tool look "cat $HOME/.local/state/agentutils/history/* 2>&1; echo end" \
        '{"inputSchema":{"type":"object"}}'
    cp tools.jsonl "$HOME" && cd "$HOME"
    for profile in read work net; do
        run -0 --separate-stderr agent-react --allow "look:$profile" $'look {}\n= {results}' <tools.jsonl
        lacks "$output" secret
        has "$output" end
    done
    mkdir state
    for XDG_STATE_HOME in "$PWD/state" /var/tmp/agentutils-test.$$; do
        export XDG_STATE_HOME
        agent-llm '= the secret of the other run' </dev/null
        tool see "cat $XDG_STATE_HOME/agentutils/history/* 2>&1; echo end" '{"inputSchema":{"type":"object"}}'
        run -0 --separate-stderr agent-react --allow see $'see {}\n= {results}' <tools.jsonl
        rm -rf "$XDG_STATE_HOME" tools.jsonl
        lacks "$output" secret
        has "$output" end
    done
}

@test "what is kept is reported once, at the first use, at a terminal alone" {
    rm -rf "$HOME/.local"
    model fine
    run --separate-stderr python3 "$TESTS/terminal.py" never no agent-llm one </dev/null
    equal fine "$output"
    has "$stderr" "what is asked and answered is kept in $HOME/.local/state/agentutils/history"
    run --separate-stderr python3 "$TESTS/terminal.py" never no agent-react one </dev/null
    lacks "$stderr" "is kept in"
}

@test "there is no message about the history if nothing is kept" {
    rm -rf "$HOME/.local" && mkdir -p "$HOME/.local/state/agentutils"
    model fine
    run --separate-stderr python3 "$TESTS/terminal.py" never no agent-llm --no-history one </dev/null
    equal fine "$output"
    lacks "$stderr" "is kept in"
    : >"$HOME/.local/state/agentutils/history"
    run --separate-stderr python3 "$TESTS/terminal.py" never no agent-llm one </dev/null
    equal fine "$output"
    has "$stderr" "the history is not kept"
    lacks "$stderr" "is kept in"
}

# -- going on

said_all='def reply(body):
    return "|".join(m["role"][0] + ":" + str(m["content"]) for m in body["messages"]) + "|" + body["model"]'

@test "agent-llm -c continues the last conversation of this terminal, system text and model too" {
    model "$said_all"
    agent-llm --system Sys --model chosen one </dev/null >/dev/null
    setsid agent-llm other </dev/null >/dev/null
    run -0 agent-llm -c two </dev/null
    equal "s:Sys|u:one|a:s:Sys|u:one|chosen|u:two|chosen" "$output"
    run -0 agent-llm --continue --model else three </dev/null
    has "$output" "|u:two|a:"
    has "$output" "|u:three|else"
    run -2 setsid -w agent-llm -c two </dev/null
    has "$output" "no conversation in this terminal yet"
}

@test "agent-react -c has the tools, the instructions and the model of the conversation" {
    scripted
    tool t 'echo ok'
    agent-react --system 'You are kind.' --model chosen $'t {}\n= {results}' <tools.jsonl >/dev/null
    run -0 agent-react -c $'t {}\n= now {messages}' </dev/null
    equal "now 7" "$output"
    equal '["You are kind.","chosen","t"]' "$(requests | tail -1 | jq -c '[.messages[0].content, .model, .tools[0].function.name]')"
    run -0 agent-llm -c '= more {messages}' </dev/null
    equal "more 9" "$output"
}

@test "-c ID continues that run, whoever had it; an unknown id is reported" {
    model "$said_all"
    setsid -w agent-llm one </dev/null >/dev/null
    agent-llm two </dev/null >/dev/null
    id=$(agent-trace --search one --json </dev/null | jq -r 'select(.type == "run") | .id')
    run -0 agent-llm -c "${id:0:8}" three </dev/null
    equal "u:one|a:u:one|test-model|u:three|test-model" "$output"
    run -2 agent-react -c 0123456789ab three </dev/null
    has "$output" "no run has the id 0123456789ab"
    run -2 agent-react -c three < <(echo '{"type":"task","id":"1","input":"x"}')
    has "$output" "task"
}

@test "an agent's script continues its own last conversation" {
    model 'def reply(body):
    return "%d messages" % (len(body["messages"]) - 1)'
    text-processor one </dev/null >/dev/null
    agent-llm two </dev/null >/dev/null
    run -0 text-processor -c three </dev/null
    equal "3 messages" "$output"
    equal "text-processor agent-llm text-processor" "$(kept | jq -r 'select(.type == "run") | .name // .program' | paste -sd ' ')"
}

@test "-c passes over records that are damaged" {
    model "$said_all"
    agent-llm one </dev/null >/dev/null
    id=$(kept | jq -r 'select(.type == "run") | .id')
    session=$(kept | jq -r 'select(.type == "run") | .session')
    printf '{"type":"run","id":"0123456789abcdef","session":"%s","host":"%s",%s}\n' "$session" "$(hostname)" '"time":7' \
        "$session" "$(hostname)" '"time":{"type":"run"' >>"$(newest)"
    printf '{"type":"message","run":"%s",%s}\n' "$id" '"role":"us{"type":"x"' "$id" '"role":5' >>"$(newest)"
    run -0 agent-llm -c two </dev/null
    equal "u:one|a:u:one|test-model|u:two|test-model" "$output"
    run -2 agent-llm -c 0123456789ab two </dev/null
    has "$output" "no run has the id 0123456789ab"
    run -0 agent-llm -c "${id:0:8}" two </dev/null
}

@test "agent-llm -c without a request says so" {
    model fine
    agent-llm one </dev/null >/dev/null
    run -2 agent-llm -c </dev/null
    has "$output" "no request"
}
