#!/usr/bin/env bats
# agent-parallel on one machine: each task one result, whatever is lost; one rate limit, one budget, one journal
load helper
load react

setup() {
    prepare
    uses parallel
}

# tasks COUNT INPUT: COUNT task records, ids t1, t2, …
tasks() { jq -cn --argjson n "$1" --arg input "$2" 'range(1; $n + 1) | {type:"task", id:"t\(.)", input:$input}'; }

# all_of COUNT FILE: the file has each of t1 … once, and nothing else.
all_of() { equal "$(eval "printf 't%s\n' {1..$1}" | sort)" "$(jq -r .id "$2" | sort)"; }

# agent BODY: ./agent answers each task by a line of its own process; BODY is Python that may do something before, with
# `task`, and change `out`.
agent() {
    cat >agent <<P
#!/usr/bin/env python3
import json, os, sys, time
for line in sys.stdin:
    task = json.loads(line)
    if task["type"] != "task":
        continue
    open("asked", "a").write(f"{task['id']} {os.getpid()}\n")
    out = {"type": "result", "id": task["id"], "output": str(os.getpid()), "incomplete": False}
    $1
    print(json.dumps(out), flush=True)
P
    chmod +x agent
}

# stopped_worker: stops one of the workers; fails where what it found was a process that was about to become another.
stopped_worker() {
    local one
    for one in $(survivors); do
        [[ $(cat "/proc/$one/comm" 2>/dev/null) == agent-parallel- ]] || continue
        grep -sqza /agent-parallel-worker "/proc/$one/cmdline" || continue
        kill -STOP "$one" 2>/dev/null || continue
        sleep 0.05
        [[ $(ps -o state= -p "$one") != T ]] || return 0
    done
    return 1
}

parallel_tasks() { run --separate-stderr timeout 60 agent-parallel "$@" <todo; }

@test "many tasks, two workers: one result each, by agent-react, status 0 and not a word" {
    scripted
    tasks 30 '= fine' >todo
    parallel_tasks --local 2 --jobs 4
    equal 0 "$status"
    equal "" "$stderr"
    all_of 30 - <<<"$output"
    equal fine "$(jq -r .output <<<"$output" | sort -u)"
}

@test "each worker is one process that has many tasks" {
    agent 'time.sleep(0.02)'
    tasks 60 x >todo
    parallel_tasks --local 3 --jobs 1 -- ./agent
    equal 0 "$status"
    equal 3 "$(jq -r .output <<<"$output" | sort -u | wc -l)"
}

@test "--ordered prints results in the order of the tasks" {
    agent 'time.sleep(0.2 if task["id"] in ("t1", "t7") else 0.01)'
    tasks 20 x >todo
    parallel_tasks --local 2 --jobs 1 --ordered -- ./agent
    equal "$(printf 't%s\n' {1..20})" "$(jq -r .id <<<"$output")"
}

@test "ids are made if there are none, the same ones each time; an id that stands twice is asked once" {
    agent pass
    printf '{"type":"task","input":"%s"}\n' a b b >todo
    printf '{"type":"task","id":7,"input":"%s"}\n' first second >>todo
    parallel_tasks --local 2 -- ./agent
    equal 4 "$(jq -c .id <<<"$output" | sort -u | wc -l)"
    equal 'agent-parallel: 1 tasks have the id of an earlier one: run once' "$stderr"
    before=$(jq -c .id <<<"$output" | sort)
    parallel_tasks --local 1 -- ./agent
    equal "$before" "$(jq -c .id <<<"$output" | sort)"
}

@test "an agent that is killed: its tasks are asked again elsewhere, each has one result" {
    agent 'time.sleep(0.05)
    if task["id"] == "t5" and not os.path.exists("dead"):
        open("dead", "w")
        os.kill(os.getpid(), 9)'
    tasks 30 x >todo
    parallel_tasks --local 3 --jobs 2 -- ./agent
    equal 0 "$status"
    all_of 30 - <<<"$output"
    has "$stderr" "this-machine: lost; "
}

@test "a task that kills every agent: a result that says so, the others have theirs" {
    agent 'if task["input"] == "kill":
        os.kill(os.getpid(), 9)'
    tasks 5 x >todo
    echo '{"type":"task","id":"bad","input":"kill"}' >>todo
    parallel_tasks --local 2 --jobs 1 --retry 1 -- ./agent
    equal 1 "$status"
    equal 6 "$(wc -l <<<"$output")"
    equal '["network","this-machine: 2 workers were lost with this task"]' \
        "$(jq -c 'select(.id == "bad").error | [.kind, .message]' <<<"$output")"
    equal bad "$(jq -r 'select(.error).id' <<<"$output")"
}

