# shellcheck shell=bash
# pipes - pipelines in the background: to begin one, find its processes, and see its end

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
        for pid in $(survivors) $(ps -o pid= -s "$group"); do # a plain user cannot read the environment of one with keys
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

# settled: whether all processes of the pipeline sleep, and sleep on: they have started, and wait for something.
settled() {
    for _ in 1 2 3 4 5; do
        sleep 0.1
        [[ $(ps -o stat= -s "$group") != *[RD]* ]] || return
    done
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

no_traceback() { ! grep -q -e Traceback -e "internal error" err || { cat err >&2; return 1; }; }

whole_lines() { python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$1"; }
