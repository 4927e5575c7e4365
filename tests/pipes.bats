#!/usr/bin/env bats
# What is left when a stage of a pipe is killed, interrupted or left without reader: no process and no half file.
# By its other name, pipes-landlock.bats, all of it as where bubblewrap is not installed.
# shellcheck disable=SC2016  # the pipelines are expanded where they run
load helper
load react

setup() {
    prepare
    [[ $BATS_TEST_FILENAME != *-landlock.bats ]] || landlock_alone
}

@test "the wall around the tools of these pipes is the one that is meant" {
    run agent-react --sandbox-status
    if [[ $BATS_TEST_FILENAME == *-landlock.bats ]]; then
        has "$output" "sandbox: landlock"
    else
        command -v bwrap >/dev/null || skip "bubblewrap is not installed"
        has "$output" "sandbox: bubblewrap"
    fi
}

# begin SCRIPT [ARGUMENT...]: a pipeline in the background, as a terminal starts it: in a process group of its own (its
# leader is $group), signals at their defaults. Its output is in out, its messages in err, its status in status.
begin() {
    mkfifo open # a standard input that stays open for those who read it
    exec 9<>open
    python3 -c '
import os, signal, sys
os.setsid()
for signum in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
    signal.signal(signum, signal.SIG_DFL)
os.execvp("bash", ["bash", "-c", *sys.argv[1:]])' \
        "set -o pipefail; { $1; }; echo \$? >status" - "${@:2}" <open >out 2>err 3>&- 9>&- &
    group=$!
}

# process WORD...: waits for a process of this test whose command line has all the words; its pid.
process() {
    local until=$((SECONDS + 60)) pid word line
    while ((SECONDS < until)); do
        for pid in $(survivors); do
            line=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || continue
            [[ $line != bash* && $line != "python3 -c "* ]] || continue
            for word in "$@"; do [[ $line == *"$word"* ]] || continue 2; done
            echo "$pid"
            return
        done
        sleep 0.02
    done
    echo "no process has in its command line: $*" >&2
    return 1
}

# ended: the pipeline ends within moments; nothing that it started but the scripted model is left. What it would wait for
# takes a minute and more.
ended() {
    local until=$((SECONDS + 30)) left model=0
    exec 9>&-
    [[ ! -s $SCRATCH/server.pid ]] || model=$(<"$SCRATCH/server.pid")
    while left=$(survivors | grep -vx "$model") && [[ -n $left ]]; do
        ((SECONDS < until)) || { ps -o pid,args -p "${left//$'\n'/,}" >&2; return 1; }
        sleep 0.05
    done
    wait "$group" || true
}

no_traceback() { ! grep -e Traceback -e "internal error" err; }

