#!/usr/bin/env bats
# Half lines and full disks: what was whole is used and stays, one line says what failed, the status is right.
load helper

setup() {
    prepare
    big=$(printf 'a%.0s' {1..6000})
}

# small BODY: runs the lines of BODY with $DISK, a disk of 256 KiB, as F; `fill` in it leaves no room. Output and messages
# together.
small() {
    bwrap --ro-bind / / true 2>/dev/null || skip "no bubblewrap that works here"
    run timeout 60 bwrap --bind / / --dev /dev --proc /proc --size 262144 --tmpfs "$TMPDIR" bash -c "
        fill() { dd if=/dev/zero of=$TMPDIR/fill bs=4k 2>/dev/null || true; }
        cd $TMPDIR; $1" 2>&1
}

half() { printf '%s' '{"type":"exchange","key":"' >>"$1"; }

@test "a tape that ends in a half line is replayed up to there, with a message, and corrected before it is added to" {
    model hello
    agent-llm --record tape one </dev/null
    half tape
    run -0 --separate-stderr agent-llm --replay tape one </dev/null
    equal hello "$output"
    has "$stderr" "tape: its last line was cut off"
    agent-llm --record tape two </dev/null
    equal '"one" "two"' "$(jq -c '.request.messages[0].content' tape | paste -sd' ')"
    run -0 --separate-stderr agent-llm --replay tape two </dev/null
    equal "" "$stderr"
}

@test "half a line in the middle of a tape is damage, and reported" {
    model hello
    half tape
    echo >>tape
    run -2 agent-llm --replay tape one </dev/null
    has "$output" "tape: line 1: not a tape"
}

@test "the steps before a half line are not run again, those behind it are kept whole" {
    printf '{"type":"step","id":"%s","task":"x"}\n' a b >plan
    agent-execute --quiet --state state -- echo hi <plan >/dev/null
    truncate -s -3 state
    lost=$(jq -r 'select(.type == "step") | .id' state 2>/dev/null | grep -vxF "$(head -1 state | jq -r .id)" || true)
    equal "" "$lost"
    run -0 agent-execute --quiet --state state -- sh -c 'echo again >>ran; echo hi' <plan
    equal again "$(<ran)"
    equal 2 "$(jq -s length state)"
}

@test "after a half line an audit log continues with a complete one" {
    model hello
    half log
    agent-react --plugin 'audit log' hi </dev/null
    equal before_run "$(jq -rs '.[0].hook' log)"
}

@test "results that end in a half line: the task runs again, and its result is on a line of its own" {
    model hello
    printf '{"type":"task","id":"%s","input":"hi"}\n' a b >tasks
    agent-react <tasks >results
    truncate -s -9 results
    # shellcheck disable=SC2094  # that is how a batch is continued
    agent-react --skip-done results <tasks >>results
    equal '"a" "b"' "$(jq -c .id results | sort | paste -sd' ')"
}

@test "a ledger is read to the end of its line; half of one is refused" {
    model hello
    printf '{"usd":null,"tokens":100000}\n{"usd":nu' >ledger
    AGENT_BUDGET=$PWD/ledger run -0 agent-llm hi </dev/null
    equal 1 "$(wc -l <ledger)"
    equal true "$(jq '.spent_tokens > 0' ledger)"
    printf '{"usd":null,"tok' >ledger
    AGENT_BUDGET=$PWD/ledger run -2 agent-llm hi </dev/null
    has "$output" "not a ledger"
}

@test "a full disk: the answer is printed, the tape is as it was, and the status says that it lacks one" {
    uses jq
    model hello
    small "agent-llm --record tape one; fill; agent-llm --record tape two$big 2>&3; echo status \$?; jq -c type tape" 3>err
    equal "agent-llm: this answer is not kept: tape: No space left on device" "$(<err)"
    equal 'hello hello status 1 "object"' "${lines[*]}"
}

@test "a full disk: a state says its name, ends the run, and holds what was whole" {
    printf '{"type":"step","id":"a","task":"%s"}\n' "$big" >plan
    small "echo '{\"type\":\"step\",\"id\":\"b\",\"task\":\"x\"}' >state; fill
        agent-execute --quiet --state state -- echo hi <$PWD/plan; echo status \$?; cat state"
    equal "agent-execute: state: No space left on device" "${lines[0]}"
    [[ $output != *hi* ]]
    equal 'status 111 {"type":"step","id":"b","task":"x"}' "${lines[*]:1}"
}

