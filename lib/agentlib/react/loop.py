"""One run of an agent: ask the model, make its calls, feed the results back, until an answer without calls.

A run is a generator. It yields what it waits for, Ask (a request to the model; is sent the response) or Act (work to
do, blocking; is sent the results in order), and returns its `result` record. Faults are thrown into it. So a thousand
runs cost a thousand small objects and no thread; engine.py drives them.

Where a run stands is told by its messages alone: so one that was broken off anywhere is gone on with.
"""

from __future__ import annotations

import time
from functools import partial

from agentlib import records
from agentlib.faults import Fault
from agentlib.invoke.toolset import unchanged
from agentlib.messages import transcript
from agentlib.process.run import Leash
from agentlib.react import context_window
from agentlib.react.settings import MISFIT
from agentlib.types import TYPE_CHECKING, Any, Callable, Generator, Record

if TYPE_CHECKING:
    from agentlib.react.settings import Setting

Steps = Generator["Ask | Act", Any, Any]

TOLD_AFTER = 3  # the very same call, one after another, with the same result
ENDED_AFTER = 10
AGAIN = (
    "\n\n[You have made this very call {n} times and got the same. "
    "Do something else, or answer with what you have.]"
)


class Ask:
    """A request for the model; the generator is sent its `response` record."""

    __slots__ = ("request",)

    def __init__(self, request: Record) -> None:
        self.request = request


class Act:
    """Work for threads, so many at once; the generator is sent the results, in order."""

    __slots__ = ("works", "together")

    def __init__(self, works: list[Callable[[], Any]], together: int = 1) -> None:
        self.works, self.together = works, together


class Tally:
    """What a run has used so far."""

    __slots__ = ("iterations", "usage", "cost", "began")

    def __init__(self) -> None:
        self.iterations, self.began = 0, time.monotonic()
        self.usage: dict[str, int] = {}
        self.cost: float | None = None

    def add(self, response: Record) -> None:
        """Count one response."""
        for name, value in (response.get("usage") or {}).items():
            if isinstance(value, int):
                self.usage[name] = self.usage.get(name, 0) + value
        if isinstance(cost := response.get("cost_usd"), int | float):
            self.cost = (self.cost or 0.0) + cost

    def record(self) -> Record:
        """The fields of a `result` that tell it."""
        spent = {} if self.cost is None else {"cost_usd": round(self.cost, 8)}
        took = round((time.monotonic() - self.began) * 1000)
        return {"iterations": self.iterations, "usage": self.usage, **spent, "duration_ms": took}


