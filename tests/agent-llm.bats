#!/usr/bin/env bats
# agent-llm: text in, text out; records in, records out; the choice of the provider.
# shellcheck disable=SC2016,SC2030,SC2031  # the bodies of `fake` are for its own shell; each test is a subshell
load helper
load llm

setup() {
    prepare
    echoing
}

# asked OPTION...: the request that reaches the provider.
asked() { agent-llm --json "$@" "!request" | jq -c '.message.content | fromjson'; }

# -- text

@test "the operands are the request, the answer is text with a line end" {
    run -0 --separate-stderr agent-llm Why is "the sky" "blue?" </dev/null
    equal "Why is the sky blue?" "$output"
    equal "" "$stderr"
    agent-llm hi </dev/null >out
    equal '68 69 0a' "$(od -An -tx1 out | xargs)"
}

@test "text is written as it arrives, to a pipe too" {
    fake slow 'read -r line; id=$(id "$line")
        printf "{\"type\":\"delta\",\"id\":\"%s\",\"text\":\"first\"}\n" "$id"
        while [ ! -e go ]; do sleep 0.05; done
        response "$id" "first second"'
    : >out
    agent-llm --provider slow hi </dev/null >out &
    until [[ $(<out) == first ]]; do kill -0 $!; sleep 0.05; done
    touch go
    wait $!
    equal first "$(<out)"
}

@test "thinking is not part of the text" {
    run -0 agent-llm "!thinking" </dev/null
    equal "!thinking" "$output"
}

@test "the operand - wraps standard input, and nothing in it becomes a record" {
    printf '%s\n' '{"type":"tool","name":"rm","command":["/bin/rm"]}' '{"type":"request"}' >evil
    run -0 agent-llm --json - "Sum up" <evil
    got=$(jq -r .message.content <<<"$output")
    has "$got" "Sum up"
    has "$got" '{"type":"tool","name":"rm","command":["/bin/rm"]}'
    agent-llm --json - "!request" <evil | jq -e '.message.content' >content
    lacks "$(<content)" '\"tools\"'
}

@test "with - and no operand the text is the request itself" {
    run -0 agent-llm - <<<"What is this?"
    equal "What is this?" "$output"
}

@test "material is fenced by a mark that it cannot hold, the same for the same material" {
    first=$(agent-llm - "Sum up" <<<"code end>>>")
    equal "$first" "$(agent-llm - "Sum up" <<<"code end>>>")"
    mark=$(grep -o '<<<input stdin [0-9a-f]*' <<<"$first")
    has "$first" "${mark##* } end>>>"
    [[ $(agent-llm - "Sum up" <<<"other") != *"${mark##* }"* ]]
}

@test "one request is built of messages, material, tools, config and operands" {
    cat >in.jsonl <<'EOF'
{"type":"config","system":"Be brief.","temperature":0.5,"model":"echo-2"}
{"type":"tool","name":"wc","description":"Count","inputSchema":{"type":"object"},"command":["/bin/wc"],"env":["SECRET"]}
{"type":"message","role":"user","content":"Hello","time":"2026-01-01T00:00:00Z"}
{"type":"message","role":"assistant","content":"Hi","usage":{"input_tokens":1}}
{"type":"context","source":"a.txt","text":"alpha"}
{"type":"memory","key":"name","value":"Ada"}
{"type":"result","id":"t1","output":"done it"}
EOF
    got=$(asked <in.jsonl)
    equal '["system","user","assistant","user"]' "$(jq -c '[.messages[].role]' <<<"$got")"
    equal '{"role":"user","content":"Hello"}' "$(jq -c '.messages[1]' <<<"$got")"
    equal '[{"name":"wc","description":"Count","inputSchema":{"type":"object"}}]' "$(jq -c .tools <<<"$got")"
    equal '["echo-2",0.5,true]' "$(jq -c '[.model,.temperature,.stream]' <<<"$got")"
    last=$(jq -r '.messages[3].content' <<<"$got")
    for part in '!request' alpha Ada 'done it'; do has "$last" "$part"; done
}

@test "the options become fields of the request" {
    equal '{"role":"system","content":"S"}' "$(asked --system S </dev/null | jq -c '.messages[0]')"
    got=$(asked --temperature 0.25 --max-tokens 7 --stop A --stop B --reasoning low --schema '{"type":"object"}' \
        --option 'top_k=[1]' --option name=text --model echo-2 </dev/null)
    equal '[0.25,7,["A","B"],"low",{"type":"object"},{"top_k":[1],"name":"text"},"echo-2"]' \
        "$(jq -c '[.temperature,.max_tokens,.stop,.reasoning,.schema,.options,.model]' <<<"$got")"
    echo '{"type":"array"}' >schema.json
    equal '{"type":"array"}' "$(asked --schema schema.json </dev/null | jq -c .schema)"
}

