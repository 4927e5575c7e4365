"""A request in flight; the one retry layer of the suite; one pace for all of the user's processes."""

import os
import time
from contextlib import suppress

from agentlib import paths, stderr
from agentlib.faults import RETRYABLE, Fault, os_errors
from agentlib.lock import locked, rewrite
from agentlib.types import TYPE_CHECKING, Any, Callable, NamedTuple, Record, Sequence

if TYPE_CHECKING:
    from agentlib.budget import Budget
    from agentlib.llm.routing import Target
    from agentlib.llm.tape import Cache, Player, Recorder
    from agentlib.process.events import Loop

FIRST = 0.5  # seconds before the first retry, doubled each time
MOST = 8.0  # seconds, of the doubled
LONGEST_WAIT = 60.0  # seconds: a service that asks for more gets its error passed on
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
BURST = 5  # a fifth of a limit may go out at once, one at least


class Pending:
    """One request on its way. id: the user's. request: what to ask, without id. due: when all tries are over."""

    def __init__(self, id: Any, request: Record) -> None:
        self.id, self.request = id, request
        self.embeds = request.get("type") == "embed"
        self.failed: list[Record] = []  # the attempts that failed
        self.at = self.tries = 0  # which target; how often it was tried
        self.due = self.active = self.sent = 0.0
        self.known = 0  # messages at the beginning that an earlier run has kept
        self.run: Record = {}  # in the history: more for its `run` record, then its ids
        self.size = 0  # bytes of its deltas
        self.partial = self.in_flight = False  # a delta went out; it counts as in flight
        self.kept: dict[Recorder | Cache, Record] = {}  # where its answer is kept, and as what
        self.deltas: list[Record] = []  # for that
        self.tails: dict[str, str] = {}  # ends of its text and thinking that may begin a secret
        self.target: Target | None = None  # where it was sent last


class Limits(NamedTuple):
    """What bounds the calls and keeps their answers. timeout, silence: seconds for all tries, without a word."""

    timeout: float
    silence: float
    retries: int
    pace: "Pace | None"
    budgets: "Sequence[Budget]"
    player: "Player | None"
    recorder: "Recorder | None"
    cache: "Cache | None"


def wait(error: Record, tries: int, retries: int, dice: float) -> float | None:
    """Seconds to wait before the next try, None where there shall be none. tries: how many there were. retries: how
    many may follow the first. dice: a random number from 0 to 1, so that clients do not come back in step."""
    if tries > retries or not error.get("retryable", error.get("kind") in RETRYABLE):
        return None
    seconds = error.get("retry_after")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
        return None if seconds > LONGEST_WAIT else seconds + 0.25 * dice * min(seconds, 1.0)
    return float(min(MOST, FIRST * 2 ** min(tries - 1, 10)) * (1 - 0.25 * dice))


class Pace:
    """At most `count` requests in `seconds` of all processes; of those a fifth (at least one) without a pause.

    A small file under a lock holds the moment of the next free turn (seconds of the monotonic clock, which all
    processes share). A turn moves it on by one interval, so turns are handed out in the order of asking.
    """

    ahead = 1  # how many turns a process may wait for

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
                at = max(self._free(os.pread(file, 64, 0), now), now - self.slack)
                rewrite(file, b"%.6f\n" % (at + self.interval))
        except (OSError, Fault) as bad:
            why = f"the rate limit's file cannot be used ({bad})"
            self._warn(f"{why}: this process keeps to the limit alone")
            at = max(self._alone, now - self.slack)
            self._alone = at + self.interval
        return max(0.0, at - now)

    def at_turn(self, loop: "Loop", act: Callable[[], None]) -> None:
        """Call act() when the next turn has come."""
        loop.at(time.monotonic() + self.turn(), act)

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


class Turns(Pace):
    """Turns of a server (agent-parallel's): a connection asks for one, and a byte says that it has come."""

    ahead, interval = 1000, float("inf")

    def __init__(self, path: str) -> None:
        self._path = path

    def at_turn(self, loop: "Loop", act: Callable[[], None]) -> None:
        import socket

        def came() -> None:
            loop.forget(line.fileno())
            with line:
                if not line.recv(1):
                    raise Fault("network", f"no turns from {self._path}")
            act()

        line = socket.socket(socket.AF_UNIX)
        with os_errors(f"no turns from {self._path}", "network"):
            line.connect(self._path)
        loop.watch(line.fileno(), 1, came)  # POLLIN


def pace(text: str) -> Pace:
    """A Pace out of N, N/s, N/m or N/h (N alone: a minute), Turns out of unix:PATH. ValueError for anything else."""
    if text.startswith("unix:/"):
        return Turns(text[5:])
    number, slash, unit = text.partition("/")
    count = float(number)
    if not 0 < count < 1e9 or slash and unit not in UNITS:
        raise ValueError(text)
    return Pace(count, UNITS[unit or "m"])