@test "a result that never comes is an error of its task; an agent that prints at the end of its input is waited for" {
    agent 'if task["id"] == "t3": continue
    if task["id"] == "t4": out["id"] = "another"'
    tasks 9 x >todo
    parallel_tasks --local 2 --jobs 2 --lost-after 1 -- ./agent
    equal 1 "$status"
    all_of 9 - <<<"$output"
    equal '["bad_response","this-machine: the agent ended without its result"]' "$(jq -c 'select(.error).error | [.kind, .message]' <<<"$output" | sort -u)"
    equal "t3 t4" "$(jq -r 'select(.error).id' <<<"$output" | sort | xargs)"
    agent pass
    sed -i 's/, flush=True//' agent
    parallel_tasks --local 2 --lost-after 1 -- ./agent
    equal "0 " "$status $stderr"
    all_of 9 - <<<"$output"
}

@test "a task that takes too long has failed, and what waits behind it is asked again" {
    agent 'if task["id"] == "t3": time.sleep(99)'
    tasks 9 x >todo
    parallel_tasks --local 2 --jobs 2 --task-timeout 0.5 -- ./agent
    equal 1 "$status"
    all_of 9 - <<<"$output"
    equal '["t3","timeout","this-machine: no result in time"]' "$(jq -c 'select(.error) | [.id, .error.kind, .error.message]' <<<"$output")"
}

@test "a worker that hangs, but does not end, is lost: its tasks are asked again elsewhere" {
    agent 'time.sleep(0.1)'
    tasks 30 x >todo
    timeout 60 agent-parallel --local 2 --jobs 2 --lost-after 1 -- ./agent <todo >out 2>err 3>&- &
    local pid=$!
    until [[ -s asked ]]; do sleep 0.02; done
    until stopped_worker; do sleep 0.02; done
    wait "$pid"
    all_of 30 out
    has "$(cat err)" "this-machine: lost; "
}

@test "what an agent prints beside results: records pass, all else is dropped, and none passes for a worker's" {
    agent 'for junk in ("junk", "[1]", "{", "{\"type\":5}", "{\"type\":\"result\"}", "\x00", "{\"type\":\"note\"}"):
        print(junk)
    for what in ("fault", "ready", "turn", "spent", "ended", "bundle", "alive", "host"):
        print(json.dumps({"is": what, "type": "worker", "status": 2, "cores": -1, "host": "x", "kind": "x", "message": "x"}))
    print("{\"type\":\"w\\u006frker\",\"is\":\"fault\",\"kind\":\"x\",\"message\":\"x\"}")
    print(json.dumps(out))'
    tasks 20 x >todo
    parallel_tasks --local 2 --rate-limit 9000/s -- ./agent
    equal "0 " "$status $stderr"
    all_of 20 <(jq -c 'select(.type == "result")' <<<"$output")
    equal '{"type":"note"}' "$(jq -c 'select(.type != "result")' <<<"$output" | sort -u)"
}

@test "tasks of a megabyte, and no task at all" {
    agent 'out["output"] = task["input"]'
    jq -cn 'range(1; 7) | {type:"task", id:"t\(.)", input:("x" * 1000000)}' >todo
    parallel_tasks --local 2 -- ./agent
    equal 0 "$status"
    equal 6000000 "$(jq -rj .output <<<"$output" | wc -c)"
    : >todo
    parallel_tasks --local 2 -- ./agent
    equal "0  agent-parallel: no task: give \`task\` records on standard input" "$status $output $stderr"
}

@test "of a file that is given as journal, good results count and nothing else" {
    agent pass
    tasks 4 x >todo
    printf '%s\n' '{"type":"result","id":"t1","output":"kept","incomplete":false}' '{"type":"task","id":"t2","input":"x"}' 'junk' '[]' \
        '{"type":"result","id":"t3","output":"","incomplete":true,"error":{"kind":"network","message":"x"}}' >journal
    parallel_tasks --local 1 --journal journal -- ./agent
    equal 0 "$status"
    all_of 4 - <<<"$output"
    equal "t2 t3 t4" "$(cut -d' ' -f1 asked | sort | xargs)"
    equal kept "$(jq -r 'select(.id == "t1").output' <<<"$output")"
}

