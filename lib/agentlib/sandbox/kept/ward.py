"""A sandbox that is kept up, seen from outside: its warden (warden.py), and the processes in its cells."""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import socket
import subprocess
import threading

from agentlib.sandbox import bwrap, limits
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.mounts import EMPTY
from agentlib.types import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell

PACKET = 128 * 1024  # bytes of an order at most
PATIENCE = 5.0  # seconds that a sandbox has to stand, and a killed cell to end
WARDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warden.py")
KILLED = -int(signal.SIGKILL)
GONE = (
    errno.EPIPE,
    errno.ECONNRESET,
    errno.EBADF,
)  # of a warden: ended, or closed by another thread


class Lodger:
    """A process in a cell, as process.Child. line: to its warden."""

    def __init__(self, line: socket.socket, over: Callable[[], None]) -> None:
        self._line, self._over = line, over
        self.handle = line.fileno()

    def signal(self, signum: int) -> None:
        """To all that runs in the cell."""
        try:
            self._line.send(bytes([signum]))
        except OSError:  # it has ended
            pass

    def ended(self, seconds: float) -> bool:
        """Whether it ends within these seconds."""
        poll = select.poll()
        try:
            poll.register(self._line, select.POLLIN)
        except ValueError:  # reaped already
            return True
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def reap(self) -> int:
        """Wait for its end; its status as Popen tells it."""
        self._line.settimeout(PATIENCE)
        try:
            told = self._line.recv(4)
        except OSError:
            told = b""
        self._line.close()
        self._over()
        return int.from_bytes(told, "little", signed=True) if len(told) == 4 else KILLED


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
        argv += [sandbox_cell.python(), "-IS", WARDEN, str(theirs.fileno())]
        none = subprocess.DEVNULL
        with theirs:
            self._child = subprocess.Popen(
                limits.within(self._group, argv),
                env={},
                cwd="/",
                start_new_session=True,
                stdin=none,
                stdout=none,
                stderr=none,
                pass_fds=(theirs.fileno(),),
            )
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
            raise OSError(f"no warden: {bad}") from None

    def _try(self, cell: Cell) -> None:
        """One cell, before a tool is trusted to another: what works for bubblewrap may not work in it."""
        with open(os.devnull, "r+b") as null:
            trial = self._start(cell, ["/bin/true"], *[null.fileno()] * 3)
        if trial is None or trial.reap():
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

    def begin(self, cell: Cell, *given: int) -> Lodger | None:
        """Start the cell's tool with these descriptors; None for too long an order. BrokenPipeError: no more warden."""
        return self._start(cell, cell.argv, *given)

    def _start(self, cell: Cell, argv: list[str], *given: int) -> Lodger | None:
        order = {"argv": argv, "env": cell.env, "cwd": cell.inside, "limits": cell.limits}
        if cell.way == "landlock":
            order["confined"] = cell.confined()
        if len(packet := marshal.dumps(order)) > PACKET:
            return None
        line, theirs = socket.socketpair()
        with theirs:
            try:
                self._count(1)
                socket.send_fds(self._orders, [packet], [*given, theirs.fileno()])
            except OSError as bad:
                self._count(-1)
                line.close()
                if bad.errno in GONE:
                    raise BrokenPipeError(bad.errno, "the warden is gone") from None
                raise
        return Lodger(line, lambda: self._count(-1))

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
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._group:
            limits.leave(self._group)


def _setup(cell: Cell) -> dict[str, Any]:
    view = [(path, action == EMPTY, bwrap.size(path)) for path, action in cell.view.ordered()]
    return {
        "packet": PACKET,
        "view": view if cell.way == "bubblewrap" else None,
        "network": cell.network,
        "user": (os.getuid(), os.getgid()),
    }
