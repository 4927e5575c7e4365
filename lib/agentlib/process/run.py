"""Run one child process: all directions pumped, time and output bounded, its whole group ended with it."""

from __future__ import annotations

import os
import select
import selectors
import signal
import subprocess
import threading
import time
from functools import partial

from agentlib.process.inside import inside
from agentlib.types import Any, Callable, NamedTuple, Protocol


class Child(Protocol):
    """A process that runs for us: a child of ours (Own), or a warden's (ward.py)."""

    handle: int

    def signal(self, signum: int) -> None: ...
    def ended(self, seconds: float) -> bool: ...
    def reap(self) -> int: ...


Begin = Callable[[int, int, int], Child]


class Outcome(NamedTuple):
    """What became of a child. status: as Popen tells it (negative: a signal). out: at most `cap` bytes of
    stdout. over: there was more, and the child was ended for it. err: the end of stderr. late: time was up."""

    status: int
    out: bytes
    over: bool
    err: bytes
    late: bool


GRACE = 1.5  # seconds between TERM and KILL
LINGER = 0.3  # seconds that a grandchild may hold stdout open once the child itself has ended
ERR_CAP = 8 * 1024  # bytes of stderr kept, from its end
CHUNK = 64 * 1024


class Own:
    """A child of ours, in a session of its own. pid: its number and its group's; handle: readable when it has ended."""

    def __init__(
        self,
        options: dict[str, Any],
        stdin: int,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """options: for Popen, but for the three descriptors, which stay open here; None: ours. OSError: no start."""
        pipes = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "start_new_session": True}
        self._popen = subprocess.Popen(**{**options, **pipes})
        self.pid, self.handle = self._popen.pid, -1
        try:
            self.handle = os.pidfd_open(self.pid)
        except OSError:  # no more descriptors to be had
            self.signal(signal.SIGKILL)
            self.reap()
            raise

    def signal(self, signum: int) -> None:
        """Signal all of its group."""
        signal_group(self._popen, signum)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within these seconds."""
        poll = select.poll()
        if self.handle >= 0:
            poll.register(self.handle, select.POLLIN)
        return self.handle < 0 or bool(poll.poll(max(0.0, seconds) * 1000))

    def reap(self) -> int:
        """Wait for its end; its status as Popen tells it."""
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)
        return self._popen.wait()


class Leash:
    """The processes that one run has going, so that all of them end when the run does."""

    def __init__(self) -> None:
        self._held: set[Child] = set()
        self._lock = threading.Lock()
        self.pulled = False

    def start(self, begin: Callable[[], Child]) -> Child:
        """The child that begin() starts; InterruptedError where the leash was pulled before."""
        with self._lock:
            if self.pulled:
                raise InterruptedError("the run has ended")
            child = begin()
            self._held.add(child)
            return child

    def drop(self, child: Child) -> int:
        """End what is left of the child's group, and reap the child: its status."""
        child.signal(signal.SIGKILL)
        status = child.reap()
        with self._lock:
            self._held.discard(child)
        return status

    def pull(self, grace: float = 0.1) -> None:
        """End every process: TERM, `grace` seconds, KILL. Nothing is started after that."""
        with self._lock:
            self.pulled = True
            held = list(self._held)
        for child in held:
            child.signal(signal.SIGTERM)
        patience = time.monotonic() + grace
        for child in held:
            child.ended(patience - time.monotonic())
            child.signal(signal.SIGKILL)

    def kill(self) -> None:
        """KILL every process, without the lock: for a signal handler, which may have interrupted its holder."""
        self.pulled = True
        for child in list(self._held):
            child.signal(signal.SIGKILL)


def signal_group(child: subprocess.Popen[bytes], signum: int) -> None:
    """Signal the child's group; its number stays the child's as long as the child is not reaped.

    TERM goes to what runs in the sandbox: the sandbox itself would end at once, and all in it with no time to tidy up.
    """
    if child.returncode is None:
        within = inside(child.pid) if signum == signal.SIGTERM else []
        try:
            for pid in within:
                os.kill(pid, signum)
            if not within:
                os.killpg(child.pid, signum)
        except (ProcessLookupError, PermissionError):
            pass


def ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the child ends within these seconds. It is not reaped: that is for whoever started it."""
    until = time.monotonic() + seconds
    while child.returncode is None and not _over(child):
        if time.monotonic() >= until:
            return False
        time.sleep(0.005)
    return True


def _over(child: subprocess.Popen[bytes]) -> bool:
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # another thread has just reaped it
        return True


def run(
    begin: Begin | dict[str, Any], given: bytes, timeout: float, cap: int, leash: Leash
) -> Outcome:
    """Run a child to its end with `given` on standard input. OSError where it cannot be started.

    begin: starts it with the three descriptors that it gets; or the options for Popen. timeout: seconds, then TERM and
    GRACE later KILL. cap: bytes of stdout kept; a child that writes more is ended. What it leaves behind is killed.
    """
    start = partial(Own, begin) if isinstance(begin, dict) else begin
    with _Pump(given, cap) as pump:
        child = leash.start(lambda: start(*pump.theirs))
        try:
            pump.attach(child.handle)
            late = not pump.turn(time.monotonic() + timeout)
            if late or pump.over:
                child.signal(signal.SIGTERM)
                pump.turn(time.monotonic() + GRACE)
        finally:
            status = leash.drop(child)
    return Outcome(status, bytes(pump.out), pump.over, bytes(pump.err), late)


class _Pump:
    """Moves bytes between us and a child until it has ended. theirs: the ends of the pipes that the child gets."""

    def __init__(self, given: bytes, cap: int) -> None:
        self.out, self.err, self.over = bytearray(), bytearray(), False
        self._given, self._cap, self._gone = memoryview(given), cap, 0.0
        self._open: set[int] = set()
        stdin, self._stdin = self._pipe()
        self._stdout, stdout = self._pipe()
        self._stderr, stderr = self._pipe()
        self.theirs = (stdin, stdout, stderr)

    def _pipe(self) -> tuple[int, int]:
        """(end to read, end to write)."""
        try:
            made = os.pipe()
        except OSError:
            self.__exit__()
            raise
        self._open.update(made)
        return made

    def attach(self, handle: int) -> None:
        """Begin: the child, which has its ends now, is over when the handle is readable."""
        for one in self.theirs:
            self._close(one)
        self._selector = selectors.PollSelector()
        self._selector.register(handle, selectors.EVENT_READ, self._exited)
        for descriptor, event, act in (
            (self._stdout, selectors.EVENT_READ, self._read_out),
            (self._stderr, selectors.EVENT_READ, self._read_err),
            (self._stdin, selectors.EVENT_WRITE, self._write),
        ):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, event, act)

    def __enter__(self) -> _Pump:
        return self

    def __exit__(self, *_: object) -> None:
        for one in list(self._open):
            self._close(one)

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def turn(self, until: float) -> bool:
        """Pump until the child has ended and been read to the end; False where the time is up first."""
        while True:
            left = (min(until, self._gone + LINGER) if self._gone else until) - time.monotonic()
            if self._gone and (left <= 0 or not self._selector.get_map()):
                return True
            if left <= 0:
                return False
            for key, _ in self._selector.select(left):
                if (
                    key.fd in self._selector.get_map()
                ):  # else closed a moment ago, by another's turn
                    key.data(key.fd)
            if self.over and not self._gone:
                return True

    def _exited(self, descriptor: int) -> None:
        self._gone = time.monotonic()
        self._selector.unregister(descriptor)
        if self._stdin in self._open:
            self._stop_giving()

    def _stop_giving(self) -> None:
        self._selector.unregister(self._stdin)
        self._close(self._stdin)

    def _write(self, descriptor: int) -> None:
        try:
            self._given = self._given[os.write(descriptor, self._given[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # a tool need not read what it is given
            self._given = self._given[:0]
        if not self._given:
            self._stop_giving()

    def _read(self, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            self._selector.unregister(descriptor)
        return data

    def _read_out(self, descriptor: int) -> None:
        self.out += self._read(descriptor)
        if len(self.out) > self._cap:
            del self.out[self._cap :]
            self.over = True

    def _read_err(self, descriptor: int) -> None:
        self.err += self._read(descriptor)
        del self.err[:-ERR_CAP]


def undumpable() -> None:
    """Nobody but root may read our memory and environment from now on (no core files either)."""
    import ctypes

    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