whole_lines() { python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$1"; }

killed_stage_ends_the_pipe() {
    scripted
    begin 'agent-discover "$ROOT/tools/wordcount" - | agent-memory load --store notes | agent-react "= done"'
    sleep 0.1
    kill -9 "$(process "/bin/$1")"
    ended
    equal 137 "$(<status)"
    no_traceback
}
for stage in agent-discover agent-memory agent-react; do
    bats_test_function --description "kill -9 of $stage in a pipe of three ends all three" -- killed_stage_ends_the_pipe "$stage"
done

killed_while_the_model_thinks() {
    scripted --latency 100
    begin 'agent-discover "$ROOT/tools/wordcount" </dev/null | agent-react --retry 0 --json "= done"'
    wait_until asked
    kill -9 "$(process "/$1")"
    ended
    ((0 < $(<status)))
    no_traceback
}
for part in bin/agent-react bin/agent-llm providers/openai; do
    bats_test_function --description "kill -9 of $part while the model thinks leaves nothing" -- killed_while_the_model_thinks "$part"
done

@test "kill -9 of the provider is an error with one result, not silence" {
    scripted --latency 100
    begin 'agent-react --retry 0 --json "= done" </dev/null'
    wait_until asked
    kill -9 "$(process /providers/openai)"
    ended
    equal 1 "$(wc -l <out)"
    has "$(<out)" '"type":"result"'
    has "$(<out)" '"error":{'
}

@test "kill -9 of agent-react ends the tool that runs, and what the tool started" {
    scripted
    tool slow 'sleep 91 & sleep 92'
    begin 'agent-react "slow {}" <tools.jsonl'
    process "sleep 91"
    kill -9 "$(process /bin/agent-react)"
    ended
}

interrupted() {
    scripted --latency 100
    begin 'agent-discover "$ROOT/tools/wordcount" </dev/null | agent-react --json "= done"'
    wait_until asked
    kill "-$1" -- "-$group"
    ended
    no_traceback
    equal 1 "$(wc -l <out)"
    has "$(<out)" '"kind":"interrupted"'
}
bats_test_function --description "Ctrl-C while the model thinks: one result that says so, nothing left" -- interrupted INT
bats_test_function --description "the terminal goes away while the model thinks: likewise" -- interrupted HUP

@test "Ctrl-C while a tool runs: one result that says so, nothing left" {
    scripted
    tool slow 'trap "" INT; sleep 91'
    begin 'agent-react --json "slow {}" <tools.jsonl'
    process "sleep 91"
    kill -INT -- "-$group"
    ended
    no_traceback
    has "$(<out)" '"kind":"interrupted"'
}

ctrl_c_while_waiting() {
    begin "$1"
    echo >&9
    wait_until taken 9
    kill -INT -- "-$group"
    ended
    no_traceback
    equal "" "$(<err)"
}
for line in 'agent-discover -' 'agent-memory load' 'agent-llm' 'agent-react hi'; do
    bats_test_function --description "Ctrl-C while $line waits for its input is silent" -- ctrl_c_while_waiting "$line"
done

@test "Ctrl-C of agent-llm in the middle of an answer keeps what was printed and ends 130" {
    model 'def reply(body): return {"text": "one two three four five", "pace": 20}'
    begin 'agent-llm hi </dev/null'
    until grep -q one out; do sleep 0.05; done
    kill -INT "$(process /bin/agent-llm)"
    ended
    equal 130 "$(<status)"
    no_traceback
}

reader_goes_away() {
    begin "set +o pipefail; $1 | head -n 1; exit \${PIPESTATUS[0]}" "${@:2}"
    ended
    equal 1 "$(wc -l <out)"
    equal "" "$(<err)"
}

@test "agent-discover without reader ends in silence" {
    uses node
    reader_goes_away 'for _ in 1 2 3; do agent-discover "$ROOT/tools" </dev/null; done'
}

@test "a stage that passes a stream on ends when its reader does" {
    line='{"type":"note","text":"x"}'
    for stage in "agent-memory load" "agent-discover $ROOT/tools/wordcount"; do
        rm -f open
        reader_goes_away "yes '$line' | $stage"
    done
}

@test "agent-llm with 3,000 requests and a reader of one line stops asking" {
    model 'def reply(body): return {"text": "yes", "delay": 0.2}'
    for n in {1..3000}; do
        printf '{"type":"request","id":"%s","messages":[{"role":"user","content":"hi"}]}\n' "$n"
    done >requests
    begin 'agent-llm <requests | head -n 1'
    ended
    equal 1 "$(wc -l <out)"
    no_traceback
    (($(wc -l <"$SCRATCH/requests.jsonl") < 2000))     # 1,000 are in flight at once
}

@test "agent-react --events without reader ends, and so does its model" {
    model 'def reply(body): return {"text": "one two three", "delay": 1}'
    begin 'agent-react --events "hi" </dev/null | head -n 1'
    ended
    no_traceback
}

@test "a transcript after kill -9 has whole lines, and the conversation continues from it" {
    scripted --latency 0.1
    tool echo_it 'echo said'
    script=$(printf 'echo_it {}\n%.0s' {1..400})
    begin 'agent-react --max-iterations 0 --transcript talk.jsonl "$1" <tools.jsonl' "$script"
    wait_until asked 4
    kill -9 "$(process /bin/agent-react)"
    ended
    whole_lines talk.jsonl
    run --separate-stderr agent-react --transcript talk.jsonl "= well" </dev/null
    equal 0 "$status"
    equal "well" "$output"
    whole_lines talk.jsonl
}

@test "a tape after kill -9 has whole lines, and plays" {
    model 'def reply(body): return {"text": "word " * 200, "delay": 0.05}'
    begin 'for n in {1..100}; do agent-llm --quiet --record tape.jsonl "say $n" </dev/null >/dev/null; done'
    wait_until asked 4
    kill -9 -- "-$group"
    ended
    whole_lines tape.jsonl
    run -0 agent-llm --replay tape.jsonl "say 1" </dev/null
    has "$output" "word word"
}

@test "memories before kill -9 are there after it" {
    begin 'for n in {1..1000}; do agent-memory remember "key$n" "value $n" || exit; echo "$n"; done'
    until (($(wc -l <out) >= 5)); do sleep 0.05; done
    kill -9 -- "-$group"
    ended
    run -0 agent-memory recall "key$(tail -n 1 out)"
    equal "value $(tail -n 1 out)" "$output"
    run -0 agent-memory check
}

@test "a stopped and continued pipeline gives the same output" {
    scripted --latency 0.5
    begin 'agent-discover "$ROOT/tools/wordcount" </dev/null | agent-react "wordcount {\"text\":\"a b\"}"'
    wait_until asked
    kill -STOP -- "-$group"
    sleep 0.6
    kill -CONT -- "-$group"
    ended
    equal 0 "$(<status)"
    has "$(<out)" '"words":2'
}

@test "messages that nobody can read change no output" {
    model 'def reply(body): return "well"'
    run -0 bash -c 'agent-llm hi </dev/null 2>/dev/full'
    equal well "$output"
    run -0 bash -c 'agent-llm hi </dev/null 2>&-'
    equal well "$output"
}

@test "20 files at most: 50 requests at once are all answered, none half" {
    model 'def reply(body): return {"text": "well", "delay": 0.05}'
    for n in {1..50}; do
        printf '{"type":"request","id":"%s","messages":[{"role":"user","content":"hi"}]}\n' "$n"
    done >requests
    run --separate-stderr bash -c 'ulimit -n 20; agent-llm <requests'
    equal 50 "$(jq -r 'select(.type == "response" or .type == "error").id' <<<"$output" | sort -u | wc -l)"
    lacks "$stderr" Traceback
}

@test "100,000 records pass a stage in little memory, byte for byte" {
    yes '{"type":"note", "text":"é  x"}' | head -n 100000 >stream
    for stage in "agent-memory load" "agent-discover $ROOT/tools/wordcount"; do
        # shellcheck disable=SC2086
        run --separate-stderr bash -c "ulimit -v 300000; $stage <stream >passed"
        equal 0 "$status"
        equal "$(sha256sum <stream)" "$(grep '"note"' passed | sha256sum)"
    done
}
