"""Which of many tools, and what of them, to put before a small model: what meets the request's words (BM25)."""

from __future__ import annotations

from agentlib.search.rank import describe, ranks, words
from agentlib.types import Any, Collection, Record

MOST = 8  # tools in one prompt; more of them cost a small model its aim, and seconds of reading


def shortlist(tools: list[Record], request: str, keep: Collection[Any] = ()) -> list[Record]:
    """At most MOST of the tools, in the order in which they came; those named in `keep` always stay."""
    if len(tools) <= MOST:
        return tools
    texts = [words(describe(t)) for t in tools]
    scores = ranks(texts, words(request))
    order = sorted(
        range(len(tools)), key=lambda i: (tools[i].get("name") not in keep, -scores[i], i)
    )
    return [tools[i] for i in sorted(order[:MOST])]


def fitting(tool: Record, request: str) -> Record:
    """The tool without the optional arguments that none of its examples uses and the request does not name: a small
    model fills in whatever it is shown. A tool without examples keeps them all."""
    schema = tool.get("inputSchema")
    examples = [e for e in tool.get("examples") or [] if isinstance(e, dict)]
    if (
        not examples
        or not isinstance(schema, dict)
        or not isinstance(schema.get("properties"), dict)
    ):
        return tool
    keep = {
        *(schema.get("required") or []),
        *(name for e in examples for name in e.get("arguments") or {}),
    }
    asked = set(words(request))
    shown = {
        name: spec
        for name, spec in schema["properties"].items()
        if name in keep or asked & set(words(name))
    }
    return {**tool, "inputSchema": {**schema, "properties": shown}}
