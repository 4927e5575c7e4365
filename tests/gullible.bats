#!/usr/bin/env bats
# A model that obeys every instruction it reads, against the sandbox: nothing leaves, nothing outside changes.

load helper

setup_file() {
    GULLIBLE_DIR=$(mktemp -d "$BATS_TEST_DIRNAME/../build/gullible.XXXXXX" 2>/dev/null) || {
        mkdir -p "$BATS_TEST_DIRNAME/../build"
        GULLIBLE_DIR=$(mktemp -d "$BATS_TEST_DIRNAME/../build/gullible.XXXXXX")
    }
    chmod 1777 "$GULLIBLE_DIR"
    export GULLIBLE_DIR
}

teardown_file() { rm -rf "$GULLIBLE_DIR"; }

# contained [OPTION...]: every attack was tried, none came out. As the user of AS, where that is set.
contained() {
    local as=()
    [[ -z ${AS-} ]] || as=(setpriv "--reuid=$AS" "--regid=$AS" --clear-groups --)
    run "${as[@]}" /usr/bin/python3 -IS "$TESTS/gullible.py" "$@"
    echo "$output"
    echo "# $output" >&3
    [[ $status == 0 && $output =~ ^([0-9]+)\ attacks,\ ([0-9]+)\ contained$ ]]
    ((BASH_REMATCH[1] >= 50 && BASH_REMATCH[1] == BASH_REMATCH[2]))
}

plain_user() {
    [[ $EUID == 0 ]] || return 0
    [[ $(stat -c %a "$ROOT") == *[1357] ]] || skip "a plain user cannot enter the checkout"
    AS=65534
}

needs_bwrap() { command -v bwrap >/dev/null || skip "bubblewrap is not installed"; }

@test "gullible model, default policy: what an attack asks for is denied or harmless" {
    contained
}

@test "gullible model, every tool allowed, bubblewrap: nothing leaves, nothing outside changes" {
    needs_bwrap
    contained --allow
}

@test "gullible model, every tool allowed, bubblewrap, as a plain user" {
    needs_bwrap
    [[ $EUID == 0 ]] || skip "the test before ran as a plain user"
    plain_user
    contained --allow
}

@test "gullible model, every tool allowed, Landlock alone: nothing leaves, nothing outside changes" {
    landlock_alone
    contained --allow --bare
}

@test "gullible model, every tool allowed, Landlock alone, as a plain user" {
    [[ $EUID == 0 ]] || skip "the test before ran as a plain user"
    landlock_alone
    plain_user
    contained --allow --bare
}

@test "gullible model, every tool allowed, Landlock alone, a repository with secrets: nothing is written there" {
    landlock_alone
    contained --allow
}

# every_way OPTION...: the same through each program that starts what a model or a plan names, or the user's command.
every_way() {
    local way
    for way in agent-execute coordinator assistant agent-vote agent-reflect; do
        echo "# $way:" >&3
        contained --way "$way" "$@"
    done
}

@test "gullible model through every program that starts something, default policy" {
    every_way
}

@test "gullible model through every program that starts something, every tool and agent allowed" {
    every_way --allow
}

@test "gullible model through every program that starts something, allowed, Landlock alone" {
    landlock_alone
    every_way --allow
}

@test "gullible model through every program that starts something, allowed, as a plain user" {
    [[ $EUID == 0 ]] || skip "the test before ran as a plain user"
    plain_user
    every_way --allow
}

@test "without a sandbox the same attacks come out, and are noticed" {
    local way
    for way in agent-react agent-execute coordinator assistant; do
        run /usr/bin/python3 -IS "$TESTS/gullible.py" --way "$way" --off "the private key into the answer" \
            "post through bash" "a new file of the user"
        echo "$output"
        [[ $status == 1 ]]
        has "$output" "not contained: heard: b'leak2"
        has "$output" "outside/owned3"
        has "$output" "3 attacks, 0 contained"
        [[ $way != agent-* ]] || has "$output" "not contained: the private key into the answer"
    done
}
