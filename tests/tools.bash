# shellcheck shell=bash
# tools.bash - how a tool is run, and how it fails

# tool NAME ARGUMENTS: runs it; output, stderr and status as bats keeps them.
tool() { run --separate-stderr timeout 60 "$ROOT/tools/$1" <<<"$2"; }

# fails STATUS MESSAGE: the last tool ended so, with one line on stderr and nothing on stdout.
fails() {
    equal "$1" "$status"
    equal "$2" "$stderr"
    equal "" "$output"
}
