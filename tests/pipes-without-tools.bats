#!/usr/bin/env bats
# What is left of a pipe in which no tool runs, so that it is the same under any wall: see pipes.bats.
# shellcheck disable=SC2016  # the pipelines are expanded where they run
load helper
load react
load pipes

ctrl_c_while_waiting() {
    begin "$1"
    echo >&9
    wait_until taken 9
    wait_until settled
    kill -INT -- "-$group"
    ended
    no_traceback
    equal "" "$(<err)"
}
for line in 'agent-discover -' 'agent-memory load' 'agent-llm' 'agent-react hi'; do
    bats_test_function --description "Ctrl-C while $line waits for its input is silent" -- ctrl_c_while_waiting "$line"
done

@test "Ctrl-C of agent-llm in the middle of an answer keeps what was printed and ends 130" {
    model 'def reply(body): return {"text": "one two three four five", "rest": "never"}'
    begin 'agent-llm hi </dev/null'
    until grep -q one out; do sleep 0.05; done
    kill -INT "$(process /bin/agent-llm)"
    ended
    equal 130 "$(<status)"
    no_traceback
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
