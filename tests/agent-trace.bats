#!/usr/bin/env bats
# agent-trace: runs as lines, trees and records, from a stream, a file or the history.
# shellcheck disable=SC2016,SC2030,SC2031  # bodies are for their own shell; each test is a subshell
load helper
load react

trace() { run --separate-stderr agent-trace "$@" </dev/null; }

@test "a line for each run: time, id, agent, model, calls, tokens, cost, duration, end and request" {
    scripted
    tool t 'echo ok'
    agent-react --name worker $'t {}\n= done' <tools.jsonl >/dev/null
    agent-llm --model gpt-5-mini '= fine' </dev/null >/dev/null
    agent-llm '! 401 no' </dev/null >/dev/null 2>&1 || true
    trace
    equal 3 "${#lines[@]}"
    [[ ${lines[0]} =~ ^20[0-9-]{8}\ [0-9:]{8}\ \ [0-9a-f]{8}\ \ worker\ +test-model\ +2\+1\ +[0-9,]+\ +-\ +[0-9.]+s\ \ done\ +t\ \{\} ]]
    [[ ${lines[1]} =~ agent-llm\ +gpt-5-mini\ +1\+0\ +[0-9]+\ +\$0\.[0-9]{6}\ .*done\ +=\ fine$ ]]
    [[ ${lines[2]} =~ agent-llm\ +test-model\ +0\+0\ .*\ auth\ +!\ 401\ no$ ]]
}

@test "--failed, --search and --since choose; nothing found is status 1" {
    scripted
    agent-llm '= apple pie' </dev/null >/dev/null
    agent-llm '! 401 Banana' </dev/null >/dev/null 2>&1 || true
    trace --failed
    equal 1 "${#lines[@]}"
    has "$output" Banana
    trace --search 'PIE apple'
    equal 1 "${#lines[@]}"
    trace --search banana
    has "$output" Banana
    trace --search 'apple banana'
    equal "1 " "$status $output"
    trace --search role
    equal 1 "$status"
    trace --since 1h
    equal 2 "${#lines[@]}"
    trace --since "$(date -d '+1 hour' +%FT%T)"
    equal 1 "$status"
    trace --since soon
    equal 2 "$status"
    has "$stderr" "--since soon: not a span"
}

@test "the events of agent-react in a pipe or a file, ids that stay the same, and a transcript of old" {
    scripted
    tool t 'echo ok'
    agent-react --events $'t {}\n= done' <tools.jsonl >events.jsonl
    equal "$(agent-trace events.jsonl)" "$(agent-trace <events.jsonl)"
    has "$(agent-trace events.jsonl)" " 2+1 "
    jq -c 'del(.run, .trace_id)' events.jsonl >old.jsonl
    equal "$(agent-trace --json old.jsonl)" "$(agent-trace --json <old.jsonl)"
    equal '["run","model","tool","model"]' "$(agent-trace --json old.jsonl | jq -sc 'map(.kind)')"
    run -2 agent-trace < <(echo no record)
    has "$output" "line 1: not JSON"
    run -2 agent-trace --to ''
    has "$output" "argument --to: expected FORMAT, not ''"
}

