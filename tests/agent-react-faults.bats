#!/usr/bin/env bats
# shellcheck disable=SC2016  # what tools and the inner shell expand stands in single quotes
# agent-react: what goes wrong with tools, pipes and the machine, and what becomes of it.
load helper
load react

# result FIELD: of the result record in the output.
result() { jq -r "select(.type == \"result\") | $1" <<<"$output"; }

# kinds: of the errors that tool messages tell, one a line.
kinds() { jq -r 'select(.role == "tool") | .error.kind // "none"' <<<"$output"; }

@test "a tool over its time is ended with its children, the model gets the reason, the run continues" {
    scripted
    tool sleeper 'sleep 60 & sleep 60' '{"timeout":1,"annotations":{"readOnlyHint":true}}'
    tool t 'echo ok'
    local began=$SECONDS
    react --events $'sleeper {}\nt {}'
    equal 0 "$status"
    ((SECONDS - began < 40))
    equal $'tool_timeout\nnone' "$(kinds)"
    has "$(results)" "sleeper timed out after 1 s"
}

@test "--tool-timeout bounds a tool that asks for more, and one that ignores TERM" {
    scripted
    tool deaf 'trap "" TERM; while :; do sleep 1; done' '{"timeout":90,"annotations":{"readOnlyHint":true}}'
    local began=$SECONDS
    react --events --tool-timeout 1 $'deaf {}\n= done'
    ((SECONDS - began < 40))
    equal tool_timeout "$(kinds)"
    equal "done" "$(result .output)"
}

@test "a tool whose child holds its output open gives its result at once" {
    scripted
    tool forker 'sleep 90 & echo ready'
    local began=$SECONDS
    react 'forker {}'
    equal ready "$output"
    ((SECONDS - began < 40))
}

# started ARGUMENT...: agent-react in the background, once its tool sleeps; sets PID. What a tool makes is in the working
# folder when its call has ended, so no file can tell.
started() {
    env --default-signal=INT agent-react "$@" <tools.jsonl >out 2>err 3>&- &
    PID=$!
    wait_until running 'sleep 75'
}

# tree_gone TEXT: no process of this test has it in its command line any longer.
tree_gone() { gone running "$1"; }

@test "kill -9 of agent-react leaves no tool running" {
    scripted
    tool worker 'sleep 7531 & sleep 7531' '{}'
    started --allow worker 'worker {}'
    kill -9 "$PID"
    tree_gone 'sleep 7531'
}

# below PID: the numbers of all processes that it started, and those started, one a line.
below() {
    local child
    for child in $(pgrep -P "$1"); do
        echo "$child"
        below "$child"
    done
}

@test "kill -9 of agent-react leaves nothing of a kept sandbox" {
    scripted
    tool quick 'echo quick' '{}'
    tool worker 'sleep 7550 & sleep 7550' '{}'
    started --allow all $'quick {"n":1}\nquick {"n":2}\nquick {"n":3}\nworker {}'
    local all
    all=$(below "$PID")
    has "$(ps -o args= -p "${all//$'\n'/,}")" fork_server.py
    kill -9 "$PID"
    tree_gone 'sleep 7550'
    timeout 60 sh -c 'while ps -o stat= -p "$0" | grep -qv Z; do sleep 0.05; done' "${all//$'\n'/,}"
}

@test "a tool in a kept sandbox over its time gets TERM, has a moment, and is ended with its children" {
    scripted
    tool quick 'echo quick' '{}'
    tool tidy 'trap "echo tidied >tidied; exit 1" TERM; sleep 7549 & wait' '{"timeout":1}'
    react --events --max-iterations 0 --allow all $'quick {"n":1}\nquick {"n":2}\nquick {"n":3}\ntidy {}\nquick {"n":4}'
    equal $'none\nnone\nnone\ntool_timeout\nnone' "$(kinds)"
    equal tidied "$(<tidied)"
    tree_gone 'sleep 7549'
}

@test "kill -9 of an agent ends the agents that it called, and their tools" {
    scripted
    tool worker 'sleep 7535' '{}'
    mv tools.jsonl inner.jsonl
    cat >inner <<'SH'
#!/bin/bash
# inner - an agent that is called (answers --agent-schema)
set -euo pipefail
input=$(cat)
cat inner.jsonl | agent-react --name inner --description Inner --allow worker "$input" "$@"
SH
    chmod +x inner
    jq -cn --arg path "$PWD/inner" '{type:"tool",name:"inner",description:"x",kind:"agent",invoke:"text",command:[$path],
        inputSchema:{type:"object"}}' >tools.jsonl
    started --allow inner:off --env OPENAI_API_KEY --env OPENAI_BASE_URL 'inner {"input":"worker {}"}'
    kill -9 "$PID"
    tree_gone 'sleep 7535'
    tree_gone 'agent-react --name inner'
}

