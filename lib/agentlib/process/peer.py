"""A process, or a connection, that is spoken to in lines both ways: a provider, a worker. It ends with us."""

import fcntl
import os
import signal
import time
from contextlib import suppress

from agentlib.faults import Fault
from agentlib.process import events
from agentlib.process.child import readable
from agentlib.process.unusable import unusable
from agentlib.types import TYPE_CHECKING, Callable, Mapping, NoReturn, Sequence

if TYPE_CHECKING:
    import socket

CHUNK = 256 * 1024  # bytes of one read
TAIL = 2048  # bytes of a child's stderr that an error message shows
MESSAGES = 16 * 1024  # bytes of its stderr that are passed on; the rest is read and dropped
GRACE = 0.5  # seconds that a child has to end by itself after the end of its input
HARD = 2.0  # seconds between TERM and KILL
LOST = 111  # the status of a connection that broke off
PDEATHSIG = 1  # PR_SET_PDEATHSIG of prctl(2)


class Peer:
    """One process, or (line) a connection to one that stays. on_line(line) gets each line of its stdout,
    on_message(line) of its stderr; on_end(status) comes once."""

    def __init__(
        self,
        loop: events.Loop,
        argv: list[str],
        env: Mapping[str, str],
        *,
        on_line: Callable[[bytes], None],
        on_message: Callable[[bytes], None],
        on_end: Callable[[int], None],
        line: "socket.socket | None" = None,
    ) -> None:
        self._loop, self._on_end = loop, on_end
        self._on_line, self._on_message = on_line, on_message
        self._out, self._err = events.Splitter(), events.Splitter()
        self._name, self._room = os.path.basename(argv[0]), MESSAGES
        self._outbox = bytearray()
        self._finishing = False  # its input ends where the outbox does
        self.tail = b""  # the end of what it wrote to stderr
        self.input_closed = False  # it has closed its standard input
        self.alive = True
        if line:  # there is no process of ours, and no stderr
            connection, none = line.detach(), os.open(os.devnull, os.O_RDONLY)
            started = 0, os.dup(none), os.dup(connection), connection, none
        else:
            started = spawn(argv, env)
        self.pid, self._end, self._stdin, self._stdout, self._stderr = started
        for file in started[2:]:
            os.set_blocking(file, False)
        loop.watch(self._stdout, events.IN, self._read)
        loop.watch(self._stderr, events.IN, self._read_err)
        if self.pid:
            loop.watch(self._end, events.IN, self._reap)

    @property
    def backlog(self) -> int:
        """Bytes that it has not taken yet."""
        return len(self._outbox)

    def send(self, line: bytes) -> None:
        """Give it these bytes when it takes them."""
        waiting = bool(self._outbox)
        self._outbox += line
        if not waiting:
            self._write()

    def finish(self) -> None:
        """End of its input, once it has taken all that it was sent."""
        self._finishing = True
        if not self._outbox:
            self._close_input()

    def close(self, grace: float = GRACE) -> None:
        """End of its input; TERM after `grace` seconds, KILL after HARD more."""
        if not self.pid:
            return self._over(0)
        self._close_input()
        now = time.monotonic()
        self._loop.at(now + grace, lambda: self._signal(signal.SIGTERM))
        self._loop.at(now + grace + HARD, lambda: self._signal(signal.SIGKILL))

    def kill(self) -> None:
        """End it and its group at once, and reap it; nothing more is heard of it."""
        if self.alive:
            self._signal(signal.SIGKILL)
            if self.pid and readable(self._end, 1.0):  # else it is stuck in the kernel
                os.waitpid(self.pid, 0)
            self._on_end = lambda status: None
            self._over(0)

    def _signal(self, signum: int) -> None:
        if self.alive and self.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signum)

    def _write(self) -> None:
        try:
            while self._outbox and not self.input_closed:
                with memoryview(self._outbox) as view:
                    sent = os.write(self._stdin, view[:CHUNK])
                del self._outbox[:sent]
        except BlockingIOError:
            self._loop.watch(self._stdin, events.OUT, self._write)
            return
        except OSError:  # it may leave its input unread: its answer or its end comes all the same
            self.input_closed = True
            self._outbox.clear()
        self._loop.forget(self._stdin)
        if self._finishing:
            self._close_input()

    def _close_input(self) -> None:
        if self._stdin >= 0:
            self._loop.forget(self._stdin)
            os.close(self._stdin)
            self._stdin, self.input_closed = -1, True

    def _read(self) -> bool:
        try:
            data = os.read(self._stdout, CHUNK)
        except BlockingIOError:
            return False
        except ConnectionResetError:  # the other side of a connection left without reading all
            data = b""
        try:
            lines = self._out.feed(data) if data else self._out.rest()
        except Fault as fault:  # a line without end
            self.tail = fault.message.encode()
            self._signal(signal.SIGKILL)
            data, lines = b"", []
        for _, raw in lines:
            self._on_line(raw)
        if data:
            return True
        self._loop.forget(self._stdout)
        if self.pid:  # it has a moment to end with a status of its own
            self._loop.at(time.monotonic() + GRACE, lambda: self._signal(signal.SIGKILL))
        else:
            self._over(LOST)
        return False

    def _over(self, status: int) -> None:
        if self.alive:
            self.alive = False
            self._close_input()
            for file in (self._stdout, self._stderr, self._end):
                self._loop.forget(file)
                os.close(file)
            self._on_end(status)

    def _read_err(self) -> bool:
        try:
            data = os.read(self._stderr, CHUNK)
        except BlockingIOError:
            return False
        self.tail = (self.tail + data)[-TAIL:]
        if self._room >= 0:
            lines = self._err.feed(data[: self._room])
            self._room -= len(data)
            if not data or self._room < 0:
                lines += self._err.rest()
            if self._room < 0:
                more = f"{self._name}: writes more to standard error than is shown"
                lines.append((0, more.encode()))
            for _, raw in lines:
                self._on_message(raw)
        if not data:
            self._loop.forget(self._stderr)
        return bool(data)

    def _reap(self) -> None:
        for file, read in ((self._stdout, self._read), (self._stderr, self._read_err)):
            while self.alive and read():
                pass
            self._loop.forget(file)
        if self.alive:  # else killed while we listened
            self._signal(signal.SIGKILL)  # what it leaves behind in its group
            self._over(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))


