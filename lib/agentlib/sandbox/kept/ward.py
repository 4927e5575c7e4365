"""A sandbox that is kept up, seen from outside: its warden (warden.py), and the processes in its cells."""

import _socket as socket  # see process/supervised.py
import marshal
import os
import queue
import select
import signal
import sys
import threading
from contextlib import closing
from functools import partial

from agentlib import paths
from agentlib.process.child import Direct
from agentlib.process.supervised import Ordered
from agentlib.sandbox import bwrap, limits, scratch
from agentlib.sandbox import cell as sandbox_cell
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell

PACKET = 128 * 1024  # bytes of the answer to a setup at most
LONG = 1e6  # seconds that poll(2) can wait
PATIENCE = 5.0  # seconds that a sandbox has to stand, and a killed cell to end
WARDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warden.py")


def _started(argv: list[str], *files: int) -> Direct:
    """Our child. bubblewrap has the kernel kill it when its starter ends: a thread that waits for it and no more."""
    made: queue.SimpleQueue[Direct | OSError] = queue.SimpleQueue()

    def start() -> None:
        try:
            child = Direct({"args": argv, "env": {}}, *files)
        except OSError as bad:
            return made.put(bad)
        made.put(child)
        while not child.ended(LONG):
            pass

    threading.Thread(target=start, daemon=True).start()
    if isinstance(child := made.get(), OSError):
        raise child
    return child


class Ward:
    """One sandbox that is kept up, and its warden. OSError where it cannot be.

    Of root's processes, a control group counts those of all cells together: to move each cell into one of its own can
    cost 10 ms (limits.within).
    """

    def __init__(self, cell: "Cell") -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._table: list[int] = []  # the warden's mount table
        self._clean: list[tuple[int, str]] = []  # places for changes, with their list's version
        self._drop: list[str] = []  # names of those that are no more
        self._mounts: set[bytes] = set()  # what of the view is mounted
        self._closed = False
        walled = cell.way == "bubblewrap"
        base = scratch.base(cell.view.folder) if cell.view.listed else ""
        program = sandbox_cell.bubblewrap()
        argv = bwrap.command(program, cell.view, cell.network, base) if walled else []
        self._processes, self._cells, self._most = cell.limits["processes"], 0, 1
        self._group = limits.group(self._processes)
        seen = os.path.basename(cell.argv[0])  # by ps: whose sandbox it is
        argv = limits.within(self._group, [*argv, paths.PYTHON, "-IS", WARDEN, "3", seen])
        complaints = os.memfd_create("complaints")
        with closing(theirs), open(os.devnull, "r+b") as null:
            self._child = _started(argv, null.fileno(), null.fileno(), complaints, theirs.fileno())
        try:
            self._orders.settimeout(PATIENCE)
            self._orders.send(marshal.dumps(cell.setup()))
            room, flag = socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
            packet, passed, _, _ = self._orders.recvmsg(PACKET, room, flag)
            self._table = [int.from_bytes(one[2], sys.byteorder) for one in passed]
            if why := marshal.loads(packet):
                raise OSError(why)
            if walled:
                self._try(cell)
                sandbox_cell.works(cell.view.listed)
                self._mounts = self._mounted() & {os.fsencode(path) for path in cell.view.actions}
        except (OSError, EOFError) as bad:
            self.close()
            lines = os.pread(complaints, 2000, 0).decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"none can be kept up: {lines[-1] if lines else bad}") from None
        finally:
            os.close(complaints)

    def _try(self, cell: "Cell") -> None:
        """One cell, before a tool is trusted to another: what works for bubblewrap may not work in it."""
        with open(os.devnull, "r+b") as null:
            trial = self._start(cell, {**cell.order(), "argv": ["/bin/true"]}, *[null.fileno()] * 3)
        if trial.reap():
            raise OSError("no cell can be made in it")

    def stale(self) -> bool:
        """Whether it has ended, or a mount has gone: a file that is taken away takes along what is mounted on it."""
        poll = select.poll()
        for one in self._table:
            poll.register(one, select.POLLPRI)
        gone = bool(poll.poll(0)) and not self._mounts <= self._mounted()
        return gone or self._child.ended(0.0)

    def _mounted(self) -> set[bytes]:
        """Where something is mounted in the warden's view; it mounts overlays as they are needed."""
        data, place = b"", 0
        while part := os.pread(self._table[0], 65536, place):
            data, place = data + part, place + len(part)
        return {line.split(b" ", 5)[4] for line in data.splitlines()}

    @property
    def idle(self) -> bool:
        """Whether it has no cells."""
        return self._cells == 0

    def begin(self, cell: "Cell", *files: int) -> Ordered:
        """Start the cell's tool with these descriptors. BrokenPipeError: there is no warden any more."""
        if cell.way == "bubblewrap" and cell.view.listed and cell.view.writable:
            cell.take(self._place(cell))
            cell.over = partial(self._back, cell.version)
        with self._lock:
            drop, self._drop = self._drop, []
        return self._start(cell, {**cell.order(), "drop": drop}, *files)

    def _place(self, cell: "Cell") -> str:
        """A clean place for changes whose overlay stands and has this list; '' where there is none."""
        with self._lock:
            while self._clean and cell.listed >= 0:
                version, place = self._clean.pop()
                if version == cell.version:
                    return place
                self._away(place)
        return ""

    def _back(self, version: int, place: str, clean: bool) -> None:
        with self._lock:
            if clean and not self._closed:
                self._clean.append((version, place))
            else:
                self._away(place)

    def _away(self, place: str) -> None:
        self._drop.append(os.path.basename(place))
        scratch.clear(place)

    def _start(self, cell: "Cell", order: dict[str, Any], *files: int) -> Ordered:
        files = (*files, *cell.rulesets)
        self._count(1)
        try:
            return Ordered(self._orders, order, files, lambda: self._count(-1))
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
        self._closed = True
        for _, place in self._clean:
            scratch.clear(place)
        self._orders.close()
        while self._table:
            os.close(self._table.pop())
        self._child.ended(PATIENCE)
        self._child.signal(signal.SIGKILL)
        self._child.reap()
        if self._group:
            limits.leave(self._group)
