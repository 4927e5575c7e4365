# shellcheck shell=bash
# helper - what every bats file loads: a private home, a clean environment, a scripted model
#
# `load helper` gives each test a scratch folder as working folder, an empty HOME, no key, and as PATH the programs of
# the suite as installed (tests/prefix) and of the system. ROOT is the installed suite, never the checkout; TESTS is the
# folder of this file. A test file that needs more defines setup and teardown and calls `prepare`, `clean_up`.

unset "${!LC_@}" # whoever runs the tests: texts here are in UTF-8
export LANG=C.UTF-8
TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
SUITE_PREFIX=${SUITE_PREFIX:-$("$TESTS/prefix")}
ROOT=$SUITE_PREFIX/lib/agentutils
SHARE=$(realpath "$ROOT")/share # a tool in its sandbox sees the folder, perhaps not the link to it
SYSTEM=$SHARE/system
export TESTS SUITE_PREFIX ROOT SHARE SYSTEM
BATS_DEBUG_EXCLUDE_PATHS+=("$TESTS/helper.bash") # not traced: three times as quick
bats_require_minimum_version 1.5.0

# Programs of the tests alone: the suite does not find them on its PATH but in a test that says `uses jq`.
jq() { "$SHARE/alone/jq/jq" "$@"; }
uses() {
    local name
    for name in "$@"; do
        [[ -e $SHARE/alone/$name/$name ]] || skip "$name is not installed"
        PATH+=:$SHARE/alone/$name
    done
}

# landlock_alone: from here on as where bubblewrap is not installed.
landlock_alone() { PATH=${PATH/":$SHARE/alone/bwrap"/}; }

setup() { prepare; }
teardown() { clean_up; }

prepare() {
    # shellcheck disable=SC2046  # one name a word
    unset $(compgen -e | grep -iE '_(api_key|base_url|proxy)$|^(xdg|python|agent|llm|ollama|azure|openai|aws|google)_?')
    SCRATCH=${BATS_TEST_TMPDIR:?}
    export SCRATCH HOME=$SCRATCH/home LANG=C.UTF-8 TMPDIR=$SCRATCH/tmp
    export PATH=$SUITE_PREFIX/bin:$SYSTEM:$SHARE/alone/bwrap
    mkdir -p "$HOME/.local/state/agentutils/history" "$TMPDIR" "$SCRATCH/here" # so nothing is said of its first use
    cd "$SCRATCH/here" || return
}

clean_up() {
    end_model
    no_survivors
}

# wait_until COMMAND...: until it succeeds. Fails after two minutes: what takes so long on the busiest machine does not come.
wait_until() {
    local until=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || { echo "did not come true in two minutes: $*" >&2; return 1; }
        sleep 0.05
    done
}

# gone COMMAND...: the same until it fails.
gone() { wait_until not "$@"; }
not() { ! "$@"; }

# running TEXT: the pids of the processes of this test with the text in their command line; status 1 if there is none.
# Another test may have one with the same command line.
running() {
    local pid line found=1
    for pid in $(survivors); do
        line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || continue
        [[ $line != *"$1"* ]] || { echo "$pid" && found=0; }
    done
    return $found
}

# no_survivors [SECONDS]: fails, naming them, where processes started by this test are still there after so
# long (default 20). A test that means to leave a process (a warm model) ends it itself before its end.
no_survivors() {
    local until=$((SECONDS + ${1:-20})) left
    while left=$(survivors) && [[ -n $left ]]; do
        if ((SECONDS >= until)); then
            # shellcheck disable=SC2086  # one pid a word
            echo "processes of this test survived it:" $left >&2
            for left in $left; do
                tr '\0' ' ' <"/proc/$left/cmdline" >&2 || true
                echo >&2
                kill -9 "$left" 2>/dev/null || true
            done
            return 1
        fi
        sleep 0.05
    done
}

