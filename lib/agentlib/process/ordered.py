"""A process that a server (supervisor.py, fork_server.py) starts for us, so that it ends with us in every case."""

import _socket as socket  # the module socket costs 1.5 ms at every start
import errno
import marshal
import os
import signal
from array import array
from contextlib import suppress

from agentlib.process.child import Child, memory_file
from agentlib.types import Any, Callable, Sequence

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
        """orders: the server's; BrokenPipeError: it is gone. files: descriptors to pass. over: called at the end."""
        self._over = over
        self._line, theirs = socket.socketpair()
        content = memory_file(marshal.dumps(order))
        try:
            passed = array("i", [content, theirs.fileno(), *files])
            orders.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        except OSError as bad:
            self._line.close()
            if bad.errno in GONE:
                raise BrokenPipeError(bad.errno, "the server is gone") from None
            raise
        finally:
            os.close(content)
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
