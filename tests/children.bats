#!/usr/bin/env bats
# what agent-execute, agent-eval, agent-vote, agent-reflect and agent-every start ends with them, however they are ended

# shellcheck disable=SC2016  # the text of another program
load helper

# A step that says when it runs, and has a child of its own.
setup() {
    prepare
    printf '#!/bin/bash\nsleep 0.1\ntouch "$SCRATCH/begun"\nsleep 61 &\nsleep 61\n' >step
    chmod +x step
    jq -cn '{type:"step", id:("a", "b"), task:"t"}' >plan.jsonl
}

# ended SIGNAL COMMAND...: starts it in a session of its own, as a terminal does, sends the signal to it (INT: to its
# whole group) once the step runs; its status. That nothing is left is seen by no_survivors.
ended() {
    python3 - "$@" 3<plan.jsonl <<'P'
import os, signal, subprocess, sys, time
signum = getattr(signal, "SIG" + sys.argv[1])
for ignored in (signal.SIGINT, signal.SIGHUP):
    signal.signal(ignored, signal.SIG_DFL)
child = subprocess.Popen(sys.argv[2:], stdin=3, start_new_session=True)
until = time.monotonic() + 60
while not os.path.exists(os.environ["SCRATCH"] + "/begun"):
    assert time.monotonic() < until and child.poll() is None, "the step did not begin"
    time.sleep(0.01)
(os.killpg if signum == signal.SIGINT else os.kill)(child.pid, signum)
sys.exit(child.wait(60) % 256)
P
}

leaves_nothing() { # leaves_nothing COMMAND...: after each signal, with the status that it makes
    local signum
    for signum in INT:130 TERM:"${on_term:-143}" KILL:247; do
        rm -f "$SCRATCH/begun"
        run -"${signum#*:}" --separate-stderr ended "${signum%:*}" "$@"
        equal '' "$stderr"
        no_survivors
    done
}

@test "agent-execute" { leaves_nothing agent-execute --quiet -- ./step; }

@test "agent-vote" { leaves_nothing agent-vote --quiet -n 2 -- ./step; }

@test "agent-eval, in a run of the agent" {
    echo '{"input":"","checks":[{"regex":""}]}' >cases.jsonl
    leaves_nothing agent-eval cases.jsonl --quiet -- ./step
}

@test "agent-eval, in a check" {
    jq -cn '{input:"", checks:[{command:($ENV.PWD + "/step")}]}' >cases.jsonl
    leaves_nothing agent-eval cases.jsonl --quiet -- true
}

@test "agent-reflect, in a try" { leaves_nothing agent-reflect --quiet --check true -- ./step; }

@test "agent-reflect, in a check" { leaves_nothing agent-reflect --quiet --check ./step -- echo; }

@test "agent-every" { on_term=0 leaves_nothing agent-every 30s --grace 0.1s -- ./step; }
