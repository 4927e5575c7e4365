"""The work of the process that holds the local model: for each request, deltas and one final record."""

import threading
import time

from agentlib.faults import RETRYABLE, Fault
from agentlib.local import prompt
from agentlib.local import reply as local_reply
from agentlib.local.engine import Cancelled, Completion, Engine, OnText, Waiting, unseen
from agentlib.messages.requests import checked
from agentlib.types import Callable, Iterable, Record

Emit = Callable[[Record], None]
ALIVE = 10.0  # seconds without a delta, after which an empty one is sent


class Resident:
    """The one model in memory. A request for another model replaces it. Requests take turns."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._path = ""
        self._engine: Engine | None = None

    def chat(
        self, path: str, plan: prompt.Plan, on_text: OnText, waiting: Waiting, emit: Emit
    ) -> Completion:
        """Engine.chat with the model in the file `path`, which is loaded first if it is not in memory."""
        while not self._turn.acquire(timeout=1.0):
            if not waiting():
                raise Cancelled
        try:
            if path != self._path or self._engine is None:
                emit({"warm": "note", "message": "loading the model into memory, once"})
                self._engine = None  # there may be no memory for two models
                self._engine = Engine(path)
                self._path = path
            return self._engine.chat(plan.body, plan.ends, on_text, waiting)
        finally:
            self._turn.release()


def request_filter() -> Callable[[Iterable[Record], Emit, Waiting], None]:
    """The filter that warm/server.py runs for each client: one final record for each request."""
    resident = Resident()

    def work(requests: Iterable[Record], emit: Emit, waiting: Waiting) -> None:
        for request in requests:
            emit(answer(request, resident, emit, waiting))

    return work


def answer(request: Record, resident: Resident, emit: Emit, waiting: Waiting) -> Record:
    """The final record of a request: `response` or `error`."""
    client = Client(request, emit, waiting)
    started = time.monotonic()
    try:
        message, stop_reason, usage = complete(request, resident, client)
    except Exception as bad:
        problem = f"internal error: {type(bad).__name__}: {bad}"
        fault = bad if isinstance(bad, Fault) else Fault("server", problem, retryable=False)
        final = {"retryable": fault.kind in RETRYABLE, **fault.record(client.id)}
        return {**final, "provider": "local", "partial": bool(client.sent)}
    head = {"type": "response", "id": client.id, "message": message}
    origin = {"model": request.get("model"), "provider": "local", "cost_usd": 0.0}
    duration = round((time.monotonic() - started) * 1000)
    return {**head, "stop_reason": stop_reason, "usage": usage, **origin, "duration_ms": duration}


class Client:
    """Whoever waits for the answer to one request, and the text that was sent to them."""

    def __init__(self, request: Record, emit: Emit, waiting: Waiting) -> None:
        self.id, self._stream = request.get("id"), bool(request.get("stream"))
        self.emit, self._waiting = emit, waiting
        self.sent, self._last_delta = "", time.monotonic()

    def send(self, text: str) -> None:
        """Send as a `delta` what is new in `text`, which is all of the answer so far."""
        if self._stream and len(text) > len(self.sent):
            self._delta(text[len(self.sent) :])
            self.sent = text

    def _delta(self, text: str) -> None:
        self.emit({"type": "delta", "id": self.id, "text": text})
        self._last_delta = time.monotonic()

    def waiting(self) -> bool:
        """Whether the client still waits. After a long silence it gets an empty delta, so that it does not give up."""
        if self._stream and time.monotonic() - self._last_delta > ALIVE:
            self._delta("")
        return self._waiting()


def complete(request: Record, resident: Resident, client: Client) -> tuple[Record, str, Record]:
    """(message, stop_reason, usage): a tool call, or where none is needed the answer."""
    path = checked(request)["model_file"]
    usage: Record = {}
    if plan := prompt.choice(request):
        chosen = resident.chat(path, plan, unseen, client.waiting, client.emit)
        usage = chosen.usage
        call = local_reply.call(chosen.text, request) if chosen.text else None
        forced = request.get("tool_choice", "auto") != "auto"
        if call and (forced or not local_reply.useless(call, request)):
            return {"role": "assistant", "content": "", "tool_calls": [call]}, "tool_use", usage
    plan = prompt.answer(request)
    if not plan.schema and usage and (result := local_reply.verbatim(request)):
        client.send(result)
        return {"role": "assistant", "content": result}, "end_turn", usage
    written = resident.chat(path, plan, client.send, client.waiting, client.emit)
    content = written.text
    if not plan.schema:
        content = "\n\n".join(filter(None, [content, *local_reply.missing(content, request)]))
        client.send(content)
    usage = {name: count + usage.get(name, 0) for name, count in written.usage.items()}
    return {"role": "assistant", "content": content}, written.stop_reason, usage
