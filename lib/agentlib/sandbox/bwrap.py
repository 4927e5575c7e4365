"""The command line of bubblewrap for a view: namespaces, mounts, no capabilities (bwrap(1), version 0.8 or newer)."""

import os

from agentlib.sandbox.mounts import MASK, WRITE, View
from agentlib.sandbox.overlay import DOOR, EMPTY

WALLS = "--unshare-all --unshare-user --cap-drop ALL --die-with-parent --new-session".split()
# of a warden, in the sandbox's own name space of users: root in it, to mount /proc, a devpts and an overlay,
# which keeps a folder in which nobody may write
NEEDED = (
    "--uid 0 --gid 0 --cap-add CAP_SYS_ADMIN --cap-add CAP_SYS_RESOURCE --cap-add CAP_DAC_OVERRIDE"
    " --cap-add CAP_SETPCAP --cap-add CAP_SETFCAP"
).split()
# /proc/sys once more, read-only: bwrap started by root leaves it writable, for the kernel still sees root
MACHINE = "--ro-bind / / --dev /dev --proc /proc --ro-bind /proc/sys /proc/sys".split()
MIB = 1 << 20
NOWHERE = "/run/empty"  # the working folder of a probe
# bytes of memory that an empty place may fill
SIZES = {"/tmp": 512 * MIB, "/dev/shm": 64 * MIB, "/run": 16 * MIB}
SIZE = 256 * MIB  # the others (a home, /var/tmp)


def command(program: str, view: View, network: bool, base: str) -> list[str]:
    """What to put before the argv of a warden (kept/warden.py), which starts the tools.

    base: where changes to the working folder lie; '' for none.
    """
    door = ["--bind", base, DOOR] if base else []
    return [program, *WALLS, *NEEDED, *_walls(view, network), *door, "--chdir", "/", "--"]


def _walls(view: View, network: bool) -> list[str]:
    argv = [*(["--share-net"] if network else []), *MACHINE]
    for path, action in view.ordered():
        argv += _mount(path, action)
    argv += _resolver() if network else []
    for path, action in view.ordered():  # last, since others may have been mounted inside
        argv += ["--remount-ro", path] if action == MASK and os.path.isdir(path) else []
    return argv


def _mount(path: str, action: str) -> list[str]:
    if action == EMPTY:
        return ["--size", str(size(path)), "--tmpfs", path]
    if action == MASK and os.path.isdir(path):
        return ["--size", "4096", "--tmpfs", path]
    if action == MASK:
        return ["--ro-bind", "/dev/null", path]
    return ["--bind" if action == WRITE else "--ro-bind", path, path]


def size(path: str) -> int:
    """Bytes of memory that this empty place may fill."""
    return SIZES.get(path, SIZE)


def _resolver() -> list[str]:
    """The name servers, where /etc/resolv.conf points into /run, which is empty inside."""
    real = os.path.realpath("/etc/resolv.conf")
    return ["--ro-bind", real, real] if real.startswith("/run/") and os.path.exists(real) else []
