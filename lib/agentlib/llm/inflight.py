"""A request in flight, what bounds all of them, and when one is tried again: the one retry layer of the suite."""

from agentlib.faults import RETRYABLE
from agentlib.types import TYPE_CHECKING, Any, NamedTuple, Record, Sequence

if TYPE_CHECKING:
    from agentlib.budget import Budget
    from agentlib.llm.ratelimit import Pace
    from agentlib.llm.routing import Target
    from agentlib.llm.tape import Cache, Player, Recorder

RETRIES = 2  # after the first try
FIRST = 0.5  # seconds before the first retry, doubled each time
MOST = 8.0  # seconds, of the doubled
PATIENCE = 60.0  # seconds: a service that asks for more gets its error passed on


class Pending:
    """One request on its way. id: the user's. request: what to ask, without id. due: when all tries are over."""

    def __init__(self, id: Any, request: Record) -> None:
        self.id, self.request = id, request
        self.failed: list[Record] = []  # the attempts that failed
        self.at = self.tries = 0  # which target; how often it was tried
        self.due = self.active = self.sent = 0.0
        self.known = 0  # messages at the beginning that an earlier run has kept
        self.run: Record = {}  # in the history: more for its `run` record, then its ids
        self.size = 0  # bytes of its deltas
        self.spoken = self.flying = False  # a delta went out; it counts as in flight
        # where its answer is to be kept, and as what request
        self.kept: dict[Recorder | Cache, Record] = {}
        self.deltas: list[Record] = []  # for that
        self.tails: dict[str, str] = {}  # ends of its text and thinking that may begin a secret
        self.target: Target | None = None  # where it was sent last

    @property
    def embeds(self) -> bool:
        return bool(self.request.get("type") == "embed")


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
        return None if seconds > PATIENCE else seconds + 0.25 * dice * min(seconds, 1.0)
    return float(min(MOST, FIRST * 2 ** min(tries - 1, 10)) * (1 - 0.25 * dice))
