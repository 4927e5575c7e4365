"""The end of a file of JSON lines, where a dead writer or a full disk may have left half a line; others are added."""

import os
from contextlib import suppress

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.lock import acquire, locked
from agentlib.records import loads
from agentlib.types import BinaryIO

RUN_TIMEOUT = 600.0  # seconds to wait for another run that has a file


def acquire_for_run(file: int, path: str) -> None:
    """Lock an open file until this program ends. Says so where another run has it, and waits for that run to end."""
    with suppress(TimeoutError):
        return acquire(file, 0.0)
    stderr.warn(f"{path}: waiting for another run that has it")
    try:
        acquire(file, RUN_TIMEOUT, 0.05)
    except TimeoutError:
        raise Fault("timeout", f"{path}: another run has it still") from None


def append(path: str, line: bytes) -> None:
    """Add a line (with its end) to the file, made where it is not there. OSError: the file is as it was."""
    with locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
        add(file, line)


def add(file: int, line: bytes) -> None:
    """As append(), to a file that is open for reading and appending, and ours alone."""
    size = mend(file)
    try:
        while line:
            line = line[os.write(file, line) :]
    except OSError:
        with suppress(OSError):  # a pipe, a terminal
            os.ftruncate(file, size)
        raise


def cut(file: BinaryIO) -> bool:
    """Whether the line that was read last is the file's last one and has no end."""
    return not file.read(1) and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"


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
    """Make blanks of a half line, for somebody may write without the lock."""
    with suppress(OSError):  # it waits for a write that is under way
        os.posix_fallocate(file, 0, 1)
    size = os.fstat(file).st_size
    other = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_CLOEXEC)  # it does not append
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
