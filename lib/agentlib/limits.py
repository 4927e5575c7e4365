"""What a tool may use up: processes, memory, file size, open files. By prlimit(1) inside bubblewrap, or on ourselves.

A user namespace counts its own processes, so the limit holds inside bubblewrap; only root's are never counted by
the kernel, and get a control group (pids) where the machine has one that we may use.
"""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PRLIMIT = "/usr/bin/prlimit"
GROUPS = "/sys/fs/cgroup"
GIB = 1 << 30
_made = 0


def defaults() -> dict[str, int]:
    """processes, memory (bytes of address space, each process), file (bytes), files (open ones)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processes": 256, "memory": max(4 * GIB, pages * 3 // 4), "file": GIB, "files": 1024}


def command(limits: Mapping[str, int]) -> list[str]:
    """What to put before a tool's argv; nothing on a machine without prlimit."""
    if not os.access(PRLIMIT, os.X_OK):
        return []
    return [PRLIMIT, f"--nproc={limits['processes']}", f"--as={limits['memory']}", f"--fsize={limits['file']}",
            f"--nofile={limits['files']}", "--core=0", "--"]


def impose(limits: Mapping[str, int]) -> None:
    """The same on the calling process. The kernel counts all of the user's processes here: those come on top."""
    import resource
    with open("/proc/loadavg") as load:
        there = int(load.read().split()[3].split("/")[1])
    wanted = {resource.RLIMIT_NPROC: limits["processes"] + there, resource.RLIMIT_AS: limits["memory"],
              resource.RLIMIT_FSIZE: limits["file"], resource.RLIMIT_NOFILE: limits["files"], resource.RLIMIT_CORE: 0}
    for which, value in wanted.items():
        most = resource.getrlimit(which)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))


def group(processes: int) -> str:
    """A new control group of at most so many processes, for root; '' where there is none to be had."""
    global _made
    base = _base()
    if os.geteuid() != 0 or not base:
        return ""
    _made += 1
    made = f"{base}/agentutils-{os.getpid()}-{_made}"
    try:
        os.mkdir(made)
        with open(f"{made}/pids.max", "w") as limit:
            limit.write(str(processes))
    except OSError:
        leave(made)
        return ""
    return made


def available() -> bool:
    """Whether root's tools can have a control group here."""
    made = group(1)
    return bool(made) and leave(made)


def leave(group: str) -> bool:
    """Remove a control group; False while something of it still runs."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _base() -> str:
    """The folder of a pids controller in which we may make groups, version 1 or 2."""
    try:
        with open("/proc/self/cgroup") as file:
            own = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    except OSError:
        return ""
    old = GROUPS + "/pids" + own.get("pids", "/").rstrip("/")
    if "pids" in own and os.access(old + "/pids.max", os.F_OK) | os.access(old + "/tasks", os.W_OK):
        return old
    new = GROUPS + (os.path.dirname(own.get("", "/")).rstrip("/"))
    try:
        with open(new + "/cgroup.subtree_control") as file:
            return new if "pids" in file.read().split() else ""
    except OSError:
        return ""