@test "killed with kill -9 and started again it goes on: all results, no finished task asked again, nothing is left" {
    agent 'time.sleep(0.05)'
    tasks 80 x >todo
    agent-parallel --local 2 --jobs 1 --journal journal -- ./agent <todo >first 2>err 3>&- &
    local pid=$!
    for _ in {1..500}; do [[ -s journal ]] && (($(wc -l <journal) > 15)) && break; sleep 0.02; done
    kill -9 "$pid"
    wait "$pid" || true
    no_survivors
    (($(wc -l <journal) < 80))
    parallel_tasks --local 2 --jobs 1 --journal journal -- ./agent
    equal 0 "$status"
    all_of 80 - <<<"$output"
    (($(wc -l <asked) <= 80 + 4)) # those in flight once more
    equal "" "$(comm -13 <(sort journal) <(sort first))"
    rm asked
    parallel_tasks --local 2 --journal journal -- ./agent
    all_of 80 - <<<"$output"
    [[ ! -e asked ]]
}

@test "two runs with one journal: the second waits for the first, and asks for nothing that is done" {
    agent 'time.sleep(0.1)'
    tasks 20 x >todo
    agent-parallel --local 1 --jobs 1 --journal journal -- ./agent <todo >first 2>err 3>&- &
    local pid=$!
    until [[ -s asked ]]; do sleep 0.02; done
    parallel_tasks --local 1 --journal journal -- ./agent
    equal "0 agent-parallel: journal: waiting for another run that has it" "$status $stderr"
    wait "$pid"
    all_of 20 first
    all_of 20 - <<<"$output"
    equal 20 "$(wc -l <asked)"
    equal "" "$(cat err)"
}

@test "the disk of the journal is full: one line says so, and what was printed is in it" {
    agent 'out["output"] = "x" * 9000'
    tasks 90 x >todo
    run --separate-stderr bash -c 'ulimit -f 300; exec agent-parallel --local 1 --jobs 1 --journal journal -- ./agent <todo'
    equal 'agent-parallel: --journal journal: File too large' "$stderr"
    equal 2 "$status"
    equal "$(jq -r .id journal)" "$(jq -r .id <<<"$output")"
    parallel_tasks --local 2 --journal journal -- ./agent
    equal 0 "$status"
    all_of 90 - <<<"$output"
    equal "" "$(cut -d' ' -f1 asked | sort | uniq -c | awk '$1 > 1' | tail -n +4)" # but for those in flight
}

@test "--ordered: while the first result is waited for, no more is begun than there is room for" {
    agent 'out["output"] = "x" * 1000000
    while task["id"] == "t1" and not os.path.exists("go"): time.sleep(0.02)'
    tasks 60 x >todo
    timeout 60 agent-parallel --local 2 --jobs 1 --ordered -- ./agent <todo >out 2>err 3>&- &
    local pid=$! before=-1
    until [[ -s asked ]] && (($(wc -l <asked) == before)); do before=$(wc -l <asked 2>/dev/null || echo -1) && sleep 0.5; done
    ((before >= 9 && before < 20)) # 8 MB
    touch go
    wait "$pid"
    equal "$(printf 't%s\n' {1..60})" "$(jq -r .id out)"
}

@test "a failed task is asked again by the next run with the journal" {
    scripted
    { tasks 2 '= fine'; echo '{"type":"task","id":"bad","input":"! 401 no"}'; } >todo
    parallel_tasks --local 1 --journal journal
    equal 1 "$status"
    equal 2 "$(wc -l <journal)"
    : >"$SCRATCH/requests.jsonl"
    parallel_tasks --local 1 --journal journal
    equal 3 "$(wc -l <<<"$output")"
    equal 1 "$(wc -l <"$SCRATCH/requests.jsonl")"
}

@test "one rate limit for all workers" {
    scripted
    tasks 12 '= x' >todo
    local began=$EPOCHREALTIME
    parallel_tasks --local 3 --rate-limit 4/s
    equal 12 "$(jq -r .output <<<"$output" | grep -c x)"
    ((${EPOCHREALTIME/./} - ${began/./} > 2700000)) # 11 intervals of a quarter second after the first
}

