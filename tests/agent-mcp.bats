#!/usr/bin/env bats
# agent-mcp - other people's servers: found, listed, called through agent-react, and borne when they misbehave

load helper
load react

setup() {
    prepare
    cp "$TESTS/mcp_server.py" .
}

# listed WORD...: the tools of the server of the tests, called `t`, in tools.jsonl.
listed() { agent-mcp list "t=python3 mcp_server.py $*" </dev/null >tools.jsonl; }

# faulty WORD...: as listed, with faults that would keep it from listing: they begin with the calls.
faulty() {
    agent-mcp list "t=python3 mcp_server.py $1" </dev/null |
        jq -c --args '.command[2:] = $ARGS.positional' "$@" >tools.jsonl
}

# called REQUEST [OPTION]...: agent-react makes the calls of the request, all allowed.
called() { react --events --max-iterations 0 --allow 't__*' "${@:2}" "$1"; }

kinds() { jq -c 'select(.role == "tool") | .error.kind' <<<"$output" | xargs; }

@test "a server of either era is listed, and its tools are called in one process" {
    scripted
    for era in modern legacy; do
        rm -f mcp.log
        listed "$era"
        equal 'echo echo_twice t__wordcount add' "$(jq -r .name tools.jsonl | head -n 4 | xargs)"
        called $'echo {"text":"a"} & echo_twice {"text":"b"} & t__wordcount {"text":"c"}\nadd {"a":1,"b":2} & fails {}'
        equal $'"echo: a"\n"echo.twice: b"\n"wordcount: c"\n"3"\n"it went wrong"' "$(results)"
        equal 'null null null null tool_error' "$(kinds)"
        equal 'echo echo.twice wordcount add fails' "$(xargs <mcp.log)"
    done
}

@test "what a server says of itself is not believed: read-only is a hint, and each tool wants consent" {
    scripted
    listed modern
    equal '[{},true]' "$(jq -c 'select(.name == "write") | [.annotations, .hints.readOnlyHint]' tools.jsonl)"
    react --events $'write {"path":"x"}'
    equal tool_denied "$(kinds)"
    [[ ! -e x ]]
    called 'write {"path":"x"}'
    equal written "$(cat x)"
    called 'write {"path":"y"}' --sandbox read
    [[ ! -e y ]]
}

@test "a server's tools can be denied by its name" {
    scripted
    listed modern
    called 'echo {"text":"a"}' --deny 't__echo'
    equal tool_denied "$(kinds)"
}

@test "names are valid, free and short; what is hostile is made harmless, what is broken is left out and named" {
    run -0 --separate-stderr agent-mcp list 't=python3 mcp_server.py modern hostile' </dev/null
    equal 'true' "$(jq -sc 'all(.[]; (.name | test("^[A-Za-z0-9_-]{1,64}$")) and .kind == "tool" and .command[1] == "mcp_server.py")' <<<"$output")"
    equal 't__read_file t__a_b___31mccccccccccccccccccccccccccccccccccccccccccc bare owned' \
        "$(jq -r .name <<<"$output" | sed 's/_[0-9a-f]\{8\}$//' | xargs)"
    equal '"\\u001b[2J\\u202eevil"' "$(jq -c .description <<<"$output" | head -n 1)"
    # shellcheck disable=SC2154  # set by run
    has "$stderr" "t: the tool 'no_schema' is left out" && has "$stderr" "'lies' is left out" && has "$stderr" "'far' is left out"
}

@test "a stream is passed on, and its names are taken; of two servers with the same tools the second has its name before" {
    echo '{"type":"tool","name":"add","x":1.0}' >stream
    run -0 agent-mcp list 'a=python3 mcp_server.py modern' 'b=python3 mcp_server.py legacy' <stream
    equal '{"type":"tool","name":"add","x":1.0}' "$(head -n 1 <<<"$output")"
    equal 'echo echo_twice a__wordcount a__add' "$(jq -r 'select(.server == "a").name' <<<"$output" | head -n 4 | xargs)"
    equal 'b__echo b__echo_twice' "$(jq -r 'select(.server == "b").name' <<<"$output" | head -n 2 | xargs)"
    equal "$(jq -r .name <<<"$output" | sort -u | wc -l)" "$(wc -l <<<"$output")"
}

@test "a list in pages is read to its end" {
    equal 15 "$(agent-mcp list 'python3 mcp_server.py legacy PAGES' </dev/null | wc -l)"
}

