"""A sandbox that is kept up, seen from outside: its warden (warden.py), and the processes in its cells."""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import threading

from agentlib.process import run as process_run
from agentlib.process.supervised import Ordered
from agentlib.sandbox import bwrap, limits
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.mounts import EMPTY
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell

PACKET = 128 * 1024  # bytes of the answer to a setup at most
PATIENCE = 5.0  # seconds that a sandbox has to stand, and a killed cell to end
WARDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warden.py")


class Ward:
    """One sandbox that is kept up, and its warden. OSError where it cannot be.

    Of root's processes, a control group counts those of all cells together: to move each cell into one of its own can
    cost 10 ms (limits.door).
    """

    def __init__(self, cell: Cell) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._table: list[int] = []  # the warden's mount table
        walled = cell.way == "bubblewrap"
        argv = bwrap.kept(sandbox_cell.bubblewrap(), cell.view, cell.network) if walled else []
        self._processes, self._cells, self._most = cell.limits["processes"], 0, 1
        self._group = limits.group(self._processes)
        argv = limits.within(self._group, [*argv, sandbox_cell.python(), "-IS", WARDEN, "3"])
        complaints = os.memfd_create("complaints")
        with theirs, open(os.devnull, "r+b") as null:
            options = {"args": argv, "env": {}, "cwd": "/", "files": {3: theirs.fileno()}}
            self._child = process_run.start(options, null.fileno(), null.fileno(), complaints)
        try:
            self._orders.settimeout(PATIENCE)
            self._orders.send(marshal.dumps(_setup(cell)))
            said, fds, _, _ = socket.recv_fds(self._orders, PACKET, 1)
            for one in fds:
                os.set_inheritable(one, False)
                self._table.append(one)
            if why := marshal.loads(said):
                raise OSError(why)
            if walled:
                self._try(cell)
        except (OSError, EOFError) as bad:
            self.close()
            lines = os.pread(complaints, 2000, 0).decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"none can be kept up: {lines[-1] if lines else bad}") from None
        finally:
            os.close(complaints)

    def _try(self, cell: Cell) -> None:
        """One cell, before a tool is trusted to another: what works for bubblewrap may not work in it."""
        with open(os.devnull, "r+b") as null:
            trial = self._start(cell, ["/bin/true"], *[null.fileno()] * 3)
        if trial.reap():
            raise OSError("no cell can be made in it")

    def stale(self) -> bool:
        """Whether a mount has gone since: a file that is taken away takes the mounts on it along, in our view too."""
        poll = select.poll()
        for one in self._table:
            poll.register(one, select.POLLPRI)
        return bool(poll.poll(0))

    @property
    def idle(self) -> bool:
        """Whether it has no cells."""
        return self._cells == 0

    def begin(self, cell: Cell, *given: int) -> Ordered:
        """Start the cell's tool with these descriptors. BrokenPipeError: there is no warden any more."""
        return self._start(cell, cell.argv, *given)

    def _start(self, cell: Cell, argv: list[str], *given: int) -> Ordered:
        order = {"argv": argv, "env": cell.env, "cwd": cell.inside, "limits": cell.limits}
        if cell.way == "landlock":
            order["confined"] = cell.confined()
        self._count(1)
        try:
            return Ordered(self._orders, order, given, lambda: self._count(-1))
        except OSError:
            self._count(-1)
            raise

    def _count(self, change: int) -> None:
        """One cell more or less; the group has room for what most there were at once."""
        with self._lock:
            self._cells += change
            if self._group and self._cells > self._most:
                self._most = self._cells
                limits.widen(self._group, self._processes * self._most)

    def close(self) -> None:
        """No more orders: the warden ends, and with it all that it started."""
        self._orders.close()
        while self._table:
            os.close(self._table.pop())
        self._child.ended(PATIENCE)
        self._child.signal(signal.SIGKILL)
        self._child.reap()
        if self._group:
            limits.leave(self._group)


def _setup(cell: Cell) -> dict[str, Any]:
    view = [(path, action == EMPTY, bwrap.size(path)) for path, action in cell.view.ordered()]
    return {
        "view": view if cell.way == "bubblewrap" else None,
        "network": cell.network,
        "user": (os.getuid(), os.getgid()),
    }
