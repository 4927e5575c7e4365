"""Search by meaning: the vectors of a store's memories, kept beside them and gone with their versions.

A vector is its numbers as little-endian floats of 4 bytes, of length 1, so that a product says how near two are. The
SQL is common to SQLite and PostgreSQL. All vectors are looked at, with numpy where it is here (figures:
docs/agent-memory.md). A memory's place in a search is made of its places by words and by meaning.
"""

import heapq
import time

from agentlib import records, stderr
from agentlib.memory.store import ALIVE, COLUMNS, Store, memory, select
from agentlib.search.embedder import BATCH, LEAST, READ, Embedder, opened, products
from agentlib.search.rank import fused
from agentlib.types import Any, Iterable, Record

PAGE = 4096  # vectors that are read at once
MOST = 1000  # vectors that one search makes; the next one goes on
PROGRESS = 250  # vectors after which it is told how many there are
POOL = 200  # places of each list that are fused
INSERT = (
    "INSERT INTO vectors(id, model, vector) SELECT id, ?, ? FROM versions WHERE id=? "
    "ON CONFLICT(id, model) DO UPDATE SET vector=excluded.vector"
)


class Vectors:
    """Those of one model, as long as `query`, in one namespace of a store (None: in all)."""

    def __init__(self, db: Any, model: str, query: bytes, namespace: str | None) -> None:
        self.db, self.model, self.query = db, model, query
        self._where = ALIVE + ("" if namespace is None else " AND v.namespace=?")
        self._values = [] if namespace is None else [namespace]
        self._there = bool(db.sql(db.table, "vectors"))
        if not self._there and db.writable:
            with db.writing():
                for statement in db.vectors:
                    db.sql(statement)
            self._there = True

    def others(self) -> list[str]:
        """The models whose vectors are kept, where there are none of this one."""
        distinct = "SELECT DISTINCT model FROM vectors ORDER BY 1"
        models = [row[0] for row in self.db.sql(distinct)] if self._there else []
        return [] if self.model in models else models

    def missing(self) -> int:
        """How many memories have no vector."""
        return int(self._lacking("count(*)", "")[0][0])

    def without(self, count: int) -> list[tuple[int, Record]]:
        """(version, memory) of the newest of them, at most `count`."""
        rows = self._lacking(COLUMNS, f"ORDER BY v.id DESC LIMIT {count}")
        return [(row[0], memory(row)) for row in rows]

    def _lacking(self, what: str, tail: str) -> list[tuple[Any, ...]]:
        values, where = [time.time(), *self._values], self._where
        if self._there:
            where += " AND NOT EXISTS (SELECT 1 FROM vectors x WHERE x.id=v.id AND x.model=? AND length(x.vector)=?)"
            values += [self.model, len(self.query)]
        return list(self.db.sql(f"SELECT {what} FROM versions v WHERE {where} {tail}", *values))

    def keep(self, made: Iterable[tuple[int, bytes]]) -> None:
        """Keep (version, vector); a version that went meanwhile gets none."""
        with self.db.writing():
            for id, vector in made:
                self.db.sql(INSERT, self.model, vector, id)

    def drop_others(self) -> None:
        """Drop the vectors of all other models."""
        with self.db.writing():
            self.db.sql("DELETE FROM vectors WHERE model<>?", self.model)

    def nearest(self, tags: set[str], count: int, least: float) -> list[Record]:
        """The memories nearest to the query, the nearest first, with their `similarity` (cosine): `least` or more."""
        best: list[tuple[float, int]] = []
        statement = (
            f"SELECT x.id, x.vector, v.tags FROM vectors x CROSS JOIN versions v WHERE v.id=x.id AND {self._where} "
            f"AND x.model=? AND length(x.vector)=? AND x.id>? ORDER BY x.id LIMIT {PAGE}"
        )
        values, last = (time.time(), *self._values, self.model, len(self.query)), 0
        while self._there and (page := self.db.sql(statement, *values, last)):
            last = page[-1][0]
            wanted = [(id, vector) for id, vector, words in page if tags <= set(words.split())]
            scores = products([vector for _, vector in wanted], self.query)
            near = zip(scores, (id for id, _ in wanted), strict=True)
            best = heapq.nlargest(count, [*best, *(one for one in near if one[0] >= least)])
        ids = ",".join(str(id) for _, id in best) or "NULL"
        found = {row[0]: memory(row) for row in self.db.sql(select(f"v.id IN ({ids})"))}
        return [{**found[id], "similarity": round(score, 3)} for score, id in best if id in found]


def search(
    store: Store, spec: str, namespace: str | None, words: str, tags: list[str], limit: int
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
    return fused(by_words, by_meaning, name=lambda m: (m.get("namespace"), m["key"]))[:limit]


def make(store: Store, spec: str) -> int:
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