@test "--json: ids of a run, its calls and a retry, with times, tokens and content" {
    model 'def reply(body, seen=[]):
    seen.append(1)
    if len(seen) == 1:
        return {"status": 503, "body": {}}
    return "done" if body["messages"][-1]["role"] == "tool" else {"tool_calls": [{"name": "t", "arguments": {"n": 1}}]}'
    tool t 'echo ok; exit 3'
    agent-react 'go' <tools.jsonl >/dev/null
    trace --json
    equal '["run",["model","retry"],"tool","model"]' "$(jq -sc 'map(.kind) | [.[0], .[1:3], .[3], .[4]]' <<<"$output")"
    jq -se '. as [$run, $model, $retry, $tool, $last] |
        ($run.id | test("^[0-9a-f]{16}$")) and ($run.trace_id | test("^[0-9a-f]{32}$")) and $run.parent_id == null and
        all(.[]; .trace_id == $run.trace_id and .start <= .end) and ([$model, $tool, $last] | all(.parent_id == $run.id)) and
        $retry.parent_id == $model.id and $retry.attempt == 1 and $retry.error.kind == "server" and
        $retry.start >= $model.start and $retry.end <= $model.end and $model.attempt == 2 and
        $model.input == [{"role":"user","content":"go"}] and $model.output.tool_calls[0].name == "t" and
        $tool.status == "error" and $tool.error.kind == "tool_error" and $tool.arguments == {"n":1} and
        $tool.call_id == $model.output.tool_calls[0].id and $last.input[0].role == "tool" and
        $run.usage.input_tokens == $model.usage.input_tokens + $last.usage.input_tokens and
        $run.model_calls == 2 and $run.tool_calls == 1 and $run.input == "go" and $run.output == "done" and
        (map(.id) | unique | length) == 5' <<<"$output"
}

@test "a called agent and its calls are one tree with the caller; TRACEPARENT of the caller is above it" {
    scripted
    agent-discover call_agent >tools.jsonl
    export TRACEPARENT=00-0123456789abcdef0123456789abcdef-00f067aa0ba902b7-01
    agent-react --name outer --allow call_agent $'call_agent {"name":"text-processor","input":"= deep"}\n= done' <tools.jsonl >/dev/null
    AGENT_HISTORY=off agent-llm '= none' </dev/null >/dev/null
    trace --json
    equal '["outer","text-processor"]' "$(jq -sc 'map(select(.kind == "run").name)' <<<"$output")"
    equal 0123456789abcdef0123456789abcdef "$(jq -r .trace_id <<<"$output" | sort -u)"
    jq -se '(map(select(.kind == "agent"))[0]) as $call | map(select(.kind == "run")) as [$outer, $inner] |
        $outer.parent_id == "00f067aa0ba902b7" and $call.parent_id == $outer.id and $inner.parent_id == $call.id' <<<"$output"
    trace
    equal 1 "${#lines[@]}"
    has "$output" " 3+1 "
    trace outer
    equal 1 "$status"
    trace "$(agent-trace --json </dev/null | jq -r 'select(.name == "outer").id[:8]')"
    has "$output" "├─ agent text-processor"
    has "$output" "│  └─ model test-model"
}

@test "the stages of an agent's script are in one run, with what it called" {
    model "$(sed -n "/^planned='/,/^    return \"Auth/p" "$TESTS/little-agents.bats" | sed "1d; s/'\$//")"
    coordinator --quiet "refactor the auth system" </dev/null
    trace
    equal 1 "${#lines[@]}"
    has "$output" "coordinator"
    trace --json
    equal '["coordinator","agent-plan","agent-llm","agent-execute","architect","code-reviewer"]' \
        "$(jq -sc 'map(select(.type == "run") | .name)' <<<"$output")"
    equal 1 "$(jq -r .trace_id <<<"$output" | sort -u | wc -l)"
}

@test "what agent-reflect, agent-vote, agent-execute and a script start is one tree each" {
    scripted
    agent-reflect --quiet --tries 2 --check false -- agent-llm '= one' </dev/null || equal 1 $?
    agent-vote --quiet --runs 2 -- agent-react '= two' </dev/null
    printf '{"type":"step","id":"%s","task":"= three","needs":[],"status":"open"}\n' 1 2 | agent-execute --quiet
    cat >nightly <<'END'
export TRACEPARENT=${TRACEPARENT:-$(agent-trace --begin nightly)}
for n in 1 2; do agent-reflect --quiet --check true -- agent-llm "= $n" </dev/null; done
text-processor '= three' </dev/null
agent-trace </dev/null | grep -o 'nightly.*running'
END
    run -0 sh nightly
    has "$output" nightly
    trace
    equal 'agent-reflect 3+0|agent-vote 2+0|agent-execute 2+0|nightly 3+0' \
        "$(awk '{ print $4, $6 }' <<<"$output" | paste -sd '|')"
    has "${lines[3]}" " done"
    equal 1 "$(agent-trace --json "$(awk 'END { print $3 }' <<<"$output")" </dev/null | jq -r .trace_id | sort -u | wc -l)"
    agent-llm -c '= more {messages}' </dev/null # a script's run is no conversation
}

