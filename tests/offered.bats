#!/usr/bin/env bats
# What is offered can be used: each tool of an installed copy, called through agent-react's sandbox, with bubblewrap and with Landlock alone.
# shellcheck disable=SC2016,SC2030,SC2031  # texts of other programs; each test has a PATH of its own
load helper
load react

setup_file() {
    export PLACE=$BATS_FILE_TMPDIR/place SOURCE=$BATS_FILE_TMPDIR/source
    mkdir -p "$BATS_FILE_TMPDIR/home" "$SOURCE"
    local parts
    mapfile -t parts < <(awk '!/^#/ { print $1 }' "$BATS_TEST_DIRNAME/../packaging/tree.txt")
    (cd "$BATS_TEST_DIRNAME/.." && cp -R "${parts[@]}" "$SOURCE")
    HOME=$BATS_FILE_TMPDIR/home PATH=/usr/local/bin:/usr/bin:/bin:$PATH \
        "$SOURCE/install.sh" --prefix "$PLACE" >"$BATS_FILE_TMPDIR/log" 2>&1 3>&- || true
    if grep -q 'out of reach\|cannot reach' "$BATS_FILE_TMPDIR/log"; then export OFFLINE=1; fi
    # the system's programs without bubblewrap
    mkdir "$BATS_FILE_TMPDIR/programs"
    ln -s /usr/bin/* "$BATS_FILE_TMPDIR/programs/"
    rm -f "$BATS_FILE_TMPDIR/programs/bwrap"
}

setup() {
    prepare
    [[ -z ${OFFLINE-} ]] || skip "the package index is out of reach"
    mkdir -p "$HOME/skills/plain" "$HOME/elsewhere/linked" "$HOME/.cargo/bin" "$HOME/programs" "$HOME/project"
    cd "$HOME/project" || return
    printf -- '---\nname: plain\ndescription: A skill\n---\nBODY\n' >"$HOME/skills/plain/SKILL.md"
    echo REFERENCE >"$HOME/skills/plain/reference.md"
    printf -- '---\nname: linked\ndescription: A skill\n---\nLINKED\n' >"$HOME/elsewhere/linked/SKILL.md"
    ln -s "$HOME/elsewhere/linked" "$HOME/skills/linked"
    printf '#!/bin/sh\necho "ruff saw $#"; (: >"$0") 2>&- || echo read-only\n' >"$HOME/.cargo/bin/ruff"
    printf '#!/bin/sh\n# helper - help\nexec agent-react --name helper --description Help "$@" -\n' >"$HOME/programs/helper"
    chmod +x "$HOME/.cargo/bin/ruff" "$HOME/programs/helper"
    printf 'one\ntwo\n' >a.txt
    printf 'x = = 1\n' >a.py
    printf 'if\n' >a.sh
    printf '{"id":1234567890123456789,"version":3.10}\n' >a.json
}

# every: calls each tool that is offered, and compares what comes; each row: a tool, its arguments, what its answer holds
every() {
    scripted
    agent-discover --user --register "$HOME/programs/helper"
    {
        agent-discover
        agent-discover agent-memory
        agent-discover --agents | jq -c 'select(.name == "helper")'
        agent-context --skills "$HOME/skills" </dev/null
    } >tools.jsonl
    local name arguments wanted called=()
    while IFS='|' read -r name arguments wanted; do
        called+=("$name")
        react --events --allow 'fetch_url:net' --allow '*' "$name $arguments"
        [[ $(results) == *"$wanted"* ]] || fail "$name $arguments: $(results) $stderr"
        [[ $(jq -c 'select(.role == "tool") | .is_error' <<<"$output") == null || $name == fetch_url ]] || fail "$name: $(results)"
    done <<'ROWS'
calculator|{"expression":"2*21"}|42
column_stats|{"text":"3\n4"}|"sum\":7
current_time|{}|20
edit_file|{"path":"a.txt","old":"one","new":"1"}|changed a.txt
find_agent|{"request":"review code"}|Found: code-reviewer
json_query|{"query":".id, .version","path":"a.json"}|1234567890123456789\n3.10
list_files|{}|a.txt
read_file|{"path":"a.txt"}|1\ntwo
reverse|{"text":"abc"}|cba
run_command|{"command":"echo hi"}|hi
run_linter|{"path":"a.py"}|ruff saw
run_linter|{"path":"a.py"}|read-only
run_linter|{"path":"a.sh"}|a.sh
scan_security|{"path":"a.py"}|a
search_files|{"text":"two"}|a.txt:2: two
uppercase|{"text":"abc"}|ABC
wordcount|{"text":"a b"}|2
write_file|{"path":"b.txt","content":"x"}|made b.txt
fetch_url|{"url":"http://127.0.0.1:1/"}|not an address of the public internet
remember|{"key":"k","value":"v \u5929\u6c14"}|remembered
recall|{"key":"k"}|v 天气
search_memory|{"words":"\u5929"}|v 天气
forget|{"key":"k"}|forgotten
skill|{"name":"plain"}|BODY
skill|{"name":"plain","file":"reference.md"}|REFERENCE
skill|{"name":"linked"}|LINKED
call_agent|{"name":"text-processor","input":"= done"}|done
helper|{"input":"= helped"}|helped
ROWS
    # no tool is left out of the rows
    equal "$(jq -r 'select(.type == "tool").name' tools.jsonl | sort -u)" "$(printf '%s\n' "${called[@]}" | sort -u)"
}

fail() {
    echo "$*" >&2
    return 1
}

@test "with bubblewrap each tool does its work" {
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    export PATH=$PLACE/bin:/usr/bin:/bin
    run agent-react --sandbox-status
    has "$output" 'sandbox: bubblewrap'
    every
}

@test "with Landlock alone each tool does its work" {
    export PATH=$PLACE/bin:$BATS_FILE_TMPDIR/programs
    run agent-react --sandbox-status
    ((status != 127))
    [[ $output == *'sandbox: landlock'* ]] || skip "no Landlock here"
    every
}
