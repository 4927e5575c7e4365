#!/usr/bin/env bats
# The lines that the first page of the design showed, as they are typed there, on a scripted model
load helper

setup() {
    prepare
    mkdir src
    printf 'pub fn check(name: &str) -> bool {\n    name == "admin"\n}\n' >src/auth.rs
    model '
import json
review = {"issues": ["src/auth.rs:2: a name is no proof"], "suggestions": ["Ask for a token."], "score": 4}
def reply(body):
    system, text = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
    if "You plan" in system:
        return json.dumps({"steps": [{"id": "d", "agent": "architect", "task": "design", "needs": []}]})
    if "You review code" in system:
        return json.dumps(review if "admin" in text or "review this code" in text else {**review, "issues": []})
    if "software architect" in system:
        patterns = {"patterns": "# Patterns\n\nA token, not a name.\n"} if "whole new text" in system else {}
        return json.dumps({"advice": "Split it.", **patterns})
    if "You work on texts" in system and body["messages"][-1]["role"] != "tool":
        return {"tool_calls": [{"name": "uppercase", "arguments": {"text": "this"}}]}
    if "You work on texts" in system:
        return text.strip()
    return "all well" if "watch a machine" in system else "Here they are." if "other agents" in system else "Two parts."'
}

review=$'1. src/auth.rs:2: a name is no proof\n- Ask for a token.\nScore: 4 of 10'

@test 'text-processor "make this uppercase"' {
    run -0 --separate-stderr text-processor "make this uppercase"
    equal THIS "$output"
}

@test "LLM_PROVIDER=openai LLM_MODEL=gpt-4o code-reviewer src/auth.rs" {
    unset AGENT_PROVIDER AGENT_MODEL
    LLM_PROVIDER=openai LLM_MODEL=gpt-4o run -0 --separate-stderr code-reviewer src/auth.rs
    equal "$review" "$output"
    equal '"gpt-4o"' "$(requests | jq .model)"
}

@test "code-reviewer src/auth.rs --provider groq --model llama-3.1-70b" {
    export GROQ_BASE_URL=$OPENAI_BASE_URL GROQ_API_KEY=groq-key
    run -0 --separate-stderr code-reviewer src/auth.rs --provider groq --model llama-3.1-70b
    equal "$review" "$output"
    equal '"llama-3.1-70b"' "$(requests | jq .model)"
    has "$(request_log)" groq-key
}

@test 'echo "review this code" | code-reviewer | architect --update-patterns' {
    run -0 --separate-stderr bash -c 'set -o pipefail; echo "review this code" | code-reviewer | architect --update-patterns'
    equal 'Split it.' "$output"
    has "$(cat PATTERNS.md)" 'A token, not a name.'
}

@test 'coordinator "refactor the auth system"' {
    run -0 --separate-stderr coordinator "refactor the auth system"
    equal 'Two parts.' "$output"
    equal $'> Breaking down task…\n> Calling architect for design\n> done 1/1 d: design\n> Synthesis complete: Two parts.' "$stderr"
}

@test "code-reviewer src/auth.rs --memory ~/.reviews --timeout 60 --json" {
    run -0 --separate-stderr code-reviewer src/auth.rs --memory ~/.reviews --timeout 60 --json
    equal '{"issues":["src/auth.rs:2: a name is no proof"],"suggestions":["Ask for a token."],"score":4}' "$(jq -c . <<<"$output")"
    has "$(agent-memory list --all --store ~/.reviews)" 'a name is no proof'
    run -1 agent-memory list --all --store reviews
    run -0 --separate-stderr code-reviewer src/auth.rs --memory ~/.reviews --timeout 60 --json
    has "$(requests | tail -1)" 'memory review'
}

@test 'assistant "find me someone who can review code"' {
    run -0 --separate-stderr assistant "find me someone who can review code"
    has "$output" '> Found: code-reviewer - Review code for security, performance and style'
}

@test "monitor-agent --daemon" {
    AGENT_MONITOR_INTERVAL=1s monitor-agent --daemon >out 2>err &
    pid=$!
    until [[ $(wc -l <out) -ge 2 ]]; do sleep 0.05; done
    kill "$pid"
    wait "$pid"
    equal 'all well' "$(sort -u out)"
}
