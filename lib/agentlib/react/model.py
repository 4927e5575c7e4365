"""The model, as agent-react sees it: one agent-llm beside it, asked by request records, its answers put on a queue."""

from __future__ import annotations

import os

from agentlib.faults import Fault
from agentlib.process.child import Direct, bound
from agentlib.process.coprocess import Coprocess
from agentlib.types import TYPE_CHECKING, Any, Callable, Record

if TYPE_CHECKING:
    import queue

PATIENCE = (
    1800.0  # seconds for an answer, where the run has no limit of its own and agent-llm keeps none
)


class Model:
    """events: gets (key, record or Fault) for each request sent with that key."""

    def __init__(
        self,
        folder: str,
        words: list[str],
        env: dict[str, str],
        events: queue.SimpleQueue[Any],
        passing: Callable[[Record], None] = lambda record: None,
    ) -> None:
        command = [os.path.join(folder, "agent-llm"), *words]
        options = {"args": bound(command), "env": env, "session": False}
        self._events, self._asked = events, False
        try:
            self._filter = Coprocess("agent-llm", options, _final, passing, "server", Direct)
        except OSError as bad:
            raise Fault("not_found", f"{command[0]}: {bad.strerror}") from None

        # so that it does not wonder about a silent standard input: we may wait for ours
        self.hear({})

    def hear(self, config: Record) -> None:
        """What the `config` records said; it holds for all requests after it."""
        self._filter.post({"type": "config", **config})

    def ask(self, id: str, request: Record, key: Any) -> None:
        """Send a request; its end comes on the queue as (key, record or Fault)."""
        self._asked = True
        self._filter.send(
            id,
            {"type": "request", "id": id, **request},
            lambda answer: self._events.put((key, answer)),
        )

    def forget(self, id: str) -> None:
        """Nobody waits for this answer any more."""
        self._filter.forget(id)

    def close(self, grace: float) -> None:
        """End agent-llm, and with it the providers."""
        if self._asked:
            self._filter.close(grace)
        else:
            self._filter.end()  # at the end of its input it would say that nothing was asked


def _final(record: Record) -> bool:
    return record.get("type") in ("response", "error")
