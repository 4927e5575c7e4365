"""A tool as its record describes it: name, schema, command, and how a call reaches it."""

import re

from agentlib.faults import Fault
from agentlib.invoke import output
from agentlib.launch.start import Decision
from agentlib.messages.validate import INVOKES, Validator, input_schema
from agentlib.policy import rules
from agentlib.process.run import Scope
from agentlib.schema import origin
from agentlib.types import Any, Callable, NamedTuple, Record

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
Render = Callable[..., str]


class Invocation(NamedTuple):
    """A call that may be made. scope: it ends with it. render: makes a text of the output. trace: its TRACEPARENT."""

    tool: "Tool"
    arguments: Any
    decision: Decision
    scope: Scope
    render: Render = output.for_model
    trace: str = ""


class Tool:
    """One tool record, checked. reads: whether it says that it changes nothing. timeout: the tool's, in seconds. offer:
    what a model gets to see of it. origin: whose program it is."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.name: str = record.get("name", "")
        self.command: list[str] = record.get("command", [])
        self.invoke: str = record.get("invoke", "text" if record.get("kind") == "agent" else "json")
        schema = input_schema(record)
        self.schema = {"type": "object", **schema} if isinstance(schema, dict) else schema
        self.reads = rules.reads(record)
        self.timeout: float | None = record.get("timeout")
        self.validator: Validator | None = None
        optional = ("title", "annotations", "examples")
        self.offer: Record = {"name": self.name, "description": record.get("description", "")}
        self.offer["inputSchema"] = self.schema
        self.offer |= {field: record[field] for field in optional if field in record}
        if fault := self._fault():
            raise Fault("invalid_input", f"the tool {str(self.name)[:80]!r} is left out: {fault}")
        self.origin = origin.of(record)

    def _fault(self) -> str:
        command, timeout = self.command, self.timeout
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            return "its name must be 1 to 64 of A-Z a-z 0-9 _ -"
        words = command if isinstance(command, list) else []
        if not words or not all(isinstance(word, str) for word in words):
            return "it has no `command` (a list of strings); agent-discover makes one"
        if any("\0" in word for word in command):
            return "its command holds a NUL"
        if self.invoke not in INVOKES:
            return f"its invoke is {self.invoke!r}, not one of {', '.join(INVOKES)}"
        if not isinstance(self.schema, dict) or self.schema.get("type") != "object":
            return "its inputSchema is not one of an object"
        if timeout is not None and (not isinstance(timeout, int | float) or timeout <= 0):
            return "its timeout is not a number of seconds"
        return origin.shadows(self.name, command[0])
