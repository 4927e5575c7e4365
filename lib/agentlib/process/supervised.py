"""Processes that a server (supervisor.py, fork_server.py) starts for us, so that they end with us in every case."""

import _socket as socket  # the module socket costs 1.5 ms at every start
import errno
import marshal
import os
import signal
import threading
from array import array
from contextlib import closing, suppress

from agentlib import paths
from agentlib.process.child import Child, Direct, memory_file
from agentlib.types import Any, Callable, Sequence

SUPERVISOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervisor.py")
KILLED = -int(signal.SIGKILL)
UNSTARTED = 1000  # a status of -1000 - errno: it could not be started (supervisor.py)
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)  # a server has ended, or a thread closed it


class Ordered(Child):
    """A process that a server (supervisor.py, fork_server.py) started for us, with all that it starts."""

    def __init__(
        self,
        orders: socket.socket,
        order: dict[str, Any],
        files: Sequence[int],
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """orders: the server's. files: the descriptors that the process gets. over: called when it has been reaped.
        BrokenPipeError: no more server."""
        self._over = over
        self._line, theirs = socket.socketpair()
        paper = memory_file(marshal.dumps(order))
        try:
            passed = array("i", [paper, theirs.fileno(), *files])
            orders.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        except OSError as bad:
            self._line.close()
            if bad.errno in GONE:
                raise BrokenPipeError(bad.errno, "the server is gone") from None
            raise
        finally:
            os.close(paper)
            theirs.close()
        self.handle = self._line.fileno()

    def signal(self, signum: int) -> None:
        """To its group, or to all that runs in its sandbox; KILL to everything that it started."""
        with suppress(OSError):  # it has ended
            self._line.send(bytes([signum]))

    def reap(self) -> int:
        """Its status; OSError where it could not be started."""
        data = b""
        with suppress(OSError):
            data = self._line.recv(4096)
        self.handle = -1
        self._line.close()
        self._over()
        self.left = data[4:].decode("utf-8", "replace")
        status = int.from_bytes(data[:4], "little", signed=True) if len(data) >= 4 else KILLED
        if status <= -UNSTARTED:
            raise OSError(-UNSTARTED - status, os.strerror(-UNSTARTED - status))
        return status


class Supervised(Ordered):
    """A program with a supervisor, of the one server that this process has for all of them."""

    _server: tuple[socket.socket, Direct] | None = None
    _lock = threading.Lock()

    def __init__(self, options: dict[str, Any], *files: int) -> None:
        """options: as for run.start(). files: its standard input, output and error."""
        more = options.get("files", {})
        order = {
            "argv": options["args"],
            "env": dict(os.environ if options.get("env") is None else options["env"]),
            "cwd": options.get("cwd") or os.getcwd(),
            "numbers": list(more),
        }
        try:
            super().__init__(self.serving(), order, [*files, *more.values()])
        except BrokenPipeError:  # somebody has ended the server
            super().__init__(self.serving(anew=True), order, [*files, *more.values()])

    @classmethod
    def serving(cls, anew: bool = False) -> socket.socket:
        """Where the orders of this process go; the server is started here. anew: after one that has ended."""
        with cls._lock:
            if anew and cls._server and cls._server[1].ended(0.0):
                cls._server[0].close()
                cls._server[1].reap()
                cls._server = None
            if cls._server is None:
                orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                options = {"args": [paths.PYTHON, "-IS", SUPERVISOR, "3"], "env": {}}
                with closing(theirs), open(os.devnull, "r+b") as null:
                    none = [null.fileno()] * 3
                    cls._server = orders, Direct(options, *none, theirs.fileno())
            return cls._server[0]
