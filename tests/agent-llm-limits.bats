#!/usr/bin/env bats
# agent-llm: time, pace, budget, tape, cache and keys.
# shellcheck disable=SC2016,SC2030,SC2031  # the bodies of `fake` are for its own shell; each test is a subshell
load helper
load llm

setup() {
    prepare
    echoing
}

# -- over HTTP

@test "429 with retry-after: one more request after that time, nothing before the answer" {
    model 'def reply(body, seen=[]):
    seen.append(1)
    return "fine" if len(seen) > 1 else {"status": 429, "headers": {"retry-after": "1"}, "body": {"error": {"message": "slow down"}}}'
    unset AGENT_PROVIDER_PATH
    run -0 agent-llm hi </dev/null
    equal fine "$output"
    equal "true true" "$(request_log | jq -s 'map(.time)|.[1]-.[0]|. >= 1, . < 2.5' | paste -sd ' ')"
}

@test "503 for ever: three requests, then kind server with three attempts" {
    model 'def reply(body):
    return {"status": 503, "body": {"error": {"message": "down"}}}'
    unset AGENT_PROVIDER_PATH
    run -111 agent-llm --json hi </dev/null
    equal '["server",3]' "$(jq -c '[.kind,(.attempts|length)]' <<<"$output")"
    equal 3 "$(request_log | wc -l)"
}

@test "a service that does not answer: kind timeout when the time for the whole is over" {
    model 'def reply(body):
    return {"text": "late", "delay": 200}'
    unset AGENT_PROVIDER_PATH
    SECONDS=0
    run -111 agent-llm --timeout 4 --json hi </dev/null # a busy machine needs some of it to ask
    equal '"timeout"' "$(jq -c .kind <<<"$output")"
    ((SECONDS < 60))
    equal 1 "$(request_log | wc -l)"
}

@test "the bounds of time reach the provider" {
    got=$(agent-llm --timeout 7 --silence-timeout 5 --connect-timeout 3 --json "!env" </dev/null | jq -c '.message.content|fromjson')
    equal '["7","5","3"]' "$(jq -c '[.AGENT_TIMEOUT,.AGENT_SILENCE_TIMEOUT,.AGENT_CONNECT_TIMEOUT]' <<<"$got")"
}

@test "a bound of time in a variable that is no number is named before a provider is asked" {
    for name in AGENT_TIMEOUT AGENT_SILENCE_TIMEOUT AGENT_CONNECT_TIMEOUT; do
        run env "$name=soon" agent-llm "!env" </dev/null
        equal "2 agent-llm: $name: 'soon' is not a number of seconds" "$status $output"
    done
}

# -- the pace

@test "several processes share one pace, and no request is lost" {
    fake stamp 'while read -r line; do date +%s.%N >>times; response "$(id "$line")" fine; done'
    for p in 1 2 3 4; do
        for n in 1 2 3 4 5; do request "$p-$n" x; done >"in$p"
        agent-llm --provider stamp --rate-limit 10/s <"in$p" >"out$p" &
    done
    wait
    equal 20 "$(cat out? | grep -c '"response"')"
    # any 14 of them (10, a burst of 2, and 2 for a machine that is slow to tell the time) take a second or more
    sort -n times | awk '{t[NR]=$1} END{for (i = 14; i <= NR; i++) if (t[i] - t[i-13] < 1) exit 1; exit NR != 20}'
}

@test "a killed process leaves no lock, and a damaged file is reported and sets no limit aside" {
    export XDG_RUNTIME_DIR=$SCRATCH/run
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    state=$XDG_RUNTIME_DIR/agentutils/rate
    agent-llm --rate-limit 100/s < <(for n in {1..50}; do request "$n" "!slow 5"; done) >/dev/null &
    until [[ -s $state ]]; do kill -0 $!; sleep 0.05; done
    kill -9 $!
    run -0 agent-llm --rate-limit 100/s hi </dev/null
    echo garbage >"$state"
    run -0 --separate-stderr agent-llm --rate-limit 2/s < <(request a x; request b x; request c x)
    has "$stderr" "damaged"
    rm "$state"
    mkdir "$state"
    run -0 --separate-stderr agent-llm --rate-limit 5/s < <(request a x; request b x)
    has "$stderr" "this process keeps to the limit alone"
}

