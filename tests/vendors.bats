#!/usr/bin/env bats
# What the providers with their own dialects promise from outside: anthropic, bedrock, gemini, ollama.
load helper

request='{"type":"request","id":"r1","messages":[{"role":"user","content":"hi"}]}'

provider() {
    local name=$1
    shift
    run --separate-stderr timeout 60 "$ROOT/providers/$name" "$@"
}

says_what_it_is() {
    run "$ROOT/providers/$1" --agent-schema
    equal 0 "$status"
    equal "true" "$(jq -c --arg name "$1" '
        .name == $name and .kind == "provider" and (.default_model as $model | .models | index($model)) != null
        and (.default_model | type) == "string"
        and (.capabilities | .max_tokens > 0 and .supports_functions and .supports_vision and .supports_streaming
            and (.cost_per_1k_tokens | .input >= 0 and .output >= 0))' <<<"$output")"
    equal "$2" "$(jq -r '[.env[] | select(.key) | .name] | join(" ")' <<<"$output")"
}

@test "anthropic says what it can and which variable is its key" { says_what_it_is anthropic ANTHROPIC_API_KEY; }
@test "bedrock says what it can and which variable is its key" { says_what_it_is bedrock AWS_BEARER_TOKEN_BEDROCK; }
@test "gemini says what it can and which variables are its key" { says_what_it_is gemini "GEMINI_API_KEY GOOGLE_API_KEY"; }
@test "ollama says what it can and which variable is its key" { says_what_it_is ollama OLLAMA_API_KEY; }

@test "the price of a default model is that of the table" {
    for name in anthropic bedrock gemini; do
        "$ROOT/providers/$name" --agent-schema | jq -c '[.default_model | sub("^us\\."; "")],
            [.capabilities.cost_per_1k_tokens | .input * 1000, .output * 1000]' >told
        equal "$(tail -n 1 told)" "$(jq -c --arg vendor "$name" --arg model "$(head -n 1 told | jq -r '.[0]')" \
            '.prices[$vendor][$model][:2] | map(. + 0.0)' "$ROOT/lib/agentlib/provider/prices.json")"
    done
}

@test "without its key a provider answers each request with an error that names the variable, and ends well" {
    for name in anthropic bedrock gemini; do
        provider "$name" <<<"$request"$'\n'"${request/r1/r2}"
        equal 0 "$status"
        equal "" "$stderr"
        equal 'r1 auth
r2 auth' "$(jq -r '"\(.id) \(.kind)"' <<<"$output" | sort)"
        has "$output" "set $(jq -r '[.env[] | select(.key)][0].name' <<<"$("$ROOT/providers/$name" --agent-schema)")"
    done
}

@test "records that are no requests go through byte for byte, and a line that is no record ends it after its answers" {
    for name in anthropic bedrock gemini ollama; do
        OLLAMA_HOST=:1 provider "$name" <<<'{ "type":"note", "n" : 1 }'$'\n'"$request"$'\nnot a record'
        equal 2 "$status"
        has "$output" '{ "type":"note", "n" : 1 }'
        equal r1 "$(jq -r 'select(.type == "error").id' <<<"$output")"
        has "$stderr" "$name: line 3: not JSON"
    done
}

@test "a request that no vendor could be sent is refused by its field, before any key is asked for" {
    for name in anthropic bedrock gemini ollama; do
        provider "$name" <<<'{"type":"request","id":"1","messages":[],"max_tokens":3}'
        has "$(jq -r 'select(.type == "error").message' <<<"$output")" messages
    done
}

@test "the list of models is refused without a key, by name" {
    provider gemini --list-models </dev/null
    equal 100 "$status"
    equal "gemini: no key: set GEMINI_API_KEY or GOOGLE_API_KEY" "$stderr"
}

@test "a schema and a help text load neither socket nor botocore nor asyncio" {
    for name in anthropic bedrock gemini ollama; do
        for option in --agent-schema --help; do
            python3 -IS -X importtime "$ROOT/providers/$name" "$option" >/dev/null 2>loaded
            run grep -E '\| +(httpx|socket|botocore|asyncio|ssl|typing|dataclasses)$' loaded
            equal 1 "$status"
        done
    done
}
