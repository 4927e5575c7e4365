"""Run one child process to its end: what it prints is read, its time and output are bounded, its whole group ends."""

import os
import select
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial

from agentlib.process.child import Child, memory_file
from agentlib.types import Any, Callable, NamedTuple

Options = dict[str, Any]  # for start()
Begin = Callable[[int, int, int], Child]
Start = Begin | Options

GRACE = 1.5  # seconds between TERM and KILL
LINGER = 0.3  # seconds that a grandchild may hold stdout open once the child itself has ended
ERR_CAP = 8 * 1024  # bytes of stderr kept, from its end
CHUNK = 64 * 1024


class Outcome(NamedTuple):
    """What became of a child. status: as Popen has it (negative: a signal). out: at most `cap` bytes of stdout. over:
    there was more, and the child was ended for it. err: the end of stderr. late: time was up. left: the names of
    what it left running, which was ended. seconds: from its start to its end."""

    status: int
    out: bytes
    over: bool = False
    err: bytes = b""
    late: bool = False
    left: str = ""
    seconds: float = 0.0


class Scope:
    """The processes that one run has going, so that all of them end when the run does."""

    def __init__(self) -> None:
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self.cancelled = False

    def start(self, begin: Callable[[], Child]) -> Child:
        """The child that begin() starts; InterruptedError where the scope was cancelled before."""
        with self._lock:
            if self.cancelled:
                raise InterruptedError("the run has ended")
            child = begin()
            self._children.add(child)
            return child

    def drop(self, child: Child) -> int:
        """End what is left of the child's group, and reap the child: its status."""
        child.signal(signal.SIGKILL)
        try:
            return child.reap()
        finally:
            with self._lock:
                self._children.discard(child)

    def cancel(self, grace: float = 0.1) -> None:
        """End every process: TERM, `grace` seconds, KILL. Nothing is started after that."""
        with self._lock:
            self.cancelled = True
            children = list(self._children)
        for child in children:
            child.signal(signal.SIGTERM)
        patience = time.monotonic() + grace
        for child in children:
            child.ended(patience - time.monotonic())
            child.signal(signal.SIGKILL)

    def kill(self) -> None:
        """KILL every process, without the lock: for a signal handler, which may have interrupted its holder."""
        self.cancelled = True
        for child in list(self._children):
            child.signal(signal.SIGKILL)


def start(options: Options, stdin: int, stdout: int = 1, stderr: int = 2) -> Child:
    """Somebody else's program, which ends with us however we end, and with it all that it starts (supervisor.py).
    options: args, env and cwd (None: ours), files (more descriptors, by number). All of them stay open here."""
    from agentlib.process.supervised import Supervised

    return Supervised(options, stdin, stdout, stderr)


def run(
    begin: Start, stdin: bytes, timeout: float, cap: int, scope: Scope, grace: float = GRACE
) -> Outcome:
    """Run a child to its end with these bytes on standard input. OSError where it cannot be started. begin: starts it
    with the three descriptors that it gets; or the options for start(). timeout: seconds, then TERM and `grace` later
    KILL. cap: bytes of stdout kept; a child that writes more is ended. What it leaves is killed."""
    begun, began = partial(start, begin) if isinstance(begin, dict) else begin, time.monotonic()
    with ExitStack() as ours, ExitStack() as theirs:
        its_stdin = memory_file(stdin)
        theirs.callback(os.close, its_stdin)
        pipes = []
        for _ in range(2):
            pipes.append(os.pipe())
            ours.callback(os.close, pipes[-1][0])
            theirs.callback(os.close, pipes[-1][1])
        (stdout, its_stdout), (stderr, its_stderr) = pipes
        child = scope.start(lambda: begun(its_stdin, its_stdout, its_stderr))
        try:
            theirs.close()
            printed = _Printed(cap)
            late = not printed.read(child.handle, stdout, stderr, timeout)
            if late or printed.over:
                child.signal(signal.SIGTERM)
                printed.read(child.handle, stdout, stderr, grace)
        finally:
            status = scope.drop(child)
    out, err = bytes(printed.out[:cap]), bytes(printed.err)
    return Outcome(status, out, printed.over, err, late, child.left, time.monotonic() - began)


class _Printed:
    """What a child has printed so far; over: more than the cap."""

    def __init__(self, cap: int) -> None:
        self.out, self.err, self._cap = bytearray(), bytearray(), cap

    @property
    def over(self) -> bool:
        return len(self.out) > self._cap

    def read(self, handle: int, stdout: int, stderr: int, seconds: float) -> bool:
        """Read until the child has ended (its handle is ready) or is over the cap; False where the time is up first."""
        until, unread, poll = time.monotonic() + seconds, {handle, stdout, stderr}, select.poll()
        for one in unread:
            poll.register(one, select.POLLIN)
        while unread and not self.over and (left := until - time.monotonic()) > 0:
            for ready, _ in poll.poll(left * 1000):
                data = b"" if ready == handle else os.read(ready, CHUNK)
                if ready == stdout:
                    self.out += data
                else:
                    self.err = (self.err + data)[-ERR_CAP:]
                if not data:
                    poll.unregister(ready)
                    unread.discard(ready)
                if ready == handle:
                    until = min(until, time.monotonic() + LINGER)
        return self.over or handle not in unread
