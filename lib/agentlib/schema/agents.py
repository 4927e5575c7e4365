"""Which agents there are, by name: those of all registries."""

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.schema import origin, registry
from agentlib.types import Record


def named(name: str) -> Record:
    """The record of the agent with this name; Fault tool_not_found where there is none."""
    known = {one["name"]: one for one in every()}
    if name not in known:
        why = f"there is no agent {name!r}; there are: {', '.join(known) or 'none'}"
        raise Fault("tool_not_found", why)
    return known[name]


def every(warn: bool = False) -> list[Record]:
    """The agents of all registries, each name once, the suite's and the user's first. warn: of what is left out."""
    found: dict[str, Record] = {}
    for file in sorted(registry.sources(), key=lambda one: one != registry.users()):
        try:
            for entry in registry.entries(file):
                try:
                    one = registry.record(entry)
                    if taken := origin.shadows(entry.name, one["command"][0]):
                        raise Fault("tool_denied", f"left out: {taken}")
                    found.setdefault(entry.name, one)
                except Fault as fault:
                    if warn:
                        stderr.warn(f"{file}: {fault.message}")
        except Fault as fault:
            if warn:
                stderr.warn(fault.message)
    return list(found.values())
