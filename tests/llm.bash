# shellcheck shell=bash
# llm - for the tests of agent-llm: providers that are small scripts

# fake NAME BODY: a provider in POSIX shell that runs BODY; it answers --agent-schema with SCHEMA's fields added.
fake() {
    mkdir -p "$SCRATCH/providers"
    export AGENT_PROVIDER_PATH=$SCRATCH/providers
    cat >"$SCRATCH/providers/$1" <<EOF
#!/bin/sh
[ "\$1" = --agent-schema ] && {
    echo '{"name":"$1","description":"A provider of a test","kind":"provider","models":["$1-1"]${SCHEMA:+,$SCHEMA}}'
    exit
}
response() { # ID TEXT: the final record
    printf '{"type":"response","id":"%s","message":{"role":"assistant","content":"%s"},"stop_reason":"end_turn"}\n' "\$1" "\$2"
}
id() { # LINE: its id
    id=\${1#*\"id\":\"}
    echo "\${id%%\"*}"
}
$2
EOF
    chmod +x "$SCRATCH/providers/$1"
}

# echoing: the provider that says what it is asked, see tests/fixtures/providers/echo.
echoing() {
    export AGENT_PROVIDER_PATH=$TESTS/fixtures/providers AGENT_PROVIDER=echo
}

# request ID TEXT [FIELDS]: a `request` record.
request() {
    jq -cn --arg id "$1" --arg text "$2" --argjson more "${3:-{\}}" \
        '{type: "request", id: $id, messages: [{role: "user", content: $text}]} + $more'
}
