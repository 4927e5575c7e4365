#!/usr/bin/env bats
# What every provider promises, registered in a loop over providers/, and what openai-sh does.
load helper

KEY=key-5ecre7-5ecre7
HI='{"type":"request","id":"1","messages":[{"role":"user","content":"hi"}]}'

# schema FILE FILTER: a value out of a provider's schema.
schema() { "$1" --agent-schema | jq -r "$2"; }

setup() {
    prepare
    uses curl jq # for openai-sh
}

# with_key FILE COMMAND...: runs it with all variables of the provider that hold keys set to KEY, all others of its
# variables to a place where nobody listens.
with_key() {
    local file=$1 name
    shift
    local -a set=()
    for name in $(schema "$file" '.env[] | select(.key).name'); do set+=("$name=$KEY"); done
    for name in $(schema "$file" '.env[] | select(.name | test("(URL|ENDPOINT|HOST)"))  .name'); do
        set+=("$name=http://127.0.0.1:9")
    done
    env "${set[@]}" "$@"
}

the_schema_says_what_it_can() {
    equal provider "$(schema "$1" .kind)"
    equal "number boolean boolean boolean number number" "$(schema "$1" '.capabilities | [.max_tokens, .supports_functions,
        .supports_vision, .supports_streaming, .cost_per_1k_tokens.input, .cost_per_1k_tokens.output] | map(type) | join(" ")')"
    equal true "$(schema "$1" '[.default_model] - .models == []')"
}

without_a_key_the_variable_is_named() {
    local name
    run --separate-stderr "$1" <<<"$HI"
    equal 0 "$status"
    equal "error auth 1 false" "$(jq -r '"\(.type) \(.kind) \(.id) \(.retryable)"' <<<"$output")"
    name=$(schema "$1" '[.env[] | select(.key).name][0]')
    has "$output" "$name"
    run --separate-stderr agent-llm --provider "${1##*/}" hi </dev/null
    equal 100 "$status"
    has "$stderr" "$name"
    equal "" "$output"
}

nobody_there_is_one_error() {
    run --separate-stderr with_key "$1" "$1" <<<"$HI"
    equal 0 "$status"
    equal "error network 1 true" "$(jq -r '"\(.type) \(.kind) \(.id) \(.retryable)"' <<<"$output")"
    lacks "$output$stderr" "$KEY"
}

for file in "$ROOT"/providers/*; do
    name=${file##*/}
    [[ $name != local && $name != minilm ]] || continue # no vendor, no key: their own tests
    bats_test_function --description "$name: the schema says what it can" -- the_schema_says_what_it_can "$file"
    bats_test_function --description "$name: nobody there is one error" -- nobody_there_is_one_error "$file"
    if grep -q '"key": *[tT]rue' "$file" && ! grep -q '"optional": True' "$file"; then
        bats_test_function --description "$name: without a key the variable is named" -- \
            without_a_key_the_variable_is_named "$file"
    fi
done

# ask SHAPE JSON...: openai-sh's records for these requests, in this shape.
ask() {
    local shape=$1
    shift
    printf '%s\n' "$@" | "$ROOT/providers/openai-sh" | jq -rc "$shape"
}

RULES='
def reply(body):
    last = body["messages"][-1]["content"]
    if last == "tool": return {"tool_calls": [{"id": "c1", "name": "f", "arguments": {"x": 12}}]}
    if last == "cut": return {"tool_calls": [{"name": "f", "arguments": "{\"x\":"}], "finish": "length"}
    if last == "slow": return {"status": 429, "headers": {"retry-after": "7"}, "body": {"error": {"message": "slow down"}}}
    if last == "page": return {"status": 502, "body": "<html><b>no</b></html>"}
    if last == "odd": return {"status": 200, "body": "<html>portal</html>"}
    if last == "echo": return {"status": 401, "body": {"error": {"message": "bad key key-5ecre7-5ecre7"}}}
    return {"text": "Grüße: " + last, "delay": 5 if last == "late" else 0}
