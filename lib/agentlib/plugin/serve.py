"""The runtime of a plugin in Python: reads what agent-react asks, answers each, until the end of its input."""

from __future__ import annotations

import sys

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Callable, Record


def serve(see: Callable[[str, Record], Record]) -> int:
    """see(hook, record) gives the record back, changed or not; a Fault from it is a refusal, told to the model."""
    for number, raw in records.lines(sys.stdin.buffer):
        ask = records.loads(raw)
        if (
            not isinstance(ask, dict)
            or not isinstance(ask.get("hook"), str)
            or not isinstance(ask.get("record"), dict)
        ):
            why = f"line {number}: not a plugin's question (an object with `hook` and `record`)"
            raise Fault("invalid_input", why)
        try:
            records.write({"id": ask.get("id"), "record": see(ask["hook"], ask["record"])})
        except Fault as fault:
            records.write({"id": ask.get("id"), "deny": fault.message})
    return 0
