"""One pace for all of the user's processes: turns taken in a small file under a lock.

The file holds one number, the moment of the next free turn (seconds of the system's monotonic clock, which all
processes share and which starts anew at boot). Taking a turn moves it on by one interval, so turns are handed out in
the order of asking. The kernel drops a dead process's lock; all that it leaves is a turn nobody used.
"""

import os
import time
from contextlib import suppress

from agentlib import paths, stderr
from agentlib.faults import Fault
from agentlib.lock import locked, rewrite

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
BURST = 5  # a fifth of a limit may go out at once, one at least


class Pace:
    """At most `count` requests in `seconds`; of those a fifth (at least one) without a pause between them."""

    def __init__(self, count: float, seconds: float, name: str = "rate") -> None:
        self.interval = seconds / count
        self.slack = max(0, int(count) // BURST - 1) * self.interval
        self.name = name
        self._alone = 0.0  # where the file cannot be used: this process's next turn
        self._warned = False

    def turn(self) -> float:
        """Take the next turn: seconds to wait until it comes."""
        now = time.monotonic()
        try:
            with locked(os.path.join(paths.runtime(), self.name)) as file:
                at, following = self._next(now, self._free(os.pread(file, 64, 0), now))
                rewrite(file, b"%.6f\n" % following)
        except (OSError, Fault) as bad:
            why = f"the rate limit's file cannot be used ({bad})"
            self._warn(f"{why}: this process keeps to the limit alone")
            at, self._alone = self._next(now, self._alone)
        return max(0.0, at - now)

    def _next(self, now: float, free: float) -> tuple[float, float]:
        """(the moment of this turn, of the next free one), where `free` was the next free one so far."""
        at = max(free, now - self.slack)
        return at, at + self.interval

    def _free(self, text: bytes, now: float) -> float:
        """The number in the file. What is none, or lies absurdly far off, is as if all turns were taken for now."""
        if not text:
            return 0.0
        number, end, _ = text.partition(b"\n")
        with suppress(ValueError):
            if end and 0 <= (free := float(number)) < now + 86400:
                return free
        self._warn("the rate limit's file was damaged: it starts anew")
        return now + self.slack + self.interval

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            stderr.warn(message)


def parse(text: str) -> Pace:
    """A Pace out of N, N/s, N/m or N/h (N alone: a minute). ValueError for anything else."""
    number, slash, unit = text.partition("/")
    count = float(number)
    if not 0 < count < 1e9 or slash and unit not in UNITS:
        raise ValueError(text)
    return Pace(count, UNITS[unit or "m"])
