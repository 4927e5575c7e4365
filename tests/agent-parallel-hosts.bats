#!/usr/bin/env bats
# agent-parallel over ssh: four machines (network namespaces with an sshd each), one lost, the controller killed
load helper
load react
load hosts

setup() {
    prepare
    # shellcheck disable=SC2034  # of hosts.bash
    [[ $BATS_TEST_DESCRIPTION != *"without the suite"* ]] || HIDDEN=$SUITE_PREFIX
    # shellcheck disable=SC2034
    [[ $BATS_TEST_DESCRIPTION != *"full disk"* ]] || FULL=2
    hosts_up 4
}

teardown() {
    hosts_down
    no_survivors 10
}

tasks() { jq -cn --argjson n "$1" --arg input "$2" 'range(1; $n + 1) | {type:"task", id:"t\(.)", input:$input}'; }

all_of() { equal "$(eval "printf 't%s\n' {1..$1}" | sort)" "$(jq -r .id "$2" | sort)"; }

# remote OPTION...: the command line that runs the tasks on all machines, in ${words[@]}.
remote() {
    words=(timeout 100 nsenter --net="/proc/$NET/ns/net" -- agent-parallel --hosts hosts --env OPENAI_API_KEY
        --env OPENAI_BASE_URL --env AGENT_PROVIDER --env AGENT_MODEL "$@")
}

# asked: how many requests the model has had.
asked() { wc -l <"$SCRATCH/requests.jsonl"; }

finished() { wc -l <journal; }

# at_least COUNT COMMAND...: wait until the command prints that number or a larger one.
at_least() {
    for ((try = 0; try < 600; try++)); do
        (($("${@:2}") < $1)) || return 0
        sleep 0.05
    done
    return 1
}

@test "four machines without the suite: a bundle is copied once to each, and its tools run there" {
    scripted --latency 0.1
    agent-bundle --all --python "$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" -o agents >/dev/null
    { agent-discover uppercase; tasks 80 'uppercase {"text":"abc"}'; } >todo
    remote --jobs 5
    run --separate-stderr "${words[@]}" <todo
    equal 111 "$status"
    equal "$(printf "agent-parallel: 10.77.0.1%s: no worker could be started: it does not have the suite: install it there, or copy it with --bundle\n" 1 2 3 4)" \
        "$(sort <<<"$stderr")"
    remote --jobs 5 --bundle agents
    run --separate-stderr "${words[@]}" <todo
    equal "0 " "$status $stderr"
    all_of 80 - <<<"$output"
    equal ABC "$(jq -r .output <<<"$output" | sort -u)"
    for n in 1 2 3 4; do
        [[ -n $(ls -A "$SCRATCH/host$n/.local/state/agentutils/history") ]]
        cmp agents "$SCRATCH/host$n"/.cache/agentutils/bundle-*/agent-parallel-worker
    done
    sed -i '10,$d' todo
    touch -d @1 "$SCRATCH"/host?/.cache/agentutils/bundle-*/*
    run --separate-stderr "${words[@]}" <todo
    equal "0 " "$status $stderr"
    equal 4 "$(find "$SCRATCH"/host?/.cache/agentutils/bundle-* -name agent-parallel-worker ! -newermt @2 | wc -l)"
}

@test "a key goes over standard input alone, and only what was named goes" {
    scripted --latency 1
    export OPENAI_API_KEY=sk-very-secret-key-0815 OTHER_SECRET=sk-other-0815
    tasks 8 '= fine' >todo
    remote --jobs 1
    "${words[@]}" <todo >out 2>err 3>&- &
    at_least 4 asked
    run ! grep -slaE 'sk-(very-secret|other)' /proc/[0-9]*/cmdline
    run ! grep -rslE 'sk-(very-secret|other)' "$SCRATCH"/host? "$HOME" "$TMPDIR" "/tmp/agentutils-$EUID"
    # of the environments, those on the machines, which have a home there
    grep -slaE 'HOME=[^=]*/host[1-4]' /proc/[0-9]*/environ >there || true
    (($(wc -l <there) >= 4))
    run ! xargs grep -sla 'sk-other-0815' <there
    wait $!
    all_of 8 out
    grep -q sk-very-secret-key-0815 "$SCRATCH/requests.jsonl" || has "$(head -n 1 out)" fine
}