@test "an invalid list, one without end and a version that is not ours are reported" {
    run -111 agent-mcp list 't=python3 mcp_server.py modern nolist' </dev/null
    equal 'agent-mcp: t: tools/list: its answer has no list of tools' "$output"
    run -0 --separate-stderr agent-mcp list 't=python3 mcp_server.py legacy endless' </dev/null
    equal 10000 "$(wc -l <<<"$output")"
    equal 'agent-mcp: t: tools/list: the first 10,000 are taken, of more' "$stderr"
    run -1 agent-mcp list 't=python3 mcp_server.py modern future' </dev/null
    has "$output" 't: initialize: no version'
}

@test "links, embedded resources, sounds, structured content and pictures reach the model, each in its way" {
    scripted
    listed legacy
    called 'links {} & picture {}'
    equal '"[resource test://one: one]\nsecond\n[audio: audio/wav, 3 bytes, cannot be shown]\n{\"n\":2,\"m\":3}"' \
        "$(results | head -n 1)"
    equal '["text","image"] image/png' "$(jq -r 'select(.role == "tool" and (.content | type) == "array") |
        "\([.content[].type]) \(.content[1].media_type)"' <<<"$output")"
}

@test "a picture goes to a model whose tools return text alone as the user's" {
    printf '%s\n' 'def reply(body):' '    roles = [one["role"] for one in body["messages"]]' \
        '    calls = [{"name": "picture", "arguments": {}}]' \
        '    return str(roles[-2:]) if "tool" in roles else {"tool_calls": calls}' >rules.py
    model rules.py
    listed modern
    run -0 agent-react --allow picture "look" <tools.jsonl
    equal "['tool', 'user']" "$output"
}

