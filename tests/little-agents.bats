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
    messages = body["messages"]
    text = str(messages)
    if messages[-1]["role"] != "tool" and "run_linter" in str(body.get("tools")) and "bad.sh" in text:
        return {"tool_calls": [{"name": "run_linter", "arguments": {"path": "bad.sh"}}]}
    found = "syntax error" in str(messages[-1]["content"]) and messages[-1]["role"] == "tool"
    issues = ["eval of input"] * ("eval" in text) + ["it does not end"] * found
    return json.dumps({"issues": issues, "suggestions": ["quote it"], "score": 3})'

@test "code-reviewer reads a diff from standard input, as material" {
    equal $'1. eval of input\n- quote it\nScore: 3 of 10' "$(echo '+eval $x' | taped "$reviewer" code-reviewer)"
    model "$reviewer"
    echo '+eval $x' | code-reviewer >/dev/null
    has "$(requests | jq -r '.messages[-1].content')" $'Review this code.\n\nBelow is material'
}

@test "code-reviewer is given the file that the request names, and lints it" {
    printf '#!/bin/sh\nif echo $1; then\n' >bad.sh
    equal $'1. it does not end\n- quote it\nScore: 3 of 10' "$(taped "$reviewer" code-reviewer "Review bad.sh" </dev/null)"
    model "$reviewer"
    code-reviewer bad.sh </dev/null >/dev/null
    has "$(requests | head -1 | jq -r '.messages[-1].content')" $'Review this code: bad.sh\n\nBelow is material'
    has "$(requests | head -1 | jq -r '.messages[-1].content')" 'echo $1'
}

@test "run_linter checks the syntax if no linter is, in few words, and runs nothing of the code" {
    echo 'def f(:' >a.py
    echo 'import os; os.mkdir("evil")' >b.py
    echo 'if true; then' >c.sh
    echo 'touch evil' >d.sh
    printf 'BEGIN { mkdir "evil" }\n' >e.pl
    printf 'use lib ".";\nuse evil;\n' >f.pl
    printf 'package evil; mkdir "evil"; 1;\n' >evil.pm
    printf 'use strict;\nmy $x = ;\n' >g.pl
    echo '{"a":}' >h.json
    echo 'a = ' >i.toml
    echo 'no code' >j.txt
    mkdir programs
    for name in python3 env bash perl; do ln -s "$(command -v "$name")" programs/; done
    lint() { PATH=$PWD/programs "$ROOT/tools/run_linter" <<<"{\"path\":\"$1\"}"; }
    equal 'python, syntax only, on 1 files: a.py:1: invalid syntax' "$(lint a.py)"
    equal 'python, syntax only, on 1 files: nothing to say' "$(lint b.py)"
    has "$(lint c.sh)" 'bash, syntax only, on 1 files: c.sh: line 2: syntax error'
    equal 'bash, syntax only, on 1 files: nothing to say' "$(lint d.sh)"
    has "$(lint g.pl)" 'syntax error at g.pl line 2'
    for file in e.pl f.pl; do has "$(lint "$file")" 'not checked: perl would run a part of it'; done
    has "$(lint h.json)" 'json, syntax only, on 1 files: h.json'
    has "$(lint i.toml)" 'toml, syntax only, on 1 files: i.toml'
    equal 'j.txt: nothing here can be checked' "$(lint j.txt)"
    [ ! -e evil ]
    lacks "$(lint .)" 'install'
}

@test "code-reviewer --json prints issues, suggestions, score and nothing else" {
    run -0 --separate-stderr taped "$reviewer" code-reviewer --json <<<'+eval $x'
    equal '["issues","score","suggestions"]' "$(jq -c keys <<<"$output")"
}

@test "code-reviewer remembers the reviews of this folder alone, also two of one second" {
    model "$reviewer"
    mkdir -p a/src b/src
    (cd a/src && for _ in 1 2; do echo 'eval $x' | code-reviewer >/dev/null & done; wait)
    (cd b/src && echo 'eval' | code-reviewer >/dev/null)
    lacks "$(requests | tail -1)" 'eval of input'
    (cd a/src && echo 'eval again' | code-reviewer >/dev/null)
    has "$(requests | tail -1)" 'eval of input'
    equal 3 "$(agent-memory list --store reviews --namespace "$PWD/a/src" | wc -l)"
}

