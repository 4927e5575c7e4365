#!/usr/bin/env bats
# agent-memory --semantic: search by meaning, with a scripted model that makes embeddings; agent-llm's embed records.
load helper

# The meaning of a text is which of these words it has: one direction for each group.
RULES='
GROUPS = [("car", "automobile", "vehicle"), ("dog", "puppy"), ("deploy", "ship", "release")]
SEEN = set()
def reply(body): return "no"
def embed(text):
    if "slow" in text and text not in SEEN:
        SEEN.add(text)
        return {"status": 429, "headers": {"retry-after": "0.1"}, "body": {"error": {"message": "slow down"}}}
    if "impossible" in text: return {"status": 400, "body": {"error": {"message": "no such thing"}}}
    if len(text) > 900: return {"status": 400, "body": {"error": {"message": "maximum context length exceeded"}}}
    return [1.0 if any(word in text.lower() for word in group) else 0.0 for group in GROUPS] + [0.1]
'

setup() {
    prepare
    model "$RULES"
    export AGENT_EMBEDDINGS=openai
    agent-memory remember wheels 'my automobile is green'
    agent-memory remember rex 'our puppy'
    agent-memory remember colours 'the logo is green'
}

# found WORD...: the keys that a semantic search finds, the best first.
found() { agent-memory search --semantic "$@" | jq -r .key | xargs; }

# asked: the texts that were embedded, one a line.
asked() { requests | jq -r 'select(.input) | .input[]'; }

@test "car finds automobile, which the words alone do not" {
    run -1 agent-memory search car
    equal wheels "$(found car)"
    equal true "$(agent-memory search --semantic car | jq '.similarity > 0.9 and .type == "memory"')"
}

@test "what fits by words and by meaning comes first; what fits by one of them is there too" {
    agent-memory remember parked 'the vehicle in the yard'
    agent-memory remember note 'a car'
    equal 'note parked wheels' "$(found car)"
    equal 'note wheels' "$(found green car | xargs -n 1 | head -n 2 | sort | xargs)"
    equal 'colours parked' "$(found green car | xargs -n 1 | tail -n 2 | sort | xargs)"
}

@test "vectors are made when they are first needed, and once" {
    equal 0 "$(asked | wc -l)"
    found car
    equal $'car\ncolours: the logo is green\nrex: our puppy\nwheels: my automobile is green' "$(asked | sort)"
    found dog
    agent-memory remember rex 'our dog' # a new version, and so a new vector
    found dog
    equal 'dog dog rex: our dog' "$(asked | tail -n +5 | sort | xargs)"
}

@test "a vector goes with its version" {
    found car
    agent-memory forget wheels
    run -1 agent-memory search --semantic car
    agent-memory undo wheels
    equal wheels "$(found car)"
    agent-memory remember wheels 'a bicycle'
    agent-memory forget wheels
    agent-memory vacuum
    run -1 agent-memory search --semantic car
    equal 2 "$(sqlite3_count 'SELECT count(*) FROM vectors')"
}

sqlite3_count() {
    python3 -c 'import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())' \
        "$HOME/.local/share/agentutils/memory/default.db" "$1"
}

@test "another model is noticed: its vectors are made again, beside those of the first; embed drops those" {
    found car
    run -0 --separate-stderr agent-memory search --semantic=openai/other car
    equal wheels "$(jq -r .key <<<"$output")"
    has "$stderr" "the vectors are of openai/text-embedding-3-small; making those of openai/other"
    equal 6 "$(sqlite3_count 'SELECT count(*) FROM vectors')"
    run -0 --separate-stderr agent-memory search --semantic car
    equal '' "$stderr"
    run -0 agent-memory embed --semantic=openai/other
    equal 'agent-memory: 0 vectors made' "$output"
    equal 'openai/other 3' "$(sqlite3_count 'SELECT min(model), count(*) FROM vectors GROUP BY model')"
}

@test "the same model with vectors of another length is noticed too" {
    found car
    model "${RULES/+ \[0.1\]/+ [0.1, 0.0]}"
    equal wheels "$(found car)"
    equal 20 "$(sqlite3_count 'SELECT max(length(vector)) FROM vectors')"
}

@test "one search makes at most 1000 vectors and says what is left; embed makes the rest" {
    jq -cn 'range(1100) | {type:"memory", key:"key \(.)", value:.}' | agent-memory import >/dev/null
    run -1 --separate-stderr agent-memory search --semantic car # the newest get theirs first
    has "$stderr" "1000 of 1103 vectors made"
    has "$stderr" "103 memories have no vector yet: \`agent-memory embed\` makes all of them"
    run -0 agent-memory embed
    equal 'agent-memory: 103 vectors made' "$output"
    equal wheels "$(found car)"
    (($(requests | jq 'select(.input) | .input | length' | sort -n | tail -n 1) <= 50))
}

@test "tags, namespaces and the limit hold for what is found by meaning" {
    agent-memory remember van 'a vehicle' --tag work
    agent-memory remember other 'a vehicle' --namespace else
    equal van "$(found car --tag work)"
    equal other "$(found car --namespace else)"
    equal 'other van wheels' "$(found car --all | xargs -n 1 | sort | xargs)"
    equal 1 "$(found car --limit 1 | wc -w)"
}

