"""Run one child process: all directions pumped, time and output bounded, its whole group ended with it."""

import os
import queue
import signal
import threading
import time
from contextlib import suppress
from functools import partial

from agentlib.process import events
from agentlib.process.child import Child
from agentlib.types import Any, Callable, Iterable, Iterator, NamedTuple

Begin = Callable[[int, int, int], Child]


class Outcome(NamedTuple):
    """What became of a child. status: as Popen tells it (negative: a signal). out: at most `cap` bytes of
    stdout. over: there was more, and the child was ended for it. err: the end of stderr. late: time was up. left:
    the names of what it left running, which was ended."""

    status: int
    out: bytes
    over: bool
    err: bytes
    late: bool
    left: str


GRACE = 1.5  # seconds between TERM and KILL
LINGER = 0.3  # seconds that a grandchild may hold stdout open once the child itself has ended
ERR_CAP = 8 * 1024  # bytes of stderr kept, from its end
CHUNK = 64 * 1024


class Leash:
    """The processes that one run has going, so that all of them end when the run does."""

    def __init__(self) -> None:
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self.pulled = False

    def start(self, begin: Callable[[], Child]) -> Child:
        """The child that begin() starts; InterruptedError where the leash was pulled before."""
        with self._lock:
            if self.pulled:
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

    def pull(self, grace: float = 0.1) -> None:
        """End every process: TERM, `grace` seconds, KILL. Nothing is started after that."""
        with self._lock:
            self.pulled = True
            children = list(self._children)
        for child in children:
            child.signal(signal.SIGTERM)
        patience = time.monotonic() + grace
        for child in children:
            child.ended(patience - time.monotonic())
            child.signal(signal.SIGKILL)

    def kill(self) -> None:
        """KILL every process, without the lock: for a signal handler, which may have interrupted its holder."""
        self.pulled = True
        for child in list(self._children):
            child.signal(signal.SIGKILL)


def at_once(
    most: int, todo: Iterable[Any], do: Callable[[Any], Any], leash: Leash
) -> Iterator[Any]:
    """What do(one) returns for each, as they end: in threads, `most` at a time.

    Nothing that they start on the leash outlives this, however it is left.
    """
    jobs = list(todo)
    left, ended = iter(jobs), queue.SimpleQueue[Any]()

    def work() -> None:
        try:
            with suppress(InterruptedError):  # the leash was pulled
                for job in left:
                    ended.put((do(job),))
        finally:
            ended.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in jobs[:most]]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            yield from (one[0] for one in iter(ended.get, None))
    finally:
        jobs.clear()
        leash.pull()
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(LINGER)


def start(options: dict[str, Any], stdin: int, stdout: int = 1, stderr: int = 2) -> Child:
    """Somebody else's program, which ends with us however we end, and with it all that it starts (supervisor.py).

    options: args, env and cwd (None: ours), files (more descriptors, by the numbers that it knows). The three
    descriptors stay open here.
    """
    from agentlib.process.supervised import Supervised

    return Supervised(options, stdin, stdout, stderr)


def run(
    begin: Begin | dict[str, Any],
    stdin: bytes,
    timeout: float,
    cap: int,
    leash: Leash,
    grace: float = GRACE,
) -> Outcome:
    """Run a child to its end with these bytes on standard input. OSError where it cannot be started.

    begin: starts it with the three descriptors that it gets; or the options for start(). timeout: seconds, then TERM
    and `grace` later KILL. cap: bytes of stdout kept; a child that writes more is ended. What it leaves is killed.
    """
    begun = partial(start, begin) if isinstance(begin, dict) else begin
    with _Pump(stdin, cap) as pump:
        child = leash.start(lambda: begun(*pump.theirs))
        try:
            pump.attach(child.handle)
            late = not pump.turn(time.monotonic() + timeout)
            if late or pump.over:
                child.signal(signal.SIGTERM)
                pump.turn(time.monotonic() + grace)
        finally:
            status = leash.drop(child)
    return Outcome(status, bytes(pump.out), pump.over, bytes(pump.err), late, child.left)


class _Pump:
    """Moves bytes between us and a child until it has ended. theirs: the ends of the pipes that the child gets."""

    def __init__(self, data: bytes, cap: int) -> None:
        self.out, self.err, self.over = bytearray(), bytearray(), False
        self._input, self._cap, self._loop = memoryview(data), cap, events.Loop()
        self._ended = 0.0  # when the child has, by time.monotonic()
        self._open: set[int] = set()
        stdin, self._stdin = self._pipe()
        self._stdout, stdout = self._pipe()
        self._stderr, stderr = self._pipe()
        self.theirs = (stdin, stdout, stderr)
        self._unread = {self._stdout, self._stderr}

    def _pipe(self) -> tuple[int, int]:
        try:
            made = os.pipe()
        except OSError:
            self.__exit__()
            raise
        self._open.update(made)
        return made

    def __enter__(self) -> "_Pump":
        return self

    def __exit__(self, *_: object) -> None:
        for one in list(self._open):
            self._close(one)

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def attach(self, handle: int) -> None:
        """Begin: the child, which has its ends now, is over when the handle is readable."""
        for one in self.theirs:
            self._close(one)
        for one in self._open:
            os.set_blocking(one, False)
        self._loop.watch(handle, events.IN, partial(self._exited, handle))
        self._loop.watch(self._stdout, events.IN, self._read_out)
        self._loop.watch(self._stderr, events.IN, self._read_err)
        self._loop.watch(self._stdin, events.OUT, self._write)

    def turn(self, until: float) -> bool:
        """Pump until the child has ended and been read to the end; False where the time is up first."""
        self._loop.at(until, lambda: None)
        while not self._ended:
            if self.over:
                return True
            if time.monotonic() >= until:
                return False
            self._loop.turn()
        until = min(until, self._ended + LINGER)
        self._loop.at(until, lambda: None)
        while self._unread and time.monotonic() < until:
            self._loop.turn()
        return True

    def _exited(self, handle: int) -> None:
        self._ended = time.monotonic()
        self._loop.forget(handle)
        self._no_input()

    def _no_input(self) -> None:
        if self._stdin in self._open:
            self._loop.forget(self._stdin)
            self._close(self._stdin)

    def _write(self) -> None:
        try:
            self._input = self._input[os.write(self._stdin, self._input[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # a tool need not read its input
            self._input = self._input[:0]
        if not self._input:
            self._no_input()

    def _read(self, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._loop.forget(descriptor)
            self._unread.discard(descriptor)
        return data

    def _read_out(self) -> None:
        self.out += self._read(self._stdout)
        if len(self.out) > self._cap:
            del self.out[self._cap :]
            self.over = True

    def _read_err(self) -> None:
        self.err += self._read(self._stderr)
        del self.err[:-ERR_CAP]
