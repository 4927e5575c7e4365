"""The half line at the end of a file of JSON lines that a dead writer, or a full disk, left (lock.py)."""

import os
from contextlib import suppress

from agentlib.records import loads


def mend(file: int) -> int:
    """The size of a file that is ours alone once its last line has an end; a half line is taken off."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return size
    if half := _length(file, size):
        os.ftruncate(file, size - half)
        return size - half
    os.write(file, b"\n")
    return size + 1


def wipe(file: int) -> None:
    """Make blanks of a half line, in a file to which somebody may write without the lock, by a descriptor of its own:
    one for appending writes at the end."""
    with suppress(OSError):  # it waits for a write that is under way
        os.posix_fallocate(file, 0, 1)
    size = os.fstat(file).st_size
    other = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_CLOEXEC)
    os.pwrite(other, b" " * (half := _length(file, size)), size - half)
    os.close(other)


def _length(file: int, size: int) -> int:
    """Of the half line, in bytes; 0 where the last line is whole, or never was a record."""
    room, last = 65536, b""
    while b"\n" not in last and len(last) < size:
        last, room = os.pread(file, room, max(0, size - room)), room * 16
    last = last[last.rfind(b"\n") + 1 :]
    with suppress(ValueError):
        loads(last or b"{}")
        return 0
    return len(last) if last[:1] in (b"{", b"\0") else 0
