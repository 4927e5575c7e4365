# shellcheck shell=bash
# react - what the tests of agent-react share: small tools, a model whose script is the request

# scripted [OPTION...]: the model of tests/script_model.py; MODEL_LINES of the request say what it does.
scripted() { model "$TESTS/script_model.py" "$@"; }

# tool NAME BODY [FIELDS]: makes tools/NAME in sh, and its record in tools.jsonl. FIELDS (JSON) are added to the
# record; without, the tool takes any object and only reads.
tool() {
    local default='{"annotations":{"readOnlyHint":true}}'
    mkdir -p tools
    printf '#!/bin/sh\n# agent-schema\n%s\n' "$2" >"tools/$1"
    chmod +x "tools/$1"
    jq -cn --arg name "$1" --arg path "$PWD/tools/$1" --argjson more "${3:-$default}" \
        '{type:"tool",name:$name,description:"a test",inputSchema:{type:"object"},command:[$path]} + $more' >>tools.jsonl
}

# react ARGUMENT...: agent-react with tools.jsonl on standard input, output and messages apart.
react() {
    [[ -e tools.jsonl ]] || : >tools.jsonl
    run --separate-stderr timeout 100 agent-react "$@" <tools.jsonl
}

# results: the contents of all tool messages in the output of --events, one JSON string a line.
results() { jq -c 'select(.role == "tool") | .content' <<<"$output"; }

# shellcheck disable=SC2034  # for those who load this
as=() FOLDER=

# plain_user: what is started with "${as[@]}" runs as nobody, with the tools in a folder that nobody can reach.
plain_user() {
    [[ $EUID == 0 ]] || skip "the tests before ran as a plain user"
    [[ $(stat -c %a "$ROOT") == *[1357] ]] || skip "a plain user cannot enter the checkout"
    FOLDER=$(mktemp -d /var/tmp/kills.XXXXXX)
    mv tools "$FOLDER" && cd "$FOLDER" || return
    chmod -R a+rwX .
    sed "s#$SCRATCH/here#$FOLDER#" "$SCRATCH/here/tools.jsonl" >tools.jsonl
    # shellcheck disable=SC2034
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$FOLDER" TMPDIR=/tmp)
}

teardown() {
    clean_up
    [[ -z $FOLDER ]] || rm -rf "$FOLDER"
}
