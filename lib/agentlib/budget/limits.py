"""The limits of agent-parallel, for the workers on all machines."""

import os
import time
from collections import deque

from agentlib import budget, cli
from agentlib.faults import Fault
from agentlib.types import Any, Record

AMOUNTS = "spent_usd spent_input_tokens spent_output_tokens".split()


class Limits:
    """One rate limit and one budget for all workers: turns and the ledger are here. before: a book of earlier runs."""

    def __init__(self, args: Any, loop: Any, before: Record) -> None:
        self.loop, self.pace, self.path = loop, args.rate_limit, os.environ.get(budget.VARIABLE)
        self.queue: deque[Any] = deque()  # workers that want a turn
        if args.budget or args.max_total_tokens:
            if self.path:
                why = f"{budget.VARIABLE} is set already, its ledger is what may be spent"
                raise Fault("invalid_input", f"--budget, --max-total-tokens: {why}")
            self.path = path = budget.create(args.budget, args.max_total_tokens, before)
            cli.at_end(lambda: os.unlink(path))

    def turn(self, worker: Any) -> None:
        """A call of the worker wants to begin."""
        self.queue.append(worker)
        wait = self.pace.turn() if self.pace else 0.0
        self.loop.at(time.monotonic() + wait, self._give_turn)

    def _give_turn(self) -> None:
        """Give the worker that has waited longest its turn, and before it what all have spent until now."""
        if self.queue:  # else a worker was lost that waited
            worker = self.queue.popleft()
            worker.tell(self.book())
            worker.send(type="turn")

    def book(self) -> Record | None:
        """What all have spent, and the limits; None where nothing bounds it."""
        return budget.ledger(self.path) if self.path else None

    def spent(self, worker: Any, record: Record) -> None:
        """Enter what a worker has spent since it last said so."""
        usd, *tokens = (record.get(name, 0) - worker.spent.get(name, 0) for name in AMOUNTS)
        worker.spent = {name: record.get(name, 0) for name in (*AMOUNTS, "spent_tokens")}
        entry = {"usage": dict(zip(budget.SIDES, tokens, strict=True)), "cost_usd": max(0, usd)}
        if record.get("unpriced"):
            entry |= {"model": record["unpriced"], "cost_usd": None}
        if usd > 0 or any(tokens) or record.get("unpriced"):
            budget.ledger(str(self.path), entry)
