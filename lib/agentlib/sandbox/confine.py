"""confine.py FD COMMAND... - put Landlock, seccomp and limits on this process, then become COMMAND

The way without bubblewrap. FD is a descriptor of one object (marshal, which needs no import of 6 ms as JSON does):
read and write (lists of paths), network, unseen, limits, group. What cannot be put on ends it with status 126: a
tool is never run with less.
"""

from __future__ import annotations

import marshal
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

import ctypes

from agentlib.faults import Fault
from agentlib.sandbox import landlock, limits, seccomp

PARENT_DEATH_SIGNAL, KILL, DROP_FROM_BOUND, CAPABILITIES = 1, 9, 24, 64


def confine(wanted: dict[str, object]) -> None:
    """For good, this process and all that it starts."""
    libc = ctypes.CDLL(None)
    libc.prctl(PARENT_DEATH_SIGNAL, KILL, 0, 0, 0)
    if group := wanted["group"]:
        with open(limits.door(str(group)), "w") as file:
            file.write("0")
    most = wanted["limits"]
    limits.impose(most, most["processes"] + limits.running())  # type: ignore[arg-type, index]
    code = seccomp.program(
        bool(wanted["network"]),
        unseen=bool(wanted["unseen"]),
        truncate=landlock.abi() < 3,
        among=True,
    )
    landlock.restrict(wanted["read"], wanted["write"], bool(wanted["network"]))  # type: ignore[arg-type]
    for listed in wanted["listed"]:  # type: ignore[attr-defined]
        landlock.limit(listed)
        os.close(listed)
    for one in range(CAPABILITIES):  # root becomes a user who merely owns root's files
        libc.prctl(DROP_FROM_BOUND, one, 0, 0, 0)
    seccomp.install(code)


def main(argv: list[str]) -> int:
    """Never returns where all goes well."""
    with os.fdopen(int(argv[0]), "rb") as file:
        wanted = marshal.load(file)
    try:
        confine(wanted)
    except (Fault, OSError, ValueError) as bad:
        os.write(2, f"sandbox: {bad}\n".encode())
        return 126
    try:
        os.execv(argv[1], argv[1:])
    except OSError as bad:
        os.write(2, f"{argv[1]}: {bad.strerror}\n".encode())
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
