#!/usr/bin/env bats
# agent-llm: providers that die, hang or lie; readers that leave; what is asked a second time.
# shellcheck disable=SC2016,SC2030,SC2031  # the bodies of `fake` are for its own shell; each test is a subshell
load helper
load llm

setup() {
    prepare
    echoing
}

# kinds: [id, kind] of each final record of $output, by id
kinds() { grep '^{' <<<"$output" | jq -sc 'map(select(.type=="response" or .type=="error"))|sort_by(.id)|map([.id,.kind])'; }

@test "a provider that does not exist fails its request alone" {
    run -1 agent-llm < <(request a x '{"provider":"nosuch"}'; request b x)
    equal '[["a","not_found"],["b",null]]' "$(kinds)"
}

@test "a provider that ends without an answer is reported with its status and what it said, without secrets" {
    export DEAD_KEY=key-that-nobody-may-see
    SCHEMA='"env":[{"name":"DEAD_KEY","key":true}]' fake dead 'read -r line; echo "oops: $DEAD_KEY" >&2; exit 3'
    run -111 --separate-stderr agent-llm --provider dead --json hi </dev/null
    equal '["bad_response",false,1]' "$(jq -c '[.kind,.partial,(.attempts|length)]' <<<"$output")"
    has "$output" "ended with status 3"
    has "$output" "oops: ***"
    equal "oops: ***" "$stderr"
}

@test "a provider that is killed in the middle of a stream: partial, with the signal's name" {
    fake crash 'read -r line
        printf "{\"type\":\"delta\",\"id\":\"%s\",\"text\":\"half\"}\n" "$(id "$line")"; kill -SEGV $$'
    run -1 agent-llm --provider crash < <(request a x)
    equal '["error","bad_response",true]' "$(tail -1 <<<"$output" | jq -c '[.type,.kind,.partial]')"
    has "$output" SIGSEGV
}

@test "a provider that answers without reading a request of 5 MiB is believed" {
    fake deaf 'response a fine; exec 0<&-; sleep 0.2'
    head -c 5000000 /dev/zero | tr '\0' x | jq -Rc '{type:"request",id:"a",messages:[{role:"user",content:.}]}' >in
    run -0 agent-llm --provider deaf <in
    equal fine "$(jq -r .message.content <<<"$output")"
}

@test "a provider that never ends is killed after its answer" {
    fake stays 'trap "" TERM; read -r line; response "$(id "$line")" fine; while :; do sleep 0.2; done'
    SECONDS=0
    run -0 agent-llm --provider stays hi </dev/null
    equal fine "$output"
    ((SECONDS < 40))
    no_survivors
}

@test "an answer with another id is believed for no request" {
    fake liar 'while read -r line; do response other lie; done'
    run -111 --separate-stderr agent-llm --provider liar --json hi </dev/null
    has "$stderr" "agent-llm: liar: answered a request that it was not given"
    equal '"bad_response"' "$(jq -c .kind <<<"$output")"
    run -1 --separate-stderr agent-llm --provider liar < <(request a x; request b x)
    equal '[["a","bad_response"],["b","bad_response"]]' "$(kinds)"
}

@test "a line that is no record, or a response without message, is a bad response" {
    for said in 'echo nonsense' 'echo "[1]"' 'echo "{\"type\":\"response\",\"id\":\"1\"}"' 'echo "{\"type\":5,\"id\":\"1\"}"'; do
        fake odd "read -r line; $said; sleep 1"
        run -111 --separate-stderr agent-llm --provider odd --json hi </dev/null
        equal '"bad_response"' "$(jq -c .kind <<<"$output")"
    done
}

@test "one final record is passed on, also where the provider writes two" {
    fake twice 'while read -r line; do response "$(id "$line")" fine; response "$(id "$line")" again; done; sleep 0.1'
    run -0 --separate-stderr agent-llm --provider twice < <(request a x)
    equal 1 "${#lines[@]}"
}

