"""The tools of a run: which there are, whether a call may be made, and its result as a message."""

import time
from functools import partial

from agentlib import history, paths, records, stderr
from agentlib.faults import Fault, near
from agentlib.invoke.runner import Runner
from agentlib.invoke.tool import Invocation, Tool
from agentlib.messages import transcript
from agentlib.messages.validate import Validator
from agentlib.policy.rules import Policy
from agentlib.process.run import Scope
from agentlib.types import Any, Callable, Record

Hook = Callable[[str, Record], Record]
Content = str | list[Record]
SCHEMA_SHOWN = 2000  # characters; a longer schema is not part of an error


class Tools:
    """Everything that the model can call. policy: says which calls may be made, and in which sandbox."""

    def __init__(self, policy: Policy, runner: Runner) -> None:
        self.table: dict[str, Tool] = {}
        self.policy, self._runner, self.ask = policy, runner, policy.ask

    def add(self, record: Record) -> None:
        """Add a tool, or warn why it cannot be used. Of two with one name the first stays."""
        try:
            tool = Tool(record)
        except Fault as fault:
            return stderr.warn(fault.message)
        first = self.table.setdefault(tool.name, tool).command
        if first != tool.command:
            stderr.warn(f"the tool {tool.name!r} is there twice; the first is used: {first[0]}")

    def offered(self) -> list[Record]:
        """The tools as they stand in a `request`."""
        return [tool.offer for tool in self.table.values()]

    def harmless(self, calls: list[dict[str, Any]]) -> bool:
        """Whether all these calls only read, so that they may run together."""
        tools = [self.table.get(str(call.get("name"))) for call in calls]
        return all(tool is not None and tool.reads for tool in tools)

    def perform(
        self, call: dict[str, Any], scope: Scope, hook: Hook | None = None, trace: str = ""
    ) -> Record:
        """Make one call; the message of its result, or of what went wrong in words the model can act on. trace: its
        TRACEPARENT. hook: gets (`before_tool`, the call), (`after_tool`, the message); returns what takes its place."""
        began = time.monotonic()
        hook = hook or (lambda _, record: record)
        run = partial(self._run, call, scope, hook, trace)
        message = self._guarded(call, lambda: transcript.result(call, run()))
        message["duration_ms"] = round((time.monotonic() - began) * 1000)
        message["time"] = history.now()
        return self._guarded(call, lambda: hook("after_tool", message))

    def prepare(self) -> None:
        """Start what a first call will probably want, before it comes: the first sandbox that a tool can have."""
        for tool in list(self.table.values()):
            if isinstance(tool.record.get("sandbox"), dict):
                continue  # it wants folders of its own, and sees what others do not
            granted = self.policy.decide(tool.record, {}, tool.origin, ask=False)
            if granted.verdict == "allow":
                shared = {"work": "read", "net": "read+net"}  # the same sandbox
                profile = shared.get(granted.profile, granted.profile)
                self._runner.prepare(tool, granted._replace(profile=profile))
                tool.validator = tool.validator or Validator(tool.schema)  # takes 10 ms to load
                return

    def _guarded(self, call: dict[str, Any], work: Callable[[], Record]) -> Record:
        try:
            return work()
        except Fault as fault:
            if fault.fields.get("plugin"):  # nothing that the model could correct: it stops the run
                raise
            return transcript.result(call, fault.message, fault.kind)
        except MemoryError:
            text = "There was not enough memory for this call."
            return transcript.result(call, text, "limit_exceeded")

    def _run(self, call: dict[str, Any], scope: Scope, hook: Hook, trace: str) -> Content:
        tool = self._find(call.get("name"))
        proposed = {"type": "call", "id": call.get("id"), "name": tool.name}
        proposed["arguments"] = _arguments(tool, call)
        proposed["annotations"] = tool.record.get("annotations", {})
        arguments: Any = hook("before_tool", proposed).get("arguments")
        self.check(tool, arguments)
        decision = self.policy.allow(tool.record, arguments, tool.origin)
        if tool.name != "call_agent" or not paths.of_suite(tool.command[0]):
            return self.invoke(Invocation(tool, arguments, decision, scope, trace=trace))
        from agentlib.invoke import agent  # here, where the policy is

        return agent.called(self, arguments, scope, trace)

    def invoke(self, call: Invocation) -> Content:
        if call.tool.invoke not in ("mcp", "jsonl"):
            return self._runner.run(call)
        from agentlib.invoke import served

        if call.tool.invoke == "jsonl":
            return served.converse(self._runner, call)
        return served.call(self, self._runner, call)

    def _find(self, name: Any) -> Tool:
        if tool := self.table.get(str(name)):
            return tool
        why = f"There is no tool {name!r}; there are no tools at all. Answer without."
        if self.table:
            hint, names = near(str(name), self.table) or ".", ", ".join(self.table)
            why = f"There is no tool {str(name)[:80]!r}{hint} The tools are: {names}."
        raise Fault("tool_not_found", why)

    def check(self, tool: Tool, arguments: Any) -> None:
        try:
            tool.validator = tool.validator or Validator(tool.schema)
        except Fault as fault:
            raise Fault(fault.kind, f"{tool.name} cannot be called: {fault.message}.") from None
        if problems := tool.validator.problems(arguments):
            schema = records.dumps(tool.schema)
            hint = f" Its inputSchema is {schema}" if len(schema) <= SCHEMA_SHOWN else ""
            why = f"{tool.name} was not run, its arguments do not fit: {'; '.join(problems)}."
            raise Fault("invalid_arguments", why + hint)


def _arguments(tool: Tool, call: dict[str, Any]) -> Any:
    """The arguments as a value. Providers leave text that is not JSON in `arguments_raw`: the Fault says where."""
    raw, arguments = call.get("arguments_raw"), call.get("arguments")
    arguments = raw if arguments is None else arguments
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        return records.loads(arguments) if arguments.strip() else {}
    except ValueError as bad:
        why = f"{tool.name} was not run: its arguments are not JSON: {bad}."
        raise Fault("invalid_arguments", why) from None