@test "one budget for all workers: passed by no more than what is in flight" {
    model 'def reply(body): return {"text": "x", "model": "gpt-4o", "delay": 0.02, "usage": {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}}'
    tasks 60 x >todo
    parallel_tasks --local 3 --jobs 2 --max-total-tokens 20000
    equal 1 "$status"
    equal 60 "$(wc -l <<<"$output")"
    local good
    good=$(jq -r 'select(.error | not).id' <<<"$output" | wc -l)
    ((good >= 20 && good < 20 + 6)) # six at once; the last of them begins with 19 at most
    equal limit_exceeded "$(jq -r '.error.kind // empty' <<<"$output" | sort -u)"
    export AGENT_BUDGET
    AGENT_BUDGET=$(agent-llm budget 0.05)
    parallel_tasks --local 2 --jobs 1 --budget 3
    has "$stderr" "AGENT_BUDGET is set already"
    parallel_tasks --local 2 --jobs 1
    has "$(cat "$AGENT_BUDGET")" '"spent_usd":0.0'
    equal limit_exceeded "$(jq -r '.error.kind // empty' <<<"$output" | sort -u)"
}

@test "the budget of a run that goes on: what it has spent before counts" {
    model 'def reply(body): return {"text": "x", "usage": {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}}'
    tasks 10 x >todo
    parallel_tasks --local 1 --jobs 1 --journal journal
    equal 10 "$(wc -l <journal)"
    tasks 30 x >todo
    parallel_tasks --local 2 --jobs 1 --journal journal --max-total-tokens 15000
    equal 1 "$status"
    equal 30 "$(wc -l <<<"$output")"
    local good
    good=$(jq -r 'select(.error | not).id' <<<"$output" | wc -l)
    ((good >= 15 && good < 15 + 2))
}