@test "a machine is lost: its tasks are asked again elsewhere, nothing is missing and nothing twice" {
    scripted --latency 0.3
    tasks 120 '= fine' >todo
    sed -i '1i # addresses of all kinds' hosts
    sed -i 's/10.77.0.11$/10.77.0.11:22/; s/10.77.0.12$/root@[10.77.0.12]:22  # brackets/' hosts
    remote --jobs 4 --lost-after 3
    "${words[@]}" <todo >out 2>err 3>&- &
    local pid=$!
    at_least 30 asked
    host_lost 2
    wait "$pid"
    all_of 120 out
    equal "" "$(jq -r .error.message//empty out)"
    has "$(cat err)" '10.77.0.12: lost; '
    lacks "$(cat err)" '10.77.0.11: lost'
}

@test "the controller is killed and started again: the same results as a set, no finished task is asked again" {
    scripted --latency 0.3
    tasks 120 '= fine' >todo
    remote --jobs 4 --journal journal
    : >journal
    "${words[@]}" <todo >first 2>err 3>&- &
    at_least 20 finished
    kill -9 "$(pgrep -f 'bin/agent-parallel --hosts' -P $!)"
    wait $! || true
    (($(finished) < 120))
    run --separate-stderr "${words[@]}" <todo
    equal 0 "$status"
    all_of 120 - <<<"$output"
    equal "" "$(comm -13 <(sort journal) <(sort first))"
    (($(asked) <= 120 + 4 * 7)) # what the workers held is asked again
}

@test "machines that cannot be reached: the others do all; if there is none, each task says so, status 111" {
    scripted
    tasks 20 '= fine' >todo
    # nobody there, one wants a password, one has a key that nobody knows
    sed -i 's/10.77.0.12$/10.77.0.99/; s/10.77.0.13$/-oPubkeyAuthentication=no &/; s/Checking=no\(.*10.77.0.14$\)/Checking=yes\1/' hosts
    remote --jobs 1 --lost-after 3
    run --separate-stderr "${words[@]}" <todo
    equal 0 "$status"
    all_of 20 - <<<"$output"
    has "$stderr" "10.77.0.13: no worker could be started: root@10.77.0.13: Permission denied (publickey"
    has "$stderr" "10.77.0.14: no worker could be started: Host key verification failed."
    equal "" "$(sort <<<"$stderr" | uniq -d)"
    sed -i 's/10.77.0.1.$/10.77.0.99/; 3,$d' hosts
    run --separate-stderr "${words[@]}" <todo
    equal 111 "$status"
    all_of 20 - <<<"$output"
    equal network "$(jq -r .error.kind <<<"$output" | sort -u)"
    has "$stderr" "No route to host"
}

@test "Ctrl-C: status 130, each task has a result, and nothing is left on the machines" {
    scripted --latency 60
    tasks 40 '= fine' >todo
    remote --jobs 2
    env --default-signal=INT "${words[@]}" <todo >out 2>err 3>&- &
    local pid=$!
    at_least 8 asked
    kill -INT "$(pgrep -f 'bin/agent-parallel --hosts' -P "$pid")"
    wait "$pid" || equal 130 $?
    all_of 40 out
    equal interrupted "$(jq -r .error.kind out | sort -u)"
    for ((try = 0; try < 200; try++)); do
        grep -slaE 'HOME=[^=]*/host[1-4]' /proc/[0-9]*/environ >there || break
        sleep 0.05
    done
    equal "" "$(cat there)"
}

@test "a machine with a full disk is reported in one line, and the others do all" {
    scripted
    agent-bundle --all --python "$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" -o agents >/dev/null
    tasks 20 '= fine' >todo
    sed -i '3,$d' hosts
    remote --bundle agents
    run --separate-stderr "${words[@]}" <todo
    equal 0 "$status"
    all_of 20 - <<<"$output"
    equal "agent-parallel: 10.77.0.12: no worker could be started: the bundle: [Errno 28] No space left on device" "$stderr"
}

@test "one rate limit and one budget for all machines" {
    scripted
    tasks 16 '= x' >todo
    remote --rate-limit 4/s
    local began=$EPOCHREALTIME
    run --separate-stderr "${words[@]}" <todo
    equal 0 "$status"
    ((${EPOCHREALTIME/./} - ${began/./} > 3700000)) # 15 intervals of a quarter second after the first
    model 'def reply(body): return {"text": "x", "delay": 0.3, "usage": {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}}'
    tasks 60 x >todo
    remote --jobs 2 --max-total-tokens 20000
    run --separate-stderr "${words[@]}" <todo
    equal 1 "$status"
    equal 60 "$(wc -l <<<"$output")"
    local good
    good=$(jq -r 'select(.error | not).id' <<<"$output" | wc -l)
    ((good >= 20 && good < 20 + 8)) # two at once in each of four workers
}
