"""The tools of a run: which there are, whether a call may be made, and its result as a message."""

from __future__ import annotations

import time

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.invoke.tool import Tool
from agentlib.messages import transcript
from agentlib.messages.validate import Validator
from agentlib.types import TYPE_CHECKING, Any, Callable, Record

if TYPE_CHECKING:
    from agentlib.invoke.runner import Runner
    from agentlib.plugin.host import Plugins
    from agentlib.policy.rules import Policy
    from agentlib.process.run import Leash

SCHEMA_SHOWN = 2000  # characters of a schema told with an error


class Tools:
    """Everything that the model can call. policy: says which calls may be made, and in which sandbox."""

    def __init__(self, policy: Policy, runner: Runner, plugins: Plugins | None = None) -> None:
        self.table: dict[str, Tool] = {}
        self.plugins, self._policy, self._runner = plugins, policy, runner

    def add(self, record: Record) -> None:
        """One more tool; says on stderr why where it cannot be used. Of two with one name the first stays."""
        try:
            tool = Tool(record)
        except Fault as fault:
            return stderr.warn(fault.message)
        known = self.table.setdefault(tool.name, tool)
        if known.command != tool.command:
            stderr.warn(
                f"the tool {tool.name!r} is there twice; the first is used: {known.command[0]}"
            )

    def offered(self) -> list[Record]:
        """The tools as they stand in a `request`."""
        return [tool.offer for tool in self.table.values()]

    def harmless(self, calls: list[dict[str, Any]]) -> bool:
        """Whether all these calls only read, so that they may run together."""
        return all(
            (tool := self.table.get(str(call.get("name")))) is not None and tool.reads
            for call in calls
        )

    def perform(self, call: dict[str, Any], leash: Leash) -> Record:
        """Make one call; the message of its result, or of what went wrong in words the model can act on."""
        began = time.monotonic()
        message = self._guarded(call, lambda: transcript.result(call, self._run(call, leash)))
        message["duration_ms"] = round((time.monotonic() - began) * 1000)
        if plugins := self.plugins:
            return self._guarded(call, lambda: plugins.apply("after_tool", message))
        return message

    def _guarded(self, call: dict[str, Any], work: Callable[[], Record]) -> Record:
        try:
            return work()
        except Fault as fault:
            if fault.fields.get(
                "plugin"
            ):  # a broken plugin is never the model's affair: it stops the run
                raise
            return transcript.result(call, fault.message, fault.kind)
        except MemoryError:
            return transcript.result(
                call, "There was not enough memory for this call.", "limit_exceeded"
            )

    def _run(self, call: dict[str, Any], leash: Leash) -> str:
        tool = self._find(call.get("name"))
        arguments = _arguments(tool, call)
        if self.plugins:
            arguments = self.plugins.apply("before_tool", _seen(tool, call, arguments)).get(
                "arguments"
            )
        self._check(tool, arguments)
        return self._runner.run(tool, arguments, self._policy.allow(tool.record, arguments), leash)

    def _find(self, name: Any) -> Tool:
        if tool := self.table.get(str(name)):
            return tool
        if not self.table:
            raise Fault(
                "tool_not_found",
                f"There is no tool {name!r}; there are no tools at all. Answer without.",
            )
        import difflib

        near = difflib.get_close_matches(str(name), self.table, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        there = ", ".join(self.table)
        raise Fault(
            "tool_not_found", f"There is no tool {str(name)[:80]!r}.{hint} The tools are: {there}."
        )

    def _check(self, tool: Tool, arguments: Any) -> None:
        try:
            tool.validator = tool.validator or Validator(tool.schema)
        except Fault as fault:
            raise Fault(fault.kind, f"{tool.name} cannot be called: {fault.message}.") from None
        if problems := tool.validator.problems(arguments):
            schema = records.dumps(tool.schema)
            told = f" Its inputSchema is {schema}" if len(schema) <= SCHEMA_SHOWN else ""
            what = f"{tool.name} was not run, its arguments do not fit: {'; '.join(problems)}."
            raise Fault("invalid_arguments", what + told)


def _seen(tool: Tool, call: dict[str, Any], arguments: Any) -> Record:
    """What a plugin sees before a call."""
    notes = tool.record.get("annotations", {})
    return {
        "type": "call",
        "id": call.get("id"),
        "name": tool.name,
        "arguments": arguments,
        "annotations": notes,
    }


def _arguments(tool: Tool, call: dict[str, Any]) -> Any:
    """The arguments as a value. Text that is no JSON (providers leave it in `arguments_raw`) is told with the place."""
    given = call.get("arguments")
    if given is None:
        given = call.get("arguments_raw")
    if isinstance(given, str):
        try:
            return records.loads(given) if given.strip() else {}
        except ValueError as bad:
            raise Fault(
                "invalid_arguments", f"{tool.name} was not run: its arguments are not JSON: {bad}."
            ) from None
    return {} if given is None else given
