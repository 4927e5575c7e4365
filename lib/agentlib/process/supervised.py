"""Programs with a supervisor (supervisor.py), which ends with us and ends them, with all that they have started."""

import _socket as socket  # the module socket costs 1.5 ms at every start
import os
import threading
from contextlib import closing

from agentlib import paths
from agentlib.process.child import Direct
from agentlib.process.ordered import Ordered
from agentlib.types import Any

SUPERVISOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supervisor.py")


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
