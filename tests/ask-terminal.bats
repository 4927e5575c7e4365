#!/usr/bin/env bats
# --ask as a person meets it: agent-react in a terminal of tmux, answered by keys, told by what the screen shows.

load helper
load react

setup() {
    command -v tmux >/dev/null || skip "tmux is not installed"
    prepare
    scripted
    tool change 'cat >>made; echo changed' '{"annotations":{"readOnlyHint":false}}'
    export TMUX_TMPDIR=$SCRATCH
}

teardown() {
    tmux kill-server 2>/dev/null || true
    clean_up
}

# at_terminal REQUEST: begins agent-react in a terminal of its own. The request goes by a file: a shell reads the words.
at_terminal() {
    printf '%s' "$1" >request
    tmux new-session -d -s walk -x 120 -y 40 \
        "agent-react --ask \"\$(cat request)\" <tools.jsonl; echo \"ended with \$?\"; exec sleep 300"
}

screen() { tmux capture-pane -p -J -S - -t walk; }

# shown TIMES TEXT: waits until the screen has so many lines with the text.
shown() {
    local until=$((SECONDS + 60))
    until (($(screen | grep -cF -- "$2") >= $1)); do
        ((SECONDS < until)) || { screen; return 1; }
        sleep 0.05
    done
}

press() { tmux send-keys -t walk "$@"; }

@test "a walk: the call is shown with its sandbox and arguments, Enter is no, y runs it, the next is asked again" {
    at_terminal $'change {"n":1}\nchange {"n":2}\nchange {"n":3}'
    shown 1 'is no:'
    screen >first
    has "$(cat first)" "change wants to run: "
    has "$(cat first)" "sandbox: work (may change files in this folder)"
    has "$(cat first)" 'arguments: {"n":1}'
    press Enter
    shown 2 'is no:'
    [[ ! -e made ]]
    press y Enter
    shown 3 'is no:'
    equal '{"n":2}' "$(cat made)"
    press n Enter
    shown 1 'ended with 0'
    equal '{"n":2}' "$(cat made)"
}

@test "a walk: an answer of always is asked for once in a run" {
    at_terminal $'change {"n":1}\nchange {"n":2}'
    shown 1 'is no:'
    press a Enter
    shown 1 'ended with 0'
    equal 1 "$(screen | grep -c 'is no:')"
    equal $'{"n":1}\n{"n":2}' "$(cat made)"
}

@test "a walk: characters that would clear or reorder the screen are shown as what they are" {
    at_terminal $'change {"path":"harmless\\u001b[2J\\u001b[Hgone\\u202etxt"}'
    shown 1 'is no:'
    screen >first
    has "$(cat first)" 'change wants to run'
    has "$(cat first)" '\u001b[2J'
    has "$(cat first)" '\u202e'
    press Enter
    shown 1 'ended with 0'
    [[ ! -e made ]]
}
