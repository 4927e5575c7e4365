"""The command line of bubblewrap for a view: namespaces, mounts, no capabilities (bwrap(1), version 0.8 or newer)."""
from __future__ import annotations

import os

from agentlib.view import EMPTY, MASK, WRITE, View

ALONE = ("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL", "--die-with-parent",
         "--new-session")
# /proc/sys once more, read-only: bwrap started by root leaves it writable, for the kernel still sees root
MACHINE = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
MIB = 1 << 20
NOWHERE = "/run/empty"      # the working folder of a probe
SIZES = {"/tmp": 512 * MIB, "/dev/shm": 64 * MIB, "/run": 16 * MIB}     # bytes of memory that an empty place may fill
SIZE = 256 * MIB                                                        # the others (a home, /var/tmp)


def command(program: str, view: View, network: bool, filter: int) -> list[str]:
    """What to put before a tool's argv. filter: a descriptor of the seccomp program, to be inherited."""
    argv = [program, *ALONE, *(["--share-net"] if network else []), *MACHINE]
    for path, action in view.ordered():
        argv += _mount(path, action)
    argv += _resolver() if network else []
    for path, action in view.ordered():         # last, since others may have been mounted inside
        argv += ["--remount-ro", path] if action == MASK and os.path.isdir(path) else []
    where = [] if view.visible else ["--dir", NOWHERE]
    return [*argv, *where, "--seccomp", str(filter), "--chdir", view.folder if view.visible else NOWHERE, "--"]


def _mount(path: str, action: str) -> list[str]:
    if action == EMPTY:
        return ["--size", str(SIZES.get(path, SIZE)), "--tmpfs", path]
    if action == MASK and os.path.isdir(path):
        return ["--size", "4096", "--tmpfs", path]
    if action == MASK:
        return ["--ro-bind", "/dev/null", path]
    return ["--bind" if action == WRITE else "--ro-bind", path, path]


def _resolver() -> list[str]:
    """The name servers, where /etc/resolv.conf points into /run, which is empty inside."""
    real = os.path.realpath("/etc/resolv.conf")
    return ["--ro-bind", real, real] if real.startswith("/run/") and os.path.exists(real) else []
