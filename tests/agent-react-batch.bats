#!/usr/bin/env bats
# shellcheck disable=SC2016  # what tools and the inner shell expand stands in single quotes
# agent-react: many tasks in one process.
load helper
load react

# tasks COUNT INPUT: COUNT task records, ids t1, t2, …
tasks() { jq -cn --argjson n "$1" --arg input "$2" 'range(1; $n + 1) | {type:"task", id:"t\(.)", input:$input}'; }

ids() { jq -r .id <<<"$output" | paste -sd' '; }

@test "every task gives one result with its id" {
    scripted
    tool t 'echo 7'
    tasks 20 't {}' >>tools.jsonl
    react
    equal 0 "$status"
    equal "$(printf 't%s\n' {1..20} | sort)" "$(jq -r .id <<<"$output" | sort)"
    equal 7 "$(jq -r .output <<<"$output" | sort -u)"
    equal result "$(jq -r .type <<<"$output" | sort -u)"
    equal "" "$stderr"
}

@test "--ordered prints results in the order of the tasks" {
    model 'def reply(body):
    n = int(body["messages"][-1]["content"])
    return {"text": str(n), "delay": 0.3 - 0.05 * n}' --latency 0
    for n in 1 2 3 4 5; do echo "{\"type\":\"task\",\"id\":$n,\"input\":\"$n\"}"; done >tools.jsonl
    react --ordered
    equal '1 2 3 4 5' "$(ids)"
    react --jobs 1
    equal '1 2 3 4 5' "$(ids)"
}

@test "results come as they are ready, while more tasks are still being read" {
    scripted
    mkfifo in
    agent-react <in >out 2>err 3>&- &
    local pid=$!
    exec 4>in
    tasks 1 '= early' >&4
    wait_until test -s out
    equal early "$(jq -r .output out)"
    tasks 1 '= late' >&4
    exec 4>&-
    wait "$pid"
    equal $'early\nlate' "$(jq -r .output out)"
}

@test "a failed task is a result with its error, the others go on, status 1" {
    scripted
    { tasks 2 '= fine'; echo '{"type":"task","id":"bad","input":"! 401 no"}'; echo '{"type":"task","id":"none"}'
      echo '{"type":"task","id":"odd","input":{"a":1}}'; tasks 1 '= fine'; } >tools.jsonl
    react
    equal 1 "$status"
    equal 6 "$(wc -l <<<"$output")"
    equal 'bad:auth none:invalid_input odd:invalid_input' \
        "$(jq -r 'select(.error) | "\(.id):\(.error.kind)"' <<<"$output" | sort | paste -sd' ')"
}

@test "tasks without ids are numbered, a null id counts as no id" {
    scripted
    printf '{"type":"task","input":"= x"}\n{"type":"task","id":null,"input":"= y"}\n' >tools.jsonl
    react --ordered
    equal '1 2' "$(ids)"
}

@test "a task whose system or model is not text is reported by its field" {
    scripted
    printf '{"type":"task","input":"= x",%s}\n' '"system":7' '"model":["m"]' '"system":null,"model":null' >tools.jsonl
    react --ordered
    equal 1 "$status"
    equal "1:a task's \`system\` must be a string 2:a task's \`model\` must be a string 3:null" \
        "$(jq -r '"\(.id):\(.error.message)"' <<<"$output" | paste -sd' ')"
}

@test "the service dies in the middle: every task has its result" {
    model 'count = 0
def reply(body):
    global count
    count += 1
    ended = sum(m["role"] == "assistant" for m in body["messages"]) == 3
    answer = {"text": "end"} if ended else {"tool_calls": [{"name": "t", "arguments": {}}]}
    return {**answer, "until": "never"} if count > 20 else answer'
    tool t 'echo 7'
    tasks 30 go >>tools.jsonl
    agent-react --jobs 10 <tools.jsonl >out 2>err &
    local pid=$! status=0
    wait_until asked 25
    end_model
    wait "$pid" || status=$?
    equal 1 "$status"
    equal "$(printf 't%s\n' {1..30} | sort)" "$(jq -r .id out | sort)"
    equal network "$(jq -r '.error.kind // empty' out | sort -u)"
}

@test "a task brings its own system and model; operands make its input the material" {
    model 'def reply(body): return body["model"] + "|" + "|".join(m["content"] for m in body["messages"])'
    echo '{"type":"task","id":"a","input":"text of a","system":"sys a","model":"other-model"}' >tools.jsonl
    react
    equal 'other-model|sys a|text of a' "$(jq -r .output <<<"$output")"
    react "Sum up"
    has "$(jq -r .output <<<"$output")" $'|Sum up\n\nBelow is material'
    has "$(jq -r .output <<<"$output")" $'\ntext of a\n'
}

@test "a malformed line: what runs is finished, status 2, the line is named" {
    scripted --latency 0.3
    { tasks 3 '= fine'; echo 'not a record'; tasks 1 '= never'; } >tools.jsonl
    react
    equal 2 "$status"
    equal 3 "$(wc -l <<<"$output")"
    has "$stderr" "line 4"
}

