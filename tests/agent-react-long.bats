#!/usr/bin/env bats
# shellcheck disable=SC2016  # what tools and the inner shell expand stands in single quotes
# agent-react: long conversations, and those that were cut off.
load helper
load react

# talk FILE: what was said in it, without the numbers that a model gives its calls.
talk() { jq -c '[.role, .content, [.tool_calls[]?.arguments]]' "$1"; }

@test "kill -9 at each record: run again, it comes to the same end" {
    scripted
    tool t 'read -r line; echo "got $line"'
    local script=$'t {"n":1} & t {"n":2}\nt {"n":3}\n= {results}'
    react --transcript whole.jsonl "$script"
    local wanted=$output count
    count=$(wc -l <whole.jsonl)
    equal 7 "$count"
    for ((n = 1; n < count; n++)); do
        head -n "$n" whole.jsonl >"cut$n.jsonl"
        printf '{"type":"mess' >>"cut$n.jsonl" # a kill in the middle of a line
        react --transcript "cut$n.jsonl" "$script"
        equal "$wanted" "$(head -n 1 <<<"$output")" || return 1
        equal "$(talk whole.jsonl)" "$(talk "cut$n.jsonl")" || return 1
    done
}

@test "a transcript on standard input, cut off, is continued if there is no request" {
    scripted
    tool t 'read -r line; echo "got $line"'
    react --events $'t {"n":1}\n= {results}'
    printf '%s\n' "$output" | head -n 2 | cat tools.jsonl - >in.jsonl
    run --separate-stderr agent-react <in.jsonl
    equal 'got {"n":1}' "$output"
}

@test "a real kill -9 in the middle leaves a transcript that can be continued" {
    scripted
    tool slow 'read -r line; case $line in *2*) [ -e go ] || exec sleep 60 ;; esac; echo "got $line"'
    local script=$'slow {"n":1}\nslow {"n":2}\nslow {"n":3}\n= {results}'
    agent-react --transcript t.jsonl "$script" <tools.jsonl >out 2>err 3>&- &
    local pid=$!
    until [[ -e t.jsonl && $(wc -l <t.jsonl) -ge 4 ]]; do sleep 0.05; done
    kill -9 "$pid"
    wait "$pid" || true
    touch go
    react --transcript t.jsonl "$script"
    equal 'got {"n":1}|got {"n":2}|got {"n":3}' "$output"
}

@test "a conversation that nears the window is summed up, and the run continues" {
    model 'def reply(body):
    first = body["messages"][0]["content"]
    assert len(str(body["messages"])) < 20000, "too long"
    if "Sum up the conversation" in first: return "SUMMARY of it"
    turn = sum(m["role"] == "assistant" for m in body["messages"])
    if "SUMMARY" in str(body["messages"]): return "the end"
    size = len(str(body["messages"]))
    return {"tool_calls": [{"name": "big", "arguments": {"turn": size}}],
            "usage": {"prompt_tokens": size // 4, "completion_tokens": 9, "total_tokens": size // 4 + 9}}'
    tool big 'head -c 3000 /dev/zero | tr "\0" x'
    react --events --max-iterations 0 --context-window 4000 "go"
    equal 0 "$status"
    equal "the end" "$(jq -r 'select(.type == "result").output' <<<"$output")"
    equal 1 "$(jq -c 'select(.replaces)' <<<"$output" | wc -l)"
    printf '%s\n' "$output" >t.jsonl
    run --separate-stderr agent-react --context-window 4000 "And?" <t.jsonl
    equal "the end" "$output"
}

@test "a provider that finds the conversation too long: it is summed up and asked again" {
    model 'def reply(body):
    if "Sum up the conversation" in body["messages"][0]["content"]: return "SUMMARY"
    if len(str(body["messages"])) > 4000:
        return {"status": 400, "body": {"error": {"message": "maximum context length", "code": "context_length_exceeded"}}}
    return "short enough"'
    python3 - >t.jsonl <<'PY'
import json
for n in range(20):
    print(json.dumps({"type": "message", "role": "user", "content": f"question {n} " + "x" * 200}))
    print(json.dumps({"type": "message", "role": "assistant", "content": f"answer {n} " + "y" * 200}))
PY
    run --separate-stderr agent-react --json "And now?" <t.jsonl
    equal 0 "$status"
    equal "short enough" "$(jq -r .output <<<"$output")"
}

@test "a message that no model could take is refused by its line" {
    echo '{"type":"message","role":"robot","content":"x"}' >t.jsonl
    run --separate-stderr agent-react hi <t.jsonl
    equal 2 "$status"
    has "$stderr" "line 1"
    has "$stderr" "robot"
}
