# shellcheck shell=bash
# hosts - machines of a test's own: network namespaces on a bridge, each with an sshd; all end with the test
#
# hosts_up COUNT: this test's network (`net COMMAND...` runs in it) with the machines 10.77.0.11, 10.77.0.12, … and a file
# `hosts` for agent-parallel. The model of `model` answers at 10.77.0.1. A machine has the files of this one (without the
# folder HIDDEN, if that is set, and then with the system's programs alone), but a home of its own, $SCRATCH/hostN; that of
# the machine FULL has room for 1 MB.

NET=1 HOSTS=() SPACES=''

net() { nsenter --net="/proc/$NET/ns/net" -- "$@"; }

# The scripted model lives in the test's network.
python3() { if [[ ${1-} == "$TESTS/model_server.py" ]]; then net python3 "$@" --host 10.77.0.1; else command python3 "$@"; fi; }

hosts_up() {
    [[ $EUID == 0 ]] || skip "only root can make network namespaces"
    unshare --net true 2>/dev/null || skip "this machine allows no network namespaces"
    uses parallel sshd
    type -P ip ssh ssh-keygen >/dev/null || skip "ip, ssh or ssh-keygen is not installed"
    namespace
    NET=$HOLDER
    net ip link set lo up
    net ip link add bridge type bridge
    net ip addr add 10.77.0.1/24 dev bridge
    net ip link set bridge up
    net sh -c 'echo 100 >/proc/sys/net/ipv4/neigh/bridge/retrans_time_ms' # that nobody is there is soon clear
    mkdir -p /run/sshd keys
    ssh-keygen -q -t ed25519 -N '' -f keys/host
    ssh-keygen -q -t ed25519 -N '' -f keys/user
    for ((n = 1; n <= $1; n++)); do
        host_up "$n"
        echo "ssh -Fnone -i$PWD/keys/user -oUserKnownHostsFile=/dev/null -oStrictHostKeyChecking=no -oLogLevel=ERROR 10.77.0.1$n"
    done >hosts
}

# namespace: HOLDER is the pid of a process that keeps a new network namespace.
namespace() {
    unshare --net sleep 300 3>&- &
    HOLDER=$!
    HOSTS+=("$HOLDER")
    until [[ $(readlink "/proc/$HOLDER/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
    SPACES+="<$(readlink "/proc/$HOLDER/ns/net")>"
}

host_up() {
    local n=$1 inside options path=$PATH
    namespace
    inside=(nsenter --net="/proc/$HOLDER/ns/net" --)
    net ip link add "host$n" type veth peer name eth0 netns "$HOLDER"
    net ip link set "host$n" master bridge up
    "${inside[@]}" ip addr add "10.77.0.1$n/24" dev eth0
    "${inside[@]}" ip link set eth0 up
    "${inside[@]}" ip link set lo up
    if [[ -n ${HIDDEN-} ]]; then
        path=/usr/bin:/bin
        # shellcheck disable=SC2016  # of the inner shell
        inside+=(unshare --mount -- sh -c 'mount -t tmpfs none "$1" && shift && exec "$@"' hidden "$HIDDEN")
    fi
    if [[ $n == "${FULL-}" ]]; then
        mkdir -p "$SCRATCH/host$n"
        # shellcheck disable=SC2016
        inside+=(unshare --mount -- sh -c 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"' full "$SCRATCH/host$n")
    fi
    mkdir -p "$SCRATCH/host$n/.local/state/agentutils/history"
    options=("AuthorizedKeysFile=$PWD/keys/user.pub" StrictModes=no PidFile=none UsePAM=no PermitRootLogin=yes
        MaxStartups=100 "SetEnv=HOME=$SCRATCH/host$n PATH=$path")
    "${inside[@]}" "$(readlink -f "$(type -P sshd)")" -D -e -f /dev/null -h "$PWD/keys/host" "${options[@]/#/-o}" 2>"sshd$n.log" 3>&- &
    HOSTS+=("$!")
    for ((try = 0; try < 200; try++)); do grep -qs listening "sshd$n.log" && return; sleep 0.02; done
    cat "sshd$n.log" >&2
    return 1
}

# host_lost N: the machine's link is cut; what runs there runs on.
host_lost() { net ip link set "host$1" down; }

hosts_down() {
    local link process
    end_model
    for link in /proc/[0-9]*/ns/net; do # a session of sshd outlives a link that was cut
        process=${link%/ns/net}
        if [[ $SPACES == *"<$(readlink "$link")>"* && $(<"$process/comm") == sshd* ]]; then
            HOSTS+=("${process#/proc/}")
        fi
    done 2>/dev/null
    ((${#HOSTS[@]} == 0)) || kill "${HOSTS[@]}" 2>/dev/null || true
    wait
}
