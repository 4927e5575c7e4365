#!/usr/bin/env bats
# What is left when a stage of a pipe is killed, interrupted or left without reader: no process and no half file.
# By its other name, pipes-landlock.bats, all of it as where bubblewrap is not installed.
# shellcheck disable=SC2016  # the pipelines are expanded where they run
load helper
load react
load pipes

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