@test "SIGTERM ends the tools, gives one result record, status 143" {
    scripted
    tool worker 'sleep 7532' '{}'
    started --json --allow worker 'worker {}'
    kill -TERM "$PID"
    status=0
    wait "$PID" || status=$?
    equal 143 "$status"
    equal interrupted "$(jq -r .error.kind out)"
    equal 1 "$(wc -l <out)"
    tree_gone 'sleep 7532'
}

# interrupted: the program in PID ends within moments of a Ctrl-C, with one result in out that says so.
interrupted() {
    local began=$SECONDS
    kill -INT "$PID"
    status=0
    wait "$PID" || status=$?
    equal 130 "$status"
    ((SECONDS - began < 20))
    equal 1 "$(wc -l <out)"
    equal interrupted "$(jq -r .error.kind out)"
}

@test "Ctrl-C ends the tools, gives one result record, status 130, in a moment" {
    scripted
    tool worker 'sleep 7533' '{}'
    started --json --allow worker 'worker {}'
    interrupted
    tree_gone 'sleep 7533'
}

@test "Ctrl-C ends a tool in a kept sandbox as well" {
    scripted
    tool quick 'echo quick' '{}'
    tool worker 'sleep 7548 & sleep 7548' '{}'
    started --json --max-iterations 0 --allow all $'quick {"n":1}\nquick {"n":2}\nquick {"n":3}\nworker {}'
    interrupted
    tree_gone 'sleep 7548'
}

@test "Ctrl-C while it still reads gives the result record too" {
    scripted
    mkfifo in
    exec 4<>in
    env --default-signal=INT agent-react --json hi <in >out 2>err 3>&- 4>&- &
    PID=$!
    echo >&4
    wait_until taken 4
    interrupted
    exec 4>&-
}

@test "Ctrl-C while the model thinks ends within a moment, status 130" {
    scripted --latency 100
    env --default-signal=INT agent-react --json hi </dev/null >out 2>err 3>&- &
    PID=$!
    wait_until asked
    interrupted
}

@test "a second Ctrl-C while it cleans up ends at once, and no tool is left" {
    scripted
    tool deaf 'trap "" TERM; touch begun; while :; do sleep 7534; done' '{}'
    python3 - <<'PY'
import os, signal, subprocess, time
argv = ["agent-react", "--json", "--allow", "deaf:off", "deaf {}"]
def once():
    """The seconds from the second to the end."""
    child = subprocess.Popen(argv, stdin=open("tools.jsonl"), stdout=subprocess.PIPE)
    while not os.path.exists("begun"):
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    time.sleep(0.03)
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert child.wait(60) == 130, child.returncode
    os.remove("begun")
    return time.monotonic() - began
# the clean-up takes 1.5 s; on a busy machine the two may come as one
assert any(once() < 1 for _ in range(10))
PY
    tree_gone 'sleep 7534'
}

@test "--json has its one result also where the stream is broken" {
    printf 'plain text\n' >in
    run --separate-stderr agent-react --json hi <in
    equal 2 "$status"
    equal invalid_input "$(jq -r .error.kind <<<"$output")"
}

@test "forty at once all end, each with its answer" {
    scripted
    tool t 'echo 7'
    local pids=()
    for n in {1..40}; do
        agent-react 't {}' <tools.jsonl >"out$n" 2>&1 3>&- &
        pids+=($!)
    done
    wait "${pids[@]}"
    equal 7 "$(sort -u out*)"
}

@test "a tool killed by a signal is reported with the signal's name" {
    scripted
    tool crash 'kill -SEGV $$'
    react --events 'crash {}'
    equal tool_error "$(kinds)"
    has "$(results)" "SIGSEGV"
    lacks "$(results)" "-11"
}

