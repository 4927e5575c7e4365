#!/usr/bin/env bats
# the agents of bin/: each on a tape, with what a user would give it

# shellcheck disable=SC2016,SC2154  # code as text; set by run --separate-stderr

load helper

# taped RULES COMMAND...: run against the scripted model, then from the tape without it; both must say the same
taped() {
    local rules=$1
    shift
    cat >given
    model "$rules"
    "$@" --record tape.jsonl <given >first
    end_model
    "$@" --replay tape.jsonl <given >second
    cmp first second
    cat first
}

reviewer='
import json
def reply(body):
    said = body["messages"]
    if "fits this JSON Schema" in said[0]["content"]:
        return json.dumps({"issues": ["eval of input"], "suggestions": [], "score": 3})
    if said[-1]["role"] == "tool":
        return "Line 1: eval of input. Score 3." if "SC2086" in said[-1]["content"] else "no linter: " + said[-1]["content"]
    if "run_linter" in str(body.get("tools")) and "bad.sh" in said[-1]["content"]:
        return {"tool_calls": [{"name": "run_linter", "arguments": {"path": "bad.sh"}}]}
    return "Nothing to say." if "eval" not in str(said) else "The diff evals input."'

@test "code-reviewer reads a diff from standard input" {
    equal 'The diff evals input.' "$(echo '+eval $x' | taped "$reviewer" code-reviewer)"
}

@test "code-reviewer lints the file that the request names" {
    command -v shellcheck >/dev/null || skip "shellcheck is not installed"
    printf '#!/bin/sh\necho $1\n' >bad.sh
    equal 'Line 1: eval of input. Score 3.' "$(taped "$reviewer" code-reviewer "Review bad.sh" </dev/null)"
}

@test "code-reviewer --json prints issues, suggestions, score and nothing else" {
    run -0 --separate-stderr taped "$reviewer" code-reviewer --json <<<'+eval $x'
    equal '["issues","score","suggestions"]' "$(jq -c keys <<<"$output")"
}

@test "code-reviewer remembers its reviews and sees the last ones" {
    model "$reviewer"
    echo '+eval $x' | code-reviewer >/dev/null
    echo 'eval again' | code-reviewer >/dev/null
    has "$(requests | tail -1)" 'The diff evals input.'
}

@test "code-reviewer fails as the model fails, and remembers nothing" {
    model 'def reply(body): return {"status": 401, "body": {"error": {"message": "no"}}}'
    run -100 code-reviewer <<<x
    run -1 agent-memory list --store reviews
}

designer='
import json
def reply(body):
    text = str(body["messages"])
    if "fits this JSON Schema" in text:
        old = "old rule" if "old rule" in text else ""
        return json.dumps({"advice": "Split it.", "patterns": f"# Patterns\n{old}\nnew rule\n"})
    return "Keep it." if "context PATTERNS.md" in text else "Split it."'

@test "architect gives advice and leaves the folder as it is" {
    echo "one big file" >design
    equal 'Split it.' "$(taped "$designer" architect <design | tail -1)"
    [ ! -e PATTERNS.md ]
}

@test "architect --update-patterns writes PATTERNS.md and builds on what it holds" {
    echo 'old rule' >PATTERNS.md
    model "$designer"
    equal 'Split it.' "$(architect --update-patterns <<<x)"
    equal $'# Patterns\nold rule\nnew rule' "$(cat PATTERNS.md)"
}

@test "the pipe of two agents works as typed" {
    model "$designer"
    run -0 bash -c 'set -o pipefail; echo "review this code" | code-reviewer | architect --update-patterns'
    equal 'Split it.' "$output"
    has "$(cat PATTERNS.md)" 'new rule'
}

@test "an answer that is no JSON leaves PATTERNS.md as it was" {
    echo keep >PATTERNS.md
    model 'sorry'
    run ! architect --update-patterns <<<x
    equal keep "$(cat PATTERNS.md)"
}

@test "security-scanner runs the scanners on the folder and never sees a secret's value" {
    echo 'key = "AKIAABCDEFGHIJKLMNOP"' >app.py
    run -0 taped '
def reply(body):
    last = body["messages"][-1]
    if last["role"] != "tool":
        return {"tool_calls": [{"name": "scan_security", "arguments": {"path": "."}}]}
    return "found" if "app.py:1: AWS access key" in last["content"] and "AKIAABC" not in last["content"] else "lost"' \
        security-scanner "Scan this folder" </dev/null
    equal found "$output"
}

