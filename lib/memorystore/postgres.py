"""The database of a store in PostgreSQL, for those who outgrow one machine (store.py).

Through psycopg, an optional package (`install.sh --with postgres`). The password belongs into ~/.pgpass or
PGPASSWORD: an address that holds one is refused (https://www.postgresql.org/docs/current/libpq-connect.html).
"""

import re
import time as clock
from contextlib import contextmanager

from agentlib import packages
from agentlib.faults import Fault
from agentlib.types import Any, Iterable, Iterator
from memorystore.store import ALIVE, indexed, select, spaced, statements

INSERT = (
    "INSERT INTO versions(namespace, key, value, tags, time, expires, latest, spaced) "
    "VALUES(?,?,?,?,?,?,true,to_tsvector('simple', ?::text)) RETURNING id"
)
SPACED = "UPDATE versions SET spaced=to_tsvector('simple', ?::text) WHERE id=?"
LOCK = 0x6167656D  # advisory lock: the tables are made by one, a key is changed by one at a time


class Postgres:
    """One connection to a store in PostgreSQL."""

    vectors = (
        "CREATE TABLE IF NOT EXISTS vectors(id BIGINT NOT NULL REFERENCES versions ON DELETE CASCADE,"
        " model TEXT NOT NULL, vector BYTEA NOT NULL, PRIMARY KEY(id, model))",
    )
    collation = '"C"'
    lock = f"SELECT pg_advisory_xact_lock({LOCK}, hashtext(?))"  # writers of one key wait for each other
    table = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
    size = "SELECT pg_total_relation_size('versions')"
    check, compact = "SELECT 'ok'", "VACUUM versions"  # the server keeps its own files whole
    writable = True

    def __init__(self, url: str, wait: float = 10.0) -> None:
        packages.need("psycopg")
        import psycopg

        if re.search(r"://[^/@]*:[^/@]*@", url) or "password=" in url:
            why = "--store: an address must not hold a password: use ~/.pgpass or PGPASSWORD"
            raise Fault("invalid_input", why)
        self.path, self.errors = url, psycopg
        with self._message():
            self.db = psycopg.connect(url, connect_timeout=max(1, int(wait)), autocommit=True)
            self.db.execute(f"SET lock_timeout={int(wait * 1000)}")
            self.db.execute("SET search_path=agentutils")
            ready = "SELECT 1 FROM pg_indexes WHERE schemaname='agentutils' AND indexname='spaced'"
            if not self.sql(ready):
                with self.writing():
                    self.sql("SELECT pg_advisory_xact_lock(?)", LOCK)
                    if not self.sql(ready):  # else another has made it, and may be at work in it
                        self.db.execute(statements("postgres").encode())
                    for row in self.sql(select("spaced IS NULL AND value IS NOT NULL")):
                        self.sql(SPACED, _spaced(row), row[0])

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        plain = [v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in values]
        with self._message():
            cursor = self.db.execute(text.replace("?", "%s").encode(), plain)
            return cursor.fetchall() if cursor.description else []

    def add(self, row: tuple[Any, ...]) -> int:
        return int(self.sql(INSERT, *row, _spaced((0, *row)))[0][0])

    def index(self, row: tuple[Any, ...]) -> None:
        """The words are a column."""

    unindex = index

    def matching(
        self, namespace: str | None, terms: list[str], every: bool, tags: Iterable[str]
    ) -> list[tuple[Any, ...]]:
        query = (" && " if every else " || ").join(["phraseto_tsquery('simple', ?)"] * len(terms))
        where = f"{ALIVE} AND (?::text IS NULL OR namespace=?) AND (words @@ ({query}) OR spaced @@ ({query}))"
        rank = f"ts_rank(words || coalesce(spaced, ''), {query})"
        apart = [spaced(term) for term in terms]
        wanted = (clock.time(), namespace, namespace, *terms, *apart, *apart)
        return self.sql(select(f"{where} ORDER BY {rank} DESC, id DESC"), *wanted)

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[None]:
        """One transaction, on the server's disk at its end."""
        with self._message(), self.db.transaction():
            yield

    @contextmanager
    def _message(self) -> Iterator[None]:
        try:
            yield
        except self.errors.errors.LockNotAvailable:
            kind, why = "timeout", "another program is writing; waited and gave up"
        except self.errors.errors.DiskFull:
            kind, why = "limit_exceeded", "the server's disk is full"
        except self.errors.Error as bad:
            network = isinstance(bad, self.errors.OperationalError)
            kind, why = "network" if network else "invalid_input", str(bad).splitlines()[0]
        else:
            return
        raise Fault(kind, f"{self.path}: {why}")


def _spaced(row: tuple[Any, ...]) -> str | None:
    """The words of a row (COLUMNS) as they are indexed; None where they are those that it has."""
    found = None if row[3] is None else indexed(*row[2:5])
    return None if found in (None, row[2:5]) else " ".join(found)
