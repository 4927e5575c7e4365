"""Rank texts for a request by words (BM25), and combine several rankings into one."""

import math
import re

from agentlib.types import Any, Callable, Record

K, B = 1.2, 0.75  # the usual constants of BM25 (Robertson and Zaragoza 2009)
FUSION_K = 60  # constant of reciprocal rank fusion: the larger, the less the first places count above the others
COMMON = frozenset(
    "a an the of in on at to for and or is are was be it its this that what which how many much me my i "
    "you your please can could would do does did with from as by there into give tell want need".split()
)


def fused(*rankings: list[Record], name: Callable[[Record], Any]) -> list[Record]:
    """Rankings, each the best record first, combined into one. Records of the same `name` are the same."""
    scores: dict[Any, float] = {}
    found: dict[Any, Record] = {}
    for ranking in rankings:
        for place, record in enumerate(ranking, 1):
            key = name(record)
            scores[key] = scores.get(key, 0.0) + 1 / (FUSION_K + place)
            found[key] = {**found.get(key, {}), **record}
    return [found[key] for key in sorted(scores, key=lambda key: -scores[key])]


def describe(tool: Record) -> str:
    """All texts of a tool that a request for it may share words with; its name counts twice."""
    properties = (tool.get("inputSchema") or {}).get("properties") or {}
    texts = [str(tool.get("name", ""))] * 2 + [str(tool.get("description", ""))]
    for name, spec in properties.items():
        if isinstance(spec, dict):
            texts.append(f"{name} {spec.get('description', '')}")
    examples = [e for e in tool.get("examples") or [] if isinstance(e, dict)]
    return " ".join([*texts, *(str(example.get("request", "")) for example in examples)])


def words(text: str) -> list[str]:
    """The stems of a text's words. Web addresses, names of files, numbers and sums add words for what they are."""
    for pattern, replacement in (
        (r"https?://\S+", " web page address url "),
        (r"[\w./~-]*\w\.[A-Za-z]\w{0,4}\b|(?<!\S)[.~]{0,2}/[\w./-]+", r"\g<0> file path "),
        (r"\d\s*[-+*/^%x]\s*\d", " calculate number "),
        (r"\d[\d.,]*", " number "),
        (r"([a-z])([A-Z])", r"\1 \2"),
    ):
        text = re.sub(pattern, replacement, text)
    return [stem(word) for word in re.findall(r"[a-z]+", text.lower()) if word not in COMMON]


def stem(word: str) -> str:
    for end in ("ing", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word


def ranks(texts: list[list[str]], query: list[str]) -> list[float]:
    mean = sum(map(len, texts)) / len(texts) or 1.0
    scores = [0.0] * len(texts)
    for term in set(query):
        holders = sum(term in text for text in texts)
        weight = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        for i, text in enumerate(texts):
            count = text.count(term)
            scores[i] += weight * count * (K + 1) / (count + K * (1 - B + B * len(text) / mean))
    return scores
