"""The tools of a run: which there are, whether a call may be made, the call itself, the result in words."""

from __future__ import annotations

import difflib
import os
import re
import signal
import threading
import time

from agentlib import cli, output, process, records, transcript
from agentlib.coprocess import Coprocess, told
from agentlib.faults import Fault
from agentlib.validate import Validator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agentlib.plugins import Plugins
    from agentlib.process import Leash, Outcome
    from agentlib.records import Record

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
INVOKE = ("json", "text", "argv", "jsonl")
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
ARGV = {
    "type": "object",
    "properties": {"args": {"type": "array", "items": {"type": "string"}}, "stdin": {"type": "string"}},
}
PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "TERM")  # of our environment; and what begins with AGENT_
TIMEOUT = 120.0  # seconds, where neither the tool nor the user says
SCHEMA_SHOWN = 2000  # characters of a schema told with an error


class Tool:
    """One tool record, checked."""

    __slots__ = ("record", "name", "command", "invoke", "schema", "reads", "timeout", "validator")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.name: str = record.get("name", "")
        self.command: list[str] = record.get("command", [])
        self.invoke: str = record.get("invoke", "json")
        self.schema = _schema(record, self.invoke)
        notes = record.get("annotations")
        self.reads = isinstance(notes, dict) and notes.get("readOnlyHint") is True
        self.timeout = record.get("timeout")
        self.validator: Validator | None = None
        if fault := self._fault():
            raise Fault("invalid_input", f"the tool {str(self.name)[:80]!r} is left out: {fault}")

    def _fault(self) -> str:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            return "its name must be 1 to 64 of A-Z a-z 0-9 _ -"
        command = self.command
        if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
            return "it has no `command` (a list of strings); agent-discover makes one"
        if any("\0" in word for word in command):
            return "its command holds a NUL"
        if self.invoke not in INVOKE:
            return f"its invoke is {self.invoke!r}, not one of {', '.join(INVOKE)}"
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float | None):
            return "its timeout is not a number of seconds"
        return ""

    def offer(self) -> Record:
        """What the model is told of it."""
        told = {"name": self.name, "description": self.record.get("description", ""), "inputSchema": self.schema}
        return {**told, **{field: self.record[field] for field in ("title", "examples") if field in self.record}}


def _schema(record: Record, invoke: str) -> Any:
    for field in ("inputSchema", "parameters", "input_schema"):
        if field in record:
            return record[field]
    return ARGV if invoke == "argv" else INPUT


