#!/usr/bin/env bats
# agent-every, agent-schedule - run at intervals, alone, and end when told; units that systemd takes

# shellcheck disable=SC2016,SC2154  # texts of other programs; set by run --separate-stderr

load helper

@test "runs at intervals, the first at once, and ends with the status of the last" {
    local began=$EPOCHREALTIME
    run -3 agent-every 0.5s --count 4 -- sh -c 'echo run >>log; exit 3'
    equal 4 "$(wc -l <log)"
    ((${EPOCHREALTIME/./} - ${began/./} > 1500000))
}

@test "a run that is too long delays the next: no two at once" {
    run -0 agent-every 0.05s --count 4 -- sh -c 'mkdir one && sleep 0.15 && rmdir one'
}

@test "a second one of the same name does not start" {
    agent-every 30s --name x -- touch begun &
    pid=$!
    until [ -e begun ]; do sleep 0.02; done
    run -1 agent-every 30s --name x -- true
    equal 'agent-every: x: is running already; --name gives another name' "$output"
    kill "$pid"
    wait "$pid"
    agent-every 30s --name x --count 1 -- true
}

@test "TERM lets the current run end, then the status is 0" {
    agent-every 30s --grace 60s -- sh -c 'touch begun; sleep 0.5; touch ended' &
    pid=$!
    until [ -e begun ]; do sleep 0.02; done
    kill "$pid"
    wait "$pid"
    [ -e ended ]
}

@test "a run over its time is ended with all of its children" {
    run -124 agent-every 30s --timeout 0.3s --count 1 -- sh -c 'sleep 60 & sleep 60'
    has "$output" 'its time limit'
}

@test "tells systemd when it is ready and when it stops" {
    python3 - >told <<'P' &
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("notify"); s.settimeout(60)
got = []
while "STOPPING=1" not in got: got.append(s.recv(4096).decode())
print(*got, sep="\n")
P
    pid=$!
    until [ -S notify ]; do sleep 0.02; done
    JOURNAL_STREAM=1:2 NOTIFY_SOCKET=$PWD/notify run -0 agent-every 30s --count 1 -- true
    has "$output" '<6>agent-every: run ended with status 0'
    wait "$pid"
    equal 'READY=1' "$(head -1 told)"
    equal 'STOPPING=1' "$(tail -1 told)"
}

@test "gives a watchdog signs of life, also while a run lasts" {
    python3 - <<'P'
import os, socket, subprocess
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
s.settimeout(60)
env = {**os.environ, "NOTIFY_SOCKET": os.path.abspath("notify"), "WATCHDOG_USEC": "200000"}
run = "touch begun; until [ -e go ]; do sleep 0.05; done"
every = subprocess.Popen(["agent-every", "30s", "--count", "1", "--", "sh", "-c", run], env=env)
alive = 0
while alive < 3:
    said = s.recv(4096).decode()
    assert not said.startswith(("STATUS=run 1", "STOPPING=1")), said
    alive += said == "WATCHDOG=1" and os.path.exists("begun")
open("go", "w").close()
while s.recv(4096).decode() != "STOPPING=1":
    pass
assert every.wait(60) == 0
P
}

@test "stopped and continued, it does not make up for the runs that it missed" {
    agent-every 0.5s -- sh -c 'echo run >>log' &
    pid=$!
    until [ -s log ]; do sleep 0.02; done
    kill -STOP "$pid"
    sleep 4 # the time of eight runs
    before=$(wc -l <log) began=$EPOCHREALTIME
    kill -CONT "$pid"
    until (($(wc -l <log) >= before + 8)); do sleep 0.02; done
    ((${EPOCHREALTIME/./} - ${began/./} > 2900000)) # one that was due, then six intervals at least; at once if it made up for them
    kill "$pid"
    wait "$pid"
}

@test "an invalid time, a missing program" {
    run -2 agent-every soon -- true
    run -2 agent-every 99999999999d -- true
    run -2 agent-every 5m
    run -127 agent-every 5m -- no-such-program
}

