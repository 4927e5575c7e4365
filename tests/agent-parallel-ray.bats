#!/usr/bin/env bats
# agent-parallel with Ray: two nodes on this machine, one is killed. The suite comes as its wheel with the extra `ray`, whose packages (80 MB)
# are taken from the package index; where it is out of reach, that is said and the test is skipped.
load helper
load react

setup_file() {
    cd "$TESTS/.." || return
    PLACE=$BATS_FILE_TMPDIR/place
    PATH=$PWD/.venv/bin:/usr/local/bin:/usr/bin:/bin
    uv venv -q --python "$(type -P python3)" "$PLACE"
    export MISSING=''
    uv pip install -q --python "$PLACE" -r requirements.txt -r <(grep -E '# .*\<ray\>' requirements-extra.txt) 2>"$BATS_FILE_TMPDIR/log" ||
        MISSING=$(grep -m 1 . "$BATS_FILE_TMPDIR/log")
    python3 -m hatchling build -t wheel -d "$BATS_FILE_TMPDIR/dist" >"$BATS_FILE_TMPDIR/log" 2>&1
    uv pip install -q --python "$PLACE" --no-deps "$BATS_FILE_TMPDIR"/dist/*.whl
}

setup() {
    prepare
    [[ -z $MISSING ]] || skip "Ray cannot be had from the package index: $MISSING"
    NODES=() SESSION=$(mktemp -d "/tmp/ray-XXXXXX") # its sockets want a short path
    PATH=$BATS_FILE_TMPDIR/place/bin:$SYSTEM
    export RAY_USAGE_STATS_ENABLED=0
}

teardown() {
    local node
    for node in "${NODES[@]}"; do kill -9 -- "-$node" 2>/dev/null || true; done
    rm -rf "$SESSION"
    end_model
    no_survivors 20
}

# node NAME OPTION...: a node of the cluster that has started, in a process group of its own. Ray gives a start up after 30 s,
# and a busy machine may need more: then it is tried again.
node() {
    for ((try = 0; try < 5; try++)); do
        setsid ray start --block --node-ip-address 127.0.0.1 --num-cpus 4 --object-store-memory 80000000 --temp-dir "$SESSION" \
            --disable-usage-stats "${@:2}" >"$1.log" 2>&1 3>&- &
        NODES+=("$!")
        until_true 120 settled "$1" "$!"
        ! started "$1" || return 0
        kill -9 -- "-$!" || true
        unset 'NODES[-1]'
    done
    tail -n 20 "$1.log" >&2
    return 1
}

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    until "${@:2}" 2>/dev/null; do
        ((SECONDS < end)) || { tail -n 20 ./*.log err >&2; return 1; }
        sleep 0.05
    done
}

started() { grep -q "Ray runtime started" "$1.log"; }
settled() { started "$1" || ! kill -0 "$2"; }
printed() { (($(wc -l <out) >= $1)); }

# at_work COUNT: so many workers of this test have tasks, for each has started its agent.
at_work() {
    local one agents=0
    for one in $(survivors); do
        ! grep -sqaE 'bin/agent-react' "/proc/$one/cmdline" || agents=$((agents + 1))
    done
    ((agents >= $1))
}

# begin OPTION...: all tasks of todo, with PID for `wait`; the results are in out, the messages in err.
begin() {
    agent-parallel --ray "127.0.0.1:$PORT" --bundle agents --jobs 4 --env OPENAI_API_KEY --env OPENAI_BASE_URL --env AGENT_PROVIDER \
        --env AGENT_MODEL "$@" <todo >out 2>err 3>&- &
    PID=$!
    until_true 120 printed 20
    until_true 120 at_work 2
}

# all_good MESSAGE: each task has one good result, and one worker was lost.
all_good() {
    wait "$PID"
    equal "$(printf 't%s\n' {1..240} | sort)" "$(jq -r .id out | sort)"
    equal fine "$(jq -r .output out | sort -u)"
    equal 1 "$(grep -c "Ray's node .*: lost; [1-9][0-9]* tasks of it are asked again" err)"
}

@test "a cluster of two nodes: a worker hangs, a node is killed: every task has one good result, what was lost is asked again" {
    PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    node head --head --port "$PORT" --include-dashboard=false
    node other --address "127.0.0.1:$PORT"
    scripted --latency 0.5
    jq -cn 'range(1; 241) | {type:"task", id:"t\(.)", input:"= fine"}' >todo
    agent-bundle --all --python "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" -o agents >/dev/null
    begin --lost-after 5
    local one actor=''
    for one in $(pgrep -f '^ray::Actor'); do
        ! grep -qa "$SCRATCH" "/proc/$one/environ" || actor=$one
    done
    kill -STOP "$actor"
    all_good
    kill -9 "$actor" 2>/dev/null || true # Ray may have ended it with its job
    begin
    kill -9 -- "-${NODES[1]}"
    all_good
    cmp agents "$HOME"/.cache/agentutils/bundle-*/agent-parallel-worker
}

@test "a cluster that is not there is one line, and each task says so" {
    echo '{"type":"task","id":"t1","input":"x"}' >todo
    run --separate-stderr timeout 60 agent-parallel --ray 127.0.0.1:9 <todo
    equal 111 "$status"
    equal "" "$output"
    equal "agent-parallel: --ray 127.0.0.1:9: Connection refused" "$stderr"
}
