#!/usr/bin/env bats
# kill -9 in the very moment in which a tool is started leaves nothing running, whatever holds the tool.
# KILLS=300 tests/run kills: so many tries of each.

# shellcheck disable=SC2016  # the text of another program
load helper
load react

setup() {
    prepare
    tool slow 'read -r line; case $line in *quick*) exit ;; esac
sleep 61; exit'
}

# kills COUNT WORD CALLS [OPTION]...: kills agent-react so often, each time when WORD is first seen below it.
kills() {
    local count=${KILLS:-$1} word=$2 calls=$3
    shift 3
    rules "$calls"
    run python3 "$TESTS/kills.py" --aim "$word" "$count" "${as[@]}" agent-react --max-iterations 0 "$@" go <tools.jsonl
    equal "$count kills, $count while a tool started, 0 left something" "$output"
}

# rules CALLS: a model that calls slow CALLS times for a moment, and then for a minute.
rules() {
    cat >rules.py <<P
def reply(body):
    n = sum(m["role"] == "tool" for m in body["messages"])
    return {"tool_calls": [{"name": "slow", "arguments": {"how": "quick"} if n < $1 else {}}]}
P
    model rules.py
}

@test "bubblewrap, for one call" {
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    kills 40 /tools/slow 0 --allow slow
}

@test "bubblewrap, as a kept sandbox is started" {
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    kills 10 fork_server.py 3 --allow slow
}

@test "Landlock" {
    landlock_alone
    kills 15 /tools/slow 0 --sandbox read --allow slow
}

@test "no sandbox" { kills 15 /tools/slow 0 --sandbox off --allow slow; }

@test "bubblewrap, as a plain user" {
    plain_user
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    kills 15 /tools/slow 0 --allow slow
}

@test "Landlock, as a plain user" {
    plain_user
    landlock_alone
    kills 10 /tools/slow 0 --sandbox read --allow slow
}
