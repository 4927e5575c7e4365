"""Search by meaning and by words together: vectors from a provider, asked through agent-llm, ranks fused.

Vectors are made when they are first needed. Two lists, by BM25 and by cosine, become one by reciprocal rank fusion
(Cormack, Clarke, Büttcher 2009): a memory's score is the sum of 1/(60 + its place) over the lists it stands in.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from agentlib import cli, records
from agentlib.faults import Fault
from agentlib.memory.vectors import Vectors, packed, products
from agentlib.process.command import BIN
from agentlib.process.coprocess import Coprocess
from agentlib.provider.openai.embeddings import checked
from agentlib.types import Any, Callable, Iterator, Record

DEFAULT = (
    "minilm"  # on this machine: what is remembered goes to a service only where the user names one
)
MOST = 1000  # vectors that one search makes; the next one goes on
BATCH = 50  # texts in one record
PROGRESS = 250  # vectors after which it is told how many there are
READ = 4000  # characters of a memory that its vector is made of
SHORTEST = 200  # characters below which a text that is too long for a model is not cut any more
POOL = 200  # places of each list that are fused
SIXTY = 60  # of the formula: how little the first places count for more than those behind them
LEAST = (
    0.25  # cosine below which a memory is not near, by all-MiniLM-L6-v2 and text-embedding-3-small
)
PATIENCE = 1800.0  # seconds for a batch; agent-llm has its own, shorter limits


class Embedder:
    """An agent-llm beside us that is given `embed` records. spec: PROVIDER or PROVIDER/MODEL."""

    def __init__(self, spec: str) -> None:
        provider, slash, model = spec.partition("/")
        command = [
            os.path.join(BIN, "agent-llm"),
            "--provider",
            provider,
            *(["--model", model] if slash else []),
        ]
        self._filter = Coprocess("agent-llm", {"args": command}, _final, kind="server")
        self._spec, self._count = spec, 0
        self.model = ""  # PROVIDER/MODEL as the last answer says

    def vectors(self, texts: list[str]) -> list[bytes]:
        """The vector of each text. A model that finds them too long gets half of them, and so on."""
        self._count += 1
        id = str(self._count)
        answer = self._filter.ask(id, {"type": "embed", "id": id, "texts": texts}, PATIENCE)
        if answer["type"] == "error":
            longest = max(map(len, texts))
            if answer.get("kind") == "context_length" and longest > SHORTEST:
                return self.vectors([text[: longest // 2] for text in texts])
            raise Fault(
                str(answer.get("kind")), f"--semantic={self._spec}: {answer.get('message')}"
            )
        self.model = f"{answer.get('provider')}/{answer.get('model')}"
        return [packed(numbers) for numbers in checked(answer.get("vectors"), texts)]

    def close(self) -> None:
        """End agent-llm."""
        self._filter.close(2.0)


def _final(record: Record) -> bool:
    return record.get("type") in ("embedding", "error")


@contextmanager
def _asked(spec: str) -> Iterator[Embedder]:
    embedder = Embedder(spec or os.environ.get("AGENT_EMBEDDINGS") or DEFAULT)
    try:
        yield embedder
    finally:
        embedder.close()


def search(
    store: Any, spec: str, namespace: str | None, words: str, tags: list[str], limit: int
) -> list[Record]:
    """The memories that fit best by words and meaning; those found by meaning have their `similarity`."""
    by_words = store.search(namespace, words, tags, POOL)
    if not words.strip():
        return list(by_words[:limit])
    with _asked(spec) as embedder:
        [query] = embedder.vectors([words[:READ]])
        vectors = Vectors(store, embedder.model, query, namespace)
        _fill(vectors, embedder, MOST)
    return fused(by_words, vectors.nearest(set(tags), POOL, LEAST))[:limit]


def make(store: Any, spec: str) -> int:
    """Make every vector that is missing in any namespace, drop those of other models; how many were made."""
    with _asked(spec) as embedder:
        [any_one] = embedder.vectors(["?"])
        vectors = Vectors(store, embedder.model, any_one, None)
        made = _fill(vectors, embedder, vectors.missing())
        vectors.drop_others()
    return made


def _fill(vectors: Vectors, embedder: Embedder, most: int) -> int:
    """Make vectors that are missing, at most so many; how many were made."""
    missing = vectors.missing()
    if not missing or not vectors.store.writable:
        if missing:
            cli.warn(
                f"{missing} memories have no vector, for the store is read only; words alone find them"
            )
        return 0
    if others := vectors.others():
        cli.warn(f"the vectors are of {', '.join(others)}; making those of {vectors.model}")
    made = 0
    while made < most and (batch := vectors.without(min(BATCH, most - made))):
        texts = embedder.vectors([text(record) for _, record in batch])
        vectors.keep((id, vector) for (id, _), vector in zip(batch, texts, strict=True))
        made += len(batch)
        if made % PROGRESS == 0 and made < missing:
            cli.warn(f"{made} of {missing} vectors made")
    if made < missing:
        cli.warn(
            f"{missing - made} memories have no vector yet: `agent-memory embed` makes all of them"
        )
    return made


def text(record: Record) -> str:
    """What a vector is made of: key, value, tags."""
    value = record["value"] if isinstance(record["value"], str) else records.dumps(record["value"])
    return f"{record['key']}: {value[:READ]} {' '.join(record.get('tags', ()))}".strip()


def nearest(spec: str, wanted: str, texts: list[str]) -> list[tuple[float, int]]:
    """(cosine, place in `texts`) of those that are near, the nearest first; no vector is kept."""
    with _asked(spec) as embedder:
        pages = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        [query] = embedder.vectors([wanted[:READ]])
        vectors = [vector for page in pages for vector in embedder.vectors(page)]
    near = zip(products(vectors, query), range(len(texts)), strict=True)
    return sorted((one for one in near if one[0] >= LEAST), reverse=True)


def _memory_name(record: Record) -> Any:
    return record.get("namespace"), record["key"]


def fused(*ranked: list[Record], name: Callable[[Record], Any] = _memory_name) -> list[Record]:
    """Lists of records, each the best first, made one; `name` tells which are the same."""
    scores: dict[Any, float] = {}
    found: dict[Any, Record] = {}
    for one in ranked:
        for place, record in enumerate(one, 1):
            key = name(record)
            scores[key] = scores.get(key, 0.0) + 1 / (SIXTY + place)
            found[key] = {**found.get(key, {}), **record}
    return [found[key] for key in sorted(scores, key=lambda key: -scores[key])]