@test "what prints no review, or failed, or is not wanted, is not remembered" {
    model "$reviewer"
    for options in --quiet --events --no-memory "--record t.jsonl" "--replay t.jsonl"; do
        # shellcheck disable=SC2086  # an option and its value
        run -0 code-reviewer $options <<<'+eval $x'
    done
    AGENT_RECORD=t2.jsonl code-reviewer <<<x
    for answer in 'Looks good to me.' '' '{"issues":"none"}' '[]'; do
        model "$answer"
        run --separate-stderr code-reviewer <<<x
        [ "$status" != 0 ]
        equal "" "$output"
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "code-reviewer: the answer does not fit the schema: "
    done
    model 'def reply(body): return {"status": 401, "body": {"error": {"message": "no"}}}'
    run -100 code-reviewer <<<x
    run -1 agent-memory list --store reviews --all
}

designer='
import json
def reply(body):
    text = str(body["messages"])
    advice = "Keep it." if "context PATTERNS.md" in text and "old rule" not in text else "Split it."
    old = "old rule" if "old rule" in text else ""
    return json.dumps({"advice": advice, **({"patterns": f"# Patterns\n{old}\nnew rule\n"} if "whole new text" in text else {})})'

@test "architect gives advice and leaves the folder as it is" {
    echo "one big file" >design
    equal 'Split it.' "$(taped "$designer" architect <design | tail -1)"
    [ ! -e PATTERNS.md ]
}

@test "architect --update-patterns writes PATTERNS.md and builds on what it holds, whatever is printed" {
    echo 'old rule' >PATTERNS.md
    model "$designer"
    equal 'Split it.' "$(architect --update-patterns <<<x)"
    equal $'# Patterns\nold rule\nnew rule' "$(cat PATTERNS.md)"
    for option in --json --quiet --events; do
        rm PATTERNS.md
        architect --update-patterns "$option" <<<x >"out$option"
        has "$(cat PATTERNS.md)" 'new rule'
    done
    equal 'Split it.' "$(jq -r .output out--json)"
    equal '' "$(cat out--quiet)"
}

@test "the pipe of two agents works as typed" {
    model "$reviewer
review = reply
$designer
design = reply
def reply(body):
    return (review if 'You review' in str(body) else design)(body)"
    run -0 bash -c 'set -o pipefail; echo "review this code" | code-reviewer | architect --update-patterns'
    equal 'Split it.' "$output"
    has "$(cat PATTERNS.md)" 'new rule'
    has "$(requests | tail -1)" 'Score: 3 of 10'
}

