"""The work of agent-every: one run after another, at intervals, until a signal ends it.

The monotonic clock is what counts: a clock that is set, or a machine that slept, makes no burst of runs.
"""

import fcntl
import os
import random
import shlex
import signal
import socket
import time
from contextlib import contextmanager, suppress

from agentlib import paths, stderr
from agentlib.cli import duration
from agentlib.faults import Fault, Interrupted
from agentlib.launch import command, start
from agentlib.process import run
from agentlib.types import Callable, Iterator, Namespace

KILL = 2.0  # seconds between TERM and KILL
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(args: Namespace) -> int:
    """Run until TERM (then 0), or --count runs (then the status of the last)."""
    interval, jitter = duration(args.interval), duration(args.jitter)
    lock = alone(args.name or shlex.join(args.command))
    status, count, leash = 0, 0, command.Leash()
    try:
        notify("READY=1")
        due = time.monotonic()
        while True:
            wait(due + random.random() * jitter)
            now = time.monotonic()
            # what was missed is not made up for
            due = due + interval if due + interval > now else now + interval
            status = once(args, leash)
            count += 1
            notify(f"STATUS=run {count} ended with status {status}")
            if count == args.count:
                return status
    except Interrupted:
        return 0
    finally:
        notify("STOPPING=1")
        os.close(lock)


def alone(name: str) -> int:
    """The lock of that name, ours as long as we live; a Fault where another process has it."""
    import hashlib

    mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]  # `a b` and `a-b` are two
    path = os.path.join(paths.runtime(), f"every-{mark}.lock")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Fault("tool_error", f"{name}: is running already") from None
    return file


def wait(until: float, ended: Callable[[float], object] = time.sleep) -> bool:
    """Whether ended(seconds) says so before that time; signs of life while it lasts, where a watchdog wants them
    (sd_watchdog_enabled(3))."""
    beat = int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6 or 1e6
    while (left := until - time.monotonic()) > 0:
        if ended(min(left, beat)):
            return True
        notify("WATCHDOG=1")
    return False


@contextmanager
def signals_deferred() -> Iterator[None]:
    """A signal that asks us to end waits until the child that is being started is in our hand."""
    came: list[int] = []
    before = {signum: signal.signal(signum, lambda n, _: came.append(n)) for signum in ENDING}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if came:
        raise Interrupted(came[0])


def once(args: Namespace, leash: command.Leash) -> int:
    """One run; its status, 124 where its time was up. TERM gives it the grace, then ends it and us."""
    began, limit = time.monotonic(), duration(args.timeout)
    argv = [command.found(args.command[0]), *args.command[1:]]
    cell = start.cell(argv, start.USER, start.TYPED, env=dict(os.environ))
    child, late, status = None, False, 0
    try:
        with signals_deferred(), open(os.devnull, "rb") as null:
            child = leash.start(lambda: run.start(cell.options, null.fileno()))
        late = not wait(time.monotonic() + limit, child.ended)
        if late:
            log(4, f"run ended after {args.timeout}, its time limit")
            child.signal(signal.SIGTERM)
            child.ended(KILL)
    except (Interrupted, KeyboardInterrupt):
        notify("STOPPING=1")
        if child:
            child.ended(duration(args.grace))
        raise
    finally:
        if child:
            status = leash.drop(child)
    if late:
        return 124
    status = 128 - status if status < 0 else status
    lasted = time.monotonic() - began
    log(4 if status else 6, f"run ended with status {status} after {lasted:.1f} s")
    return status


def log(priority: int, text: str) -> None:
    """One line on stderr, with a priority where journald reads it (sd-daemon(3))."""
    prefix = f"<{priority}>" if "JOURNAL_STREAM" in os.environ else ""
    stderr.say(f"{prefix}{stderr.program()}: {text}")


def notify(state: str) -> None:
    """Tell the service manager, where there is one (sd_notify(3)); never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    place = "\0" + address[1:] if address[0] == "@" else address
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
        channel.sendto(state.encode(), place)
