"""Ranks of texts for a request: BM25 by words, and lists of ranks made one."""

from __future__ import annotations

import math
import re

from agentlib.types import Any, Callable, Record

K, B = 1.2, 0.75  # the usual constants of BM25 (Robertson and Zaragoza 2009)
SIXTY = 60  # of the formula: how little the first places count for more than those behind them


def fused(*ranked: list[Record], name: Callable[[Record], Any]) -> list[Record]:
    """Lists of records, each the best first, made one; `name` tells which are the same."""
    scores: dict[Any, float] = {}
    found: dict[Any, Record] = {}
    for one in ranked:
        for place, record in enumerate(one, 1):
            key = name(record)
            scores[key] = scores.get(key, 0.0) + 1 / (SIXTY + place)
            found[key] = {**found.get(key, {}), **record}
    return [found[key] for key in sorted(scores, key=lambda key: -scores[key])]


def describe(tool: Record) -> str:
    """All the words by which a tool may be asked for."""
    properties = (tool.get("inputSchema") or {}).get("properties") or {}
    shaped = [(name, spec) for name, spec in properties.items() if isinstance(spec, dict)]
    specs = [f"{name} {spec.get('description', '')}" for name, spec in shaped]
    asked = [str(e.get("request", "")) for e in tool.get("examples") or [] if isinstance(e, dict)]
    name = str(tool.get("name", ""))
    return " ".join([name, name, str(tool.get("description", "")), *specs, *asked])


def words(text: str) -> list[str]:
    """Lower-case words, endings cut off. An address, a file's name and a sum count as what they are, too."""
    text = re.sub(r"https?://\S+", " web page address url ", text)
    path = r"[\w./~-]*\w\.[A-Za-z]\w{0,4}\b|(?<!\S)[.~]{0,2}/[\w./-]+"
    text = re.sub(path, r"\g<0> file path ", text)
    text = re.sub(r"\d\s*[-+*/^%x]\s*\d", " calculate number ", text)
    text = re.sub(r"\d[\d.,]*", " number ", text)
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