class Run:
    """One run. messages: what came before it. task: what is asked now (`input`, `material`, …); None where the
    messages are to be gone on with. emit: is called with each `message` that the run adds."""

    def __init__(
        self,
        setting: Setting,
        messages: list[Record],
        task: Record | None = None,
        emit: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.setting, self.messages, self.task, self.emit = setting, messages, task, emit
        self.leash, self.tally = Leash(), Tally()
        self.system: str | None = setting.system
        self.model: str | None = None
        self.said: Record = {}  # the last response
        self.repeats: tuple[Any, int] = (None, 0)  # the last call with its result, how often
        self.repaired = self.squeezed = False
        self.incomplete = ""  # why the answer is not whole

    def steps(self) -> Steps:
        """The run itself; returns its `result` record, whatever happens."""
        error = None
        try:
            yield from self._begin()
            yield from self._converse()
        except Fault as fault:
            error = fault
        result = self.result(error)
        if error is not None and error.kind == "interrupted":
            return result
        try:
            return (yield from self._hook("after_run", result))
        except Fault as fault:
            return {**self.result(fault), "output": None}

    def result(self, fault: Fault | None = None) -> Record:
        """The `result` record as things stand."""
        known = {"id": self.task.get("id") if self.task else None, "name": self.setting.name}
        made: Record = {
            "type": "result",
            **{name: value for name, value in known.items() if value is not None},
        }
        made["output"] = self._output()
        if self.incomplete:
            made["incomplete"] = True
            fault = fault or Fault("limit_exceeded", self.incomplete)
        made.update(self.tally.record())
        if fault:
            made["error"] = error_of(fault)
        return made

    def _output(self) -> str | None:
        """The answer; of a run that was cut short, the last that the model said."""
        if transcript.finished(self.messages):
            return self.setting.bare(transcript.text(self.messages[-1]))
        if not self.incomplete:
            return None
        words = (
            transcript.text(one)
            for one in reversed(self.messages)
            if one.get("role") == "assistant"
        )
        return next((word for word in words if word), None)

    def add(self, message: Record) -> None:
        """One more message, told to whoever listens."""
        message.setdefault("time", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        self.messages.append(message)
        self.emit(message)

    def _begin(self) -> Steps:
        self.messages = transcript.mend(self.messages)
        if self.task is None:
            return
        for call in transcript.pending(self.messages):
            self.add(transcript.result(call, transcript.LOST, "interrupted"))
        task = yield from self._hook("before_run", self.task)
        self.system, self.model = task.get("system") or self.system, task.get("model")
        from agentlib.messages import material

        self.add(material.message(str(task.get("input") or ""), task.get("material") or []))

    def _converse(self) -> Steps:
        limit = self.setting.max_iterations
        while True:
            if calls := transcript.pending(self.messages):
                yield from self._act(calls)
            elif transcript.finished(self.messages):
                if not self._repair():
                    return self._weigh()
            elif limit and self.tally.iterations >= limit:
                self.incomplete = (
                    f"stopped after {limit} iterations without an answer (--max-iterations)"
                )
                return None
            else:
                yield from self._ask()

    def _weigh(self) -> None:
        """Say so where the vendor cut the answer off."""
        reason = self.said.get("stop_reason")
        if reason in ("max_tokens", "content_filter"):
            self.incomplete = f"the answer is not whole: {reason}"

    def _ask(self) -> Steps:
        window = self.setting.window(self.said)
        if window and context_window.due(self.messages, window, self.said):
            yield from self._compact(window)
        try:
            response = yield from self._answer(
                self.setting.request(self.messages, self.system, self.model)
            )
        except Fault as fault:
            if fault.kind != "context_length" or self.squeezed:
                raise
            self.squeezed = True
            if not (yield from self._compact(context_window.size(self.messages))):
                raise
            return
        self.tally.iterations += 1
        self.squeezed = False
        self.add(self.setting.message(response, self.tally.iterations))

    def _answer(self, request: Record) -> Steps:
        """The response to one request, counted; seen by the plugins before and after."""
        request = yield from self._hook("before_model", request)
        self.said = yield Ask(
            {name: value for name, value in request.items() if name not in ("type", "id")}
        )
        self.tally.add(self.said)
        return (yield from self._hook("after_model", self.said))

    def _act(self, calls: list[dict[str, Any]]) -> Steps:
        """Make the calls, together where all only read; results are added in the order of the calls."""
        tools, plugins = self.setting.tools, self.setting.plugins
        hook = plugins.apply if plugins else unchanged
        works: list[Callable[[], Any]] = [
            partial(tools.perform, call, self.leash, hook) for call in calls
        ]
        groups = [works] if tools.harmless(calls) else [[work] for work in works]
        waiting = iter(calls)
        for group in groups:
            for message in (yield Act(group, self.setting.together)):
                count = self._again(next(waiting), message)
                self.add(message)
                if count >= ENDED_AFTER:
                    why = f"the same call was made {count} times with the same result"
                    raise Fault("limit_exceeded", why)

    def _again(self, call: dict[str, Any], message: Record) -> int:
        """How often this very call gave this very result, one after another; the model is told of it."""
        what = (call.get("name"), repr(call.get("arguments")), message.get("content"))
        count = self.repeats[1] + 1 if self.repeats[0] == what else 1
        self.repeats = (what, count)
        if count >= TOLD_AFTER and isinstance(message.get("content"), str):
            message["content"] += AGAIN.format(n=count)
        return count

    def _repair(self) -> bool:
        """Whether a second round for an answer that does not fit the schema was begun."""
        misfit = self.setting.misfit(transcript.text(self.messages[-1]))
        if not misfit:
            return False
        if self.repaired:
            raise Fault("bad_response", f"the answer does not fit the schema: {misfit}")
        self.repaired = True
        text = MISFIT.format(problems=misfit, schema=records.dumps(self.setting.schema))
        self.add({"type": "message", "role": "user", "content": text})
        return True

    def _compact(self, window: int) -> Steps:
        """Put a summary in the place of the middle of the conversation; whether there was anything to sum up."""
        start, stop = context_window.middle(self.messages, window)
        if stop <= start:
            return False
        gone = self.messages[start:stop]
        message = context_window.message((yield from self._summary(gone, window)), len(gone))
        self.messages[start:stop] = [message]
        self.said = {}
        self.emit(message)
        return True

    def _summary(self, gone: list[Record], window: int) -> Steps:
        """The model's summary of these messages; a mechanical one where it gives none."""
        request = {
            "type": "request",
            **self.setting.options,
            **context_window.request(gone, window),
        }
        try:
            response = yield from self._answer(request)
        except Fault as fault:
            if fault.kind in ("interrupted", "limit_exceeded", "timeout") or fault.fields.get(
                "plugin"
            ):
                raise
            return context_window.mechanical(gone)
        return transcript.text(response.get("message") or {}) or context_window.mechanical(gone)

    def _hook(self, hook: str, record: Record) -> Steps:
        plugins = self.setting.plugins
        if plugins is None or not plugins.wants(hook):
            return record
        [changed] = yield Act([partial(plugins.apply, hook, record)])
        return changed


def failed(fault: Fault, id: Any = None) -> Record:
    """The `result` record of a run that was never begun."""
    named = {} if id is None else {"id": id}
    return {"type": "result", **named, "output": None, **Tally().record(), "error": error_of(fault)}


def error_of(fault: Fault) -> Record:
    """The `error` of a result."""
    return {name: value for name, value in fault.record().items() if name != "type"}
