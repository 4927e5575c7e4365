"""A view of the working folder in which only what is on a list can be read, and changes go elsewhere (overlayfs).

The kernel opens the folder's files for an overlay with the rights of whoever made the overlay. So the list (a ruleset
of Landlock) binds the maker, a thread that does nothing else, and never the tool: it holds by the file itself, not by
a name, and for as long as the overlay is there. What a tool makes lies in a folder of its own (scratch.py), from which
apply.py takes it over when the tool has ended. Linux 5.13 or newer; no privileges but in one's own name spaces.
"""

import ctypes
import os

from agentlib.sandbox import landlock

FSOPEN, FSCONFIG, FSMOUNT, MOVE_MOUNT = 430, 431, 432, 429  # the same numbers on every machine
SET_FLAG, SET_STRING, CREATE = 0, 1, 6  # linux/mount.h
READ_ONLY, NO_SUID, NO_DEVICES = 1, 2, 4
DETACH = 2  # MNT_DETACH
FROM_DESCRIPTOR, HERE = 4, -100  # MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD
# the parts of a place for changes (scratch.py)
CHANGES, WORK, NOTHING = "changes", "work", "nothing"
# where the places for changes, and the overlays made with them, lie in a sandbox until a cell covers them
DOOR, READY = "/tmp/.agent-changes", "/tmp/.agent-ready"
OF_AN_OVERLAY = "user.overlay."  # how its marks begin
EMPTY, OVERLAY = "empty", "overlay"  # what a cell makes anew of a path (mounts.py)

_libc = ctypes.CDLL(None, use_errno=True)


def lay(target: str, lower: int, place: str, writable: bool, ruleset: int = -1) -> None:
    """Put the overlay of an open folder on a path. place: the folder for changes; ruleset: -1 for no list. OSError."""
    rulesets = [ruleset] if ruleset >= 0 else []
    made = landlock.behind(rulesets, lambda: _made(f"/proc/self/fd/{lower}", place, writable))
    overlay = landlock.Descriptor(made)
    _call(MOVE_MOUNT, overlay, b"", HERE, os.fsencode(target), FROM_DESCRIPTOR)


def _made(lower: str, place: str, writable: bool) -> int:
    """The descriptor of a new overlay that is mounted nowhere."""
    file_system = landlock.Descriptor(_call(FSOPEN, b"overlay", 1))
    parts = {"lowerdir": f"{lower}:{place}"}
    if writable:
        upper, work = f"{place}/{CHANGES}", f"{place}/{WORK}"
        parts = {"lowerdir": lower, "upperdir": upper, "workdir": work}
    for name, value in parts.items():
        _call(FSCONFIG, file_system, SET_STRING, name.encode(), os.fsencode(value), 0)
    _call(FSCONFIG, file_system, SET_FLAG, b"userxattr", None, 0)
    _call(FSCONFIG, file_system, CREATE, None, None, 0)
    return _call(FSMOUNT, file_system, 1, NO_SUID | NO_DEVICES | (0 if writable else READ_ONLY))


def _call(number: int, *arguments: bytes | int | None) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"overlay: {os.strerror(ctypes.get_errno())}")
    return result


def tried() -> str:
    """Why an overlay does not do in this sandbox what it must, '' where it does."""
    place = f"{DOOR}/trial-{os.urandom(8).hex()}"
    lower = f"{place}/lower"
    for path in (lower, f"{place}/{CHANGES}", f"{place}/{WORK}"):
        os.makedirs(path, 0o700)
    for name in ("listed", "later"):
        with open(os.path.join(lower, name), "w") as file:
            file.write(name)
    ruleset = landlock.reading()
    if ruleset < 0:
        return "this kernel has no Landlock"
    for path in (f"{lower}/listed", f"{place}/{CHANGES}", f"{place}/{WORK}"):
        landlock.allow(ruleset, path)
    folder = os.open(lower, os.O_PATH)
    lay(lower, folder, place, True, ruleset)
    os.close(folder)
    os.close(ruleset)
    for name, mode, wanted in (("listed", "r", "listed"), ("later", "r", None), ("new", "w+", "")):
        try:
            with open(f"{lower}/{name}", mode) as file:
                seen = file.read()
        except PermissionError:
            seen = None
        if seen != wanted:
            return f"a file in an overlay, {name}, can or cannot be read"
    _libc.umount2(os.fsencode(lower), DETACH)
    return ""