'

say() { printf '{"type":"request","id":"%s","messages":[{"role":"user","content":"%s"}]%s}' "$1" "$1" "${2-}"; }

@test "openai-sh answers each request with one record, in order" {
    model "$RULES"
    equal $'a Grüße: a end_turn\nb Grüße: b end_turn' "$(ask '"\(.id) \(.message.content) \(.stop_reason)"' "$(say a)" "" "$(say b)")"
}

@test "openai-sh gives a request for a stream one delta" {
    model "$RULES"
    equal $'delta Grüße: a\nresponse Grüße: a' "$(ask '"\(.type) \(.text // .message.content)"' "$(say a ',"stream":true')")"
}

@test "openai-sh carries calls, results and limits" {
    model "$RULES"
    equal '{"id":"c1","name":"f","arguments":{"x":12}}' "$(ask '.message.tool_calls[0]' "$(say tool)")"
    equal 'max_tokens null {"x":' "$(ask '"\(.stop_reason) \(.message.tool_calls[0].arguments) \(.message.tool_calls[0].arguments_raw)"' "$(say cut)")"
    ask . "$(jq -c . <<<'{"type":"request","id":"1","model":"gpt-5-mini","max_tokens":9,"temperature":0,
        "tools":[{"name":"f","inputSchema":{"type":"object"},"command":["x"]}],"tool_choice":{"name":"f"},
        "options":{"seed":7},"messages":[{"role":"user","content":"x"},
        {"role":"assistant","content":"","tool_calls":[{"id":"c1","name":"f","arguments":{"x":1}}]},
        {"role":"tool","tool_call_id":"c1","name":"f","content":[{"type":"text","text":"12"}]}]}')"
    equal "$(jq -cS . <<<'{"model":"gpt-5-mini","max_completion_tokens":9,"temperature":0,"seed":7,
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},"messages":[{"role":"user","content":"x"},
        {"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
        {"role":"tool","content":"12","tool_call_id":"c1"}]}')" "$(requests | tail -n 1 | jq -cS .)"
}

@test "openai-sh tells errors by kind, without the key" {
    model "$RULES"
    export OPENAI_API_KEY=$KEY
    equal 'rate_limit 429 true 7 slow down' "$(ask '"\(.kind) \(.status) \(.retryable) \(.retry_after) \(.message)"' "$(say slow)")"
    equal 'server 502' "$(ask '"\(.kind) \(.status)"' "$(say page)")"
    equal 'bad_response 200' "$(ask '"\(.kind) \(.status)"' "$(say odd)")"
    equal 'auth bad key ***' "$(ask '"\(.kind) \(.message)"' "$(say echo)")"
    equal 'timeout' "$(AGENT_TIMEOUT=0.3 ask .kind "$(say late)")"
}

@test "openai-sh refuses what it cannot carry before anything is sent" {
    model "$RULES"
    equal 'invalid_request image: openai-sh takes text alone' "$(ask '"\(.kind) \(.message)"' \
        '{"type":"request","messages":[{"role":"user","content":[{"type":"image","url":"x"}]}]}')"
    for field in '"max_tokens":0' '"max_tokens":"5"' '"temperature":"hot"' '"api":"responses"'; do
        equal invalid_request "$(ask .kind "$(say a ",$field")")"
    done
    equal 0 "$(requests | wc -l)"
}

@test "openai-sh passes other records on and stops at a line that is not a record" {
    model "$RULES"
    run --separate-stderr "$ROOT/providers/openai-sh" <<<$'{"type":"other", "n":1.0}\n'"$(say a)"$'\nnonsense\n'"$(say b)"
    equal 2 "$status"
    equal '{"type":"other", "n":1.0}' "${lines[0]}"
    equal 2 "${#lines[@]}"
    has "$stderr" "line 3"
}