@test "load adds what fits the request by its meaning, the stream before it" {
    run -0 agent-memory load --semantic <<<'{"type":"input","text":"Which car?"}'
    equal input "$(jq -r .type <<<"${lines[0]}")"
    equal wheels "$(jq -r .key <<<"${lines[1]}")"
    equal 2 "${#lines[@]}"
}

@test "a text that is too long for the model is cut until it fits" {
    agent-memory remember long "puppy $(printf 'word %.0s' {1..700})"
    run -0 agent-memory search --semantic dog
    has "$(jq -r .key <<<"$output")" long
}

@test "no such provider, no model here, one that makes no embeddings: a line each, and the status" {
    run -127 --separate-stderr agent-memory search --semantic=nobody car
    has "$stderr" "agent-memory: --semantic=nobody: no provider 'nobody'"
    equal '' "$output"
    run -100 --separate-stderr env -u AGENT_EMBEDDINGS agent-memory search --semantic car
    has "$stderr" "agent-llm local install --size embeddings"
    run -100 --separate-stderr env ANTHROPIC_API_KEY=key-5ecre7 agent-memory search --semantic=anthropic car
    has "$stderr" "embed: anthropic makes no embeddings"
    run -100 --separate-stderr env -u OPENAI_API_KEY agent-memory search --semantic car
    has "$stderr" "set OPENAI_API_KEY"
    end_model
    run -111 --separate-stderr env AGENT_CONNECT_TIMEOUT=1 agent-memory search --semantic car
    has "$stderr" "cannot connect"
    equal 1 "$(wc -l <<<"$stderr")"
}

@test "invalid vectors are reported" {
    uses jq
    mkdir providers
    for made in '[[1,2],[3,4]]' '[["x"]]' '"vector"'; do
        cat >providers/liar <<EOF
#!/bin/sh
[ "\$1" != --agent-schema ] || exec echo '{"name":"liar","description":"lies","kind":"provider"}'
exec jq -c --unbuffered '{type: "embedding", id, vectors: $made, model: "m"}'
EOF
        chmod +x providers/liar
        run -111 env AGENT_PROVIDER_PATH="$PWD/providers" agent-memory search --semantic=liar car
        has "$output" "vectors"
        equal 1 "${#lines[@]}"
    done
}

@test "one memory that cannot be embedded is reported; nothing is kept in part" {
    agent-memory remember bad 'an impossible thing'
    run -100 agent-memory search --semantic car
    has "$output" "no such thing"
    equal 0 "$(sqlite3_count 'SELECT count(*) FROM vectors')"
}

@test "a store that cannot be written is searched with the vectors it has" {
    cp -R "$HOME/.local/share/agentutils/memory" kept
    found car
    [[ $EUID != 0 ]] || skip "root may write everywhere"
    chmod -R a-w kept
    run -1 --separate-stderr agent-memory search --semantic car --store kept/default.db
    has "$stderr" "the store is read only"
}

@test "without --semantic nobody is asked and nothing more is imported" {
    agent-memory search green >/dev/null
    equal '' "$(requests)"
    python3 -IS -X importtime "$ROOT/bin/agent-memory" search green 2>loaded >/dev/null
    run ! grep -E 'semantic|vectors|coprocess|subprocess|numpy' loaded
}

@test "agent-llm answers embed records among others, each once, with retries" {
    run -1 --separate-stderr agent-llm --retries 1 <<'EOF'
{"type":"note"}
{"type":"embed","id":"a","texts":["a slow car","a dog"]}
{"type":"embed","id":"b","texts":["impossible"]}
{"type":"embed","id":"c","texts":[""]}
{"type":"embed","texts":["car"],"model":"openai/mine"}
{"type":"request","id":"e","messages":[{"role":"user","content":"hi"}]}
EOF
    equal '5 embedding mine
a embedding text-embedding-3-small
b error invalid_request
c error invalid_input
e response test-model
note' "$(jq -r '[.id // empty, .type, .kind // .model // empty] | join(" ")' <<<"$output" | sort)"
    equal '[[1,0,0,0.1],[0,1,0,0.1]]' "$(jq -c 'select(.id == "a").vectors' <<<"$output")"
}

@test "a provider that knows no embed record passes it through, and agent-llm says that it makes none" {
    uses curl jq
    run -1 --separate-stderr agent-llm <<<'{"type":"embed","id":"a","texts":["x"],"provider":"openai-sh"}'
    equal 'a invalid_request openai-sh: makes no embeddings' "$(jq -r '"\(.id) \(.kind) \(.message)"' <<<"$output")"
}

@test "agent-discover find --semantic: a tool is found by what it means" {
    mkdir -p tools
    printf '#!/bin/sh\necho %s # --agent-schema\n' "'{\"name\":\"roll_out\",\"description\":\"Ship the site\"}'" >tools/roll_out
    printf '#!/bin/sh\necho %s # --agent-schema\n' "'{\"name\":\"walk\",\"description\":\"Walk a puppy\"}'" >tools/walk
    chmod +x tools/*
    export AGENT_TOOL_PATH=$PWD/tools
    run -1 agent-discover find deploy </dev/null
    run -0 agent-discover find --semantic deploy </dev/null
    equal roll_out "$(jq -r .name <<<"${lines[0]}")"
    lacks "$output" walk
    run -0 agent-discover find --semantic=openai a dog </dev/null
    equal walk "$(jq -r .name <<<"${lines[0]}")"
}