@test "agent-reflect, agent-vote, agent-plan, agent-execute and a command of --begin end with what they came to" {
    scripted
    run -1 agent-reflect --quiet --tries 2 --check false -- agent-llm '= one' </dev/null
    agent-reflect --quiet --check true -- agent-llm '= two' </dev/null
    run -1 agent-vote --quiet --runs 2 -- agent-llm '! 400 three' </dev/null
    run -1 agent-execute --quiet <<<'{"type":"step","id":"1","task":"! 400 four","needs":[],"status":"open"}'
    run agent-plan '= five' </dev/null
    run -127 agent-reflect --quiet --tries 2 --check true -- sh -c 'exit 127' </dev/null
    run -127 agent-reflect --quiet --check true -- no-such-program </dev/null
    run -3 agent-trace --begin nightly -- sh -c 'agent-llm "= six" </dev/null; exit 3'
    has "$output" six
    agent-trace --begin weekly -- text-processor '= seven' </dev/null
    trace
    equal 'agent-reflect incomplete|agent-reflect done|agent-vote tool_error|agent-execute incomplete|agent-plan bad_response|agent-reflect tool_error|agent-reflect not_found|nightly tool_error|weekly done' \
        "$(awk '{ print $4, $10 }' <<<"$output" | paste -sd '|')"
    has "${lines[0]}" "agent-llm = one"
    setsid env --default-signal=INT agent-trace --begin slow -- sh -c 'touch begun; exec sleep 90' </dev/null &
    wait_until test -e begun
    kill -INT -- "-$!" # as a terminal does
    wait $! || equal 130 $?
    equal interrupted "$(agent-trace </dev/null | awk 'END { print $10 }')"
}

@test "what a coordinator could not plan is a run that failed" {
    model 'def reply(body):
    return {"status": 401, "body": {"error": {"message": "no"}}}'
    run coordinator --quiet "refactor the auth system" </dev/null
    ((status))
    trace --failed
    equal 'agent-plan auth' "$(awk '{ print $4, $10 }' <<<"$output")"
    run -2 agent-llm -c '= more' </dev/null # a stage of a script is no conversation
}

