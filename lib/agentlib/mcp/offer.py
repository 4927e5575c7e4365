"""The `tool` records of an MCP server: unique valid names, and nothing believed that the server says of itself."""

import re

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.messages.validate import Validator
from agentlib.schema import origin, schemas
from agentlib.types import Iterator, Record

SHARED = ("server", "command", "env", "sandbox", "timeout")  # by all tools of a server
FIELDS = ("title", "description", "inputSchema", "outputSchema")
LONGEST = 64  # characters of a name


def records_of(tools: list[Record], shared: Record, taken: set[str]) -> Iterator[Record]:
    """A record of each tool. shared: fields of all of them. taken: names that are not free; these are added.

    That a tool only reads is kept as a hint (`hints`), which changes nothing.
    """
    program, *words = shared["command"]
    seen: set[str] = set()
    for tool in tools:
        original = tool.get("name")
        if not isinstance(original, str) or original in seen:
            continue
        seen.add(original)
        hints = tool["annotations"] if isinstance(tool.get("annotations"), dict) else {}
        made = {field: tool[field] for field in FIELDS if field in tool}
        made["name"] = _free(original, shared, taken)
        made["description"] = made.get("description") or made.get("title") or original
        made |= {"annotations": {k: v for k, v in hints.items() if k != "readOnlyHint"}}
        made |= {"invoke": "mcp", "tool": original, "hints": hints, "args": words}
        try:
            record = schemas.tool({**made, **shared}, program)
            Validator(record["inputSchema"])  # a vendor would refuse the whole request for it
            yield record
        except (Fault, RecursionError) as bad:
            stderr.warn(f"{shared['server']}: the tool {original[:80]!r} is left out: {bad}")
        taken.add(made["name"])


def _free(original: str, shared: Record, taken: set[str]) -> str:
    """A name that no other tool has: its original one, with the server's before it, or with a digest at its end."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", original)
    for name in (plain, f"{shared['server']}__{plain}"):
        if len(name) <= LONGEST and name not in taken:
            if not origin.shadows(name, shared["command"][0]):
                return name
    import hashlib

    digest = hashlib.sha256(original.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{shared['server']}__{plain}"[: LONGEST - 9] + f"_{digest}"
