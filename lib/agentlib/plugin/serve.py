"""The runtime of a plugin in Python: reads each hook call of agent-react and answers it, until the end of its input."""

import sys

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Callable, Record


def serve(see: Callable[[str, Record], Record]) -> int:
    """see(hook, record) returns the record, changed or not; a Fault from it is a refusal, which the model gets."""
    for number, raw in records.lines(sys.stdin.buffer):
        call = records.loads(raw)
        call = call if isinstance(call, dict) else {}
        hook, record = call.get("hook"), call.get("record")
        if not isinstance(hook, str) or not isinstance(record, dict):
            why = "not a plugin's question (an object with `hook` and `record`)"
            raise Fault("invalid_input", f"line {number}: {why}")
        try:
            records.write({"id": call.get("id"), "record": see(hook, record)})
        except Fault as fault:
            records.write({"id": call.get("id"), "deny": fault.message})
    return 0
