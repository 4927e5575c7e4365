"""Files that many processes change in turn, and that stay whole where one of them dies or the disk is full (to add
lines: records/tail.py). The kernel drops the lock of a process that dies."""

import fcntl
import os
import time
from contextlib import contextmanager, suppress

from agentlib.types import Iterator

TIMEOUT = 2.0  # seconds: whoever holds the lock needs it for less than a millisecond


@contextmanager
def locked(
    path: str | os.PathLike[str], flags: int = os.O_RDWR | os.O_CREAT, patience: float = TIMEOUT
) -> Iterator[int]:
    """The file, open and ours alone, made with mode 0600. OSError where it cannot be; TimeoutError is one."""
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        acquire(file, patience)
        yield file
    except OSError as bad:
        bad.filename = bad.filename or os.fspath(path)
        raise
    finally:
        os.close(file)


def acquire(file: int, patience: float = TIMEOUT, pause: float = 0.002) -> None:
    """Lock an open file once no other process has it locked. TimeoutError after `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(f"locked for more than {patience:g} s") from None
        time.sleep(pause)


def replace(path: str, data: bytes, mode: int = 0o600) -> None:
    """Make this the content of the file, whole or not at all; its folder is made where it is not there."""
    beside = f"{path}.{os.urandom(4).hex()}"
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except OSError as bad:
        with suppress(OSError):
            os.unlink(beside)
        bad.filename = path
        raise


def rewrite(file: int, data: bytes) -> None:
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