@test "10 MB are cut, and kept in a file" {
    scripted
    listed modern
    called 'big {"bytes":10000000}'
    has "$output" 'cut here: at least 8,388,608 bytes in all; the whole is in '
    ((${#output} < 200000))
}

@test "a server that ends is reported with its last words, started once more, and then stays down" {
    scripted
    listed legacy
    called $'ends {}\necho {"text":"a"}\nends {}\necho {"text":"b"}'
    equal 'tool_error null tool_error tool_error' "$(kinds)"
    has "$(results | head -n 1)" 'ended with status 3 before it answered. Its standard error ends:\nout of luck'
    has "$(results | tail -n 1)" 'stays down'
}

@test "a call that takes too long ends, with a notice to the server; one that reports progress may continue" {
    scripted
    listed modern
    called 'slow {"seconds":6} & slow {"seconds":6,"progress":true}' --tool-timeout 4
    equal 'tool_timeout null' "$(kinds)"
    has "$(cat mcp.log)" cancelled
}

@test "a server that answers nothing ends with its time" {
    scripted
    faulty modern silent
    AGENT_RUN_TIMEOUT=2 called 'echo {"text":"a"}'
    equal timeout "$(jq -r 'select(.type == "result").error.kind' <<<"$output")"
}

@test "a flood, junk, noise on standard error, a server deaf to its end, and input asked for without end are borne" {
    scripted
    faulty modern flood
    called 'echo {"text":"a"}'
    has "$(results)" 'wrote 128 MiB that no request asked for'
    for fault in junk noisy stubborn; do
        faulty legacy "$fault"
        called 'echo {"text":"a"}'
        equal '"echo: a"' "$(results)"
    done
    faulty modern again
    called 'ask {}'
    has "$(results)" 'asks for input again and again'
    faulty legacy again
    called 'ask {}' --tool-timeout 1
    equal tool_timeout "$(kinds)"
}

@test "a question is declined if there is nobody to ask" {
    scripted
    for era in modern legacy; do
        listed "$era"
        called 'ask {}'
        has "$(results)" 'decline'
    done
}

@test "with --ask a question is put to the person at the terminal, and the answer compared with its schema" {
    scripted
    for era in modern legacy; do
        listed "$era"
        printf '%s\n' '#!/bin/sh' 'exec agent-react --events --ask --allow all "ask {}" <tools.jsonl >out' >go
        chmod +x go
        run -0 python3 -IS "$TESTS/terminal.py" ': ' 'y\n' ./go </dev/null
        has "$(jq -r 'select(.role == "tool").content' out)" cancel
    done
    sed -i 's/"enum": \["red", "blue"\]/"enum": ["y"]/' mcp_server.py
    run -0 python3 -IS "$TESTS/terminal.py" ': ' 'y\n' ./go </dev/null
    has "$output" 'The server t asks: Which colour?'
    equal '{"action": "accept", "content": {"colour": "y"}}' "$(jq -r 'select(.role == "tool").content' out)"
}

@test "tools that change while a run goes on are offered again" {
    scripted
    for era in modern legacy; do
        listed "$era"
        called $'change {}\nfresh {} & echo {"text":"x"}'
        equal 'null null tool_not_found' "$(kinds)"
    done
}

@test "servers by name, in the forms of Claude Code, Cursor and VS Code" {
    mkdir -p ~/.config/agentutils
    cat >~/.config/agentutils/mcp.json <<'END'
{"mcpServers": {"claude": {"type": "stdio", "command": "${PY:-python3}", "args": ["mcp_server.py", "${ERA}"], "env": {"PLACE": "here"}},
                "unset": {"command": "python3", "args": ["${NOWHERE}"]}}}
END
    cat >vscode.json <<'END'
{
    // of VS Code
    "inputs": [{"id": "era", "type": "promptString"}, {"id": "api-key", "type": "promptString", "password": true}],
    "servers": {
        "code": {"command": "python3", "args": ["mcp_server.py", "${input:era}"], "cwd": "${workspaceFolder}",
                 "env": {"KEY": "${input:api-key}"}, /* a secret */ },
    },
}
END
    scripted
    ERA=modern agent-mcp list claude </dev/null >tools.jsonl
    react --events --allow 'claude__*' 'look {"name":"PLACE"}'
    equal '"here"' "$(results)"
    run -2 agent-mcp list unset </dev/null
    has "$output" 'mcp.json: unset: the variable NOWHERE is not set'
    ERA=legacy API_KEY=s3cret-value agent-mcp list --config vscode.json --env API_KEY code </dev/null >tools.jsonl
    lacks "$(cat tools.jsonl)" s3cret
    API_KEY=s3cret-value react --events --allow 'code__*' --env API_KEY 'look {"name":"KEY"}'
    equal '"s3cret-value"' "$(results)"
    API_KEY=s3cret-value react --events --allow 'code__*' 'look {"name":"KEY"}'
    has "$(results)" 'give --env API_KEY'
}

# fetching: a package runner of a registry that has @x/server and no other package.
fetching() {
    mkdir runner && cp mcp_server.py runner && export PATH=$PWD/runner:$PATH
    cat >runner/npm <<'END'
#!/bin/sh
for package; do :; done
[ "$package" = @x/server ] || { echo 'npm error code E404' >&2; echo 'npm error A log is elsewhere' >&2; exit 1; }
touch "${0%/*}/changed" ../../escaped 2>/dev/null
mkdir -p node_modules/.bin node_modules/@x/server
echo '{"bin":{"the-server":"server.py"}}' >node_modules/@x/server/package.json
cp "${0%/*}/mcp_server.py" node_modules/@x/server/server.py
ln -s ../@x/server/server.py node_modules/.bin/the-server
END
    echo 'exit 1' >runner/npx
    chmod +x runner/*
}

@test "the package that npx would fetch for each run is fetched once, where nothing else is written, and runs in the profile work" {
    fetching
    scripted
    run -0 --separate-stderr agent-mcp list 't=npx -y @x/server modern' </dev/null
    has "$stderr" '@x/server: fetching it, once, into ' && has "$stderr" '(with the network, and may write nowhere else)'
    equal '["the-server","modern",null]' \
        "$(head -n 1 <<<"$output" | jq -c '[(.command[0] | sub(".*/servers/npx-@x_server/bin/"; "")), .command[1], .sandbox]')"
    [[ ! -e runner/changed && ! -e ~/.cache/agentutils/escaped ]]
    run -0 --separate-stderr agent-mcp list 't=npx -y -p @x/server the-server modern' </dev/null
    equal '' "$stderr"
    cat >tools.jsonl <<<"$output"
    called 'echo {"text":"a"}'
    equal '"echo: a"' "$(results)"
    echo '{"mcpServers":{"t":{"command":"npx","args":["-y","@x/server","modern"],"env":{"PLACE":"here"}}}}' >mcp.json
    agent-mcp list --config mcp.json t </dev/null >tools.jsonl
    called 'look {"name":"PLACE"}'
    equal '"here"' "$(results)"
}

@test "a package that cannot be fetched, or has no such program, is an error in its words" {
    fetching
    run -1 agent-mcp list 'npx -y @x/none' </dev/null
    has "$output" '@x/none: cannot be fetched: npm error code E404'
    run -100 agent-mcp list 'npx -y -p @x/server other' </dev/null
    has "$output" '@x/server has no program other, but the-server: npx --package @x/server PROGRAM'
    run -126 agent-mcp list 'npx --silent @x/server' </dev/null # with what we do not know, npx itself is the server
    lacks "$output" fetching
}

@test "a server that ends at what is newer than it is started again in its own era" {
    scripted
    sed 's/^def put(message):/FIRST = json.loads(sys.stdin.buffer.peek(1000).splitlines()[0])\nif FIRST["method"] != "initialize":\n    sys.exit("expected initialize")\n&/' mcp_server.py >strict.py
    agent-mcp list 't=python3 strict.py legacy' </dev/null >tools.jsonl
    called 'echo {"text":"a"}'
    equal '"echo: a"' "$(results)"
}

@test "a project's own .mcp.json is not read unless it is named; a key that is written out is refused" {
    echo '{"mcpServers":{"evil":{"command":"sh","args":["-c","touch ran"]},"keyed":{"command":"sh","env":{"API_KEY":"k"}}}}' >.mcp.json
    run ! agent-mcp list evil </dev/null
    has "$output" 'evil: no such program'
    [[ ! -e ran ]]
    run -2 agent-mcp list --config .mcp.json keyed </dev/null
    # shellcheck disable=SC2016
    has "$output" 'write ${API_KEY}, and give --env API_KEY'
}

@test "one server of several that fails does not take the others with it" {
    run -1 --separate-stderr agent-mcp list 'python3 mcp_server.py modern dead' 'b=python3 mcp_server.py modern' </dev/null
    equal 15 "$(wc -l <<<"$output")"
    has "$stderr" 'no licence'
}

@test "resources and prompts become records" {
    for era in modern legacy; do
        server="t=python3 mcp_server.py $era"
        equal '["test://one",null] [null,"test://{id}"]' \
            "$(agent-mcp resources "$server" </dev/null | jq -c '[.uri, .uriTemplate]' | tr '\n' ' ' | sed 's/ $//')"
        equal '{"type":"context","source":"test://one","text":"first","media_type":"text/plain"}' \
            "$(agent-mcp read "$server" test://one </dev/null)"
        equal greet "$(agent-mcp prompts "$server" </dev/null | jq -r .name)"
        equal '{"type":"input","text":"Greet Ada","source":"t: greet"}' \
            "$(agent-mcp prompts "$server" greet who=Ada </dev/null)"
    done
    equal test://one "$(agent-mcp resources 'python3 mcp_server.py modern plain' </dev/null | jq -r .uri)"
}

@test "install prints what each client wants, and refuses what serve would" {
    has "$(agent-mcp install claude --allow all wordcount)" 'claude mcp add agentutils -- '
    for client in cursor gemini; do
        equal '["--allow","all"]' \
            "$(agent-mcp install "$client" --allow all | sed 1d | jq -c '.mcpServers.agentutils.args')"
    done
    equal '[]' "$(agent-mcp install vscode | sed 1d | jq -c '.servers.agentutils.args')"
    has "$(agent-mcp install codex)" 'args = []'
    run -2 agent-mcp install emacs
    run -2 agent-mcp install codex --no-such-option
}

@test "answers that are not MCP are errors, in any shape" {
    scripted
    listed modern
    called 'strange {"result":"{\"content\":7}"} & strange {"result":"{\"content\":\"text\"}"} & strange {"result":"{\"content\":[null,{\"type\":[]},{\"type\":\"image\",\"data\":7}]}"} & strange {"result":"{\"resultType\":\"input_required\",\"inputRequests\":[1]}"} & echo {"text":"still there"}'
    equal 'bad_response null null bad_response null' "$(kinds)"
    lacks "$stderr" Traceback
    equal '"echo: still there"' "$(results | tail -n 1)"
}

@test "a list waits no longer than --timeout" {
    SECONDS=0
    run -1 agent-mcp list --timeout 1 'python3 mcp_server.py modern silent' </dev/null
    has "$output" 'does not answer within 1 s; where it needs the network: --sandbox net'
    ((SECONDS < 60))
}

@test "Ctrl-C ends a call, and its server with it" {
    scripted
    listed modern
    run python3 - <<'END'
import pathlib, signal, subprocess, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it


def below(pid):
    found = [int(one) for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children") for one in file.read_text().split()]
    return found + [inner for one in found for inner in below(one)]


def servers(pids):
    files = [pathlib.Path(f"/proc/{pid}/cmdline") for pid in pids]
    return [file for file in files if file.exists() and b"mcp_server.py" in file.read_bytes()]


argv = ["agent-react", "--events", "--allow", "slow", 'slow {"seconds":60}']
child = subprocess.Popen(argv, stdin=open("tools.jsonl"), stdout=subprocess.PIPE)
next(line for line in child.stdout if b"tool_calls" in line)
end, pids = time.monotonic() + 20, []
while not servers(pids) and time.monotonic() < end:
    pids = below(child.pid)
print(len(servers(pids)) > 0)
child.send_signal(signal.SIGINT)
child.stdout.read()
print(child.wait(20), len(servers(pids)))
END
    equal "True 130 0" "$(printf '%s\n' "${lines[@]: -2}" | paste -sd ' ')"
}