# -- the budget

@test "a budget ends the run before the next call, and what is in flight never passes it by more than one" {
    run -1 agent-llm --budget 0.025 < <(for n in {1..20}; do request "$n" "!slow 0.05"; done)
    equal '[3,17]' "$(jq -sc '[(map(select(.type=="response"))|length),(map(select(.kind=="limit_exceeded"))|length)]' <<<"$output")"
    run -1 agent-llm --max-total-tokens 15 < <(request a x; request b x)
    has "$output" '"kind":"limit_exceeded","message":"the budget of 15 tokens is spent (15 tokens)"'
}

@test "a ledger in AGENT_BUDGET holds for a whole pipeline" {
    export XDG_RUNTIME_DIR=$SCRATCH/run
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    AGENT_BUDGET=$(agent-llm budget 0.02)
    export AGENT_BUDGET
    equal 600 "$(stat -c %a "$AGENT_BUDGET")"
    agent-llm one </dev/null | agent-llm - two >/dev/null
    run -1 agent-llm three </dev/null
    equal "agent-llm: the budget of 0.02 USD is spent (0.02 USD)" "$output"
    equal '[0.02,0.02,30]' "$(agent-llm budget | jq -c '[.usd,.spent_usd,.spent_tokens]')"
    AGENT_BUDGET=0.5 run -2 agent-llm three </dev/null
    has "$output" 'export AGENT_BUDGET=$(agent-llm budget USD)'
}

@test "a budget in dollars is refused where the price is not known" {
    fake free 'while read -r line; do response "$(id "$line")" fine; done'
    run -1 agent-llm --provider free --budget 1 < <(request a x; request b x)
    has "$output" "the price of the model is not known"
    SCHEMA='"capabilities":{"cost_per_1k_tokens":{"input":0,"output":0}}' fake free 'while read -r line; do response "$(id "$line")" fine; done'
    run -0 agent-llm --provider free --budget 1 < <(request a x; request b x)
}

# -- tape and cache

@test "a tape gives the same records again, deltas and all, without any provider" {
    { request a "one two" '{"stream":true}'; request b "!error auth"; } >in
    agent-llm --record tape.jsonl <in >first || true
    unset AGENT_PROVIDER
    export AGENT_PROVIDER_PATH=/nowhere
    agent-llm --replay tape.jsonl <in >second || true
    equal "$(jq -Sc . first)" "$(jq -Sc . second)"
    agent-llm --replay tape.jsonl < <(sed 's/"id":"a"/"id":"other"/' in) >third || true
    equal "$(jq -Sc 'select(.id=="a")|.id="other"' first)" "$(jq -Sc 'select(.id=="other")' third)"
}

@test "text is recorded and played, whatever the environment says of models" {
    AGENT_MODEL=echo-2 agent-llm --record tape.jsonl --system S "one two" </dev/null
    unset AGENT_PROVIDER AGENT_PROVIDER_PATH
    run -0 agent-llm --replay tape.jsonl --system S "one two" </dev/null
    equal "one two" "$output"
    run -100 agent-llm --replay tape.jsonl --system T "one two" </dev/null
    has "$output" "not on the tape tape.jsonl (1 exchanges are)"
    run -1 agent-llm --replay tape.jsonl < <(request a other)
    equal '"not_found"' "$(jq -c .kind <<<"$output")"
}

@test "what was asked twice is played in turn" {
    fake count 'while read -r line; do echo >>n; response "$(id "$line")" "$(wc -l <n)"; done'
    for _ in 1 2; do agent-llm --provider count --record tape.jsonl hi </dev/null; done
    equal '1 2 2' "$(agent-llm --provider count --replay tape.jsonl < <(for n in 1 2 3; do request $n hi '{"stream":true}'; done) | jq -r .message.content | paste -sd ' ')"
}