def spawn(argv: list[str], env: Mapping[str, str]) -> tuple[int, int, int, int, int]:
    """Start a program: (its number, a descriptor that is ready at its end, and our ends of its stdin, stdout, stderr).
    Fault where it cannot be run. A plain fork, safe in a program of one thread, costs 0.3 ms; subprocess costs 9."""
    (theirs_in, stdin), (stdout, theirs_out), (stderr, theirs_err) = (os.pipe() for _ in range(3))
    theirs, (failed, report) = (theirs_in, theirs_out, theirs_err), os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _become(argv, env, theirs, report, parent)
    end = os.pidfd_open(pid)
    for file in (*theirs, report):
        os.close(file)
    why = os.read(failed, 16)  # empty when the exec has closed it
    os.close(failed)
    if why:
        os.waitpid(pid, 0)
        for file in (end, stdin, stdout, stderr):
            os.close(file)
        raise unusable(argv[0], os.strerror(int(why)))
    for pipe in (stdin, stdout):  # a larger pipe saves turns
        with suppress(OSError):  # more than the user's limit
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
    return pid, end, stdin, stdout, stderr


def _become(
    argv: list[str], env: Mapping[str, str], files: Sequence[int], report: int, parent: int
) -> NoReturn:
    """In the new process: be the program. The errno goes to `report` where that fails."""
    try:
        import ctypes

        os.setsid()
        # the kernel kills this process when its starter is gone, also after kill -9
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)
        for number, file in enumerate(files):
            os.dup2(file, number)
        for signum in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        os.execve(argv[0], argv, env)
    except OSError as bad:
        os.write(report, str(bad.errno).encode())
    finally:
        os._exit(127)
