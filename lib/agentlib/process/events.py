"""Wait for files and for moments in one thread, as agent-llm does; and lines out of bytes that arrive in pieces."""

import heapq
import select
import time

from agentlib.faults import Fault
from agentlib.records import LINE_CAP
from agentlib.types import Callable

IN = select.POLLIN | select.POLLHUP | select.POLLERR
OUT = select.POLLOUT
GONE = 0  # watch for nothing but the other side's end (POLLERR, POLLHUP)


class Loop:
    """Calls back when a file is ready or a moment has come; everything happens inside turn()."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._files: dict[int, Callable[[], object]] = {}
        self._moments: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def watch(self, file: int, events: int, act: Callable[[], object]) -> None:
        """Call act() whenever one of the events is there, until forget(file)."""
        self._files[file] = act
        self._poll.register(file, events)

    def forget(self, file: int) -> None:
        """Watch this file no more; it may not have been watched."""
        if self._files.pop(file, None):
            self._poll.unregister(file)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Call act() once, when time.monotonic() has reached the moment."""
        self._count += 1
        heapq.heappush(self._moments, (moment, self._count, act))

    def turn(self) -> None:
        """Wait for the next event and deal with all there are: files first, so that no timer goes before its answer."""
        wait = None
        if self._moments:
            wait = max(0.0, (self._moments[0][0] - time.monotonic()) * 1000)
        for file, _ in self._poll.poll(wait):
            if act := self._files.get(file):  # else forgotten a moment ago
                act()
        now = time.monotonic()
        while self._moments and self._moments[0][0] <= now:
            heapq.heappop(self._moments)[2]()


class Splitter:
    """Feed it what was read; it gives the whole lines, as records.lines() does: [(number from 1, without line end)]."""

    __slots__ = ("_parts", "_size", "_number")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line that is not whole yet
        self._size = self._number = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that end in this piece. Fault `limit_exceeded` for one longer than LINE_CAP."""
        *ended, last = data.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._parts, ended[0]])
            self._parts, self._size = [], 0
        self._parts.append(last)
        self._size += len(last)
        out = self._numbered(ended)
        if self._size > LINE_CAP:
            why = f"line {self._number + 1}: longer than {LINE_CAP >> 20} MiB"
            raise Fault("limit_exceeded", why)
        return out

    def rest(self) -> list[tuple[int, bytes]]:
        """The last line, where the input did not end with a line end."""
        last, self._parts, self._size = b"".join(self._parts), [], 0
        return self._numbered([last])

    def _numbered(self, lines: list[bytes]) -> list[tuple[int, bytes]]:
        out = []
        for raw in lines:
            self._number += 1
            if self._number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw := raw.strip(b" \t\r\n"):
                out.append((self._number, raw))
        return out