@test "--skip-done leaves out what is done, and does again what failed" {
    scripted
    { tasks 3 '= fine'; echo '{"type":"task","id":"bad","input":"! 401 no"}'; } >tools.jsonl
    react
    printf '%s\n{"type":"result","id":"t' "$output" | grep -v '"t2"' >results.jsonl
    react --skip-done results.jsonl --ordered
    equal 't2 bad' "$(ids)"
}

@test "two runs with --skip-done that append to one file: the second waits, and does nothing twice" {
    model 'def reply(body): return {"text": "fine", "until": "go"}'
    tasks 3 '= fine' >todo
    : >results
    # shellcheck disable=SC2094  # the program is made for that
    agent-react --quiet --skip-done results <todo >>results &
    first=$!
    wait_until asked
    # shellcheck disable=SC2094
    agent-react --skip-done results <todo >>results 2>said &
    wait_until grep -q 'results: waiting for another run that has it' said
    touch go
    wait $!
    wait "$first"
    equal 3 "$(wc -l <results)"
}

@test "--jobs bounds how many are at work at once" {
    scripted --latency 0.5
    tasks 6 '= x' >tools.jsonl
    local began=$EPOCHREALTIME
    react --jobs 2
    ((${EPOCHREALTIME/./} - ${began/./} > 1450000)) # three rounds of half a second
    model 'def reply(body): return {"text": "x", "together": 6}' # one alone would get no answer
    react --jobs 6
    equal x "$(jq -r .output <<<"$output" | sort -u)"
}

@test "Ctrl-C gives every task that was read its result, status 130" {
    scripted --latency 100
    tasks 5 '= x' >tools.jsonl
    env --default-signal=INT agent-react --jobs 2 <tools.jsonl >out 2>err 3>&- &
    local pid=$! began status=0
    wait_until asked 2
    began=$SECONDS
    kill -INT "$pid"
    wait "$pid" || status=$?
    equal 130 "$status"
    ((SECONDS - began < 20))
    equal 't1 t2 t3 t4 t5' "$(jq -r .id out | sort | xargs)"
    equal interrupted "$(jq -r .error.kind out | sort -u)"
}

@test "agent-llm killed in the middle: every task still has its result" {
    scripted --latency 100
    tasks 50 '= x' >tools.jsonl
    agent-react --jobs 20 <tools.jsonl >out 2>err 3>&- &
    local pid=$! llm
    wait_until asked 20
    llm=$(pgrep -P "$pid" -f agent-llm)
    kill -9 "$llm"
    wait "$pid" || true
    equal 50 "$(jq -r .id out | sort -u | wc -l)"
    equal server "$(jq -r .error.kind out | sort -u)"
}

@test "records that are no task pass, with the results" {
    scripted
    { tasks 1 '= x'; echo '{"type":"mark",  "n":1}'; } >tools.jsonl
    react
    has "$output" '{"type":"mark",  "n":1}'
}

@test "--events tells of each message to which task it belongs" {
    scripted
    tasks 2 '= x' >tools.jsonl
    react --events
    equal 2 "$(jq -c 'select(.type == "message" and .task == "t1")' <<<"$output" | wc -l)"
}

@test "--budget stops before more is asked, the rest are results that say so" {
    model 'def reply(body): return {"text": "x", "model": "gpt-4o", "usage": {"prompt_tokens": 1000000, "completion_tokens": 0, "total_tokens": 1000000}}'
    tasks 10 'x' >tools.jsonl
    react --jobs 1 --model gpt-4o --budget 4
    equal 1 "$status"
    equal 10 "$(wc -l <<<"$output")"
    equal limit_exceeded "$(jq -r '.error.kind // empty' <<<"$output" | sort -u)"
    (($(jq -r 'select(.error | not) | .id' <<<"$output" | wc -l) <= 2))
    equal "" "$(find "$HOME" /tmp/agentutils-"$(id -u)" -name 'budget-*' -newer tools.jsonl 2>/dev/null)"
}

@test "tasks end before their number does: few descriptors are enough" {
    scripted
    tool t 'echo 7'
    tasks 60 't {}' >>tools.jsonl
    run --separate-stderr bash -c 'ulimit -n 40; agent-react --jobs 50 <tools.jsonl'
    equal 60 "$(wc -l <<<"$output")"
    equal 60 "$(jq -r .id <<<"$output" | sort -u | wc -l)"
}

@test "a progress line counts on a terminal, and nowhere else" {
    scripted
    tasks 3 '= x' >tools.jsonl
    run script -qec "agent-react <tools.jsonl >out" /dev/null
    has "$output" "3/3 done"
    NO_COLOR=1 run script -qec "agent-react '= hi' </dev/null >out" /dev/null
    lacks "$output" $'\033'
}
