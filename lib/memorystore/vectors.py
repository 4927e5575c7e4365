"""Search by meaning: the vectors of a store's memories, kept beside them and gone with their versions.

A vector is its numbers as little-endian floats of 4 bytes, of length 1, so that a product says how near two are. The
SQL is common to SQLite and PostgreSQL. All vectors are looked at, with numpy where it is here (figures:
docs/agent-memory.md).
"""

import heapq
import time

from agentlib.search.embedder import products
from agentlib.types import Any, Iterable, Record
from memorystore.store import ALIVE, COLUMNS, memory, select

PAGE = 4096  # vectors that are read at once
INSERT = (
    "INSERT INTO vectors(id, model, vector) SELECT id, ?, ? FROM versions WHERE id=? "
    "ON CONFLICT(id, model) DO UPDATE SET vector=excluded.vector"
)


class Vectors:
    """The vectors of one model, as long as `query`, in one namespace of a store (None: in all)."""

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
        """(version, memory) of the newest memories that have no vector, at most `count`."""
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