@test "scan_security runs the scanners that are there on what they know, and says which are not" {
    mkdir fake
    printf '#!/bin/bash\necho "bandit saw ${*: -1}"\n' >fake/bandit
    printf '#!/bin/bash\n[[ "$*" == *"--requirement requirements.txt"* ]] && echo "urllib3.exceptions.MaxRetryError: Max retries exceeded" && exit 1\n' >fake/pip-audit
    chmod +x fake/*
    export PATH=$PWD/fake:$PATH
    echo 'x = 1' >app.py
    run -0 "$ROOT/tools/scan_security" <<<'{"path":"."}'
    has "$output" 'bandit: bandit saw .'
    has "$output" 'gitleaks is not installed'
    lacks "$output" pip-audit # there is nothing for it
    echo 'httpx==0.1' >requirements.txt
    run -0 "$ROOT/tools/scan_security" <<<'{"path":"."}'
    has "$output" 'pip-audit: nothing was audited: it needs the network'
    rm fake/pip-audit
    run -0 "$ROOT/tools/scan_security" <<<'{"path":"."}'
    has "$output" 'pip-audit is not installed'
}

@test "commit-message writes about the diff on standard input" {
    equal 'net: retry' "$(echo '+retry' | taped '
def reply(body):
    return "net: retry" if "+retry" in str(body["messages"]) else "lost"' commit-message)"
}

@test "monitor-agent says what needs attention from the machine's own figures" {
    model '
def reply(body):
    return "all well" if "cores: " in str(body["messages"]) and "Filesystem" in str(body["messages"]) else "lost"'
    run -0 --separate-stderr monitor-agent </dev/null # also where no systemd answers
    equal 'all well' "$output"
}

@test "monitor-agent --daemon goes on until it is told to end" {
    model 'all well'
    AGENT_MONITOR_INTERVAL=1s monitor-agent --daemon >out 2>err &
    pid=$!
    until [ -s out ]; do sleep 0.05; done
    kill "$pid"
    wait "$pid"
    equal 'all well' "$(head -1 out)"
}

planned='
import json
def reply(body):
    system, text = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
    if "You plan" in system:
        assert "architect" in system and "code-reviewer" in system and "- coordinator" not in system
        step = lambda id, agent, task, needs: {"id": id, "agent": agent, "task": task, "needs": needs}
        return json.dumps({"steps": [step("d", "architect", "design", []), step("r", "code-reviewer", "review", ["d"])]})
    if "software architect" in system:
        return "two modules" + (" for SAML" if "SAML" in text else "")
    if "You review" in system:
        return "reviewed: two modules" if "two modules" in text else "lost"
    return "Auth is two modules." if "reviewed" in text else "lost"'

@test "coordinator breaks a task down and calls the suite's agents, from any folder, with its progress" {
    model "$planned"
    run -0 --separate-stderr coordinator "refactor the auth system" </dev/null
    equal 'Auth is two modules.' "$output"
    has "$stderr" '> Breaking down task…'
    has "$stderr" '> Calling architect for design'
    has "$stderr" '> Synthesis complete: Auth is two modules.'
}

@test "coordinator on a tape: no key, no network, the agents that it calls too" {
    model "$planned"
    coordinator --record tape.jsonl "refactor the auth system" </dev/null 2>/dev/null
    end_model
    equal 4 "$(jq -c 'select(.type == "exchange")' tape.jsonl | wc -l)"
    unset OPENAI_API_KEY OPENAI_BASE_URL
    rm -r "$HOME/.local/share/agentutils/memory" # else the reviewer would know its review
    run -0 --separate-stderr coordinator --replay tape.jsonl "refactor the auth system" </dev/null
    equal 'Auth is two modules.' "$output"
    has "$stderr" '> Calling architect for design'
    run -100 coordinator --quiet --replay tape.jsonl "refactor the door" </dev/null
    has "$output" 'not on the tape'
}

@test "coordinator hands its standard input on to the agents, and takes it for the task where there is none" {
    model "$planned"
    echo 'uses SAML' | coordinator --quiet "refactor" >/dev/null
    has "$(requests)" 'two modules for SAML'
    echo 'refactor auth' | coordinator --quiet --json | jq -e '.output == "Auth is two modules."'
    equal refactor\ auth "$(requests | jq -r 'select(.messages[0].content | test("You plan")).messages[-1].content' | tail -1)"
    run -2 coordinator --quiet </dev/null
    equal 'agent-plan: no request: give it as operands, or - and standard input' "$output"
}

@test "without a key each agent says so in one line and ends with 100; nothing is remembered or written" {
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant; do
        run -100 --separate-stderr timeout 20 "$agent" "do it" </dev/null
        equal '' "$output"
        equal 1 "$(grep -vc '^> ' <<<"$stderr")"
        has "$stderr" 'no provider to ask'
    done
    run -100 architect --update-patterns <<<x
    [ -z "$(ls -A)" ]
    run -1 agent-memory list --store reviews
}

@test "where nothing is asked and nothing is given, no model is asked" {
    model 'something'
    for agent in code-reviewer architect security-scanner commit-message coordinator text-processor assistant; do
        run -2 --separate-stderr timeout 20 "$agent" </dev/null
        has "$stderr" 'no request'
    done
    equal 0 "$(requests | wc -l)"
}

@test "each agent tells its own options, and refuses others" {
    has "$(monitor-agent --help)" --daemon
    has "$(architect --help)" --update-patterns
    has "$(code-reviewer --help)" '{issues,suggestions,score}'
    lacks "$(coordinator --help)" --max-iterations
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant; do
        run -2 timeout 20 "$agent" --no-such-option </dev/null
    done
}

@test "every agent of bin/ stands in AGENTS.md, and every entry is there" {
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor; do
        grep -q "^- \*\*Binary\*\*: bin/$agent$" "$ROOT/AGENTS.md" || { echo "$agent is not in AGENTS.md" >&2; return 1; }
    done
    while read -r file; do [ -x "$ROOT/$file" ]; done < <(sed -n 's/^- \*\*Binary\*\*: //p' "$ROOT/AGENTS.md")
}

@test "help, version and schema come from one program, before any other is started" {
    mkdir suite suite/bin
    ln -s "$ROOT/lib" suite/lib
    ln -s "$ROOT/bin/agent-react" suite/bin
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant agent-demo; do
        cp "$ROOT/bin/$agent" suite/bin
        for option in --help --version --agent-schema; do
            run -0 env PATH="$ROOT/.venv/bin:/usr/bin:/bin" "suite/bin/$agent" "$option" </dev/null
            has "$output" "$agent"
        done
    done
}
