"""When to try again after a failure: the one retry layer of the suite, as plain sums."""

from __future__ import annotations

from agentlib.faults import RETRYABLE
from agentlib.types import Record

RETRIES = 2  # after the first try
FIRST = 0.5  # seconds before the first retry, doubled each time
MOST = 8.0  # seconds, of the doubled
PATIENCE = 60.0  # seconds: a service that asks for more gets its error passed on


def wait(error: Record, tries: int, retries: int, dice: float) -> float | None:
    """Seconds to wait before the next try, None where there shall be none.

    error: the `error` record. tries: how often it was tried. retries: how many may follow the first try.
    dice: a random number from 0 to 1, so that many clients do not come back in step.
    """
    if tries > retries or not error.get("retryable", error.get("kind") in RETRYABLE):
        return None
    asked = error.get("retry_after")
    if isinstance(asked, (int, float)) and not isinstance(asked, bool) and asked > 0:
        return None if asked > PATIENCE else asked + 0.25 * dice * min(asked, 1.0)
    return float(min(MOST, FIRST * 2 ** min(tries - 1, 10)) * (1 - 0.25 * dice))