@test "the units are such as systemd takes, whatever the command holds" {
    command -v systemd-analyze >/dev/null || skip "systemd-analyze is not installed"
    printf 'K=v\n' >keys && chmod 600 keys
    agent-schedule add t --at 'Mon..Fri 08:00' --keys keys --with systemd --dry-run -- sh -c 'echo "a $HOME" 50% \ '"it's" >units
    sed '/^# made.*/d' units | awk -v RS='\n\n\\[Unit\\]' 'NR==1{print > "t.service"} NR==2{print "[Unit]" $0 > "t.timer"}'
    run systemd-analyze verify --man=no ./t.service ./t.timer
    lacks "$output" t.service:
    lacks "$output" t.timer:
    has "$(cat t.service)" 'ExecStart="'
    has "$(cat t.service)" 'EnvironmentFile='
}

# fake NAME: a program of that name first on PATH, which keeps what it is told
fake() {
    mkdir -p fake
    printf '#!/bin/bash\n%s\n' "$2" >"fake/$1"
    chmod +x "fake/$1"
    PATH=$PWD/fake:$PATH
}

@test "with a systemd of the user, a timer is written, enabled, listed and removed" {
    fake systemctl 'echo "$*" >>calls'
    agent-schedule add watch --every 10m -- true
    has "$(cat calls)" '--user enable --now agentutils-watch.timer'
    has "$(cat "$HOME/.config/systemd/user/agentutils-watch.timer")" 'OnUnitActiveSec=600'
    has "$(agent-schedule list)" $'watch\t600\t'
    agent-schedule remove watch
    equal '' "$(agent-schedule list)"
    run -1 agent-schedule remove watch
}

@test "two commands are two jobs, however alike" {
    agent-every 30s -- sh -c 'touch begun; sleep 30' a b &
    until [ -e begun ]; do sleep 0.05; done
    run -0 agent-every 30s --count 1 -- sh -c 'touch begun: sleep 30' a b
    run -1 agent-every 30s --count 1 -- sh -c 'touch begun; sleep 30' a b
    kill %1
    wait
}

@test "a timer that cannot be written leaves no service behind" {
    fake systemctl 'true'
    mkdir -p "$HOME/.config/systemd/user/agentutils-watch.timer/x"
    run -111 agent-schedule add watch --every 10m -- true
    equal agentutils-watch.timer "$(ls "$HOME/.config/systemd/user")"
}

@test "without systemd, the line for cron is printed, and no table is read or written" {
    fake systemctl 'exit 1'
    fake crontab 'touch "$HOME/called"'
    run -0 --separate-stderr agent-schedule add watch --every 10m --folder / -- sh -c 'echo 50%'
    equal "*/10 * * * * cd / && exec $(command -v sh) -c 'echo 50\\%'" "${output//"'$(command -v sh)'"/$(command -v sh)}" # a path with a blank is quoted
    has "$stderr" 'crontab -e'
    run -0 --separate-stderr agent-schedule add watch --every 2h --with cron -- true
    has "$output" '0 */2 * * * cd '
    run -0 --separate-stderr agent-schedule add watch --at '0 8 * * 1-5' --with cron -- true
    has "$output" '0 8 * * 1-5 cd '
    run -2 agent-schedule add watch --every 7m --with cron -- true
    run -2 agent-schedule add watch --at '* * * * * *' --with cron -- true
    run -1 agent-schedule remove watch
    [ ! -e "$HOME/called" ]
}

@test "a file of keys, which cron would give to a shell, is refused there" {
    echo 'K=a&b' >keys && chmod 600 keys
    run -2 agent-schedule add watch --every 10m --keys keys --with cron -- true
    has "$output" 'cron reads no file of keys'
}

@test "keys that others can read, names with other signs, are refused" {
    echo K=v >keys && chmod 644 keys
    run -2 agent-schedule add x --every 10m --keys keys --with systemd -- true
    has "$output" 'chmod 600'
    run -2 agent-schedule add ../x --every 10m --with systemd -- true
    run -2 agent-schedule add x --with systemd -- true
}
