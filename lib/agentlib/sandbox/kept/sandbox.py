"""A kept sandbox, seen from outside: one bubblewrap with a fork server in it (fork_server.py), for many calls."""

import _socket as socket  # see process/ordered.py
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
from agentlib.process.ordered import Ordered
from agentlib.sandbox import bwrap, limits, prepare, scratch
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.sandbox.prepare import Sandbox

PACKET = 128 * 1024  # bytes of the answer to a setup at most
LONG = 1e6  # seconds that poll(2) can wait
START_TIMEOUT = 5.0  # seconds that a kept sandbox may take to start, and a killed one to end
FORK_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fork_server.py")


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


class KeptSandbox:
    """One kept sandbox and its fork server. OSError where it cannot be started. Of root's processes, a control group
    counts those of all its calls together: to move each call into a group of its own can cost 10 ms (limits.within)."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._table: list[int] = []  # the fork server's mount table
        self._clean: list[tuple[int, str]] = []  # places for changes, with their list's version
        self._drop: list[str] = []  # names of those that are no more
        self._mounts: set[bytes] = set()  # what of the view is mounted
        self._closed = False
        walled = sandbox.way == "bubblewrap"
        base = scratch.base(sandbox.view.folder) if sandbox.view.listed else ""
        program = prepare.bubblewrap()
        argv = bwrap.command(program, sandbox.view, sandbox.network, base) if walled else []
        self._processes, self._calls, self._most = sandbox.limits["processes"], 0, 1
        self._group = limits.group(self._processes)
        seen = os.path.basename(sandbox.argv[0])  # by ps: for which tool it was started
        argv = limits.within(self._group, [*argv, paths.PYTHON, "-IS", FORK_SERVER, "3", seen])
        complaints = os.memfd_create("complaints")
        with closing(theirs), open(os.devnull, "r+b") as null:
            self._child = _started(argv, null.fileno(), null.fileno(), complaints, theirs.fileno())
        try:
            self._orders.settimeout(START_TIMEOUT)
            self._orders.send(marshal.dumps(sandbox.setup()))
            room, flag = socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
            packet, passed, _, _ = self._orders.recvmsg(PACKET, room, flag)
            self._table = [int.from_bytes(one[2], sys.byteorder) for one in passed]
            if why := marshal.loads(packet):
                raise OSError(why)
            if walled:
                self._try(sandbox)
                prepare.works(sandbox.view.listed)
                mounts = {os.fsencode(path) for path in sandbox.view.actions}
                self._mounts = self._mounted() & mounts
        except (OSError, EOFError) as bad:
            self.close()
            lines = os.pread(complaints, 2000, 0).decode("utf-8", "replace").strip().splitlines()
            raise OSError(f"none can be kept: {lines[-1] if lines else bad}") from None
        finally:
            os.close(complaints)

    def _try(self, sandbox: "Sandbox") -> None:
        """One trial, before a tool is trusted to it: what works for bubblewrap may not work for a call in it."""
        with open(os.devnull, "r+b") as null:
            order = {**sandbox.order(), "argv": ["/bin/true"]}
            trial = self._start(sandbox, order, *[null.fileno()] * 3)
        if trial.reap():
            raise OSError("no call can be started in it")

    def stale(self) -> bool:
        """Whether it has ended, or a mount has gone: a file that is taken away takes along what is mounted on it."""
        poll = select.poll()
        for one in self._table:
            poll.register(one, select.POLLPRI)
        gone = bool(poll.poll(0)) and not self._mounts <= self._mounted()
        return gone or self._child.ended(0.0)

    def _mounted(self) -> set[bytes]:
        """Where something is mounted in the fork server's view; it mounts overlays as they are needed."""
        data, place = b"", 0
        while part := os.pread(self._table[0], 65536, place):
            data, place = data + part, place + len(part)
        return {line.split(b" ", 5)[4] for line in data.splitlines()}

    @property
    def idle(self) -> bool:
        """Whether no call runs in it."""
        return self._calls == 0

    def begin(self, sandbox: "Sandbox", *files: int) -> Ordered:
        """Start the tool of this sandbox with these descriptors. BrokenPipeError: the fork server has ended."""
        if sandbox.way == "bubblewrap" and sandbox.view.listed and sandbox.view.writable:
            sandbox.take(self._clean_place(sandbox))
            sandbox.on_close = partial(self._take_back, sandbox.version)
        with self._lock:
            drop, self._drop = self._drop, []
        return self._start(sandbox, {**sandbox.order(), "drop": drop}, *files)

    def _clean_place(self, sandbox: "Sandbox") -> str:
        """A clean place for changes whose overlay stands and has this list; '' where there is none."""
        with self._lock:
            while self._clean and sandbox.listed >= 0:
                version, place = self._clean.pop()
                if version == sandbox.version:
                    return place
                self._discard(place)
        return ""

    def _take_back(self, version: int, place: str, clean: bool) -> None:
        with self._lock:
            if clean and not self._closed:
                self._clean.append((version, place))
            else:
                self._discard(place)

    def _discard(self, place: str) -> None:
        self._drop.append(os.path.basename(place))
        scratch.clear(place)

    def _start(self, sandbox: "Sandbox", order: dict[str, Any], *files: int) -> Ordered:
        files = (*files, *sandbox.rulesets)
        self._count(1)
        try:
            return Ordered(self._orders, order, files, lambda: self._count(-1))
        except OSError:
            self._count(-1)
            raise

    def _count(self, change: int) -> None:
        """One call more or less; the group has room for what most there were at once."""
        with self._lock:
            self._calls += change
            if self._group and self._calls > self._most:
                self._most = self._calls
                limits.widen(self._group, self._processes * self._most)

    def close(self) -> None:
        """No more orders: the fork server ends, and with it all that it started."""
        self._closed = True
        for _, place in self._clean:
            scratch.clear(place)
        self._orders.close()
        while self._table:
            os.close(self._table.pop())
        self._child.ended(START_TIMEOUT)
        self._child.signal(signal.SIGKILL)
        self._child.reap()
        if self._group:
            limits.leave(self._group)
