"""Search by meaning and by words together: vectors from a provider, asked through agent-llm, ranks fused.

Vectors are made when they are first needed. Two lists, by BM25 and by cosine, become one by reciprocal rank fusion
(Cormack, Clarke, Büttcher 2009): a memory's score is the sum of 1/(60 + its place) over the lists it stands in.
"""

from agentlib import records, stderr
from agentlib.memory.vectors import Vectors
from agentlib.search.embedder import BATCH, LEAST, READ, Embedder, opened
from agentlib.search.rank import fused
from agentlib.types import Any, Record

MOST = 1000  # vectors that one search makes; the next one goes on
PROGRESS = 250  # vectors after which it is told how many there are
POOL = 200  # places of each list that are fused


def search(
    store: Any, spec: str, namespace: str | None, words: str, tags: list[str], limit: int
) -> list[Record]:
    """The memories that fit best by words and meaning; those found by meaning have their `similarity`."""
    by_words = store.search(namespace, words, tags, POOL)
    if not words.strip():
        return list(by_words[:limit])
    with opened(spec) as embedder:
        [query] = embedder.vectors([words[:READ]])
        vectors = Vectors(store.db, embedder.model, query, namespace)
        _fill(vectors, embedder, MOST)
    by_meaning = vectors.nearest(set(tags), POOL, LEAST)
    found = fused(by_words, by_meaning, name=lambda one: (one.get("namespace"), one["key"]))
    return found[:limit]


def make(store: Any, spec: str) -> int:
    """Make every vector that is missing in any namespace, drop those of other models; how many were made."""
    with opened(spec) as embedder:
        [any_one] = embedder.vectors(["?"])
        vectors = Vectors(store.db, embedder.model, any_one, None)
        made = _fill(vectors, embedder, vectors.missing())
        vectors.drop_others()
    return made


def _fill(vectors: Vectors, embedder: Embedder, most: int) -> int:
    """Make vectors that are missing, at most so many; how many were made."""
    if not (missing := vectors.missing()):
        return 0
    if not vectors.db.writable:
        why = "for the store is read only; words alone find them"
        stderr.warn(f"{missing} memories have no vector, {why}")
        return 0
    if others := vectors.others():
        stderr.warn(f"the vectors are of {', '.join(others)}; making those of {vectors.model}")
    made = 0
    while made < most and (batch := vectors.without(min(BATCH, most - made))):
        texts = embedder.vectors([_text(record) for _, record in batch])
        vectors.keep((id, vector) for (id, _), vector in zip(batch, texts, strict=True))
        made += len(batch)
        if made % PROGRESS == 0 and made < missing:
            stderr.warn(f"{made} of {missing} vectors made")
    if made < missing:
        cure = "`agent-memory embed` makes all of them"
        stderr.warn(f"{missing - made} memories have no vector yet: {cure}")
    return made


def _text(record: Record) -> str:
    value = record["value"] if isinstance(record["value"], str) else records.dumps(record["value"])
    return f"{record['key']}: {value[:READ]} {' '.join(record.get('tags', ()))}".strip()