# survivors: the pids of processes with this test's folder in their environment (as HOME, whatever else a program
# takes away from those it starts) that are not this test itself.
survivors() {
    local file pid ignored=" $$ $BASHPID $PPID ${BATS_ROOT_PID-} "
    while read -r file; do
        pid=${file#/proc/} pid=${pid%/environ}
        [[ $ignored != *" $pid "* ]] && ! is_ours "$pid" && echo "$pid"
    done < <(grep -slaF -- "$SCRATCH/" /proc/[0-9]*/environ) || true
}

# is_ours PID: whether it is a bats process or part of this very check.
is_ours() {
    local line
    [[ -e /proc/$1/cmdline ]] || return 0
    line=$(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null) || return 0
    [[ -z $line || $line == *bats-exec* || $line == "grep -slaF -- "* ]]
}

# model RULES [OPTION...]: starts tests/model_server.py and points the suite at it. RULES is a file, or Python
# text with `def reply(body)`, or plain text, which is then the answer to everything.
model() {
    local rules=$1
    shift
    if [[ ! -f $rules ]]; then
        if [[ $rules == *"def reply("* ]]; then
            printf '%s\n' "$rules" >"$SCRATCH/rules.py"
        else
            rules=$(jq -cn --arg text "$rules" '$text')
            printf 'def reply(body):\n    return %s\n' "$rules" >"$SCRATCH/rules.py"
        fi
        rules=$SCRATCH/rules.py
    fi
    end_model
    : >"$SCRATCH/requests.jsonl"
    mkfifo "$SCRATCH/address"
    python3 "$TESTS/model_server.py" "$rules" --with-parent --log "$SCRATCH/requests.jsonl" "$@" \
        >"$SCRATCH/address" 2>"$SCRATCH/server.err" 3>&- </dev/null &
    echo $! >"$SCRATCH/server.pid"
    read -r OPENAI_BASE_URL <"$SCRATCH/address" || { cat "$SCRATCH/server.err" >&2; return 1; }
    rm "$SCRATCH/address"
    export OPENAI_BASE_URL OPENAI_API_KEY=test-key AGENT_PROVIDER=openai AGENT_MODEL=test-model
}

# end_model: ends the scripted model, as a crash of the service would.
end_model() {
    [[ -s $SCRATCH/server.pid ]] || return 0
    kill "$(<"$SCRATCH/server.pid")" 2>/dev/null || true
    wait "$(<"$SCRATCH/server.pid")" 2>/dev/null || true
    rm "$SCRATCH/server.pid"
}

# requests: the bodies of the requests that reached the model, one a line.
requests() { jq -c .body "$SCRATCH/requests.jsonl"; }

# asked [N]: whether N requests (default 1) have reached the model.
asked() { (($(wc -l <"$SCRATCH/requests.jsonl") >= ${1:-1})); }

# request_log: the same with time, method, path and headers.
request_log() { cat "$SCRATCH/requests.jsonl"; }

# equal WANTED GOT: compares whole texts and shows the difference.
equal() {
    [[ $1 == "$2" ]] && return
    diff -u --label wanted --label got <(printf '%s\n' "$1") <(printf '%s\n' "$2") >&2
}

# taken DESCRIPTOR: whether nothing is left in the pipe: who reads it has read all that was written.
taken() { python3 -c 'import fcntl, sys, termios; sys.exit(any(fcntl.ioctl(int(sys.argv[1]), termios.FIONREAD, bytes(4))))' "$1"; }

# newest: the file of the history that was begun last; at midnight there are two.
newest() { printf '%s\n' "$HOME"/.local/state/agentutils/history/*.jsonl | tail -n 1; }

# has TEXT PART: the text has the part.
has() {
    [[ $1 == *"$2"* ]] || { printf 'wanted in the text: %s\nthe text:\n%s\n' "$2" "$1" >&2; return 1; }
}

# lacks TEXT PART: the text has no such part.
lacks() {
    [[ $1 != *"$2"* ]] || { printf 'not wanted in the text: %s\nthe text:\n%s\n' "$2" "$1" >&2; return 1; }
}

# need_data PATH: sets DATA to the test data beside the checkout; the test is skipped if it does not exist.
need_data() {
    DATA=${SHARED:-$TESTS/../../shared}/$1
    [[ -e $DATA ]] || skip "the test data $1 is not here"
    export DATA
}