@test "many processes record on one tape, every line whole" {
    for n in {1..8}; do agent-llm --record tape.jsonl "say $n" </dev/null >/dev/null & done
    wait
    equal 8 "$(jq -c 'select(.type=="exchange").key' tape.jsonl | sort -u | wc -l)"
    equal 600 "$(stat -c %a tape.jsonl)"
}

@test "an invalid tape is reported with its line; one that cannot be written is, before any request" {
    echo 'junk' >tape.jsonl
    run -2 agent-llm --replay tape.jsonl hi </dev/null
    has "$output" "tape.jsonl: line 1: not a tape: "
    run -2 agent-llm --replay absent hi </dev/null
    equal "agent-llm: --replay: absent: No such file or directory" "$output"
    run -2 agent-llm --record /nowhere/tape hi </dev/null
    equal "agent-llm: --record: /nowhere/tape: No such file or directory" "$output"
    run -2 agent-llm --record a --replay b hi </dev/null
}

@test "the cache answers what was asked before, of the same model, and costs nothing" {
    fake count 'while read -r line; do echo >>n; response "$(id "$line")" "$(wc -l <n)"; done'
    export AGENT_PROVIDER=count
    equal 1 "$(agent-llm --cache hi </dev/null)"
    equal 1 "$(agent-llm --cache hi </dev/null)"
    equal 2 "$(AGENT_MODEL=other agent-llm --cache hi </dev/null)"
    equal 3 "$(agent-llm hi </dev/null)"
    equal "600 600" "$(find "$HOME/.cache/agentutils/answers" -type f -printf '%m\n' | paste -sd ' ')"
}

@test "an error is not cached, a damaged file is asked again, a cache that cannot be written is reported" {
    agent-llm --cache "!error auth" </dev/null || true
    run -1 find "$HOME/.cache/agentutils/answers" -name '*' -type f
    agent-llm --cache hi </dev/null
    find "$HOME/.cache/agentutils/answers" -type f -exec sh -c 'echo junk >"$1"' sh {} \;
    run -0 agent-llm --cache hi </dev/null
    equal hi "$output"
    XDG_CACHE_HOME=/proc/nowhere run -0 --separate-stderr agent-llm --cache hi </dev/null
    equal hi "$output"
    has "$stderr" "this answer is not kept"
}

# -- keys by a command

# config TEXT: the user's config file
config() {
    mkdir -p "$HOME/.config/agentutils"
    echo "$1" >"$HOME/.config/agentutils/config.toml"
}

@test "a key comes from a command of the user's config, and goes to its provider alone" {
    SCHEMA='"env":[{"name":"KEYED_KEY","key":true}]' fake keyed 'while read -r line; do
        [ "$KEYED_KEY" = "the secret" ] && response "$(id "$line")" "got it: $KEYED_KEY"; done'
    unset AGENT_PROVIDER
    config '[keys]
keyed = "printf \"%s\\n\" \"the secret\" more"'
    run -0 --separate-stderr agent-llm hi </dev/null
    equal "got it: ***" "$output"
    has "$stderr" "using keyed: config.toml names its key"
    config '[keys]
KEYED_KEY = ["echo", "the secret"]'
    run -0 agent-llm --provider keyed hi </dev/null
    run -0 agent-llm keys
    has "$output" "by a command of config.toml"
    lacks "$output" "the secret"
}

@test "a command that gives no key is reported without its output" {
    SCHEMA='"env":[{"name":"KEYED_KEY","key":true}]' fake keyed 'exit 1'
    config '[keys]
keyed = ["sh", "-c", "echo half-a-secret; exit 7"]'
    run -100 --separate-stderr agent-llm --provider keyed hi </dev/null
    has "$stderr" "[keys] keyed: sh ended with status 7"
    lacks "$stderr" half-a-secret
    config '[keys]
keyed = 5'
    run -2 agent-llm --provider keyed hi </dev/null
}

@test "a config file that is malformed is reported with its line" {
    config 'model = '
    run -2 --separate-stderr agent-llm hi </dev/null
    has "$stderr" "line 1"
}