@test "a provider that anyone may change, or of a relative folder, is not asked" {
    fake mine 'read -r line; response "$(id "$line")" fine'
    chmod o+w "$SCRATCH/providers/mine"
    run -100 --separate-stderr agent-llm --provider mine hi </dev/null
    has "$stderr" "mine: anyone may write to this file: not asked"
    chmod o-w "$SCRATCH/providers/mine"
    chmod 1777 "$SCRATCH/providers"
    run -100 --separate-stderr agent-llm --provider "$SCRATCH/providers/mine" hi </dev/null
    has "$stderr" "anyone may write to the folder $SCRATCH/providers"
    run -127 --separate-stderr agent-llm --provider mine hi </dev/null
    has "$stderr" "agent-llm: AGENT_PROVIDER_PATH: anyone may write to $SCRATCH/providers; left out"
    chmod 755 "$SCRATCH/providers"
    run -0 agent-llm --provider mine hi </dev/null
    cd "$SCRATCH"
    AGENT_PROVIDER_PATH=providers run -127 --separate-stderr agent-llm --provider mine hi </dev/null
    has "$stderr" "'providers' is not an absolute folder; left out"
}

@test "a file that cannot be run says why, and is not tried again" {
    fake plain 'echo x'
    chmod -x "$SCRATCH/providers/plain"
    run -126 agent-llm --provider plain hi </dev/null
    has "$output" "plain: cannot be run: not executable (chmod +x)"
    fake bad 'echo x'
    sed -i '1s|.*|#!/no/such/interpreter|' "$SCRATCH/providers/bad"
    run -126 agent-llm --provider bad --json hi </dev/null
    has "$output" "bad: cannot be run: #! names /no/such/interpreter, which is not there"
    sed -i '1s|.*|#!/usr/bin/env nosuchprogram|' "$SCRATCH/providers/bad"
    run -126 agent-llm --provider bad --json hi </dev/null
    has "$output" "bad: cannot be run: #! needs nosuchprogram, which is not on PATH"
    printf 'no code' >"$SCRATCH/providers/bad"
    run -126 agent-llm --provider bad --json hi </dev/null
    equal 1 "$(grep '^{' <<<"$output" | jq '.attempts|length')"
}

@test "a provider that hangs, or is stopped, is given up and killed" {
    export AGENT_SILENCE_TIMEOUT=0.2
    fake hangs 'read -r line; kill -STOP $$'
    SECONDS=0
    run -111 agent-llm --provider hangs --retries 0 --json hi </dev/null
    equal '"timeout"' "$(jq -c .kind <<<"$output")"
    run -111 agent-llm --provider hangs --timeout 0.5 --json hi </dev/null
    equal '["timeout",1]' "$(jq -c '[.kind,(.attempts|length)]' <<<"$output")"
    ((SECONDS < 60))
    no_survivors
}

@test "after a timeout the late answer is dropped, the others of the stream are answered" {
    run -1 agent-llm --timeout 5 --retries 0 < <(request a "!slow 7"; request b x; request c "!slow 6")
    equal '[["a","timeout"],["b",null],["c","timeout"]]' "$(kinds)"
}

@test "what may pass is tried again, with pauses that grow; what went wrong is reported" {
    export AGENT_PROVIDER_PATH=$SCRATCH/providers
    fake busy 'while read -r line; do id=$(id "$line"); date +%s.%N >>times
        if [ "$(wc -l <times)" -lt 3 ]; then printf "{\"type\":\"error\",\"id\":\"%s\",\"kind\":\"overloaded\",\"message\":\"busy\",\"status\":529}\n" "$id"
        else response "$id" fine; fi; done'
    run -0 agent-llm --provider busy --json hi </dev/null
    equal '["fine",[["busy","overloaded",529],["busy","overloaded",529]]]' \
        "$(jq -c '[.message.content,(.attempts|map([.provider,.kind,.status]))]' <<<"$output")"
    equal "true true" "$(awk 'NR>1{d[NR]=$1-l} {l=$1} END{print (d[2]>0.37?"true":d[2]), (d[3]>0.74?"true":d[3])}' times)"
}