@test "what a task has spent is known before its result is, and at once" {
    cat >spender <<'P'
#!/usr/bin/env python3
import fcntl, json, os, sys
for line in sys.stdin:
    with open(os.environ["AGENT_BUDGET"], "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        book = json.load(file)
        for name in ("spent_tokens", "spent_input_tokens"):
            book[name] = book.get(name, 0) + 1
        file.seek(0)
        file.write(json.dumps(book) + "\n")
        file.truncate()
    print('{"type":"result","id":"x"}', flush=True)
P
    chmod +x spender
    jq -cn --arg agent "$PWD/spender" '{type:"setup", env:{}, command:[$agent], before:[], top:"/", folder:null, turns:false, budget:{tokens:9}, patience:20},
        {type:"task", id:"x"}, {type:"task", id:"x"}, {type:"task", id:"x"}, {type:"end"}' >lines
    mkfifo pipe
    run -0 --separate-stderr bash -c 'exec 7<>pipe; cat lines >&7; exec timeout 30 agent-parallel-worker <&7 7>&-'
    equal "" "$stderr"
    local said=0 results=0 line
    while read -r line; do
        [[ $line != *'"is":"spent"'* ]] || said=$(jq .spent_tokens <<<"$line")
        [[ $line != *'"type":"result"'* ]] || { results=$((results + 1)); ((said >= results)); }
    done <<<"$output"
    equal 3 "$results"
}

@test "records before the tasks are for all of them; after the first task they are refused; unknown ones pass" {
    model 'def reply(body): return "|".join(m["content"] for m in body["messages"])'
    { echo '{"type":"message","role":"system","content":"be brief"}'; echo '{"type":"mark",  "n":1}'; tasks 4 hi; } >todo
    parallel_tasks --local 2
    equal 'be brief|hi' "$(jq -r 'select(.output).output' <<<"$output" | sort -u)"
    equal 1 "$(grep -c '{"type":"mark",  "n":1}' <<<"$output")"
    echo '{"type":"config","model":"other"}' >>todo
    parallel_tasks --local 2
    equal 2 "$status"
    has "$stderr" "line 7: \`config\` stands behind the first task"
    equal 4 "$(grep -c '"result"' <<<"$output")"
}

@test "tools of the suite and of the user run in the workers" {
    scripted
    tool t 'echo 7'
    { agent-discover uppercase; cat tools.jsonl; tasks 6 't {}'; } >todo
    parallel_tasks --local 2
    equal 7 "$(jq -r .output <<<"$output" | sort -u)"
}

@test "options behind -- are agent-react's; one that it does not know ends all, once" {
    scripted
    tasks 3 '= x' >todo
    parallel_tasks --local 2 -- --events
    equal 3 "$(jq -r 'select(.role == "assistant").task' <<<"$output" | sort -u | wc -l)"
    parallel_tasks --local 2 --quiet
    equal "3 " "$(wc -l <<<"$output") $stderr"
    parallel_tasks --local 1 -- --bogus
    equal 2 "$status"
    has "$stderr" 'unrecognized arguments: --bogus'
    equal "" "$output"
}

@test "Ctrl-C: every task that was read has its result, status 130, at once" {
    agent 'time.sleep(30)'
    tasks 9 x >todo
    python3 - <<'P'
import json, os, signal, subprocess, time
words = ["agent-parallel", "--local", "2", "--jobs", "1", "--", "./agent"]
child = subprocess.Popen(words, stdin=open("todo"), stdout=subprocess.PIPE)
while not os.path.exists("asked"):
    time.sleep(0.05)
began = time.monotonic()
child.send_signal(signal.SIGINT)
out = child.stdout.read()
assert child.wait(5) == 130, child.returncode
assert time.monotonic() - began < 2.5
results = [json.loads(line) for line in out.splitlines()]
assert sorted(r["id"] for r in results) == [f"t{n}" for n in range(1, 10)], results
assert {r["error"]["kind"] for r in results} == {"interrupted"}
P
}

@test "a reader that goes away ends all in silence" {
    agent 'time.sleep(0.05)'
    tasks 200 x >todo
    run bash -c 'agent-parallel --local 2 --jobs 1 -- ./agent <todo 2>err | head -n 1 | wc -l; echo "${PIPESTATUS[0]}"'
    equal $'1\n141' "$output"
    equal "" "$(cat err)"
}

@test "a malformed line: what was read is finished, status 2, the line is named" {
    agent pass
    { tasks 3 x; echo 'not a record'; tasks 1 never; } >todo
    parallel_tasks --local 2 -- ./agent
    equal 2 "$status"
    equal 3 "$(wc -l <<<"$output")"
    equal "agent-parallel: line 4: not JSON: Expecting value: line 1 column 1 (char 0)" "$stderr" # it has no operand -
}

@test "what cannot be: one clear line, by its own name" {
    tasks 1 x >todo
    while IFS='|' read -r expected words; do
        # shellcheck disable=SC2086  # one word an argument
        parallel_tasks $words
        equal "agent-parallel: $expected" "$stderr"
        ((status == 2 || status == 100))
    done <<'END'
give one of --local, --hosts and --ray; see 'agent-parallel --help'|
give one of --local, --hosts and --ray; see 'agent-parallel --help'|--local 1 --hosts x
gone: No such file or directory|--hosts gone
--quiet after -- prints no results: give it before --|--local 1 -- --quiet
--env NO_SUCH: it is not set in the environment|--local 1 --env NO_SUCH
END
    printf '# mine\n\n2/host\nhost two three\n' >bad
    parallel_tasks --hosts bad
    equal "agent-parallel: bad: line 4: 'host two three' is no host; write [WORKERS/][USER@]HOST[:PORT]" "$stderr"
    for line in -oProxyCommand=touch 0/host '2/ssh -oX' 'a;b'; do
        printf '%s\n' "$line" >bad
        parallel_tasks --hosts bad
        equal 2 "$status"
        has "$stderr" "is no host"
    done
    mkdir other
    printf '#!/usr/bin/perl\n# GNU parallel\n"will-cite|bibtex", "plain", "notice|no-notice", "ungroup|u", "delay=s"\n' >other/parallel
    chmod +x other/parallel
    PATH=$PWD/other:$SUITE_PREFIX/bin:$SYSTEM parallel_tasks --local 1
    equal "100 agent-parallel: $PWD/other/parallel: too old, it has no --termseq" "$status $stderr"
    printf '#!/bin/sh\n# of moreutils\n' >other/parallel
    PATH=$PWD/other:$SUITE_PREFIX/bin:$SYSTEM parallel_tasks --local 1
    equal "100 agent-parallel: $PWD/other/parallel: another parallel than GNU's" "$status $stderr"
    PATH=$SUITE_PREFIX/bin:$SYSTEM
    parallel_tasks --local 1
    equal 'agent-parallel: parallel: no such program; Debian has it in the package parallel' "$stderr"
}

@test "a line on a terminal counts, and nowhere else" {
    agent pass
    tasks 5 x >todo
    run script -qec "agent-parallel --local 1 -- ./agent <todo >out" /dev/null
    has "$output" "5/5 done"
    has "$output" " workers"
    run script -qec "agent-parallel --quiet --local 1 -- ./agent <todo >out" /dev/null
    equal "" "$output"
}
