"""Who owns a program: the suite, the user, or somebody else.

Real paths inside the suite's installation, the user's own registry and the configuration decide it. What a record says
of itself does not count, nor does an AGENTS.md, which comes with any clone.
"""

import functools
import os

from agentlib import paths
from agentlib.faults import Fault
from agentlib.launch.start import OTHER, SUITE, USER
from agentlib.types import Record

# tools whose programs have other names
MORE = dict.fromkeys("forget recall remember search_memory".split(), "agent-memory")
MORE["skill"] = "agent-context"


def of(record: Record) -> str:
    """Whose the program of a `tool` record is, as an agent: one that gets a text, and no words of the record's own."""
    path, *words = record["command"]
    invoke = record.get("invoke", "text")
    if record.get("kind") != "agent" or invoke != "text" or words not in ([], ["-"]):
        return OTHER
    name = str(record.get("name"))
    if os.path.realpath(path) == os.path.join(paths.REAL, "bin", name):
        return SUITE
    if path in registered(name):
        return USER if not words else OTHER
    from agentlib.schema import registry

    return USER if not words and path in registry.allowed() else OTHER


def shadows(name: str, path: str) -> str:
    """Whose name it is that this program takes without being it, '' where the name is free, or the program's own: of
    the suite's programs and what is in the folders of the user's tools."""
    folders = [os.path.join(top, "tools") for top in (paths.TOP, paths.place("data"))]
    folders += paths.folders("AGENT_TOOL_PATH", "tools")
    program = os.path.join(paths.TOP, "bin", MORE.get(name, name))
    others = [program, *(os.path.join(folder, name) for folder in folders)]
    there = [*registered(name), *filter(os.path.isfile, others)]
    if not there or os.path.realpath(path) in map(os.path.realpath, there):
        return ""
    return f"{name} is the name of {there[0]}, and {path} is another program"


def registered(name: str) -> list[str]:
    """The programs that the user's own registry has under this name."""
    return [path for entry, path in _users() if entry == name]


@functools.cache
def _users() -> list[tuple[str, str]]:
    if not os.path.lexists(os.path.join(paths.place("data"), "AGENTS.md")):
        return []
    from agentlib.schema import registry

    try:
        return [(one.name, one.path) for one in registry.entries(registry.users())]
    except Fault:  # it may not be read
        return []
