"""Landlock by ctypes: which files the calling thread, and all that it starts, may touch (linux/landlock.h).

The kernel's version of it (ABI) decides how much: 1 files, 2 links between folders, 3 truncate, 4 TCP, 5 device
ioctl, 6 signals and abstract sockets. None of them sees chmod, chown, times and extended attributes.
"""

import _thread
import ctypes
import os
import stat
import struct

from agentlib.types import Callable, Iterable

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers on every machine
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
NO_NEW_PRIVILEGES = 38

_libc = ctypes.CDLL(None, use_errno=True)


class Descriptor(int):
    """One that is closed when nothing refers to it any more."""

    def __del__(self) -> None:
        _libc.close(self)


def abi() -> int:
    """The version the kernel offers; 0 for none."""
    return max(int(_libc.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))), 0)


def reading() -> int:
    """A new ruleset in which nothing can be read; -1 without Landlock. It grows by add(), until limit() takes it."""
    return create(struct.pack("=Q", READ_FILE))


def add(ruleset: int, fd: int, access: int = READ_FILE) -> None:
    """Allow this for an open file, or for an open folder and all below it. OSError where the kernel refuses."""
    if _libc.syscall(ADD, ruleset, 1, struct.pack("=Qi", access, fd), 0):
        raise error()


def limit(ruleset: int) -> None:
    """From now on this thread may do what the ruleset allows; what is added to it later is of no use to it. OSError."""
    if _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or _libc.syscall(RESTRICT, ruleset, 0):
        raise error()


def behind(rulesets: Iterable[int], work: Callable[[], int]) -> int:
    """What work() returns or raises, done by a new thread that these hold from the start, and that has ended then."""
    made: list[int | BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            for one in rulesets:
                limit(one)
            made.append(work())
        except BaseException as bad:
            made.append(bad)
        finally:
            done.release()

    _thread.start_new_thread(run, ())
    done.acquire()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


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
