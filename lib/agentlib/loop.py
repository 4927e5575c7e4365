"""One run of an agent: ask the model, make its calls, feed the results back, until an answer without calls.

A run is a generator. It yields what it waits for, Ask (a request to the model; is sent the response) or Act (work to
do, blocking; is sent the results in order), and returns its `result` record. Faults are thrown into it. So a thousand
runs cost a thousand small objects and no thread; engine.py drives them.
"""

from __future__ import annotations

import time
from functools import partial

from agentlib import compact, records, textreact, transcript
from agentlib.faults import Fault
from agentlib.process import Leash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from agentlib.calls import Tools
    from agentlib.plugins import Plugins
    from agentlib.records import Record
    from agentlib.validate import Validator

    Steps = Generator["Ask | Act", Any, Any]

TOLD_AFTER = 3  # the very same call, one after another, with the same result
ENDED_AFTER = 10
SYSTEM = (
    "You are an agent in a Unix pipeline. Call tools where they help; do not guess what a tool can tell you. "
    "When you have the answer, give it plainly, without asking back."
)
AGAIN = (
    "\n\n[You have made this very call {n} times and got the same. Do something else, or answer with what you have.]"
)
MISFIT = (
    "Your answer does not fit the JSON Schema that it must fit: {problems}. Answer again, with nothing but "
    "the JSON. The schema is {schema}"
)
WANTED = "Your final answer must be nothing but JSON that fits this JSON Schema: {schema}"


class Ask:
    """A request for the model; the generator is sent its `response` record."""

    __slots__ = ("request",)

    def __init__(self, request: Record) -> None:
        self.request = request


class Act:
    """Work for threads; the generator is sent the results, in order."""

    __slots__ = ("works", "together")

    def __init__(self, works: list[Callable[[], Any]], together: int = 1) -> None:
        self.works, self.together = works, together


class Setting:
    """What all runs of one process share. limits are None where there are none."""

    def __init__(
        self,
        tools: Tools,
        plugins: Plugins | None = None,
        *,
        name: str | None = None,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        max_iterations: int = 5,
        together: int = 8,
        schema: Any = None,
        window: Callable[[Record], int | None] = lambda said: None,
        text_react: bool = False,
    ) -> None:
        self.tools, self.plugins, self.name, self.system = tools, plugins, name, system
        self.options = options or {}  # model, temperature, max_tokens, reasoning: fields of each request
        self.max_iterations, self.together, self.schema, self.window = max_iterations, together, schema, window
        self.text_react = text_react
        self._validator: Validator | None = None

    def problems(self, answer: str) -> list[str]:
        """What keeps the answer from fitting `schema`."""
        from agentlib.validate import Validator

        self._validator = self._validator or Validator(self.schema)
        try:
            return self._validator.problems(records.loads(answer))
        except ValueError as bad:
            return [f"it is not JSON: {bad}"]