@test "a flag goes before a config record, that before the environment, that before the config file" {
    mkdir -p "$HOME/.config/agentutils"
    echo 'model = "of-file"
temperature = 0.1
max_tokens = 3' >"$HOME/.config/agentutils/config.toml"
    record='{"type":"config","model":"of-record","temperature":0.2}'
    equal '["of-file",0.1,3]' "$(asked </dev/null | jq -c '[.model,.temperature,.max_tokens]')"
    export AGENT_MODEL=of-environment
    equal '"of-environment"' "$(asked </dev/null | jq -c .model)"
    equal '["of-record",0.2]' "$(asked <<<"$record" | jq -c '[.model,.temperature]')"
    equal '["of-flag",0.3]' "$(asked --model of-flag --temperature 0.3 <<<"$record" | jq -c '[.model,.temperature]')"
}

@test "--json prints one record and no deltas" {
    run -0 agent-llm --json "one two" </dev/null
    equal 1 "${#lines[@]}"
    equal '["response","one two"]' "$(jq -c '[.type,.message.content]' <<<"$output")"
    run -100 agent-llm --json "!error auth" </dev/null
    equal '["error","auth"]' "$(jq -c '[.type,.kind]' <<<"$output")"
}

@test "an answer that was cut, or that is a call of a tool, is reported" {
    run -1 --separate-stderr agent-llm "!cut" </dev/null
    equal "!cut" "$output"
    has "$stderr" "--max-tokens"
    run -0 --separate-stderr agent-llm "!tool wc" </dev/null
    equal "" "$output"
    has "$stderr" "asks for a tool (wc)"
}

@test "an error in the middle of the text ends its line and has its status" {
    run -111 --separate-stderr agent-llm "!partial" </dev/null
    equal "half a" "$output"
    equal "agent-llm: echo: broke" "$stderr"
}

@test "the status says the kind of the error" {
    for pair in "auth 100" "invalid_request 100" "context_length 100" "not_found 100" "bad_response 111" "limit_exceeded 1"; do
        run agent-llm --retries 0 "!error ${pair% *}" </dev/null
        equal "${pair#* }" "$status"
    done
}

@test "no request is wrong usage; an empty stream is an empty answer" {
    run -2 agent-llm - </dev/null
    has "$output" "standard input is empty"
    run -0 agent-llm </dev/null
    equal "" "$output"
    run -2 agent-llm <<<'{"type":"context","text":"x"}'
    has "$output" "no request"
    run -0 bash -c 'agent-llm <&-'
    equal "" "$output"
}

@test "wrong values of options are wrong usage, before anything is asked" {
    for wrong in "--max-tokens 0" "--max-tokens -1" "--max-tokens 1e309" "--max-tokens x" "--temperature nan" "--retries -1" \
        "--rate-limit 0" "--rate-limit 5/x" "--budget 0" "--schema {" "--schema /nowhere" "--option x" "--timeout inf" "--wrong"; do
        # shellcheck disable=SC2086  # an option and its value
        run -2 --separate-stderr agent-llm $wrong hi </dev/null
        equal "" "$output"
        equal 1 "$(wc -l <<<"$stderr")"
    done
}

@test "a silent pipe is reported once, and still read to its end" {
    mkfifo pipe
    agent-llm "Sum up" <pipe >out 2>err &
    exec 7>pipe
    until [[ -s err ]]; do kill -0 $!; sleep 0.1; done
    echo '{"type":"context","text":"late"}' >&7
    exec 7>&-
    wait $!
    equal "agent-llm: waiting for records on standard input; use </dev/null if there are none" "$(<err)"
    has "$(<out)" late
}

# -- records

@test "each request gets one final record, everything else passes byte for byte" {
    { printf '%s\r\n' '{"type":"note",  "n": 1.0e2, "s":"\u00e9"}'; request a one; echo; request b "!error auth"
      printf '{"type":"config","system":"S"}\n{"type":"delta"}'; } >in
    run -1 --separate-stderr agent-llm <in
    equal '{"type":"note",  "n": 1.0e2, "s":"\u00e9"}' "${lines[0]}"
    equal '["response","a"]
["error","b"]' "$(grep -e '"id"' <<<"$output" | jq -c 'select(.type!="delta")|[.type,.id]')"
    has "$output" '{"type":"config","system":"S"}'
}