@test "an answer that is no JSON leaves PATTERNS.md as it was, and is one line" {
    echo keep >PATTERNS.md
    for answer in sorry '' '{"advice":"x","patterns":""}'; do
        model "$answer"
        run -111 --separate-stderr architect --update-patterns <<<x
        equal "" "$output"
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "architect: the answer does not fit the schema: "
        equal keep "$(cat PATTERNS.md)"
    done
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

@test "scan_security as a stage passes the stream on, and says what it found and where it will be" {
    git init -q . && printf 'one\ntwo\n' >a.py && git add . && git -c user.name=a -c user.email=a@example.org commit -qm start
    printf 'one\neval(two)\n' >a.py
    git diff | agent-discover read_file - >stream
    "$ROOT/tools/scan_security" --records <stream >out
    equal "$(<stream)" "$(head -n 2 out)"
    has "$(tail -n 1 out)" '"source":"scan_security"'
    has "$(tail -n 1 out)" 'a.py:2: text is run as code: eval(two)'
    git diff -R | agent-discover read_file - >stream
    "$ROOT/tools/scan_security" --records <stream >out
    equal "$(<stream)" "$(head -n 2 out)"
    has "$(tail -n 1 out)" 'What a scanner found: no unsafe call, no injection.'
}

@test "what the scanner finds is before the model when it reviews" {
    echo 'x = eval(y)' >app.py
    run -0 taped '
def reply(body):
    seen = "app.py:1: text is run as code" in str(body["messages"])
    return "{\"issues\":[\"%s\"],\"suggestions\":[],\"score\":1}" % ("seen" if seen else "lost")' code-reviewer --no-memory app.py </dev/null
    has "$output" "1. seen"
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
    run -0 --separate-stderr monitor-agent </dev/null # also if no systemd answers
    equal 'all well' "$output"
}

@test "monitor-agent --daemon runs until it is ended" {
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
        return json.dumps({"advice": "two modules" + (" for SAML" if "SAML" in text else "")})
    if "You review" in system:
        issues = ["reviewed: two modules"] if "two modules" in text else ["lost"]
        return json.dumps({"issues": issues, "suggestions": [], "score": 5})
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
    run -0 --separate-stderr coordinator --replay tape.jsonl "refactor the auth system" </dev/null
    equal 'Auth is two modules.' "$output"
    has "$stderr" '> Calling architect for design'
    run -100 coordinator --replay tape.jsonl "refactor the door" </dev/null
    has "$output" 'not on the tape'
    run -100 coordinator --quiet --replay tape.jsonl "refactor the door" </dev/null
    equal "" "$output"
}

@test "coordinator hands its standard input on to the agents, and takes it for the task if there is none" {
    model "$planned"
    echo 'uses SAML' | coordinator - "refactor" >/dev/null 2>&1
    has "$(requests)" 'two modules for SAML'
    echo 'refactor auth' | coordinator --json 2>/dev/null | jq -e '.output == "Auth is two modules." and .name == "coordinator" and .usage'
    equal refactor\ auth "$(requests | jq -r 'select(.messages[0].content | test("You plan")).messages[-1].content' | tail -1)"
    run -2 coordinator </dev/null
    has "$output" 'coordinator: no request: give it as operands, or - and standard input'
}

@test "coordinator hands model, provider, time, tries, pace and budget on to the agents that it calls" {
    mkdir bin
    printf '#!/bin/sh\nenv | grep ^AGENT_ | sort | tr "\\n" " "\n' >bin/teller
    chmod +x bin/teller
    printf '## teller\n\nTells its environment\n\n- **Binary**: bin/teller\n' >AGENTS.md
    model '
import json
def reply(body):
    if body["model"] != "chosen":
        return {"status": 400, "body": {"error": {"message": "another model"}}}
    if "You plan" in str(body["messages"][0]["content"]):
        return json.dumps({"steps": [{"id": "t", "agent": "teller", "task": "tell", "needs": []}]})
    return str(body["messages"][-1]["content"])'
    unset AGENT_PROVIDER AGENT_MODEL
    run -0 --separate-stderr coordinator --quiet --allow teller "tell me" </dev/null --provider openai --model chosen \
        --timeout=50 --retry 3 --rate-limit 600 --budget 5
    equal "" "$output$stderr"
    run -0 --separate-stderr coordinator --events --allow teller "tell me" </dev/null --provider openai --model chosen \
        --timeout=50 --retry 3 --rate-limit 600 --budget 5
    for variable in PROVIDER=openai MODEL=chosen RUN_TIMEOUT=50 RETRY=3 RATE_LIMIT=600 BUDGET=/; do has "$output" "AGENT_$variable"; done
    ledger=$(grep -o 'AGENT_BUDGET=[^ ]*' <<<"$output" | head -1)
    [ ! -e "${ledger#*=}" ]
    model 'def reply(body): return {"text": "late", "delay": 9}'
    run -111 timeout 60 coordinator --timeout 0.5 --retry 0 "tell me" </dev/null
}

@test "coordinator with a step that failed: the answer is not whole" {
    model '
import json
def reply(body):
    if "You plan" in str(body["messages"][0]["content"]):
        return json.dumps({"steps": [{"id": "t", "agent": "commit-message", "task": "tell", "needs": []}]})
    return "nothing came" if "Not done: failed" in str(body) else {"status": 400, "body": {"error": {"message": "no"}}}'
    run -1 --separate-stderr coordinator --json "tell me" </dev/null
    equal '["nothing came",true]' "$(jq -c '[.output,.incomplete]' <<<"$output")"
}

@test "without a key each agent says so in one line and ends with 100; nothing is remembered or written" {
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant; do
        run -100 --separate-stderr timeout 60 "$agent" "do it" </dev/null
        equal '' "$output"
        equal 1 "$(grep -vc '^> ' <<<"$stderr")"
        has "$stderr" 'no provider to ask'
    done
    run -100 architect --update-patterns <<<x
    [ -z "$(ls -A)" ]
    run -1 agent-memory list --store reviews
}

@test "without a request and without input no model is called" {
    model 'something'
    for agent in code-reviewer architect security-scanner commit-message coordinator text-processor assistant; do
        run -2 --separate-stderr timeout 60 "$agent" </dev/null
        has "$stderr" 'no request'
    done
    equal 0 "$(requests | wc -l)"
}

@test "each agent tells its own options, and refuses others" {
    has "$(monitor-agent --help)" --daemon
    has "$(architect --help)" --update-patterns
    has "$(code-reviewer --help)" '{issues,suggestions,score}'
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant; do
        run -2 timeout 60 "$agent" --no-such-option </dev/null
    done
}

@test "every agent of bin/ is in AGENTS.md, and every entry exists" {
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor; do
        grep -q "^- \*\*Binary\*\*: bin/$agent$" "$ROOT/AGENTS.md" || { echo "$agent is not in AGENTS.md" >&2; return 1; }
    done
    while read -r file; do [ -x "$ROOT/$file" ]; done < <(sed -n 's/^- \*\*Binary\*\*: //p' "$ROOT/AGENTS.md")
}

@test "help, version and schema are answered before any program is started, Python neither" {
    mkdir programs
    for name in bash env realpath; do ln -s "$(command -v "$name")" programs/; done
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator text-processor assistant agent-demo; do
        for option in --help --version --agent-schema; do
            run -0 --separate-stderr env PATH="$PWD/programs" "$ROOT/bin/$agent" "$option" </dev/null
            equal '' "$stderr"
            has "$output" "$agent"
        done
    done
}

@test "wrong usage is reported with the agent's name before any request, in every agent" {
    local name
    model "nothing is asked"
    for name in text-processor code-reviewer architect security-scanner coordinator assistant; do
        run -2 --separate-stderr "$name" </dev/null
        has "$stderr" "$name: no request"
        run -2 --separate-stderr "$name" "" </dev/null
        has "$stderr" "$name: no request"
        run -2 --separate-stderr "$name" --nope x </dev/null
        equal "$name: unrecognized arguments: --nope; see '$name --help'" "$stderr"
        run -2 --separate-stderr "$name" x --model </dev/null
        equal "$name: argument --model: expected a value; see '$name --help'" "$stderr"
        for option in --timeout --retry --budget --max-iterations --sandbox --schema; do
            run -2 --separate-stderr "$name" x "$option" nan </dev/null
            has "$stderr" "$name: "
            has "$stderr" "$option"
            has "$stderr" nan
            lacks "$stderr" "agent-"
        done
        run -2 --separate-stderr "$name" x --allow y:z </dev/null
        has "$stderr" "$name: --allow y:z: not NAME or NAME:PROFILE"
    done
    equal "" "$(requests)"
    run -2 --separate-stderr monitor-agent --nope </dev/null
    run --separate-stderr code-reviewer src/no.py </dev/null
    has "$stderr" "code-reviewer: src/no.py: no such file or folder; it is taken as words"
}

@test "commit-message takes what is staged where standard input is /dev/null, and says if there is no change" {
    model 'app: print the time'
    git init -q . && echo one >f && git add f
    run -0 commit-message </dev/null
    equal 'app: print the time' "$output"
    has "$(requests | tail -1)" "+one"
    run -2 --separate-stderr commit-message < <(:)
    equal "commit-message: no request: no change is on standard input" "$stderr"
    git reset -q f
    run -2 --separate-stderr commit-message </dev/null
    equal "commit-message: no request: no change is staged in git" "$stderr"
}

@test "a name that is nearly one gets a hint, and the suite's names are not given to new agents" {
    run -127 agent-discover wordcoun </dev/null
    has "$output" "did you mean wordcount?"
    run -127 agent-discover agent-reakt </dev/null
    has "$output" "did you mean agent-react?"
    run agent-llm --provider opanai hi </dev/null
    has "$output" "did you mean openai?"
    run -2 agent-new agent-llm
    has "$output" "agent-llm is a program of the suite"
    equal "" "$(ls)"
    run -2 agent-llm --schema nosuch.json hi </dev/null
    equal "agent-llm: --schema nosuch.json: No such file or directory" "$output"
    model 'def reply(body): return {"status": 401, "body": {"error": {"message": "Wrong key"}}}'
    run coordinator hi </dev/null
    has "$output" "coordinator: openai: Wrong key"
    run agent-reflect --check true -- sh -c 'echo using x >&2; echo the cause >&2; exit 100' </dev/null
    has "$output" "status 100: the cause"
}

@test "if standard input cannot be read no model is called" {
    local name
    model "unheard"
    printf '\x89PNG\0\0' >picture
    for name in text-processor code-reviewer architect security-scanner assistant coordinator; do
        run -2 --separate-stderr "$name" - "What is it?" <picture
        has "$stderr" "$name: no model was called: standard input is not text"
    done
    equal "" "$(requests)"
}
