"""The model, as agent-react sees it: one agent-llm beside it, its answers and their deltas put on a queue."""

import os
import queue

from agentlib.faults import Fault, os_errors
from agentlib.process.child import Direct, bound
from agentlib.process.coprocess import Coprocess
from agentlib.types import Any, Record

# seconds for an answer, where the run has no limit of its own and agent-llm keeps none
PATIENCE = 1800.0


class Model:
    """events: gets (key, record or Fault) for each request sent with that key, and (key, delta) before it."""

    def __init__(self, folder: str, words: list[str], events: queue.SimpleQueue[Any]) -> None:
        command = [os.path.join(folder, "agent-llm"), *words]
        options = {"args": bound(command), "env": dict(os.environ), "session": False}
        self._events, self._keys, self._used = events, dict[str, Any](), False
        with os_errors(command[0], "not_found"):
            self._filter = Coprocess("agent-llm", options, _final, self._delta, "server", Direct)
        self.configure({})  # its standard input is not silent: ours may be for a while

    def configure(self, config: Record) -> None:
        """The fields of `config` records; they hold for all requests after it."""
        self._filter.post({"type": "config", **config})

    def send(self, id: str, request: Record, key: Any) -> None:
        """Send a request; its end comes on the queue as (key, record or Fault)."""
        self._used = True
        self._keys[id] = key

        def end(answer: Record | Fault) -> None:
            self._keys.pop(id, None)
            self._events.put((key, answer))

        self._filter.send(id, {"type": "request", "id": id, **request}, end)

    def forget(self, id: str) -> None:
        """Nobody waits for this answer any more."""
        self._keys.pop(id, None)
        self._filter.forget(id)

    def close(self, grace: float) -> None:
        if self._used:
            self._filter.close(grace)
        else:
            self._filter.end()  # at the end of its input it would say that nothing was asked

    def _delta(self, record: Record) -> None:
        key = self._keys.get(str(record.get("id")))
        if key and record.get("type") == "delta":
            self._events.put((key, record))


def _final(record: Record) -> bool:
    return record.get("type") in ("response", "error")