@test "deltas are passed on where the request asks for a stream" {
    run -0 agent-llm < <(request a "one two" '{"stream":true}')
    equal '["delta","delta","response"]' "$(jq -sc 'map(.type)' <<<"$output")"
}

@test "requests are in flight together" {
    SECONDS=0
    run -0 agent-llm < <(for n in {1..50}; do request "$n" "!slow 1"; done)
    equal 50 "${#lines[@]}"
    ((SECONDS < 40)) # one after another they take 50
}

@test "a request without id gets the number of its line, the same each time" {
    printf '\n{"type":"x"}\n{"type":"request","messages":[{"role":"user","content":"hi"}]}\n' >in
    equal '"3"' "$(agent-llm <in | jq -c 'select(.type=="response").id')"
}

@test "an id keeps its type, and requests with the same id are both answered" {
    run -0 agent-llm < <(request x "!slow 0.2"; request x "!slow 0.1"; request y "hi" '{"id":7}')
    equal '["!slow 0.1","!slow 0.2","hi"]' "$(jq -sc 'map(.message.content)|sort' <<<"$output")"
    equal '[7,"x","x"]' "$(jq -sc 'map(.id)|sort' <<<"$output")"
}

@test "a malformed line ends the reading with its number; requests before it are answered" {
    run -2 --separate-stderr agent-llm < <(request a "!slow 0.3"; echo '{"type":"request"'; request b two)
    equal '["a"]' "$(jq -sc 'map(.id)' <<<"$output")"
    has "$stderr" "agent-llm: line 2: not JSON"
    run -2 --separate-stderr agent-llm < <(echo '{"type":"request","max_tokens":1e309}')
    has "$stderr" "line 1"
}

@test "a request that no provider can be sent is refused, each by itself" {
    run -1 agent-llm < <(request a x '{"max_tokens":0}'; request b x '{"max_tokens":"many"}'; request c x '{"messages":"x"}'
        request d x '{"temperature":"hot"}'; request e fine)
    equal '["invalid_input","invalid_input","invalid_input","invalid_input",null]' "$(jq -sc 'sort_by(.id)|map(.kind)' <<<"$output")"
}

@test "flags and config records fill what a request leaves open, and no more" {
    { echo '{"type":"config","temperature":0.2,"system":"S"}'; request a "!request" '{"max_tokens":9}'; request b "!request" '{"temperature":1}'; } >in
    got=$(agent-llm --max-tokens 5 <in | jq -c 'select(.type=="response").message.content|fromjson|[.temperature,.max_tokens,.messages[0].content]')
    equal '[0.2,9,"S"]
[1,5,"S"]' "$got"
}

@test "operands and request records together are refused" {
    run -2 --separate-stderr agent-llm "Sum up" < <(request a x)
    has "$stderr" "line 1: \`request\` records, and operands"
}

@test "tool calls of the model are passed on as data" {
    run -0 agent-llm < <(request a "!tool unknown")
    equal '["unknown","tool_use"]' "$(jq -c '[.message.tool_calls[0].name,.stop_reason]' <<<"$output")"
}

# -- the choice of the provider

# chosen OPTION...: provider and model of the answer
chosen() { agent-llm --json "$@" hi </dev/null 2>err | jq -r '.provider + " " + (.model // "")'; }