# failing FIELDS: a provider whose every answer is an error with these fields; it counts them in the file tries.
failing() {
    fake failing 'while read -r line; do echo x >>tries
        printf "{\"type\":\"error\",\"id\":\"%s\",\"message\":\"no\",'"${1//\"/\\\"}"'}\n" "$(id "$line")"; done'
    rm -f tries
}

@test "retries are counted, and only what may pass is tried again" {
    failing '"kind":"server"'
    run -111 agent-llm --provider failing --json --retries 1 hi </dev/null
    equal 2 "$(wc -l <tries)"
    equal 2 "$(jq '.attempts|length' <<<"$output")"
    failing '"kind":"auth"'
    run -100 agent-llm --provider failing hi </dev/null
    equal 1 "$(wc -l <tries)"
    failing '"kind":"server","retryable":false'
    run -111 agent-llm --provider failing hi </dev/null
    equal 1 "$(wc -l <tries)"
    failing '"kind":"invalid_request","retryable":true'
    run -100 agent-llm --provider failing --retries 1 hi </dev/null
    equal 2 "$(wc -l <tries)"
}

@test "a service that asks for more than a minute, or for more than is left, is not waited for" {
    failing '"kind":"rate_limit","retry_after":61'
    run -111 agent-llm --provider failing hi </dev/null
    equal 1 "$(wc -l <tries)"
    failing '"kind":"rate_limit","retry_after":30'
    run -111 agent-llm --provider failing --timeout 5 hi </dev/null
    equal 1 "$(wc -l <tries)"
}

@test "once text is out nothing is tried again and nobody else is asked" {
    run -111 --separate-stderr agent-llm --fallback echo/echo-2 "!partial" </dev/null
    equal "half a" "$output"
    run -1 agent-llm --fallback echo/echo-2 < <(request a "!partial" '{"stream":true}')
    equal '["delta","error"]' "$(jq -sc 'map(.type)' <<<"$output")"
    equal '[true,1]' "$(tail -1 <<<"$output" | jq -c '[.partial,(.attempts|length)]')"
}

@test "a fallback answers, and the record names who did and what failed before" {
    cp "$AGENT_PROVIDER_PATH/echo" "$SCRATCH/echo"
    failing '"kind":"rate_limit"'
    mv "$SCRATCH/echo" "$AGENT_PROVIDER_PATH/echo"
    run -0 agent-llm --provider failing --retries 0 --fallback nosuch/m,echo/echo-2 --json hi </dev/null
    equal '["echo","echo-2",[["failing","rate_limit"],["failing","rate_limit"]]]' \
        "$(jq -c '[.provider,.model,(.attempts|map([.provider,.kind]))]' <<<"$output")"
}

@test "where all fail, one error lists every attempt in order, within the time for the whole" {
    cp "$AGENT_PROVIDER_PATH/echo" "$SCRATCH/echo"
    failing '"kind":"server"'
    mv "$SCRATCH/echo" "$AGENT_PROVIDER_PATH/echo"
    SECONDS=0
    run -1 agent-llm --provider failing --retries 1 --timeout 50 --fallback echo/e --json < <(request a "!error auth")
    equal '["auth",["server","server","auth"]]' "$(jq -c '[.kind,(.attempts|map(.kind))]' <<<"$output")"
    ((SECONDS < 51))
}

@test "a provider gets no variable that it did not ask for, and ours" {
    export LD_LIBRARY_PATH=/x PYTHONPATH=/x BASH_ENV=/x OPENAI_API_KEY=k NODE_OPTIONS=x GIT_CONFIG_COUNT=0 \
        ECHO_MODE=wanted http_proxy=http://p AGENT_X=1 AGENT_DEBUG=1 LC_ALL=C
    got=$(agent-llm --json "!env" </dev/null | jq -r '.message.content|fromjson|keys|join(" ")')
    for name in LD_LIBRARY_PATH PYTHONPATH BASH_ENV OPENAI_API_KEY NODE_OPTIONS GIT_CONFIG_COUNT MARK AGENT_X; do lacks " $got " " $name "; done
    for name in ECHO_MODE http_proxy AGENT_DEBUG LC_ALL PATH HOME; do has " $got " " $name "; done
}

@test "a key is in no argument, record, message, tape or cache" {
    export SPY_KEY=sk-very-secret-1234567890
    SCHEMA='"env":[{"name":"SPY_KEY","key":true}]' fake spy 'while read -r line; do id=$(id "$line")
        tr "\0" " " </proc/$PPID/cmdline >>seen; tr "\0" " " </proc/$$/cmdline >>seen
        echo "debug $SPY_KEY" >&2
        printf "{\"type\":\"delta\",\"id\":\"%s\",\"text\":\"%s\"}\n" "$id" "$SPY_KEY"; response "$id" "key $SPY_KEY"; done'
    agent-llm --provider spy --record tape.jsonl --cache "hi" </dev/null >out 2>err
    agent-llm --provider spy --record tape.jsonl < <(request a hi) >>out 2>>err
    [[ -s seen && -s tape.jsonl ]]
    run -1 grep -r -F "$SPY_KEY" out err seen tape.jsonl "$HOME"
}

@test "a reader that leaves ends it within a second, also while nothing is to be written" {
    python3 -c '
for n in range(1000): print("""{"type":"request","id":"%d","messages":[{"role":"user","content":"!slow 0.1"}]}""" % n)' >in
    SECONDS=0
    run bash -c 'set -o pipefail; agent-llm <in | head -n 1 >/dev/null'
    equal "141 " "$status $output"
    # shellcheck disable=SC2216  # a reader that reads nothing
    agent-llm "!slow 200" </dev/null 2>err | sleep 0.5
    ((SECONDS < 60))
    equal "" "$(<err)"
    no_survivors
}

@test "it works without HOME, with XDG folders that are files, with little memory, without SIGCHLD" {
    run -0 env -u HOME AGENT_HISTORY=off agent-llm hi </dev/null
    XDG_CACHE_HOME=/etc/passwd XDG_CONFIG_HOME=/etc/passwd XDG_RUNTIME_DIR=/etc/passwd run -0 agent-llm hi </dev/null
    run -0 bash -c 'ulimit -v 307200; agent-llm hi </dev/null'
    run -0 bash -c 'trap "" CHLD; agent-llm hi </dev/null'
    run -0 bash -c 'ulimit -n 20; agent-llm hi </dev/null'
}

@test "on a file system that is read-only all through it works, and says what it cannot keep" {
    bwrap --ro-bind / / true 2>/dev/null || skip "no bubblewrap that works here"
    run -0 --separate-stderr bwrap --ro-bind / / --dev /dev --proc /proc agent-llm --cache --rate-limit 9/s hi </dev/null
    equal hi "$output"
    has "$stderr" "this answer is not kept"
    has "$stderr" "this process keeps to the limit alone"
}

@test "a full disk is reported, never taken for success" {
    run agent-llm hi </dev/null >/dev/full
    run bash -c 'agent-llm hi </dev/null 2>&1 >/dev/full'
    [[ $status != 0 ]]
    has "$output" "No space left on device"
}

@test "Ctrl-C ends it at once: 130, every open request gets an error, no process is left" {
    { request a x; request b "!slow 60"; } >in
    run python3 - <<'EOF'
import signal, subprocess, time
child = subprocess.Popen(["agent-llm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(open("in", "rb").read())
child.stdin.flush()
print(child.stdout.readline().decode(), flush=True)
asked = time.monotonic()
child.send_signal(signal.SIGINT)
print(child.stdout.read().decode())
print(child.wait(), time.monotonic() - asked < 20)
EOF
    equal "130 True" "${lines[-1]}"
    equal '[["a",null],["b","interrupted"]]' "$(kinds)"
    no_survivors
}

@test "100,000 requests leave its memory flat" {
    fake fast ''
    cat >"$SCRATCH/providers/fast" <<'EOF'
#!/usr/bin/env -S python3 -IS
# --agent-schema
import sys
if sys.argv[1:]:
    print('{"name":"fast","description":"x","kind":"provider"}')
for line in () if sys.argv[1:] else sys.stdin:
    at = line.index('"id":"') + 6
    print('{"type":"response","id":"%s","message":{"role":"assistant","content":"ok"},"provider":"fast"}'
          % line[at:line.index('"', at)], flush=True)
EOF
    python3 -c '
for i in range(100000): print("""{"type":"request","id":"%d","messages":[{"role":"user","content":"%s"}]}""" % (i, "x" * 100))' >in
    python3 - <<'EOF' >peak
import os, subprocess
child = subprocess.Popen(["agent-llm", "--provider", "fast"], stdin=open("in"), stdout=open("out", "w"))
print(os.wait4(child.pid, 0)[2].ru_maxrss // 1024)
EOF
    equal 100000 "$(wc -l <out)"
    (($(<peak) < 60))
}

# peak COMMAND...: run it; its output and messages stay in `out` and `err`, its status in $status, its peak of memory (MiB) in $peak.
peak() {
    run "$ROOT/.venv/bin/python3" -c 'import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=0, stdout=open("out", "wb"), stderr=open("err", "wb"))
_, status, used = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss // 1024)' "$@"
    read -r status peak <<<"$output"
}

@test "an answer without end is cut off at 64 MiB, whatever its deltas are, in little memory" {
    for what in "text 1" "text 60000" "thinking 1000" "other 1000"; do
        peak agent-llm < <(request a "!flood $what"; request b fine)
        equal 1 "$status"
        equal '["error","limit_exceeded",true]' "$(grep '"id": *"a"' out | tail -1 | jq -c '[.type,.kind,.partial]')"
        equal fine "$(grep '"id": *"b"' out | jq -r .message.content)"
        (($(wc -c <out) < 70000000 && peak < 64))
    done
    peak agent-llm "!flood text 60000" </dev/null
    equal "1 agent-llm: echo: its answer has more than 64 MiB" "$status $(<err)"
    (($(wc -c <out) < 70000000 && peak < 64))
    peak agent-llm --json "!flood text 60000" </dev/null
    equal '1 ["error","limit_exceeded"]' "$status $(jq -c '[.type,.kind]' out)"
    peak agent-react --json "!flood text 60000" </dev/null
    equal '1 limit_exceeded' "$status $(jq -r .error.kind out)"
    no_survivors
}

@test "a request that waits beside one without end is given up too, when that writes on and on" {
    run timeout 200 agent-llm --retries 0 < <(request a "!flood text 60000"; request b "!stall")
    equal 1 "$status"
    equal bad_response "$(grep '"id": *"b"' <<<"$output" | tail -1 | jq -r .kind)"
    no_survivors
}

@test "records without end that belong to no request end the provider" {
    fake chatty 'read -r line; exec yes "{\"type\":\"note\",\"text\":\"$(head -c 9000 /dev/zero | tr "\0" x)\"}"'
    for more in "" --json; do
        peak agent-llm --retries 0 --provider chatty $more hi </dev/null
        has "$(cat out err)" "wrote more than 64 MiB that belong to no request"
        equal 111 "$status"
        ((peak < 64))
    done
    no_survivors
}

@test "what was not asked for is reported, and every request still gets its one answer" {
    local lie='{"type":"response","id":"zz","message":{"role":"assistant","content":"lie"}}'
    for line in "$lie" "${lie/\"zz\"/7}" "${lie/\"id\":\"zz\",/}" null '[]' '"x"' Loading '{"type":7}' '{"type":"error","id":"zz","kind":"auth"}'; do
        run -0 --separate-stderr agent-llm < <(request a "!first $line"; request b "!slow 0.1")
        equal 2 "${#lines[@]}"
        equal '["a","b"]' "$(jq -sc 'map(select(.type=="response").id)|sort' <<<"$output")"
        lacks "$output" '"lie"'
        has "$stderr" "agent-llm: echo: "
        equal 1 "${#stderr_lines[@]}"
    done
    run -0 --separate-stderr agent-llm --json "!first $lie" </dev/null
    has "$output" '!first'
    run -0 --separate-stderr agent-llm < <(request a !twice; request b "!slow 0.1"; request c x)
    equal 3 "${#lines[@]}"
}

@test "an answer after its own error, and deltas after the end, are dropped" {
    fake late 'while read -r line; do id=$(id "$line")
        printf "{\"type\":\"error\",\"id\":\"%s\",\"kind\":\"invalid_request\",\"message\":\"no\"}\n" "$id"
        response "$id" after; printf "{\"type\":\"delta\",\"id\":\"%s\",\"text\":\"after\"}\n" "$id"; done'
    run -1 --separate-stderr agent-llm --provider late < <(request a x; request b x)
    equal '[["a","invalid_request"],["b","invalid_request"]]' "$(kinds)"
    equal 2 "${#lines[@]}"
}

@test "a provider that floods standard error is read to the end, in little memory, and 16 KiB of it are shown" {
    for length in lines line; do
        peak agent-llm "!complain 100 $length" </dev/null
        equal "0 !complain 100 $length" "$status $(<out)"
        (($(wc -c <err) < 17000 && peak < 64))
        equal "echo: writes more to standard error than is shown" "$(tail -1 err)"
    done
}

@test "a list of models without end is cut off" {
    fake lister '[ "$1" = --list-models ] && exec yes "{\"type\":\"model\",\"id\":\"m\"}"'
    run -0 --separate-stderr agent-llm --provider lister --list-models
    equal lister/lister-1 "$output"
    has "$stderr" "prints more than is read"
}

@test "an invalid ledger is refused in one line, and no model is called" {
    for content in '{}' '{"usd":-1}' '{"usd":"1"}' '{"usd":NaN}' '[]' '{"usd":1,"spent_usd":-9}' ''; do
        printf %s "$content" >ledger
        AGENT_BUDGET=ledger run -2 --separate-stderr agent-llm hi </dev/null
        equal "" "$output"
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "agent-llm: AGENT_BUDGET: ledger: not a ledger: "
    done
}

@test "an error of the model names its provider and the tries, in agent-react as in agent-llm" {
    failing '"kind":"server"'
    run -111 --separate-stderr agent-llm --provider failing --retries 1 hi </dev/null
    # shellcheck disable=SC2154  # run sets it
    equal "agent-llm: failing: no (after 2 tries)" "$stderr"
    run -111 --separate-stderr agent-react --provider failing --retry 1 hi </dev/null
    equal "agent-react: failing: no (after 2 tries)" "$stderr"
}

@test "a key that is a plain word stays in what is written, with one message" {
    SCHEMA='"env":[{"name":"WORDY_KEY","key":true}]' fake wordy \
        'while read -r line; do response "$(id "$line")" "the llamas say password, password"; done'
    WORDY_KEY=password run --separate-stderr agent-llm --provider wordy hi </dev/null
    equal "the llamas say password, password" "$output"
    equal "agent-llm: WORDY_KEY is a plain word: it is not taken out of what is written" "$stderr"
    WORDY_KEY=password run --separate-stderr agent-llm --provider wordy --quiet hi </dev/null
    equal "" "$stderr"
    WORDY_KEY=llamas2-x9Kq0 run --separate-stderr agent-llm --provider wordy hi </dev/null
    equal "" "$stderr"
}
