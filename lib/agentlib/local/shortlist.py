"""Which of many tools, and what of them, to put before a small model: what meets the request's words (BM25)."""

from __future__ import annotations

import math
import re

from agentlib.types import Any, Collection, Record

MOST = 8  # tools in one prompt; more of them cost a small model its aim, and seconds of reading
K, B = 1.2, 0.75  # the usual constants of BM25 (Robertson and Zaragoza 2009)


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
    schema, examples = (
        tool.get("inputSchema"),
        [e for e in tool.get("examples") or [] if isinstance(e, dict)],
    )
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


def describe(tool: Record) -> str:
    """All the words by which a tool may be asked for."""
    properties = (tool.get("inputSchema") or {}).get("properties") or {}
    specs = [
        f"{name} {spec.get('description', '')}"
        for name, spec in properties.items()
        if isinstance(spec, dict)
    ]
    asked = [str(e.get("request", "")) for e in tool.get("examples") or [] if isinstance(e, dict)]
    name = str(tool.get("name", ""))
    return " ".join([name, name, str(tool.get("description", "")), *specs, *asked])


def words(text: str) -> list[str]:
    """Lower-case words, endings cut off. An address, a file's name and a sum count as what they are, too."""
    text = re.sub(r"https?://\S+", " web page address url ", text)
    text = re.sub(
        r"[\w./~-]*\w\.[A-Za-z]\w{0,4}\b|(?<!\S)[.~]{0,2}/[\w./-]+", r"\g<0> file path ", text
    )
    text = re.sub(
        r"\d[\d.,]*", " number ", re.sub(r"\d\s*[-+*/^%x]\s*\d", " calculate number ", text)
    )
    found = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    return [stem(w) for w in found if w not in COMMON]


def stem(word: str) -> str:
    """The word without the commonest English endings."""
    for end in ("ing", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word


COMMON = frozenset(
    "a an the of in on at to for and or is are was be it its this that what which how many much me my i "
    "you your please can could would do does did with from as by there into give tell want need".split()
)


def ranks(texts: list[list[str]], query: list[str]) -> list[float]:
    """BM25 of each text for the query."""
    mean = sum(map(len, texts)) / len(texts) or 1.0
    scores = [0.0] * len(texts)
    for term in set(query):
        holders = sum(term in t for t in texts)
        weight = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        for i, found in enumerate(texts):
            count = found.count(term)
            scores[i] += weight * count * (K + 1) / (count + K * (1 - B + B * len(found) / mean))
    return scores