class Tools:
    """Everything that the model can call, and how.

    policy: `decide(tool, arguments)` (see consent.py). timeout: the user's, in seconds, or None. env: what tools
    get beside PASSED, {"": {...}} for all of them, by name for one. options: makes the options for Popen.
    """

    def __init__(
        self,
        allow: Callable[[Tool, Any], None],
        timeout: float | None,
        env: dict[str, str],
        options: Callable[[Tool, dict[str, str]], dict[str, Any]],
        plugins: Plugins | None = None,
    ) -> None:
        self.table: dict[str, Tool] = {}
        self._allow, self._timeout, self._env, self._options, self.plugins = allow, timeout, env, options, plugins
        self._coprocesses: dict[str, Coprocess] = {}
        self._lock = threading.Lock()
        self._count = 0

    def add(self, record: Record) -> None:
        """One more tool; says on stderr why where it cannot be used. Of two with one name the first stays."""
        try:
            tool = Tool(record)
        except Fault as fault:
            return cli.warn(fault.message)
        known = self.table.setdefault(tool.name, tool)
        if known.command != tool.command:
            cli.warn(f"the tool {tool.name!r} is there twice; the first is used: {known.command[0]}")

    def offered(self) -> list[Record]:
        """The tools as they stand in a `request`."""
        return [tool.offer() for tool in self.table.values()]

    def harmless(self, calls: list[dict[str, Any]]) -> bool:
        """Whether all these calls only read, so that they may run together."""
        return all((tool := self.table.get(str(call.get("name")))) is not None and tool.reads for call in calls)

    def perform(self, call: dict[str, Any], leash: Leash) -> Record:
        """Make one call; the message of its result, or of what went wrong in words the model can act on."""
        began = time.monotonic()
        try:
            message = transcript.result(call, self._perform(call, leash))
        except Fault as fault:
            if fault.fields.get("plugin"):
                raise
            message = transcript.result(call, fault.message, fault.kind)
        except MemoryError:
            message = transcript.result(call, "There was not enough memory for this call.", "limit_exceeded")
        message["duration_ms"] = round((time.monotonic() - began) * 1000)
        return self.plugins.apply("after_tool", message) if self.plugins else message

    def _perform(self, call: dict[str, Any], leash: Leash) -> str:
        tool = self._find(call.get("name"))
        arguments = _arguments(tool, call.get("arguments"))
        if self.plugins:
            seen = {
                "type": "call",
                "id": call.get("id"),
                "name": tool.name,
                "arguments": arguments,
                "annotations": tool.record.get("annotations", {}),
            }
            arguments = self.plugins.apply("before_tool", seen).get("arguments")
        self._check(tool, arguments)
        self._allow(tool, arguments)
        if not os.access(tool.command[0], os.X_OK):
            raise Fault(
                "tool_not_found", f"{tool.name}: its program {tool.command[0]} is not there any more, or cannot be run."
            )
        _pinned(tool)
        if tool.invoke == "jsonl":
            return self._converse(tool, arguments)
        return self._run(tool, arguments, leash)

    def _find(self, name: Any) -> Tool:
        if tool := self.table.get(str(name)):
            return tool
        if not self.table:
            raise Fault("tool_not_found", f"There is no tool {name!r}; there are no tools at all. Answer without.")
        near = difflib.get_close_matches(str(name), self.table, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise Fault(
            "tool_not_found", f"There is no tool {str(name)[:80]!r}.{hint} The tools are: {', '.join(self.table)}."
        )

    def _check(self, tool: Tool, arguments: Any) -> None:
        try:
            tool.validator = tool.validator or Validator(tool.schema)
        except Fault as fault:
            raise Fault(fault.kind, f"{tool.name} cannot be called: {fault.message}") from None
        if problems := tool.validator.problems(arguments):
            schema = records.dumps(tool.schema)
            told = f" Its inputSchema is {schema}" if len(schema) <= SCHEMA_SHOWN else ""
            raise Fault(
                "invalid_arguments", f"{tool.name} was not run, its arguments do not fit: {'; '.join(problems)}.{told}"
            )

    def _limit(self, tool: Tool) -> float:
        own = tool.timeout or self._timeout or TIMEOUT
        return float(min(own, self._timeout or own))

    def _environment(self, tool: Tool) -> dict[str, str]:
        return self._env

    def _run(self, tool: Tool, arguments: dict[str, Any], leash: Leash) -> str:
        extra, given = _handed(tool, arguments)
        options = self._options(tool, self._environment(tool))
        limit = self._limit(tool)
        try:
            done = process.run({**options, "args": [*options["args"], *extra]}, given, limit, output.KEPT, leash)
        except (OSError, ValueError) as bad:
            raise Fault(
                "tool_error", f"{tool.name} could not be started: {getattr(bad, 'strerror', None) or bad}."
            ) from None
        return _judged(tool, done, limit)

    def _converse(self, tool: Tool, arguments: dict[str, Any]) -> str:
        with self._lock:
            self._count += 1
            id = str(self._count)
            filter = self._coprocess(tool)
        answer = filter.ask(id, {"id": id, "name": tool.name, "arguments": arguments}, self._limit(tool))
        content = answer.get("content", "")
        text = content if isinstance(content, str) else records.dumps(content)
        shown = output.told(text.encode("utf-8", "replace"))
        if answer.get("is_error"):
            raise Fault("tool_error", shown)
        return shown

    def _coprocess(self, tool: Tool) -> Coprocess:
        """The program behind the tool, kept up; started again where it has ended."""
        key = "\0".join(tool.command)
        known = self._coprocesses.get(key)
        if known is None or not known.running:
            options = {"start_new_session": True, **self._options(tool, self._environment(tool))}
            try:
                known = self._coprocesses[key] = Coprocess(tool.name, options)
            except (OSError, ValueError) as bad:
                raise Fault(
                    "tool_error", f"{tool.name} could not be started: {getattr(bad, 'strerror', None) or bad}."
                ) from None
        return known

    def close(self, grace: float) -> None:
        """End the coprocesses."""
        for one in self._coprocesses.values():
            one.close(grace)


def _arguments(tool: Tool, given: Any) -> Any:
    """The arguments as a value; a model's (or a vendor's) text that is no JSON is told with its position."""
    if isinstance(given, str):
        try:
            return records.loads(given) if given.strip() else {}
        except ValueError as bad:
            raise Fault("invalid_arguments", f"{tool.name} was not run: its arguments are not JSON: {bad}.") from None
    return {} if given is None else given


def _handed(tool: Tool, arguments: dict[str, Any]) -> tuple[list[str], bytes]:
    """(more words of the command, standard input) for one call."""
    if tool.invoke == "text":
        return [], str(arguments.get("input", "")).encode("utf-8", "replace")
    if tool.invoke == "argv":
        words = [str(word) for word in arguments.get("args") or ()]
        if any("\0" in word for word in words):
            raise Fault("invalid_arguments", f"{tool.name} was not run: an argument holds a NUL character.")
        return words, str(arguments.get("stdin") or "").encode("utf-8", "replace")
    try:
        return [], records.dumps(arguments).encode() + b"\n"
    except RecursionError:
        raise Fault("invalid_arguments", f"{tool.name} was not run: its arguments are nested too deeply.") from None


def _pinned(tool: Tool) -> None:
    """Where the record says which bytes the program has (`sha256`), hold it to that."""
    if wanted := tool.record.get("sha256"):
        import hashlib

        with open(tool.command[0], "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() != wanted:
                raise Fault(
                    "tool_denied", f"{tool.name} was not run: its program is not the one that was found before."
                )


def _judged(tool: Tool, done: Outcome, limit: float) -> str:
    """The output of a success; a Fault with status, end of stderr and output of anything else."""
    if done.late:
        raise Fault("tool_timeout", _report(f"{tool.name} was ended after {limit:g} s, its time limit.", done))
    if done.over:
        raise Fault("limit_exceeded", _report(f"{tool.name} was ended, it printed too much. Ask for less.", done))
    if done.status:
        raise Fault("tool_error", _report(f"{tool.name} failed, {_status(done.status)}.", done))
    return output.told(done.out)


def _status(status: int) -> str:
    if status > 128:  # so a shell, or the sandbox, tells of a child that a signal ended
        try:
            return f"ended by signal {signal.Signals(status - 128).name}"
        except ValueError:
            pass
    return f"ended {told(status)}" if status < 0 else f"with status {status}"


def _report(what: str, done: Outcome) -> str:
    err = done.err.decode("utf-8", "replace").strip()
    said = [what]
    if err:
        said.append(f"Its standard error ends:\n{err[-2000:]}")
    if done.out:
        said.append(f"Its output:\n{output.told(done.out, done.over)}")
    return "\n".join(said)