@test "a full disk: memories are read, also those of a writer that was killed; a write is refused" {
    uses jq
    small "agent-memory --store ./m.db remember one 1
        python3 -IS -c 'import os, sqlite3
db = sqlite3.connect(\"m.db\", isolation_level=None)
db.execute(\"UPDATE versions SET value = 2\"); os.kill(os.getpid(), 9)'
        rm m.db-shm; fill; agent-memory --store ./m.db recall one; agent-memory --store ./m.db list | jq .value
        agent-memory --store ./m.db search one | jq .value; agent-memory --store ./m.db remember two 2; echo status \$?
        agent-memory --store ./m.db recall two; echo status \$?; agent-memory --store ./m.db check && echo well"
    has "$output" $'2\n2\n2\nagent-memory: ./m.db: the disk is full'
    has "$output" $'\nstatus 1\nstatus 1\nwell'
}

@test "a full disk: an import says how far it came, and goes on from there" {
    uses jq
    seq 30000 | jq -c '{type:"memory",key:"k\(.)",value:.}' >in
    small "agent-memory --store ./m.db import <$PWD/in >acks; echo status \$?; tail -1 acks; agent-memory --store ./m.db stats | jq .keys"
    equal "status 1" "${lines[2]}"
    kept=$(jq .count <<<"${lines[3]}")
    equal "$kept" "${lines[4]}"
    equal "$kept" "$(jq .line <<<"${lines[3]}")"
    has "$output" "$kept kept, to line $kept: continue with line $((kept + 1))"
}

@test "an import that was killed goes on behind the line that it counted last" {
    jq -cn '[range(20000)] | .[] | {type:"memory",key:"k\(. % 10)",value:.}' >in
    agent-memory import <in >acks &
    until [[ -s acks ]]; do sleep 0.01; done
    kill -9 $!
    wait $! || true
    tail -n "+$(($(tail -1 acks | jq .line) + 1))" in | agent-memory import >/dev/null
    equal 19999 "$(agent-memory recall k9)"
    # at most the one batch that was on the disk and not yet counted stands twice in the history
    versions=$(agent-memory stats | jq .versions)
    ((versions >= 20000 && versions <= 21000))
}

@test "a full disk: a review is printed before it is remembered" {
    model '{"issues":[],"suggestions":[],"score":9}'
    small "agent-discover read_file list_files run_linter >/dev/null; fill; XDG_DATA_HOME=$TMPDIR code-reviewer hi </dev/null; echo status \$?"
    equal "No issues. Score: 9 of 10" "${lines[0]} ${lines[1]}"
    has "${lines[2]}" "the disk is full"
    equal "status 1" "${lines[3]}"
}

@test "a full disk: nothing is left of a new agent, a unit or a ledger that could not be written whole" {
    small "fill; agent-new foo; echo status \$?; XDG_CACHE_HOME=$TMPDIR/c XDG_RUNTIME_DIR=$TMPDIR agent-llm budget 1; echo status \$?
        find . -type f ! -name fill"
    equal "cat: write error: No space left on device" "${lines[0]}"
    equal "status 1" "${lines[1]}"
    has "${lines[2]}" "No space left on device"
    equal "status 111" "${lines[3]}"
    equal "" "${lines[*]:4}"
}

@test "memories are read if no file may grow" {
    agent-memory --store ./m.db remember one 1
    run bash -c "(ulimit -f 0; agent-memory --store ./m.db recall one; agent-memory --store ./m.db remember two 2; echo status \$?) 2>&1 | cat"
    equal 1 "${lines[0]}"
    has "${lines[1]}" "the disk is full"
    equal "status 1" "${lines[2]}"
}

@test "what cannot be printed is an error in one line, with every program: standard output is closed, or full" {
    local program words turn=0 options=(--help --version --agent-schema)
    model 'def reply(body):
    review = "You review" in str(body["messages"])
    return "{\"issues\":[],\"suggestions\":[],\"score\":9}" if review else "hello"'
    agent-memory remember key value </dev/null
    printf '%s\n' 'agent-llm hi' 'agent-react --json hi' 'text-processor hi' 'assistant hi' 'code-reviewer hi' \
        'agent-memory recall key' 'agent-discover wordcount' 'agent-vote -q -n 1 -- echo hi' 'agent-demo' >commands
    for program in "$ROOT"/bin/*; do
        echo "${program##*/} ${options[turn++ % 3]}" >>commands
    done
    while read -r program words; do
        # shellcheck disable=SC2016,SC2086  # another shell's words; each is one
        for how in 'timeout 60 "$@" >&- </dev/null' 'timeout 60 "$@" >/dev/full </dev/null'; do
            run --separate-stderr bash -c "$how" - "$program" $words
            equal "111 1 $program $words" "$status ${#stderr_lines[@]} $program $words"
            has "$stderr" "standard output: "
        done
    done <commands
}
