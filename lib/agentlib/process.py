"""Run one child process: all directions pumped, time and output bounded, its whole group ended with it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections import namedtuple

from agentlib.inside import inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    class Outcome(NamedTuple):
        """What became of a child. status: as Popen tells it (negative: a signal). out: at most `cap` bytes of
        stdout. over: there was more, and the child was ended for it. err: the end of stderr. late: time was up."""

        status: int
        out: bytes
        over: bool
        err: bytes
        late: bool
else:
    Outcome = namedtuple("Outcome", "status out over err late")

GRACE = 1.5  # seconds between TERM and KILL
LINGER = 0.3  # seconds that a grandchild may hold stdout open once the child itself has ended
ERR_CAP = 8 * 1024  # bytes of stderr kept, from its end
CHUNK = 64 * 1024


class Leash:
    """The processes that one run has going, so that all of them end when the run does."""

    def __init__(self) -> None:
        self._held: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.pulled = False

    def start(self, options: dict[str, Any]) -> subprocess.Popen[bytes]:
        """A child in a session of its own; InterruptedError where the leash was pulled before."""
        with self._lock:
            if self.pulled:
                raise InterruptedError("the run has ended")
            child = subprocess.Popen(**{"start_new_session": True, **options})
            self._held.add(child)
            return child

    def drop(self, child: subprocess.Popen[bytes]) -> None:
        """End what is left of the child's group, and reap the child."""
        signal_group(child, signal.SIGKILL)
        child.wait()
        with self._lock:
            self._held.discard(child)

    def pull(self, grace: float = 0.1) -> None:
        """End every process: TERM, `grace` seconds, KILL. Nothing is started after that."""
        with self._lock:
            self.pulled = True
            held = list(self._held)
        for child in held:
            signal_group(child, signal.SIGTERM)
        patience = time.monotonic() + grace
        for child in held:
            ended(child, patience - time.monotonic())
            signal_group(child, signal.SIGKILL)

    def kill(self) -> None:
        """KILL every process, without the lock: for a signal handler, which may have interrupted its holder."""
        self.pulled = True
        for child in list(self._held):
            signal_group(child, signal.SIGKILL)


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


def run(options: dict[str, Any], given: bytes, timeout: float, cap: int, leash: Leash) -> Outcome:
    """Run a child to its end with `given` on standard input. OSError where it cannot be started.

    options: for Popen. timeout: seconds, then TERM and GRACE later KILL. cap: bytes of stdout kept; a child that
    writes more is ended. What the child leaves behind in its group is killed.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
    child = leash.start({**options, **pipes})
    try:
        with _Pump(child, given, cap) as pump:
            late = not pump.turn(time.monotonic() + timeout)
            if late or pump.over:
                signal_group(child, signal.SIGTERM)
                pump.turn(time.monotonic() + GRACE)
    finally:
        leash.drop(child)
    return Outcome(child.returncode, bytes(pump.out), pump.over, bytes(pump.err), late)


class _Pump:
    """Moves bytes between us and the child until it has ended."""

    def __init__(self, child: subprocess.Popen[bytes], given: bytes, cap: int) -> None:
        self.out, self.err, self.over = bytearray(), bytearray(), False
        self._child, self._given, self._cap, self._gone = child, memoryview(given), cap, 0.0
        self._selector = selectors.PollSelector()
        self._handle = os.pidfd_open(child.pid)
        assert child.stdin and child.stdout and child.stderr
        self._selector.register(self._handle, selectors.EVENT_READ, self._exited)
        self._watch(child.stdout.fileno(), self._read_out)
        self._watch(child.stderr.fileno(), self._read_err)
        self._stdin = child.stdin.fileno()
        os.set_blocking(self._stdin, False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE, self._write)

    def _watch(self, descriptor: int, act: Any) -> None:
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def __enter__(self) -> _Pump:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        os.close(self._handle)
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe
            pipe.close()

    def turn(self, until: float) -> bool:
        """Pump until the child has ended and been read to the end; False where the time is up first."""
        while True:
            left = (min(until, self._gone + LINGER) if self._gone else until) - time.monotonic()
            if self._gone and (left <= 0 or not self._selector.get_map()):
                return True
            if left <= 0:
                return False
            for key, _ in self._selector.select(left):
                if key.fd in self._selector.get_map():  # else closed a moment ago, by another's turn
                    key.data(key.fd)
            if self.over and not self._gone:
                return True

    def _exited(self, descriptor: int) -> None:
        self._gone = time.monotonic()
        self._selector.unregister(descriptor)
        if self._stdin >= 0:
            self._stop_giving()

    def _stop_giving(self) -> None:
        self._selector.unregister(self._stdin)
        assert self._child.stdin
        self._child.stdin.close()
        self._stdin = -1

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
