"""A small file that many processes change in turn. The kernel drops the lock of a process that dies."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

from agentlib.types import Iterator

PATIENCE = 2.0  # seconds: whoever holds the lock needs it for less than a millisecond


@contextmanager
def locked(path: str | os.PathLike[str], flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    """The file, open and ours alone, made with mode 0600. OSError where it cannot be; TimeoutError is one."""
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(
                        f"{os.fspath(path)}: locked for more than {PATIENCE:g} s"
                    ) from None
                time.sleep(0.002)
        yield file
    finally:
        os.close(file)


def rewrite(file: int, data: bytes) -> None:
    """Make this the whole content of the file."""
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
