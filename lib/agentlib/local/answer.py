"""The work of the process that holds the local model: a request in, deltas and one final record out."""

from __future__ import annotations

import threading
import time

from agentlib.faults import RETRYABLE, Fault
from agentlib.local import prompt
from agentlib.local import reply as local_reply
from agentlib.local.engine import Cancelled, Engine
from agentlib.types import TYPE_CHECKING, Callable, Iterable, Record

if TYPE_CHECKING:
    from agentlib.local.engine import Reply

Emit = Callable[[Record], None]
Wanted = Callable[[], bool]

ALIVE = 10.0  # seconds without a delta, after which an empty one is sent


class Resident:
    """The one model in memory; another takes its place when it is asked for. Requests take turns."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._path, self._engine = "", None

    _engine: Engine | None

    def chat(
        self, path: str, body: Record, see: Callable[[str], None], wanted: Wanted, emit: Emit
    ) -> Reply:
        """Engine.chat with the model of this file, which is loaded where it is not."""
        while not self._turn.acquire(timeout=1.0):
            if not wanted():
                raise Cancelled
        try:
            if path != self._path or self._engine is None:
                emit({"warm": "note", "message": "loading the model into memory, once"})
                # the old one goes first: there may be no room for both
                self._path, self._engine = "", None
                self._engine = Engine(path)
                self._path = path
            return self._engine.chat(body, see, wanted)
        finally:
            self._turn.release()


def filter() -> Callable[[Iterable[Record], Emit, Wanted], None]:
    """The filter: each request gets exactly one final record."""
    resident = Resident()

    def work(lines: Iterable[Record], emit: Emit, wanted: Wanted) -> None:
        for request in lines:
            emit(answer(request, resident, emit, wanted))

    return work


def answer(request: Record, resident: Resident, emit: Emit, wanted: Wanted) -> Record:
    """The final record of one request: `response` or `error`."""
    told = Told(request, emit, wanted)
    started = time.monotonic()
    try:
        said, stop_reason, usage = ask(request, resident, told)
    except Fault as fault:
        return told.error(fault)
    except Cancelled:
        return told.error(Fault("interrupted", "the process that answers is ending"))
    except Exception as bug:
        why = f"internal error: {type(bug).__name__}: {bug}"
        return told.error(Fault("server", why, retryable=False))
    said_by = {"model": request.get("model"), "provider": "local", "cost_usd": 0.0}
    measured = {"duration_ms": round((time.monotonic() - started) * 1000)}
    answered = {"message": said, "stop_reason": stop_reason, "usage": usage}
    return {"type": "response", "id": request.get("id"), **answered, **said_by, **measured}


class Told:
    """What of an answer went out already."""

    def __init__(self, request: Record, emit: Emit, wanted: Wanted) -> None:
        self._id = request.get("id")
        self._stream = bool(request.get("stream"))
        self.emit = emit
        self._wanted = wanted
        self.text, self._last = "", time.monotonic()

    def upto(self, text: str) -> None:
        """Send as a `delta` what is new in the text so far."""
        if self._stream and len(text) > len(self.text):
            self._delta(text[len(self.text) :])
            self.text = text

    def _delta(self, text: str) -> None:
        self.emit({"type": "delta", "id": self._id, "text": text})
        self._last = time.monotonic()

    def wanted(self) -> bool:
        """Whether the client still waits. An empty delta now and then tells it that we are at work: reading a long
        prompt, or waiting for our turn, may take longer than it bears silence."""
        if self._stream and time.monotonic() - self._last > ALIVE:
            self._delta("")
        return self._wanted()

    def error(self, fault: Fault) -> Record:
        """The `error` record."""
        record = {**fault.record(self._id), "provider": "local", "partial": bool(self.text)}
        record.setdefault("retryable", fault.kind in RETRYABLE)
        return record


def ask(request: Record, resident: Resident, told: Told) -> tuple[Record, str, Record]:
    """(message, stop_reason, usage). A call that only repeats the last one is asked again as an answer in words."""
    plan = prompt.plan(request)
    said, reply = one(plan, request, resident, told)
    usage = reply.usage
    if local_reply.repeats(said, request) and request.get("tool_choice", "auto") == "auto":
        plan = prompt.plan(request, answer_only=True)
        said, reply = one(plan, request, resident, told)
        usage = {name: count + usage.get(name, 0) for name, count in reply.usage.items()}
    return said, "tool_use" if said.get("tool_calls") else reply.stop_reason, usage


def one(plan: prompt.Plan, request: Record, resident: Resident, told: Told) -> tuple[Record, Reply]:
    """One answer of the model to one plan. JSON that was cut at max_tokens gives what text there is."""

    def see(raw: str) -> None:
        told.upto(local_reply.answered(raw, plan))

    reply = resident.chat(request["model_file"], plan.body, see, told.wanted, told.emit)
    try:
        return local_reply.message(reply.text, plan), reply
    except Fault:
        if reply.stop_reason != "max_tokens":
            raise
        return {"role": "assistant", "content": local_reply.answered(reply.text, plan)}, reply
