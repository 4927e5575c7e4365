"""The command line of bubblewrap for a view: namespaces, mounts, no capabilities (bwrap(1), version 0.8 or newer)."""

import os

from agentlib.sandbox.mounts import MASK, WRITE, View
from agentlib.sandbox.overlay import DOOR, EMPTY

# A fork server is root in the sandbox's own user namespace, to mount /proc, a devpts and an overlay, which keeps a
# folder in which nobody may write. /proc/sys is bound once more, read-only: bwrap started by root leaves it writable,
# for the kernel still sees root.
WALLS = """--unshare-all --unshare-user --cap-drop ALL --die-with-parent --new-session --uid 0 --gid 0
    --cap-add CAP_SYS_ADMIN --cap-add CAP_SYS_RESOURCE --cap-add CAP_DAC_OVERRIDE --cap-add CAP_SETPCAP
    --cap-add CAP_SETFCAP --ro-bind / / --dev /dev --proc /proc --ro-bind /proc/sys /proc/sys""".split()
MIB = 1 << 20
NOWHERE = "/run/empty"  # the working folder of a probe
# bytes of memory that an empty place may fill
SIZES = {"/tmp": 512 * MIB, "/dev/shm": 64 * MIB, "/run": 16 * MIB}
SIZE = 256 * MIB  # the others (a home, /var/tmp)


def command(program: str, view: View, network: bool, base: str) -> list[str]:
    """What to put before the argv of a fork server (kept/fork_server.py), which starts the tools.

    base: where changes to the working folder lie; '' for none.
    """
    argv = [program, *WALLS]
    masked = [path for path, do in view.ordered() if do == MASK and os.path.isdir(path)]
    for path, action in view.ordered():
        if action == EMPTY or path in masked:
            size = SIZES.get(path, SIZE) if action == EMPTY else 4096
            argv += ["--size", str(size), "--tmpfs", path]
        elif action == MASK:
            argv += ["--ro-bind", "/dev/null", path]
        else:
            argv += ["--bind" if action == WRITE else "--ro-bind", path, path]
    if network:
        argv.append("--share-net")
        servers = os.path.realpath("/etc/resolv.conf")  # may lie in /run, which is empty inside
        if servers.startswith("/run/") and os.path.exists(servers):
            argv += ["--ro-bind", servers, servers]
    for path in masked:  # last, since others may have been mounted inside
        argv += ["--remount-ro", path]
    return [*argv, *(["--bind", base, DOOR] if base else []), "--chdir", "/", "--"]
