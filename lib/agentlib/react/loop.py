"""One run of an agent: call the model, make its calls, feed the results back, until an answer without calls.

A run is a generator. It yields what it waits for, a Request (to the model; is sent the response) or Work (blocking; is
sent the results in order), and returns its `result` record. Faults are thrown into it. So a thousand runs cost no
thread; engine.py drives them. The messages alone say where a run stands: one that was broken off can go on.
"""

import time
from functools import partial

from agentlib import history, records
from agentlib.faults import Fault
from agentlib.messages import transcript
from agentlib.process.run import Scope
from agentlib.react.settings import MISFIT, Setting
from agentlib.types import Any, Callable, Generator, NamedTuple, Record

Steps = Generator["Request | Work", Any, Any]

WARNED_AFTER = 3  # the very same call, one after another, with the same result
ENDED_AFTER = 10
AGAIN = """

[You have made this very call {n} times and got the same. Do something else, or answer with what you have.]"""


class Request(NamedTuple):
    record: Record


class Work(NamedTuple):
    parts: list[Callable[[], Any]]
    together: int = 1  # how many at once


class Watcher:
    """Sees each `message` that a run adds, each delta of an answer, the model or tools that it waits for ("": the model
    that agent-llm chooses). This one does nothing; output.py has one that prints."""

    traced = False  # whether the result is to have the ids of its run

    def message(self, record: Record) -> None: ...
    def delta(self, record: Record) -> None: ...
    def waits(self, what: str) -> None: ...


class Tally:
    """What a run has used so far. last: how many calls of tools, and which model answered last."""

    def __init__(self) -> None:
        self.iterations, self.began = 0, time.monotonic()
        self.usage: dict[str, int] = {}
        self.last: Record = {"calls": 0}
        self.cost: float | None = None

    def add(self, response: Record) -> None:
        self.last |= {name: response[name] for name in ("model", "provider") if name in response}
        for name, value in (response.get("usage") or {}).items():
            if isinstance(value, bool):  # `estimated`
                self.usage[name] = value or self.usage.get(name, False)
            elif isinstance(value, int):
                self.usage[name] = self.usage.get(name, 0) + value
        if isinstance(cost := response.get("cost_usd"), int | float):
            self.cost = (self.cost or 0.0) + cost

    def record(self) -> Record:
        """The fields of a `result` about it."""
        fields: Record = {"iterations": self.iterations, "usage": self.usage}
        if self.cost is not None:
            fields["cost_usd"] = round(self.cost, 8)
        return {**fields, "duration_ms": round((time.monotonic() - self.began) * 1000)}