@test "a gigabyte of output is cut, with a message, and costs no memory" {
    scripted
    tool flood 'head -c 1000000000 /dev/zero | tr "\0" x'
    run --separate-stderr /usr/bin/time -f '%M %e' agent-react --events 'flood {}' <tools.jsonl
    equal 0 "$status"
    equal limit_exceeded "$(kinds)"
    has "$(results)" "at least 8,388,608 bytes"
    ((${#output} < 200000))
    read -r kib _ <<<"${stderr_lines[-1]}"
    ((kib < 100 * 1024))
}

@test "long output keeps head and tail, and the whole in a file that is named" {
    scripted
    tool long 'echo first; head -c 100000 /dev/zero | tr "\0" x; echo; echo last'
    react --events 'long {}'
    equal 0 "$status"
    local told
    told=$(results | jq -r .)
    equal first "$(head -n 1 <<<"$told")"
    equal last "$(tail -n 1 <<<"$told")"
    ((${#told} < 40000))
    local file
    file=$(grep -o '[^ ]*/outputs/[^ ]*' <<<"$told")
    equal 100012 "$(stat -c %s "$file")"
    equal 600 "$(stat -c %a "$file")"
}

@test "a tool may read the whole output of another in that file" {
    scripted
    tool long 'head -c 100000 /dev/zero | tr "\0" x; echo'
    tool size 'read -r line; line=${line#*:?} && wc -c <"${line%?\}}"'
    react --events 'long {}'
    local file
    file=$(results | grep -o '/[^ ]*/outputs/[^ ]*')
    react "size {\"path\":\"$file\"}"
    equal 100001 "$output"
}

@test "output that is no UTF-8 is marked, and the records stay valid" {
    scripted
    tool binary 'printf "a\377\376b"'
    react --events 'binary {}'
    equal 0 "$status"
    has "$(results)" "not UTF-8"
    iconv -f utf-8 -t utf-8 <<<"$output" >/dev/null
}

@test "empty output is an empty result and no error" {
    scripted
    tool empty ':'
    tool blank 'printf " \n "'
    react --events 'empty {} & blank {}'
    equal $'none\nnone' "$(kinds)"
    equal '"(no output)"' "$(results | head -n 1)"
}

@test "a schema that refers elsewhere is never fetched" {
    scripted
    python3 -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self): open("fetched", "w")
s = http.server.HTTPServer(("127.0.0.1", 0), H); print(s.server_port, flush=True); s.handle_request()' >port &
    local server=$!
    until [[ -s port ]]; do sleep 0.05; done
    tool far 'echo ran' "{\"annotations\":{\"readOnlyHint\":true},\"inputSchema\":{\"\$ref\":\"http://127.0.0.1:$(<port)/x\"}}"
    tool file 'echo ran' '{"annotations":{"readOnlyHint":true},"inputSchema":{"$ref":"file:///etc/passwd"}}'
    react --events 'far {} & file {}'
    kill "$server"
    equal $'tool_error\ntool_error' "$(kinds)"
    has "$(results)" "cannot be called"
    [[ ! -e fetched ]]
}

@test "a pattern cannot hold up the run" {
    scripted
    tool t 'echo ran' '{"annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"a":{"pattern":"^(?=a)(a|aa)*\\1$"}}}}'
    local began=$SECONDS
    react --events "t {\"a\":\"$(printf 'a%.0s' {1..5000})b\"}"
    equal invalid_arguments "$(kinds)"
    ((SECONDS - began < 40))
}

@test "of two calls at once one crashes, the other's result is kept" {
    scripted
    tool good 'echo fine'
    tool bad 'kill -9 $$'
    react --events 'good {} & bad {} & good {}'
    equal $'none\ntool_error\nnone' "$(kinds)"
    equal "$(jq -r 'select(.tool_calls).tool_calls[].id' <<<"$output")" "$(jq -r 'select(.role == "tool").tool_call_id' <<<"$output")"
}

@test "a program that is gone since it was found is reported" {
    scripted
    tool gone 'echo x'
    rm tools/gone
    react --events 'gone {}'
    equal tool_not_found "$(kinds)"
}

@test "a program that is not the pinned one is not run" {
    scripted
    tool pinned 'touch ran' '{"sha256":"00","annotations":{"readOnlyHint":true}}'
    react --events 'pinned {}'
    equal tool_denied "$(kinds)"
}

@test "a coprocess that dies is reported, and started again for the next call" {
    scripted
    cat >co.py <<'PY'
import json, os, sys
for line in sys.stdin:
    call = json.loads(line)
    if call["arguments"].get("die"): sys.exit(3)
    print(json.dumps({"id": call["id"], "content": "alive", "is_error": call["arguments"].get("bad", False)}), flush=True)
PY
    jq -cn --arg f "$PWD/co.py" '{type:"tool",name:"co",description:"x",invoke:"jsonl",annotations:{readOnlyHint:true},
        inputSchema:{type:"object"},command:["/usr/bin/python3",$f]}' >tools.jsonl
    react --events $'co {"die":true}\nco {}\nco {"bad":true}'
    equal $'tool_error\nnone\ntool_error' "$(kinds)"
    has "$(results)" "ended with status 3"
}

@test "a silent coprocess ends at the time limit" {
    scripted
    printf '#!/bin/sh\nexec sleep 60\n' >mute
    chmod +x mute
    jq -cn --arg f "$PWD/mute" '{type:"tool",name:"mute",description:"x",invoke:"jsonl",timeout:1,
        annotations:{readOnlyHint:true},inputSchema:{type:"object"},command:[$f]}' >tools.jsonl
    react --events $'mute {}\n= on'
    equal tool_timeout "$(kinds)"
    equal on "$(result .output)"
}

@test "a tool that writes much before it reads much does not lock up" {
    scripted
    tool both 'head -c 1000000 /dev/zero | tr "\0" y; wc -c' '{"invoke":"argv","annotations":{"readOnlyHint":true}}'
    model 'def reply(body):
    if body["messages"][-1]["role"] == "tool": return body["messages"][-1]["content"][-20:]
    return {"tool_calls": [{"name": "both", "arguments": {"stdin": "x" * 1000000}}]}'
    react 'go'
    equal 0 "$status"
    has "$output" 1000000
}

@test "tools get SIGPIPE as a shell expects it" {
    scripted
    tool pipes 'yes | head -n 1; echo "$?"'
    react 'pipes {}'
    equal $'y\n0' "$output"
}

@test "a closed reader ends it in silence, with its children" {
    scripted
    tool t 'echo 1'
    run --separate-stderr bash -c 'agent-react --events "t {}" <tools.jsonl | true; echo "${PIPESTATUS[0]}"'
    equal 141 "$output"
    equal "" "$stderr"
}

@test "standard output on a full disk is a failure that is reported" {
    scripted
    run --separate-stderr bash -c 'agent-react "= hi" </dev/null >/dev/full'
    [[ $status -ne 0 ]]
    has "$stderr" "No space left"
}

@test "standard error closed or full changes nothing" {
    scripted
    run bash -c 'agent-react "= hi" </dev/null 2>/dev/full; agent-react "= hi" </dev/null 2>&-'
    equal $'hi\nhi' "$output"
}

@test "a full disk under the transcript: the answer is printed, with a message and status 1" {
    scripted
    react '= warm up: the providers are known from now on'
    # no file can be written any more, so its own output goes through a pipe
    run bash -c "(ulimit -f 0; agent-react --transcript t.jsonl '= hi' </dev/null 2>&1; echo \$?) | cat"
    has "$output" "t.jsonl: the transcript is not whole"
    equal hi "${lines[-2]}"
    equal 1 "${lines[-1]}"
}

@test "agent-llm killed in the middle: an error result, no hang, nothing left" {
    scripted --latency 100
    agent-react --json "hi" </dev/null >out 2>err 3>&- &
    local pid=$! llm
    wait_until asked
    llm=$(pgrep -P "$pid" -f agent-llm)
    kill -9 "$llm"
    status=0
    wait "$pid" || status=$?
    equal 111 "$status"
    equal server "$(jq -r .error.kind out)"
    has "$(jq -r .error.message out)" "SIGKILL"
}

@test "a stopped provider is ended by --timeout" {
    scripted --latency 100
    agent-react --timeout 2 --json hi </dev/null >out 2>err 3>&- &
    local pid=$! llm
    until llm=$(pgrep -P "$pid" -f agent-llm); do sleep 0.05; done
    kill -STOP "$llm"
    status=0
    wait "$pid" || status=$?
    equal 111 "$status"
    equal timeout "$(jq -r .error.kind out)"
}

@test "SIGCHLD ignored by the caller changes no status" {
    scripted
    tool bad 'exit 3'
    run bash -c 'trap "" CHLD; exec agent-react --events "bad {}" <tools.jsonl'
    equal 0 "$status"
    has "$(results)" "status 3"
}

@test "HOME unset, HOME missing and XDG folders that are files are survived" {
    scripted
    tool t 'echo ok'
    touch file
    run env -u HOME AGENT_HISTORY=off agent-react 't {}' <tools.jsonl
    equal ok "$output"
    run env HOME=/proc/nowhere agent-react 't {}' <tools.jsonl
    equal $'agent-react: the history is not kept: /proc/nowhere: No such file or directory\nok' "$output"
    run env XDG_CACHE_HOME="$PWD/file" XDG_STATE_HOME="$PWD/file" agent-react 't {}' <tools.jsonl
    equal "agent-react: the history is not kept: $PWD/file/agentutils: Not a directory"$'\nok' "$output"
}

@test "300 MiB of address space are enough for a small request" {
    scripted
    tool t 'echo ok'
    run bash -c 'ulimit -v 307200; agent-react --sandbox off "t {}" <tools.jsonl'
    equal 0 "$status"
    equal ok "$output"
}

@test "a thousand turns cost a thousand times one, not more" {
    scripted
    python3 - >t.jsonl <<'PY'
import json
print(json.dumps({"type": "message", "role": "user", "content": "go"}))
for n in range(5000):
    print(json.dumps({"type": "message", "role": "assistant", "content": "", "tool_calls": [{"id": f"c{n}", "name": "t", "arguments": {}}]}))
    print(json.dumps({"type": "message", "role": "tool", "tool_call_id": f"c{n}", "name": "t", "content": "x" * 50}))
PY
    run --separate-stderr bash -c "ulimit -t 20; exec agent-react '= done' <t.jsonl"
    equal 0 "$status"
    equal "done" "$output"
}