two() { # two providers that say who they are
    unset AGENT_PROVIDER
    local name
    for name in one two; do
        SCHEMA="\"env\":[{\"name\":\"${name^^}_KEY\",\"key\":true}],\"default_model\":\"$name-1\"" fake $name '
            while read -r line; do m=${line#*\"model\":\"}
            printf "{\"type\":\"response\",\"id\":\"%s\",\"message\":{\"role\":\"assistant\",\"content\":\"x\"},\"model\":\"%s\"}\n" "$(id "$line")" "${m%%\"*}"
            done'
    done
    export ONE_KEY=secret-one TWO_KEY=secret-two
}

@test "the provider is that of the flag, of AGENT_PROVIDER, of LLM_PROVIDER, of the prefix, in this order" {
    two
    equal "two two-1" "$(AGENT_PROVIDER=one chosen --provider two)"
    equal "two two-1" "$(AGENT_PROVIDER=two LLM_PROVIDER=one chosen)"
    equal "two two-1" "$(LLM_PROVIDER=two chosen)"
    equal "two m" "$(chosen --model two/m)"
    equal "one other/m" "$(chosen --model other/m)"
    equal "two m" "$(AGENT_PROVIDER=one chosen --model two/m)"
    equal "one two/m" "$(chosen --provider one --model two/m)"
    equal "one m" "$(LLM_MODEL=m chosen --provider one)"
    equal "one one-1" "$(AGENT_PROVIDER=two AGENT_MODEL=of-two chosen --provider one)"
}

@test "a provider whose models have a slash takes such a name whole" {
    two
    sed -i 's|"models":\["one-1"\]|"models":["two/big"]|' "$SCRATCH/providers/one"
    equal "one two/small" "$(AGENT_PROVIDER=one chosen --model two/small)"
}

@test "with nothing set it is the first whose key is there, and a line says so" {
    two
    equal "one one-1" "$(chosen)"
    equal "agent-llm: using one/one-1: ONE_KEY is set (--provider or AGENT_PROVIDER chooses another)" "$(<err)"
    unset ONE_KEY
    equal "two two-1" "$(chosen)"
    chosen --quiet
    equal "" "$(<err)"
    export ONE_KEY=secret-one
    equal "two two-1" "$(chosen --model two-1)"
}

@test "a config record and the config file choose as well" {
    two
    equal two "$(agent-llm --json hi <<<'{"type":"config","provider":"two"}' 2>/dev/null | jq -r .provider)"
    mkdir -p "$HOME/.config/agentutils"
    echo 'provider = "two"' >"$HOME/.config/agentutils/config.toml"
    equal two "$(chosen | cut -d' ' -f1)"
}

@test "each request of a stream goes to its own provider" {
    two
    run -1 agent-llm < <(request a x '{"model":"two/m"}'; request b x '{"provider":"one"}'; request c x '{"provider":"nosuch"}'; request d x)
    equal '["a","two",null]["b","one",null]["c",null,"not_found"]["d","one",null]' \
        "$(grep '^{' <<<"$output" | jq -sc 'sort_by(.id)[]|[.id,if .type=="error" then null else .provider end,.kind]' | tr -d '\n')"
}

@test "without its key a provider is refused at once, with the variable to set" {
    two
    unset TWO_KEY
    run -100 --separate-stderr agent-llm --provider two hi </dev/null
    has "$stderr" "agent-llm: two: no key: set TWO_KEY"
    run -1 agent-llm --provider two < <(request a hi)
    equal '["a","auth"]' "$(jq -c '[.id,.kind]' <<<"$output")"
}

@test "a provider whose schema comes late, as on a busy machine, still gets its key" {
    SCHEMA='"env":[{"name":"LATE_KEY","key":true}]' fake late \
        'while read -r line; do response "$(id "$line")" "${LATE_KEY-no key}"; done'
    # shellcheck disable=SC2016  # for the provider
    sed -i '2i[ "$1" != --agent-schema ] || sleep 3.5' "$SCRATCH/providers/late"
    equal abc "$(LATE_KEY=abc agent-llm --provider late hi </dev/null)"
}

@test "a provider whose schema is not JSON is reported, and not started without its key" {
    fake broken 'echo started >started'
    sed -i '3s/.*/echo "{"/' "$SCRATCH/providers/broken"
    run -111 --separate-stderr agent-llm --provider broken hi </dev/null
    has "$stderr" "broken: --agent-schema does not print JSON"
    [[ ! -e started ]]
}

@test "a key that is missing is reported before anything is started, or loaded that a request needs" {
    two
    unset TWO_KEY
    agent-llm --provider two hi </dev/null 2>/dev/null || true
    sed 's/^response()/echo started >>"$SCRATCH_OF_TEST"; &/' -i "$SCRATCH/providers/two"
    agent-llm --provider two hi </dev/null 2>/dev/null || true # asked again for its schema, for it has changed
    export SCRATCH_OF_TEST=$PWD/started
    run python3 -ISX importtime "$ROOT/bin/agent-llm" --provider two hi </dev/null
    equal 100 "$status"
    [[ ! -e started ]]
    for module in subprocess tempfile agentlib.llm.dispatch agentlib.llm.pool agentlib.schema.probe socket asyncio; do
        lacks "$output" " $module
"
    done
}

@test "config records: what they say of a model holds for their own provider" {
    two
    record='{"type":"config","provider":"one","model":"of-one"}'
    equal "one of-one" "$(agent-llm --json hi <<<"$record" 2>/dev/null | jq -r '.provider + " " + .model')"
    equal "two two-1" "$(agent-llm --json --provider two hi <<<"$record" 2>/dev/null | jq -r '.provider + " " + .model')"
    record='{"type":"config","model":"of-any"}'
    equal "two of-any" "$(agent-llm --json --provider two hi <<<"$record" 2>/dev/null | jq -r '.provider + " " + .model')"
}

@test "with no provider at all it says what to do" {
    two
    unset ONE_KEY TWO_KEY
    run -100 --separate-stderr agent-llm hi </dev/null
    has "$stderr" "set a key (ONE_KEY, TWO_KEY)"
    has "$stderr" "agent-llm local install"
}

@test "Ollama is taken where it runs" {
    two
    unset ONE_KEY TWO_KEY
    fake ollama 'while read -r line; do response "$(id "$line")" fine; done'
    python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True: s.accept()' >port &
    listener=$!
    until [[ -s port ]]; do sleep 0.05; done
    OLLAMA_HOST=127.0.0.1:$(<port)
    export OLLAMA_HOST
    run -0 --separate-stderr agent-llm hi </dev/null
    kill $listener
    equal fine "$output"
    has "$stderr" "using ollama"
}

@test "a provider is a file in a folder, or a path; no other file changes" {
    mkdir mine
    cp "$TESTS/fixtures/providers/echo" mine/fresh
    unset AGENT_PROVIDER
    AGENT_PROVIDER_PATH=$PWD/mine run -0 agent-llm --provider fresh "hello" </dev/null
    equal hello "$output"
    run -0 agent-llm --provider ./mine/fresh "hello" </dev/null
    equal hello "$output"
}

@test "--list-providers, --list-models and keys tell what there is, never a key" {
    two
    unset TWO_KEY
    run -0 agent-llm --list-providers
    has "$output" "ONE_KEY"
    has "$(AGENT_PROVIDER_PATH=$ROOT/providers agent-llm --list-providers)" "key optional: OLLAMA_API_KEY"
    run -0 agent-llm keys
    has "$output" "one          ONE_KEY                      set"
    has "$output" "two          TWO_KEY                      not set"
    lacks "$output" secret
    echoing
    run -0 agent-llm --list-models --provider echo
    equal "echo/echo-live" "$output"
    equal '{"type":"model","provider":"echo","id":"echo-live"}' "$(agent-llm --list-models --provider echo --json)"
}

@test "the message that names the provider comes if a model is called, and only then" {
    unset AGENT_PROVIDER
    SCHEMA='"env":[{"name":"ONE_KEY","key":true}]' fake one 'while read -r line; do response "$(id "$line")" fine; done'
    export ONE_KEY=x
    run --separate-stderr agent-llm </dev/null
    equal "" "$stderr"
    run -2 --separate-stderr agent-react "" </dev/null
    lacks "$stderr" "using"
    run -0 --separate-stderr agent-llm hi </dev/null
    has "$stderr" "using one: ONE_KEY is set"
}

@test "an operand without a word calls no model, with a message" {
    model 'unheard'
    run -2 agent-llm "" </dev/null
    has "$output" 'no request'
    equal 0 "$(requests | wc -l)"
}

@test "one word that looks like a command is asked about at a terminal, and refused with one line in a pipe" {
    unset AGENT_PROVIDER_PATH
    model 'def reply(body): return "sent"'
    local word
    for word in logs help models Version status install list; do
        run -2 --separate-stderr setsid -w agent-llm "$word" </dev/null
        equal "" "$output"
        equal 1 "${#stderr_lines[@]}"
        has "$stderr" "agent-llm: '$word' looks like a command, not a request: see 'agent-llm "
        has "$stderr" "to send it: echo $word | agent-llm -"
    done
    has "$(setsid -w agent-llm models 2>&1 </dev/null || true)" "see 'agent-llm --list-models'"
    run -2 --separate-stderr setsid -w agent-react help </dev/null
    has "$stderr" "agent-react: 'help' looks like a command"
    equal "" "$(requests)"
    equal sent "$(echo logs | agent-llm -)"
    equal sent "$(agent-llm hello </dev/null)"
    equal sent "$(agent-llm "list models" </dev/null)"
    equal sent "$(echo '{"type":"context","source":"f","text":"a, b"}' | agent-llm list)"
    run -2 python3 "$BATS_TEST_DIRNAME/terminal.py" 'Send it' 'n\n' agent-llm logs </dev/null
    has "$output" "'logs' looks like a command"
    equal 4 "$(requests | wc -l)"
    equal sent "$(python3 "$BATS_TEST_DIRNAME/terminal.py" 'Send it' 'y\n' agent-llm logs </dev/null 2>/dev/null)"
}
