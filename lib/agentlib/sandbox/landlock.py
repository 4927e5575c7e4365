"""Landlock by ctypes: rulesets of which files a thread, and all that it starts, may touch (linux/landlock.h).

The kernel's version of it (ABI) decides how much: 1 files, 2 links between folders, 3 truncate, 4 TCP, 5 device
ioctl, 6 signals and abstract sockets. None of them sees chmod, chown, times and extended attributes.
"""

import ctypes
import os
import stat
import struct

CREATE, ADD = 444, 445  # the same numbers on every machine
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE

_libc = ctypes.CDLL(None, use_errno=True)


class Descriptor(int):
    """One that is closed when nothing refers to it any more."""

    def __del__(self) -> None:
        _libc.close(self)


def abi() -> int:
    """The version the kernel offers; 0 for none."""
    return max(int(_libc.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))), 0)


def reading() -> int:
    """A new ruleset in which nothing can be read; -1 without Landlock. It grows by add(), until a thread is bound."""
    return create(struct.pack("=Q", READ_FILE))


def add(ruleset: int, fd: int, access: int = READ_FILE) -> None:
    """Allow this for an open file, or for an open folder and all below it. OSError where the kernel refuses."""
    if _libc.syscall(ADD, ruleset, 1, struct.pack("=Qi", access, fd), 0):
        raise error()


def create(attributes: bytes) -> int:
    """A new ruleset by its struct landlock_ruleset_attr; -1 where the kernel refuses."""
    size, none = ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    return int(_libc.syscall(CREATE, attributes, size, none))


def allow(ruleset: int, path: str, access: int = READ_FILE) -> None:
    """The same for a path; nothing where it is gone."""
    try:
        fd = Descriptor(os.open(path, os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return
    folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    add(ruleset, fd, access if folder else access & OF_A_FILE)


def error() -> OSError:
    """Of the last call."""
    return OSError(ctypes.get_errno(), f"landlock: {os.strerror(ctypes.get_errno())}")