class Run:
    """One run. messages: what came before it. task: the request (`input`, `material`, …); None: go on with them."""

    def __init__(
        self,
        setting: Setting,
        messages: list[Record],
        task: Record | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.setting, self.messages, self.task = setting, messages, task
        self.watcher = watcher or Watcher()
        self.scope, self.tally = Scope(), Tally()
        self.ids = history.identity(bool(setting.name))
        self._of_many = task is not None and "id" in task
        self.system: str | None = setting.system
        self.model: str | None = None
        self.response: Record = {}  # the last one
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
            return {**self.result(fault), "output": ""}

    def result(self, fault: Fault | None = None) -> Record:
        """The `result` record as things stand."""
        if self.incomplete:
            fault = fault or Fault("limit_exceeded", self.incomplete)
        id = self.task.get("id") if self.task else None
        output = ""
        if transcript.finished(self.messages):
            output = self.setting.bare(transcript.text(self.messages[-1]))
        elif self.incomplete:  # the last text of the model
            answers = [one for one in self.messages if one.get("role") == "assistant"]
            output = next(filter(None, map(transcript.text, reversed(answers))), "")
        fields = {"output": output, "incomplete": bool(self.incomplete)}
        return result(id, self.setting.name, {**fields, **self.tally.record()}, fault)

    def add(self, message: Record) -> None:
        """One more message, for the watcher too."""
        message.setdefault("time", history.now())
        message = {"type": "message", "run": self.ids["id"], **message}
        self.tally.last["calls"] += message.get("role") == "tool"
        self.messages.append(message)
        self.keep(message)
        self.watcher.message(message)

    def keep(self, record: Record) -> None:
        """In the history."""
        if self.setting.history:
            self.setting.history.write(record, soon=self._of_many)

    def ended(self, result: Record) -> Record:
        """The result as it is kept and, with the ids of the run where that is wanted, as it is printed."""
        ids = {"run": self.ids["id"], "trace_id": self.ids["trace_id"], "time": history.now()}
        if self.ids["parent_id"]:
            ids["parent_id"] = self.ids["parent_id"]
        fields = {"type": "result", "run": ids["run"], "time": ids["time"], **result}
        fields |= self.tally.last
        if self.messages and fields["output"] == transcript.text(self.messages[-1]):
            del fields["output"]  # it is in the message before
        self.keep(fields)
        return {**result, **ids} if self.watcher.traced else result

    def _begin(self) -> Steps:
        if self.setting.history:
            fields = {"task": (self.task or {})["id"], "session": ""} if self._of_many else {}
            self.keep(history.begun(self.ids, {**self.setting.kept, **fields}))
        self.messages = transcript.mend(self.messages)
        if self.task is None:
            return
        for call in transcript.pending(self.messages):
            self.add(transcript.result(call, transcript.LOST, "interrupted"))
        task = yield from self._hook("before_run", self.task)
        self.system, self.model = task.get("system") or self.system, task.get("model")
        self.add(transcript.request(str(task.get("input") or ""), task.get("material") or []))

    def _converse(self) -> Steps:
        limit = self.setting.max_iterations
        while True:
            if calls := transcript.pending(self.messages):
                yield from self._make(calls)
            elif transcript.finished(self.messages):
                if not self._repair():
                    break
            elif limit and self.tally.iterations >= limit:
                what = f"stopped after {limit} iterations"
                self.incomplete = f"{what} without an answer (--max-iterations)"
                return
            else:
                yield from self._call_model()
        if (reason := self.response.get("stop_reason")) in ("max_tokens", "content_filter"):
            self.incomplete = f"the answer is not whole: {reason}"

    def _call_model(self) -> Steps:
        if window := self.setting.window(self.response):
            from agentlib.react import context_window  # most conversations are short

            if context_window.due(self.messages, window, self.response):
                yield from context_window.compact(self, window)
        request = self.setting.request(self.messages, self.system, self.model, self.repaired)
        try:
            response = yield from self.answer(request)
        except Fault as fault:
            if fault.kind != "context_length" or self.squeezed:
                raise
            from agentlib.react import context_window

            self.squeezed = True
            if not (yield from context_window.compact(self)):
                raise
            return
        self.tally.iterations += 1
        self.squeezed = False
        self.add(self.setting.message(response, self.tally.iterations))

    def answer(self, request: Record) -> Steps:
        """The model's response to a request, counted."""
        request = yield from self._hook("before_model", request)
        self.watcher.waits(str(request.get("model") or self.response.get("model") or ""))
        fields = {name: value for name, value in request.items() if name not in ("type", "id")}
        self.response = yield Request(fields)
        self.tally.add(self.response)
        return (yield from self._hook("after_model", self.response))

    def _make(self, calls: list[dict[str, Any]]) -> Steps:
        """Make the calls, together where all only read; results are added in the order of the calls."""
        tools, plugins = self.setting.tools, self.setting.plugins
        hook = partial(plugins.apply, seen=self._hooked) if plugins else None
        number, parts = self.tally.iterations, list[Any]()
        for place, call in enumerate(calls, 1):
            below = f"00-{self.ids['trace_id']}-{history.span(self.ids['id'], number, place)}-01"
            parts.append(partial(tools.perform, call, self.scope, hook, below))
        waiting = iter(calls)
        self.watcher.waits(", ".join(str(call.get("name")) for call in calls))
        for group in [parts] if tools.harmless(calls) else [[part] for part in parts]:
            for message in (yield Work(group, self.setting.max_parallel_tools)):
                self._count_repeats(next(waiting), message)

    def _count_repeats(self, call: dict[str, Any], message: Record) -> None:
        """Add a result. How often this very call gave it, one after another, the model gets to know."""
        content = message.get("content")
        what = (call.get("name"), repr(call.get("arguments")), content)
        count = self.repeats[1] + 1 if self.repeats[0] == what else 1
        self.repeats = (what, count)
        if count >= WARNED_AFTER and isinstance(content, str):
            message["content"] = content + AGAIN.format(n=count)
        self.add(message)
        if count >= ENDED_AFTER:
            why = f"the same call was made {count} times with the same result"
            raise Fault("limit_exceeded", why)

    def _repair(self) -> bool:
        misfit = self.setting.misfit(transcript.text(self.messages[-1]))
        if misfit and self.repaired:
            raise Fault("bad_response", f"the answer does not fit the schema: {misfit}")
        if misfit:
            self.repaired = True
            text = MISFIT.format(problems=misfit, schema=records.dumps(self.setting.schema))
            self.add({"type": "message", "role": "user", "content": text})
        return bool(misfit)

    def _hook(self, hook: str, record: Record) -> Steps:
        plugins = self.setting.plugins
        if plugins is None or not plugins.wants(hook):
            return record
        [changed] = yield Work([partial(plugins.apply, hook, record, seen=self._hooked)])
        return changed

    def _hooked(self, plugin: str, hook: str, seconds: float, fault: Fault | None) -> None:
        more = {"error": error_of(fault)} if fault else {"duration_ms": round(seconds * 1000)}
        head = {"type": "hook", "run": self.ids["id"], "time": history.now()}
        self.keep({**head, "plugin": plugin, "hook": hook, **more})


def result(id: Any, name: str | None, fields: Record, fault: Fault | None) -> Record:
    """A `result` record; id and name where they are known, the fault as its `error`."""
    known = {k: v for k, v in (("id", id), ("name", name)) if v is not None}
    error = {"error": error_of(fault)} if fault else {}
    return {"type": "result", **known, **fields, **error}


def error_of(fault: Fault) -> Record:
    return {name: value for name, value in fault.record().items() if name != "type"}


def interrupted() -> Fault:
    return Fault("interrupted", "interrupted by a signal")


def failed(fault: Fault, id: Any = None, name: str | None = None) -> Record:
    """The `result` record of a run that was never begun."""
    return result(id, name, {"output": "", "incomplete": False, **Tally().record()}, fault)