class Run:
    """One run. messages: what came before it. request: what the user asks now, with its material as a `message`;
    None where the messages are to be gone on with. emit: is called with each `message` that the run adds."""

    __slots__ = (
        "setting",
        "id",
        "messages",
        "task",
        "emit",
        "leash",
        "system",
        "model",
        "usage",
        "cost",
        "iterations",
        "began",
        "said",
        "repeats",
        "repaired",
        "squeezed",
        "incomplete",
    )

    def __init__(
        self,
        setting: Setting,
        messages: list[Record],
        task: Record | None = None,
        emit: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.setting, self.messages, self.task, self.emit, self.leash = setting, messages, task, emit, Leash()
        self.id = task.get("id") if task else None
        self.system: str | None = setting.system
        self.model: str | None = None
        self.usage: dict[str, int] = {}
        self.cost: float | None = None
        self.iterations, self.began = 0, time.monotonic()
        self.said: Record = {}  # the last response
        self.repeats: tuple[Any, int] = (None, 0)
        self.repaired = self.squeezed = False
        self.incomplete = ""

    def steps(self) -> Steps:
        """The run itself; returns its `result` record, whatever happens."""
        error = None
        try:
            yield from self._begin()
            yield from self._converse()
            self._weigh()
        except Fault as fault:
            error = fault
        result = self.result(error)
        if error is None or error.kind != "interrupted":
            try:
                result = yield from self._hook("after_run", result)
            except Fault as fault:
                result = {**self.result(fault), "output": None}
        return result

    def result(self, fault: Fault | None = None) -> Record:
        """The `result` record as things stand."""
        answer = transcript.text(self.messages[-1]) if transcript.finished(self.messages) else None
        made: Record = {"type": "result"}
        if self.id is not None:
            made["id"] = self.id
        if self.setting.name:
            made["name"] = self.setting.name
        made["output"] = _bare(answer) if answer and self.setting.schema is not None else answer
        if self.incomplete:
            made["incomplete"] = True
            fault = fault or Fault("limit_exceeded", self.incomplete)
            made["output"] = answer or self._last_words()
        made.update(iterations=self.iterations, usage=self.usage)
        if self.cost is not None:
            made["cost_usd"] = round(self.cost, 8)
        made["duration_ms"] = round((time.monotonic() - self.began) * 1000)
        if fault:
            made["error"] = {name: value for name, value in fault.record().items() if name != "type"}
        return made

    def _last_words(self) -> str | None:
        return next(
            (
                said
                for one in reversed(self.messages)
                if one.get("role") == "assistant" and (said := transcript.text(one))
            ),
            None,
        )

    def add(self, message: Record) -> None:
        """One more message, told to whoever listens."""
        message.setdefault("time", _now())
        self.messages.append(message)
        self.emit(message)

    def _begin(self) -> Steps:
        self.messages = transcript.mend(self.messages)
        if self.task is None:
            return
        for call in transcript.pending(self.messages):
            self.add(transcript.result(call, transcript.LOST, "interrupted"))
        task = yield from self._hook("before_run", self.task)
        self.system = task.get("system") or self.system
        self.model = task.get("model")
        from agentlib import material

        self.add(material.message(_words(task.get("input")), task.get("material") or []))

    def _converse(self) -> Steps:
        limit = self.setting.max_iterations
        while True:
            if calls := transcript.pending(self.messages):
                yield from self._act(calls)
            elif transcript.finished(self.messages):
                if not self._repair():
                    return
            elif limit and self.iterations >= limit:
                self.incomplete = f"stopped after {limit} iterations without an answer (--max-iterations)"
                return
            else:
                yield from self._ask()

    def _weigh(self) -> None:
        """Say so where the vendor cut the answer off."""
        reason = self.said.get("stop_reason")
        if reason in ("max_tokens", "content_filter") and not self.incomplete:
            self.incomplete = f"the answer is not whole: {reason}"

    def _ask(self) -> Steps:
        window = self.setting.window(self.said)
        if window and compact.due(self.messages, window, self.said):
            yield from self._compact(window)
        try:
            response = yield from self._answer(self._request())
        except Fault as fault:
            if fault.kind != "context_length" or self.squeezed:
                raise
            self.squeezed = True
            if not (yield from self._compact(compact.size(self.messages))):
                raise
            return
        self.iterations += 1
        self.squeezed = False
        self.add(self._message(response))

    def _answer(self, request: Record) -> Steps:
        """The response to one request, counted; seen by the plugins before and after."""
        request = yield from self._hook("before_model", request)
        response = yield Ask({name: value for name, value in request.items() if name not in ("type", "id")})
        self._count(response)
        return (yield from self._hook("after_model", response))

    def _count(self, response: Record) -> None:
        for name, value in (response.get("usage") or {}).items():
            if isinstance(value, int):
                self.usage[name] = self.usage.get(name, 0) + value
        if isinstance(cost := response.get("cost_usd"), int | float):
            self.cost = (self.cost or 0.0) + cost
        self.said = response

    def _request(self) -> Record:
        setting = self.setting
        messages = transcript.wire(self.messages)
        tools = setting.tools.offered()
        system = self._system(bool(tools))
        request: Record = {"type": "request"}
        if setting.text_react and tools:
            system, messages, stop = textreact.render(system, messages, tools)
            request["stop"] = stop
        elif tools:
            request["tools"] = tools
        if setting.schema is not None and not tools:
            request["schema"] = setting.schema
        request["messages"] = [{"role": "system", "content": system}, *messages] if system else messages
        request.update(setting.options)
        if self.model:
            request["model"] = self.model
        return request

    def _system(self, tools: bool) -> str:
        own = any(message.get("role") == "system" for message in self.messages)
        system = self.system or ("" if own else SYSTEM)
        if self.setting.schema is not None and tools:
            system += "\n\n" + WANTED.format(schema=records.dumps(self.setting.schema))
        return system.strip()

    def _message(self, response: Record) -> Record:
        """The answer as a `message` record with what was measured; every call has an id of its own."""
        said = response.get("message")
        if not isinstance(said, dict):
            raise Fault("bad_response", "the model's response has no message")
        message: Record = {"type": "message", **said, "role": "assistant"}
        if self.setting.text_react:
            message = textreact.parse(message)
        calls, seen = transcript.calls(message), set()
        for number, call in enumerate(calls):
            if not isinstance(call.get("id"), str) or call["id"] in seen:
                call["id"] = f"call_{self.iterations}_{number + 1}"
            seen.add(call["id"])
        if calls:
            message["tool_calls"] = calls
        else:
            message.pop("tool_calls", None)
        for field in ("usage", "model", "provider", "cost_usd", "duration_ms"):
            if field in response:
                message[field] = response[field]
        return message

    def _act(self, calls: list[dict[str, Any]]) -> Steps:
        """Make the calls, together where all only read; results are added in the order of the calls."""
        tools = self.setting.tools
        works: list[Callable[[], Any]] = [partial(tools.perform, call, self.leash) for call in calls]
        groups = [works] if tools.harmless(calls) else [[work] for work in works]
        answered = 0
        for group in groups:
            for message in (yield Act(group, self.setting.together)):
                self._notice(calls[answered], message)
                self.add(message)
                answered += 1

    def _notice(self, call: dict[str, Any], message: Record) -> None:
        """Tell the model of a call that it makes again and again; end the run where that does not help."""
        what = (call.get("name"), repr(call.get("arguments")), message.get("content"))
        count = self.repeats[1] + 1 if self.repeats[0] == what else 1
        self.repeats = (what, count)
        if count >= ENDED_AFTER:
            raise Fault(
                "limit_exceeded", f"the same call of {call.get('name')} was made {count} times with the same result"
            )
        if count >= TOLD_AFTER and isinstance(message.get("content"), str):
            message["content"] += AGAIN.format(n=count)

    def _repair(self) -> bool:
        """Whether a second round for an answer that does not fit the schema was begun."""
        if self.setting.schema is None:
            return False
        problems = self.setting.problems(_bare(transcript.text(self.messages[-1])))
        if not problems:
            return False
        if self.repaired:
            raise Fault("bad_response", f"the answer does not fit the schema: {'; '.join(problems)}")
        self.repaired = True
        told = MISFIT.format(problems="; ".join(problems), schema=records.dumps(self.setting.schema))
        self.add({"type": "message", "role": "user", "content": told})
        return True

    def _compact(self, window: int) -> Steps:
        """Put a summary in the place of the middle of the conversation; whether there was anything to sum up."""
        start, stop = compact.middle(self.messages, window)
        if stop <= start:
            return False
        gone = self.messages[start:stop]
        try:
            response = yield from self._answer(
                {"type": "request", **self.setting.options, **compact.request(gone, window)}
            )
            summary = transcript.text(response.get("message") or {})
        except Fault as fault:
            if fault.kind in ("interrupted", "limit_exceeded", "timeout") or fault.fields.get("plugin"):
                raise
            summary = ""
        message = compact.message(summary or compact.mechanical(gone), len(gone))
        self.messages[start:stop] = [message]
        self.said = {}
        self.emit(message)
        return True

    def _hook(self, hook: str, record: Record) -> Steps:
        plugins = self.setting.plugins
        if plugins is None or not plugins.wants(hook):
            return record
        [changed] = yield Act([partial(plugins.apply, hook, record)])
        return changed


def _bare(text: str) -> str:
    """JSON out of an answer that put it in a fence."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    return text


def _words(given: Any) -> str:
    return given if isinstance(given, str) else "" if given is None else records.dumps(given)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"