@test "a half line, and fields with anything in them, end neither the list nor --follow" {
    model fine
    agent-llm one </dev/null >/dev/null
    file=("$HOME"/.local/state/agentutils/history/*)
    python3 - "${file[0]}" <<'PY'
import json, sys
lines = open(sys.argv[1]).read().splitlines()
with open(sys.argv[1], "a") as file:
    for number, record in enumerate(map(json.loads, lines)):
        for name in set(record) - {"type"}:
            for odd in (None, -1, 1e300, float("nan"), "x", [], {}, [5], [{}], "\ud800"):
                file.write(json.dumps({**record, name: odd}, separators=(",", ":")) + "\n")
    file.write('{"type":"run","id":"00000')
PY
    for words in "" --json --html --otlp "--to tree" "--search fine"; do
        # shellcheck disable=SC2086  # an option and its value
        run --separate-stderr agent-trace $words </dev/null
        equal 0 "$status"
        lacks "$stderr" internal
    done
    run --separate-stderr timeout 2.5 agent-trace --follow </dev/null
    equal "124 " "$status $stderr"
    run -0 --separate-stderr "$ROOT/formats/live" <"${file[0]}"
    equal "" "$stderr"
    short=$(agent-trace </dev/null) # of over 1 MiB, another parser reads it
    python3 -c 'print("{\"type\":\"delta\",\"text\":\"" + "x" * (1 << 20) + "\"}")' >"${file[0]%/*}/2000-01-01.jsonl"
    equal "$short" "$(agent-trace </dev/null)"
}

@test "a damaged record is left out and said, and runs that call one another, or 3,000 in one another, are listed" {
    model fine
    agent-llm one </dev/null >/dev/null
    file=("$HOME"/.local/state/agentutils/history/*)
    id=$(jq -r 'select(.type == "run").id' "${file[0]}")
    printf '{"type":"message","run":"%s","role":"us{"type":"x"}\n' "$id" >>"${file[0]}"
    for words in --json "--search fine"; do
        # shellcheck disable=SC2086  # an option and its value
        run --separate-stderr agent-trace $words </dev/null
        equal 0 "$status"
        has "$output" "${id:0:8}"
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "agent-trace: run $id: a record is left out: "
    done
    python3 - >calls.jsonl <<'PY'
line = '{"type":"run","id":"%016x","time":"2026-11-28T09:00:00.000Z","trace_id":"%032x","parent_id":"%016x","name":"%s"}'
print(line % (1, 1, 2, "one"), line % (2, 1, 1, "two"), line % (3, 3, 3, "self"), sep="\n")
print(*(line % (n, 9, n - 1, "deep") for n in range(1000, 4000)), sep="\n")
PY
    for words in "" --json --html --otlp --atif "--to tree"; do
        # shellcheck disable=SC2086  # an option and its value
        run -0 --separate-stderr agent-trace $words calls.jsonl </dev/null
        equal "" "$stderr"
    done
    equal 'deep|one|self' "$(agent-trace calls.jsonl </dev/null | awk '{ print $4 }' | sort -u | paste -sd '|')"
    equal 3003 "$(agent-trace --json calls.jsonl </dev/null | wc -l)"
}

@test "a line of the history that is too long, and what follows it in its file, is left out, and that is said" {
    model fine
    agent-llm one </dev/null >/dev/null
    { head -c $((65 << 20)) /dev/zero | tr '\0' x; echo; } >"$HOME/.local/state/agentutils/history/2000-01-01.jsonl"
    run -0 --separate-stderr agent-trace </dev/null
    equal 1 "${#lines[@]}"
    equal 1 "${#stderr_lines[@]}"
    has "$stderr" "2000-01-01.jsonl: line 1: longer than 64 MiB; from there on"
    ln -sf /proc/self/mem "$HOME/.local/state/agentutils/history/2000-01-01.jsonl" # to read it is an error, for root too
    run -0 --separate-stderr agent-trace </dev/null
    equal 1 "${#lines[@]}"
    has "$stderr" "2000-01-01.jsonl: Input/output error"
    run --separate-stderr timeout 5 agent-trace --follow </dev/null
    equal "124 " "$status $stderr"
}

@test "a name with line ends is one line, in the list and in the tree" {
    printf '{"type":"run","id":"%s","time":"2026-11-28T09:00:00.000Z","name":"a\\nb\\r\\u2028c","model":"m\\nn"}\n' 0123456789abcdef >odd.jsonl
    for words in "" "--to tree"; do
        # shellcheck disable=SC2086  # an option and its value
        run -0 agent-trace $words odd.jsonl </dev/null
        equal 1 "${#lines[@]}"
        has "$output" "a b"
    done
}

@test "plugins are in it, with their hook and a refusal" {
    scripted
    tool t 'echo ok'
    cat >guard <<'END'
#!/usr/bin/env python3
import json, sys
if "--agent-schema" in sys.argv:
    print('{"name":"guard","description":"x","kind":"plugin","hooks":["before_tool","after_run"]}'); sys.exit()
for line in sys.stdin:
    call = json.loads(line)
    print(json.dumps({"id": call["id"], "deny": "no"} if call["hook"] == "before_tool" else {"id": call["id"], "record": call["record"]}), flush=True)
END
    chmod +x guard
    agent-react --plugin ./guard $'t {}\n= done' <tools.jsonl >/dev/null
    trace --json
    equal '["before_tool","error","tool_denied"],["after_run","ok",null]' \
        "$(jq -c 'select(.kind == "plugin") | [.hook, .status, .error.kind]' <<<"$output" | paste -sd ,)"
}

@test "--to: a format of the user's gets the records and its options, and gives its status" {
    model fine
    agent-llm one </dev/null >/dev/null
    mkdir -p "$HOME/.local/share/agentutils/formats"
    printf '#!/bin/sh\necho "$1"; wc -l; exit 7\n' >"$HOME/.local/share/agentutils/formats/mine"
    chmod +x "$HOME/.local/share/agentutils/formats/mine"
    trace --to "mine 'a b'"
    equal "7 a b 2" "$status ${lines[*]}"
    trace --to none
    equal 2 "$status"
    has "$stderr" "no such format"
    equal "$(agent-trace --to tree </dev/null)" "$(agent-trace --json </dev/null | "$ROOT/formats/tree")"
}

@test "an id that no run has, and no history" {
    trace
    equal "1 " "$status $output"
    has "$stderr" "agent-trace: no runs yet: agent-llm and agent-react keep theirs in $HOME/.local/state/agentutils/history"
    trace 12345678
    equal 1 "$status"
    has "$stderr" "12345678: no file, and no run has this id"
}

@test "--follow in a pipe: a line for each thing that happens, also of a run that began before, and of one that is killed" {
    model 'def reply(body):
    return {"text": "fine", "until": "go" if "wait" in str(body["messages"]) else None}'
    agent-react --name early wait </dev/null >/dev/null &
    until grep -q '"content":"wait"' "$HOME"/.local/state/agentutils/history/* 2>/dev/null; do sleep 0.05; done
    agent-trace --follow </dev/null >follow 2>err &
    follow=$!
    until grep -q 'early  begins' follow; do sleep 0.05; done
    agent-llm one </dev/null >/dev/null
    until grep -q 'agent-llm  done, 1+0 calls' follow; do sleep 0.05; done
    lacks "$(<follow)" '$' # the price of this model is not known
    agent-llm wait </dev/null >/dev/null 2>&1 3>&- &
    until [[ $(grep -c 'agent-llm  asks the model' follow) == 2 ]]; do sleep 0.05; done
    kill -9 $!
    until grep -q 'agent-llm  killed' follow; do sleep 0.05; done
    touch go
    until grep -q 'early  done' follow; do sleep 0.05; done
    lacks "$(<follow)" 'early  killed'
    kill $follow
    wait $follow || equal 143 $?
    equal "" "$(<err)"
}

@test "--follow --json: the records as they are written, and nothing that was before" {
    model fine
    agent-llm before </dev/null >/dev/null
    agent-trace --follow --json </dev/null >follow &
    follow=$!
    # what is said before it has looked once is before, too
    until grep -q '"result"' follow; do agent-llm after </dev/null >/dev/null; done
    kill $follow
    wait $follow || true
    equal "user: after" "$(jq -r 'select(.role == "user") | "\(.role): \(.content)"' follow | sort -u)"
}

@test "--follow at a terminal is a table that is drawn again, cut to its size, and gone after Ctrl-C" {
    model fine
    run -0 python3 - "$TESTS" <<'PY'
import fcntl, os, pty, select, struct, subprocess, sys, termios, time
child, terminal = pty.fork()
if not child:
    os.execvp("agent-trace", ["agent-trace", "--follow"])
size = lambda rows, columns: fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
def shown(until, seconds=60):
    data, end = b"", time.monotonic() + seconds
    while until not in data and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            data += os.read(terminal, 65536)
    assert until in data, data
    return data
size(24, 100)
assert shown(b"0 running").startswith(b"\x1b[?1049h")
subprocess.run(["agent-llm", "one \x1b[2J two"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
assert b"agent-llm" in shown(b"done")
size(10, 30)
end = time.monotonic() + 60
while True:
    picture = shown(b"\x1b[J").split(b"\x1b[H")[-1]
    if all(len(line.replace(b"\x1b[K", b"").replace(b"\x1b[2m", b"").replace(b"\x1b[0m", b"")) < 31 for line in picture.split(b"\r\n")):
        break
    assert time.monotonic() < end, picture
os.write(terminal, b"\x03")
shown(b"\x1b[?1049l")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
PY
    equal "" "$output"
}

@test "a silent pipe is reported once, in whatever form the runs are to be" {
    local form
    for form in "" --json --html --otlp "--to tree"; do
        mkfifo pipe
        # shellcheck disable=SC2086  # each option is a word
        agent-trace $form <pipe 2>err &
        exec 7>pipe
        until [[ -s err ]]; do kill -0 $!; sleep 0.1; done
        sleep 0.5 7>&- # in which a second program would say it, too
        exec 7>&-
        wait $! || true
        equal 1 "$(grep -c 'agent-trace: waiting for records on standard input' err)"
        lacks "$(grep -v '^agent-trace: ' err)" waiting
        rm pipe err # or the next round takes it for its own
    done
}

@test "the table of --follow counts two columns for a sign that takes two" {
    run -0 python3 - "$ROOT/formats/live" <<'PY'
import fcntl, json, os, pty, re, struct, sys, termios, unicodedata
records, end = os.pipe()
names = {"type": "run", "time": "2026-11-28T09:00:00Z", "name": "\u7814" * 30, "model": "m", "pid": 1, "host": "elsewhere"}
for number in range(3):
    os.write(end, json.dumps({**names, "id": f"{number:016x}"}).encode() + b"\n")
child, terminal = pty.fork()
if not child:
    os.dup2(records, 0)
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 40, 0, 0))
    os.execv(sys.argv[1], [sys.argv[1]])
data = b""
while not (found := re.search(rb"3 running.*?\x1b\[J", data, re.S)):
    data += os.read(terminal, 65536)
os.kill(child, 9)
rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found[0].decode().replace("\r", "")).split("\n")
wide = [sum(1 + (unicodedata.east_asian_width(sign) == "W") for sign in row) for row in rows]
assert len(rows) == 6 and max(wide) < 40 and "\u7814" in rows[2], rows
PY
}

@test "an empty standard input is reported; no page is made of no runs" {
    run --separate-stderr agent-trace < <(:)
    equal "1 agent-trace: no runs in what came on standard input" "$status $stderr"
    trace --html --since soon
    equal "" "$output"
}

@test "--html, --otlp and --atif are formats by their options; --otlp-endpoint says if it cannot post" {
    model fine
    agent-llm one </dev/null >/dev/null
    trace --html
    has "${lines[0]}" "<!doctype html>"
    trace --otlp
    equal '["invoke_agent agent-llm","chat test-model"]' "$(jq -c '.resourceSpans[0].scopeSpans[0].spans | map(.name)' <<<"$output")"
    trace --atif
    equal 'ATIF-v1.8 2' "$(jq -r '"\(.schema_version) \(.steps | length)"' <<<"$output")"
    trace --otlp-endpoint http://127.0.0.1:9/v1/traces
    ((status))
    equal 1 "${#stderr_lines[@]}"
    has "$stderr" "127.0.0.1:9"
    for address in ftp://x localhost:4318; do
        trace --otlp-endpoint $address
        equal 2 "$status"
    done
}

@test "--follow refuses what it would not do: a run of the past, a choice of runs, another form that waits for the end" {
    for words in --html --otlp --atif --failed "--since 1d" "--search fine" 12345678; do
        # shellcheck disable=SC2086  # an option and its value
        run --separate-stderr timeout 60 agent-trace --follow $words </dev/null
        equal 2 "$status"
        has "$stderr" "agent-trace: --follow: "
    done
}
