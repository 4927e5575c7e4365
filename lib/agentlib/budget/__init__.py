"""What may be spent, in dollars and tokens, by one run or by all processes of a pipeline that share a ledger.

The ledger is a small file whose path is in AGENT_BUDGET: {"usd":limit,"tokens":limit} and, as they come, `spent_usd`,
`spent_tokens`, `largest_usd`, `largest_tokens` (of one call) and `unpriced` (a model whose cost is not known). A call
goes only where the largest so far, once more for each in flight, still fits: a budget is passed by one call at most.

May import: records, the flat modules.
"""

import os
import time

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.lock import locked, replace, rewrite
from agentlib.types import Any, Record

VARIABLE = "AGENT_BUDGET"
COUNT = "AGENT_COUNT"  # of an ENDLESS ledger
WORDS = {"usd": "{:g} USD", "tokens": "{:g} tokens"}
SIDES = ("input_tokens", "output_tokens")
AMOUNTS = [f"{kind}{unit}" for unit in WORDS for kind in ("", "spent_", "largest_")]
AMOUNTS += [f"spent_{side}" for side in SIDES]
REFUSAL = "the budget of"  # how a message begins that says so
HUGE = 1e15  # no amount has so much
ENDLESS = {"tokens": HUGE / 10, "largest_tokens": 0}  # a ledger that only counts
CURE = f"make a ledger: export {VARIABLE}=$(agent-llm budget USD)"
PRICE = 'give its price in config.toml ([prices."MODEL"]) or bound the tokens instead'


class Budget:
    """One budget: kept in memory for one run, or in the ledger at `path`."""

    def __init__(self, usd: float | None = None, tokens: int | None = None, path: str = "") -> None:
        self.path = path
        self.book: dict[str, Any] = ledger(path) if path else {"usd": usd, "tokens": tokens}

    def room(self, in_flight: int) -> bool:
        """Whether one more call may go now; False: wait for one in flight. Fault `limit_exceeded`: all is spent."""
        if self.path:
            self.book = ledger(self.path)
        for unit in WORDS:
            limit, spent = self.book.get(unit), self.book.get(f"spent_{unit}", 0)
            if limit is None:
                continue
            why = f"is spent ({WORDS[unit].format(spent)})" if spent >= limit else ""
            if unit == "usd" and (model := self.book.get("unpriced")):
                why = f"cannot be kept: the price of {model} is not known; {PRICE}"
            if why:
                raise Fault("limit_exceeded", f"{REFUSAL} {WORDS[unit].format(limit)} {why}")
            if in_flight and spent + in_flight * self.book.get(f"largest_{unit}", limit) >= limit:
                return False
        return True

    def spend(self, response: Record) -> None:
        if self.path:
            self.book = ledger(self.path, response)
        else:
            enter(self.book, response)


def enter(book: dict[str, Any], response: Record) -> None:
    cost = response.get("cost_usd")
    if not is_amount(cost):
        book["unpriced"], cost = str(response.get("model") or "the model"), 0
    sides = {side: count(response, side) for side in SIDES}
    amounts = {"usd": cost, "tokens": sum(sides.values())}
    for unit, amount in {**amounts, **sides}.items():
        book[f"spent_{unit}"] = round(book.get(f"spent_{unit}", 0) + amount, 12)
    for unit, amount in amounts.items():
        book[f"largest_{unit}"] = max(book.get(f"largest_{unit}", 0), amount)


def is_amount(value: Any) -> bool:
    """Whether a foreign value is an amount of dollars or tokens: a number, not negative and not beyond all size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < HUGE


def count(response: Record, name: str) -> int | float:
    """The tokens that a response says under this name; 0 for what is no number of tokens."""
    usage = response.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if is_amount(value) else 0  # type: ignore[return-value]


def _checked(book: Any) -> dict[str, Any]:
    """The book if it is one; a ValueError says what is wrong, for no amount must ever pass as nothing spent."""
    if not isinstance(book, dict) or all(book.get(unit) is None for unit in WORDS):
        raise ValueError("it names no limit")
    for name, value in book.items():
        limit = name in WORDS and value is None
        unpriced = name == "unpriced" and isinstance(value, str)
        if not (limit or unpriced or name in AMOUNTS and is_amount(value)):
            raise ValueError(f"{name[:40]} is {str(value)[:40]}")
    return book


def ledger(path: str, response: Record | None = None) -> dict[str, Any]:
    """The book of a ledger, with the response entered if there is one. Fault `invalid_input` where it is damaged."""
    try:
        with locked(path, os.O_RDWR) as file:
            book = _checked(records.loads(os.pread(file, 65536, 0).partition(b"\n")[0]))
            if response is not None:
                enter(book, response)
                rewrite(file, records.line(book))
            return book
    except OSError as bad:
        why = bad.strerror or str(bad)
    except ValueError as bad:
        why = f"not a ledger: {bad}"
    raise Fault("invalid_input", f"{VARIABLE}: {path}: {why}; {CURE}")


def create(usd: float | None, tokens: int | None, before: Record | None = None) -> str:
    """The path of a new ledger in the runtime folder, for AGENT_BUDGET. before: a book of what is spent already."""
    path = os.path.join(paths.runtime(), f"budget-{time.time_ns():x}-{os.getpid()}")
    spent = {name: amount for name, amount in (before or {}).items() if name[:6] == "spent_"}
    replace(path, records.line({"usd": usd, "tokens": tokens, **spent}))
    return path
