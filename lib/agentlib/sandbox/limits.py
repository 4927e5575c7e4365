"""What a tool may use up: processes, memory, file size, open files.

A user namespace counts its own processes, so the limit holds inside bubblewrap; only root's are never counted by
the kernel, and get a control group (pids) where the machine has one that we may use.
"""

import os
import time

GROUPS = "/sys/fs/cgroup"
NAME = "agentutils"
GIB = 1 << 30


def defaults() -> dict[str, int]:
    """processes, memory (bytes of address space, each process), file (bytes), files (open ones)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processes": 256, "memory": max(4 * GIB, pages * 3 // 4), "file": GIB, "files": 1024}


def group(processes: int) -> str:
    """A new control group of at most so many processes, for root; '' where there is none to be had."""
    base = groups() if os.geteuid() == 0 else ""
    if not base:
        return ""
    made = f"{base}/{NAME}-{os.getpid()}-{os.urandom(4).hex()}"
    os.mkdir(made)
    widen(made, processes)
    return made


def widen(group: str, processes: int) -> None:
    """Let the group have so many processes."""
    with open(f"{group}/pids.max", "w") as limit:
        limit.write(str(processes))


def within(group: str, argv: list[str]) -> list[str]:
    """A command whose process, of one thread, moves itself into the group first; '' is none. Of version 1 by the file
    for threads, which costs nothing: for a whole process the kernel stops all others from forking (10 ms)."""
    threads = f"{group}/tasks"
    door = threads if os.path.exists(threads) else f"{group}/cgroup.procs"
    return ["/bin/sh", "-c", 'echo 0 >"$0" && exec "$@"', door, *argv] if group else argv


def leave(group: str) -> None:
    """Remove a control group; one in which something is just ending is left to the next process that looks."""
    for _ in range(4):
        try:
            return os.rmdir(group)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.001)


def groups() -> str:
    """The folder of a pids controller in which we may make groups, or ''; what ended processes left is removed."""
    base = _controller()
    if not base or not os.access(base, os.W_OK):
        return ""
    for name in os.listdir(base):
        if name.startswith(f"{NAME}-") and not os.path.exists(f"/proc/{name.split('-')[1]}"):
            leave(f"{base}/{name}")
    return base


def _controller() -> str:
    """The folder of the pids controller that we are in: version 1, or 2 where groups beside ours can be limited."""
    try:
        with open("/proc/self/cgroup") as file:
            groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    except OSError:
        return ""
    old = GROUPS + "/pids" + groups.get("pids", "/").rstrip("/")
    if "pids" in groups and os.path.exists(f"{old}/cgroup.procs"):
        return old
    new = GROUPS + (os.path.dirname(groups.get("", "/")).rstrip("/"))
    try:
        with open(new + "/cgroup.subtree_control") as file:
            return new if "pids" in file.read().split() else ""
    except OSError:
        return ""
