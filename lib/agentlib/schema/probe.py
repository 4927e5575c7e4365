"""Run foreign programs briefly and at once: no shell, no input, little output, an end for sure."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time

from agentlib.faults import Fault
from agentlib.types import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell


class Outcome(NamedTuple):
    """How a program ended.

    status: its exit status, -N after signal N, None where `why` says what stopped it. out, err: what it
    wrote, up to the cap. seconds: wall time. why: "", or one phrase ("no answer within 3 s").
    """

    status: int | None
    out: bytes
    err: bytes
    seconds: float
    why: str


OUTPUT = 64 * 1024  # bytes of standard output; more ends the program
MESSAGES = 4 * 1024  # bytes of standard error that are kept; more is read and dropped
AT_ONCE = 8  # programs: more only wait for each other on a small machine


def run(
    keys: Sequence[str],
    prepare: Callable[[str], Cell],
    timeout: float,
    stdin: int = subprocess.DEVNULL,
) -> dict[str, Outcome]:
    """Run a program for each key, AT_ONCE at a time; how each ended, by its key. Each has `timeout` seconds.

    prepare: makes the start of a key's program ready, when its turn comes; a Fault of it is an Outcome too.
    """
    todo, done = list(keys)[::-1], dict[str, Outcome]()
    alive: set[int] = set()

    def work() -> None:
        while todo:
            try:
                key = todo.pop()
            except IndexError:
                return
            try:
                with prepare(key) as cell:
                    done[key] = _one({**cell.options, "stdin": stdin}, timeout, alive)
            except Fault as fault:
                done[key] = Outcome(None, b"", b"", 0.0, fault.message)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(todo)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:  # also after Ctrl-C: nothing that we started outlives us
        todo.clear()
        for pid in list(alive):
            _kill(pid)
    return {key: done[key] for key in keys}


def _one(options: dict[str, Any], timeout: float, alive: set[int]) -> Outcome:
    start = time.monotonic()
    try:
        child = subprocess.Popen(
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **options
        )
    except OSError as bad:
        return Outcome(None, b"", b"", 0.0, f"cannot be run: {bad.strerror}")
    alive.add(child.pid)
    out, err = bytearray(), bytearray()
    try:
        why = _listen(child, out, err, start + timeout)
    finally:
        _kill(child.pid)  # and whatever it started in its session
        status = child.wait()
        alive.discard(child.pid)
        for stream in (child.stdout, child.stderr):
            if stream:
                stream.close()
    if why == "late":
        why = f"no answer within {timeout:g} s"
    return Outcome(None if why else status, bytes(out), bytes(err), time.monotonic() - start, why)


def _listen(child: subprocess.Popen[bytes], out: bytearray, err: bytearray, deadline: float) -> str:
    """Fill out and err until the child ends, and say why it must ("" where it did so itself).

    Not until its pipes end: a grandchild may hold them.
    """
    assert child.stdout and child.stderr
    kept = {child.stdout.fileno(): (out, OUTPUT), child.stderr.fileno(): (err, MESSAGES)}
    for fd in kept:
        os.set_blocking(fd, False)
    ended = os.pidfd_open(child.pid)
    try:
        while True:
            ready = select.select([ended, *kept], [], [], max(0.0, deadline - time.monotonic()))[0]
            for fd in [fd for fd in kept if fd in ready or ended in ready]:
                if not _take(fd, *kept[fd]):
                    del kept[fd]
            if len(out) > OUTPUT:
                return f"more than {OUTPUT >> 10} KiB of output"
            if ended in ready:
                return ""
            if not ready:
                return "late"
    finally:
        os.close(ended)


def _take(fd: int, kept: bytearray, cap: int) -> bool:
    """Read what the pipe holds, once, and keep it up to one byte over the cap; False at its end."""
    try:
        data = os.read(fd, 1 << 20)
    except BlockingIOError:
        return True
    kept += data[: max(0, cap + 1 - len(kept))]
    return bool(data)


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
