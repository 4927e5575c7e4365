"""Wait for files and for moments, in one thread: what agent-llm turns in."""

import heapq
import select
import time

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
