"""A store of memories in PostgreSQL, for those who outgrow one machine; shaped as agentlib.memory.sqlite.

Through psycopg, an optional package (`install.sh --with postgres`). The password belongs into ~/.pgpass or
PGPASSWORD: an address that holds one is refused (https://www.postgresql.org/docs/current/libpq-connect.html).
"""

from __future__ import annotations

import re
import time as clock
from contextlib import contextmanager

from agentlib import packages
from agentlib.faults import Fault
from agentlib.memory.sqlite import ALIVE, COLUMNS, TERMS, memory, version
from agentlib.types import Any, Iterable, Iterator, Record

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS agentutils;
CREATE TABLE IF NOT EXISTS agentutils.versions(
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL,
    value TEXT, tags TEXT NOT NULL, time TEXT NOT NULL, expires DOUBLE PRECISION, latest BOOLEAN NOT NULL,
    words TSVECTOR GENERATED ALWAYS AS (setweight(to_tsvector('simple', key), 'A') ||
        setweight(to_tsvector('simple', tags), 'B') || to_tsvector('simple', coalesce(value, ''))) STORED);
CREATE UNIQUE INDEX IF NOT EXISTS latest ON agentutils.versions(namespace, key) WHERE latest;
CREATE INDEX IF NOT EXISTS history ON agentutils.versions(namespace, key, id);
CREATE INDEX IF NOT EXISTS words ON agentutils.versions USING gin(words) WHERE latest;
"""
VECTORS = (
    "CREATE TABLE IF NOT EXISTS vectors("
    "id BIGINT NOT NULL REFERENCES versions ON DELETE CASCADE, model TEXT NOT NULL, vector BYTEA NOT NULL, "
    "PRIMARY KEY(id, model))",
)
LOCK = 0x6167656D  # advisory lock: the tables are made by one, a key is changed by one at a time


class Postgres:
    """One connection to a store in PostgreSQL; the methods are those of agentlib.memory.sqlite.Store."""

    vectors = VECTORS
    writable = True

    def __init__(self, url: str, wait: float = 10.0) -> None:
        packages.need("psycopg")
        import psycopg

        if re.search(r"://[^/@]*:[^/@]*@", url) or "password=" in url:
            raise Fault(
                "invalid_input",
                "--store: an address must not hold a password: use ~/.pgpass or PGPASSWORD",
            )
        self.path, self.errors = url, psycopg
        with self._told():
            self.db = psycopg.connect(url, connect_timeout=max(1, int(wait)), autocommit=True)
            self.db.execute(f"SET lock_timeout={int(wait * 1000)}")
            self.db.execute("SET search_path=agentutils")
            if self.db.execute("SELECT to_regclass('agentutils.words')").fetchone() == (None,):
                with self.writing():
                    self._run("SELECT pg_advisory_xact_lock(%s)", LOCK)
                    self.db.execute(SCHEMA)

    def close(self) -> None:
        """Let go of the connection."""
        self.db.close()

    def remember(self, namespace: str, item: Record) -> int:
        """Keep one memory; the number of its version, once it is committed."""
        with self.writing():
            return self._keep(namespace, item)

    def remember_many(self, items: Iterable[tuple[str, Record]]) -> None:
        """Keep several in one transaction. What is there already makes no new version."""
        with self.writing():
            for namespace, item in items:
                self._keep(namespace, item, again=False)

    def forget(self, namespace: str, key: str) -> bool:
        """End the value of a key; its history stays. False where there was none."""
        with self.writing():
            there = self.recall(namespace, key) is not None
            if there:
                self._keep(namespace, {"key": key}, gone=True)
            return there

    def undo(self, namespace: str, key: str) -> bool:
        """Take back the last version of a key, so that the one before counts. False where there is none."""
        with self.writing():
            rows = self._rows("namespace=%s AND key=%s ORDER BY id DESC LIMIT 2", namespace, key)
            for row in rows[:1]:
                self._run("DELETE FROM agentutils.versions WHERE id=%s", row[0])
            for row in rows[1:]:
                self._run("UPDATE agentutils.versions SET latest=true WHERE id=%s", row[0])
            return bool(rows)

    def recall(self, namespace: str, key: str) -> Record | None:
        """The memory of a key, None where there is none (any more)."""
        rows = self._alive("namespace=%s AND key=%s", namespace, key)
        return memory(rows[0]) if rows else None

    def history(self, namespace: str, key: str) -> list[Record]:
        """All versions of a key, the oldest first."""
        return [
            memory(row) for row in self._rows("namespace=%s AND key=%s ORDER BY id", namespace, key)
        ]

    def items(self, namespace: str | None, tags: Iterable[str] = ()) -> Iterator[Record]:
        """The memories of a namespace (None: of all), by key, that carry every one of the tags."""
        rows = self._alive(
            "%s::text IS NULL OR namespace=%s",
            namespace,
            namespace,
            tail='ORDER BY namespace, key COLLATE "C"',
        )
        return (memory(row) for row in rows if set(tags) <= set(row[4].split()))

    def search(
        self, namespace: str | None, words: str, tags: Iterable[str] = (), limit: int = 20
    ) -> list[Record]:
        """The memories that hold all of the words, else any of them, the best first. Words are plain text."""
        terms = list(dict.fromkeys(words.replace("\0", " ").split()))[:TERMS]
        for joint in (" && ", " || "):
            query = joint.join(["phraseto_tsquery('simple', %s)"] * len(terms))
            rows = (
                self._alive(
                    f"(%s::text IS NULL OR namespace=%s) AND words @@ ({query})",
                    namespace,
                    namespace,
                    *terms,
                    tail=f"ORDER BY ts_rank(words, {query}) DESC, id DESC",
                    more=terms,
                )
                if terms
                else []
            )
            if found := [memory(row) for row in rows if set(tags) <= set(row[4].split())][:limit]:
                return found
        return []

    def stats(self) -> Record:
        """Counts and sizes, as one record."""
        alive = len(self._alive("true"))
        keys, versions, size = self._run(
            "SELECT count(*) FILTER (WHERE latest), count(*), "
            "pg_total_relation_size('agentutils.versions') FROM agentutils.versions"
        )[0]
        names = [
            row[0]
            for row in self._run("SELECT DISTINCT namespace FROM agentutils.versions ORDER BY 1")
        ]
        return {
            "type": "stats",
            "store": self.path,
            "memories": alive,
            "keys": keys,
            "versions": versions,
            "namespaces": names,
            "bytes": size,
        }

    def vacuum(self) -> int:
        """Drop what is expired or forgotten with all its history; how many keys went."""
        with self.writing():
            gone = self._run(
                f"SELECT namespace, key FROM agentutils.versions v WHERE latest AND NOT ({_said(ALIVE)})",
                clock.time(),
            )
            for namespace, key in gone:
                self._run(
                    "DELETE FROM agentutils.versions WHERE namespace=%s AND key=%s", namespace, key
                )
        return len(gone)

    def check(self) -> str:
        """ "ok": the server keeps its own files whole."""
        return "ok" if self._run("SELECT 1") else "no answer"

    def _keep(self, namespace: str, item: Record, gone: bool = False, again: bool = True) -> int:
        """One new version of a key, inside a transaction; writers of one key wait for each other."""
        self._run(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", LOCK, namespace + "\x1f" + item["key"]
        )
        row = version(namespace, item, gone)
        for old in self._rows("namespace=%s AND key=%s AND latest", namespace, item["key"]):
            if not again and old[3:5] == row[2:4] and old[6] == row[5]:
                return int(old[0])
            self._run("UPDATE agentutils.versions SET latest=false WHERE id=%s", old[0])
        return int(
            self._run(
                "INSERT INTO agentutils.versions(namespace, key, value, tags, time, expires, latest) "
                "VALUES(%s,%s,%s,%s,%s,%s,true) RETURNING id",
                *row,
            )[0][0]
        )

    def _rows(self, where: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run(f"SELECT {COLUMNS} FROM agentutils.versions v WHERE {where}", *values)

    def _alive(
        self, where: str, *values: Any, tail: str = "", more: Iterable[Any] = ()
    ) -> list[tuple[Any, ...]]:
        return self._rows(f"{_said(ALIVE)} AND ({where}) {tail}", clock.time(), *values, *more)

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return self.sql("SELECT to_regclass(?)", table) != [(None,)]

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement gives; it has ? for each of the values."""
        return self._run(_said(text), *values)

    def _run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._told():
            cursor = self.db.execute(
                sql.encode(),
                [
                    v.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(v, str) else v
                    for v in values
                ],
            )
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._told(), self.db.transaction():
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The server's errors as ours."""
        try:
            yield
        except self.errors.errors.LockNotAvailable:
            raise Fault(
                "timeout", f"{self.path}: another program is writing; waited and gave up"
            ) from None
        except self.errors.errors.DiskFull:
            raise Fault("limit_exceeded", f"{self.path}: the server's disk is full") from None
        except self.errors.OperationalError as bad:
            raise Fault("network", f"{self.path}: {str(bad).splitlines()[0]}") from None
        except self.errors.Error as bad:
            raise Fault("invalid_input", f"{self.path}: {str(bad).splitlines()[0]}") from None


def _said(sql: str) -> str:
    return sql.replace("?", "%s")
