#!/usr/bin/env bats
# agent-parallel and a host that lacks something: a host of the test's own in place of one over ssh
load helper
load react

setup() {
    prepare
    uses parallel
    jq -cn 'range(1; 4) | {type:"task", id:"t\(.)", input:"x"}' >todo
}

# far BODY: an `ssh` in place of the real one, with a host of its own: the programs of ./far alone, and what BODY makes
# there; no other variables, no perl, and no folder for temporary files.
far() {
    mkdir -p far
    ln -sf /bin/sh far
    (cd far && eval "$1")
    # shellcheck disable=SC2016  # of the script
    ssh_is 'until [ "$1" = -- ]; do shift; done; shift
exec /usr/bin/env -i PATH='"$PWD/far HOME=$PWD/far"' TMPDIR=/nonexistent /bin/sh -c "$*"'
}

# ssh_is SCRIPT: what runs in place of ssh, and a file of one host.
ssh_is() {
    printf '#!/bin/sh\n%s\n' "$1" >ssh
    chmod +x ssh
    PATH=$PWD:$PATH
    echo 10.0.0.1 >hosts
}

parallel_tasks() { run --separate-stderr timeout 60 agent-parallel "$@" <todo; }

@test "a host that cannot be a worker: one line says why, and each task says so" {
    printf '%s\n' '# nobody there' '' 127.0.0.1:9 >hosts
    while IFS='|' read -r expected body words; do
        [[ -z $body ]] || far "$body"
        # shellcheck disable=SC2086  # one word an argument
        parallel_tasks --hosts hosts $words
        equal "111 agent-parallel: $expected" "$status $stderr"
        equal 3 "$(jq -c .error.kind <<<"$output" | grep -c network)"
    done <<'END'
127.0.0.1: no worker could be started: ssh: connect to host 127.0.0.1 port 9: Connection refused|
10.0.0.1: no worker could be started: it has no python3; the suite needs 3.11 or newer|true|--bundle todo
10.0.0.1: no worker could be started: its python3 is 3.9; the suite needs 3.11 or newer|old_python|--bundle todo
END
}

@test "a host needs no perl, no SHELL and no folder for temporary files" {
    cat >agent <<'P'
#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"type": "result", "id": task["id"], "output": "", "incomplete": False}), flush=True)
P
    chmod +x agent
    far "ln -s '$(type -P python3)' python3"
    parallel_tasks --hosts hosts -- "$PWD/agent"
    equal "0 " "$status $stderr"
    equal "t1 t2 t3" "$(jq -r .id <<<"$output" | sort | xargs)"
}

@test "a host that ends without a word: the message says so, after its last words, also those without a line end" {
    while read -r script; do
        ssh_is "$script"
        parallel_tasks --hosts hosts
        equal 111 "$status"
        has "$stderr" 'agent-parallel: 10.0.0.1: no worker could be started: it gave no reason; log in by hand'
        equal 3 "$(jq -c .error.kind <<<"$output" | grep -c network)"
        [[ $script != *says* ]] || has "$stderr" 'the way there says no'
    done <<'END'
exit 0
exit 3
kill -9 $$
printf 'the way there says no' >&2
printf 'the way there says no\n' >&2; exit 1
END
}

# engine_runs: whether GNU parallel of this test still runs.
engine_runs() {
    local one
    for one in $(survivors); do
        ! grep -sqa -e --slf "/proc/$one/cmdline" || return 0
    done
    return 1
}

@test "the reason is said also where it came while agent-parallel could not listen" {
    # shellcheck disable=SC2016  # of the script
    ssh_is 'echo >>began; until [ -e go ]; do sleep 0.02; done; echo '\''{"type":"worker","is":"why","why":"it is closed"}'\'
    agent-parallel --hosts hosts <todo >out 2>err 3>&- &
    local pid=$!
    until [[ -s began ]]; do sleep 0.02; done
    kill -STOP "$pid"
    touch go
    while engine_runs; do sleep 0.02; done
    kill -CONT "$pid"
    wait "$pid" || equal 111 $?
    equal 'agent-parallel: 10.0.0.1: no worker could be started: it is closed' "$(cat err)"
    equal 3 "$(jq -c .error.kind out | grep -c network)"
}

# old_python: a python3 that says of itself that it is 3.9.
old_python() {
    printf '#!/bin/sh\nshift\nshift\nexec %s -c '"'import sys; sys.version_info = (3, 9, 2); exec(sys.argv.pop(1))'"' "$@"\n' "$(type -P python3)" >python3
    chmod +x python3
}

@test "what a host runs before the version of its Python is known is read by any Python" {
    run -0 python3 - "$ROOT/bin/agent-parallel-ssh" <<'P'
import ast, sys
tree = ast.parse(open(sys.argv[1]).read())
texts = {node.targets[0].id: node.value.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)}
ast.parse(texts["UNPACK"], feature_version=(3, 4))
P
}
