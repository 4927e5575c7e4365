"""A store of memories in one SQLite file: versions of values by namespace and key, searched by FTS5.

`remember` returns when the value is on the disk (WAL, synchronous=FULL); what `remember_many` returned from
survives the death of the process, not of the power (NORMAL). Writers queue on SQLite's own lock. A file that is
not a whole store of ours is an error that names it: never an empty store, never overwritten
(https://sqlite.org/rescode.html, https://sqlite.org/wal.html).
"""

from __future__ import annotations

import functools
import os
import sqlite3
import stat
import time as clock
from contextlib import contextmanager

from agentlib.faults import Fault
from agentlib.records import dumps, loads
from agentlib.types import Any, Iterable, Iterator, Record

APPLICATION = 0x6167656D  # "agem", in the header of each store (https://sqlite.org/pragma.html#pragma_application_id)
LAYOUT = 1
CANDIDATES = 2000  # matches of one query that are ranked
TERMS = 32  # words of a search that count
SCHEMA = f"""
PRAGMA application_id={APPLICATION};
PRAGMA user_version={LAYOUT};
CREATE TABLE versions(
    id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, key TEXT NOT NULL,
    value TEXT,                 -- JSON; NULL: forgotten
    tags TEXT NOT NULL,         -- words between blanks
    time TEXT NOT NULL,         -- RFC 3339, UTC
    expires REAL,               -- seconds since 1970
    latest INTEGER NOT NULL);
CREATE UNIQUE INDEX latest ON versions(namespace, key) WHERE latest;
CREATE INDEX history ON versions(namespace, key, id);
CREATE VIRTUAL TABLE words USING fts5(key, value, tags, content='versions', content_rowid='id',
    tokenize='porter unicode61');
"""
VECTORS = (  # made when the first vector is kept (vectors.py)
    "CREATE TABLE IF NOT EXISTS vectors("
    "id INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY(id, model))",
    "CREATE TRIGGER IF NOT EXISTS vectors_gone AFTER DELETE ON versions BEGIN DELETE FROM vectors WHERE id=old.id; END",
)
COLUMNS = "v.id, v.namespace, v.key, v.value, v.tags, v.time, v.expires"
LATEST = f"SELECT {COLUMNS} FROM versions v WHERE namespace=? AND key=? AND latest"
ALIVE = "v.latest AND v.value IS NOT NULL AND (v.expires IS NULL OR v.expires > ?)"


def now() -> str:
    """The time as records carry it."""
    seconds, fraction = divmod(clock.time(), 1)
    return f"{_second(int(seconds))}.{int(fraction * 1000):03d}Z"


@functools.lru_cache(1)
def _second(seconds: int) -> str:
    return clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(seconds))


def memory(row: tuple[Any, ...]) -> Record:
    """The `memory` record of a row of COLUMNS."""
    _, namespace, key, value, tags, time, expires = row
    out: Record = {
        "type": "memory",
        "key": key,
        "value": None if value is None else loads(value),
        "time": time,
    }
    if value is None:
        out["forgotten"] = True
    if namespace != "default":
        out["namespace"] = namespace
    if tags:
        out["tags"] = tags.split()
    if expires is not None:
        out["expires"] = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(expires))
    return out


def version(namespace: str, item: Record, gone: bool) -> tuple[Any, ...]:
    """The columns of a new version, in the order of COLUMNS but for the id; `gone`: it is forgotten."""
    value = None if gone else dumps(item["value"])
    words = " ".join(item.get("tags") or ())
    return namespace, item["key"], value, words, item.get("time") or now(), item.get("expires")


class Store:
    """One open SQLite store. Never kept over a fork."""

    vectors = VECTORS

    def __init__(self, path: str, wait: float = 10.0, create: bool = True) -> None:
        self.path = path
        with self._told():
            if create and not os.path.lexists(path):
                _make(path)
            self.writable = _whole(path)
            self.db = self._connect(wait)
            try:
                self.db.execute("PRAGMA schema_version")
            except sqlite3.OperationalError as bad:
                self.writable &= bad.sqlite_errorname != "SQLITE_CANTOPEN"  # no room for a log
                if self.writable and not _full(bad):
                    raise
                # No room for the index of the log that processes share: who has the file alone keeps that in memory
                # (https://sqlite.org/wal.html#noshm).
                self.db.close()
                self.db = self._connect(wait)
                if self.writable:
                    self.db.execute("PRAGMA locking_mode=EXCLUSIVE")

    def _connect(self, wait: float) -> sqlite3.Connection:
        uri = _uri(self.path, self.writable)
        return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)

    def close(self) -> None:
        """Fold the log into the file, where no one else has it open, and let go of it."""
        self.db.close()

    def remember(self, namespace: str, item: Record) -> int:
        """Keep one memory; the number of its version, once it is on the disk."""
        with self.writing():
            return self._keep(namespace, item)

    def remember_many(self, items: Iterable[tuple[str, Record]]) -> None:
        """Keep several in one transaction, or none. What is there already makes no new version."""
        with self.writing(durable=False):
            for namespace, item in items:
                self._keep(namespace, item, again=False)

    def forget(self, namespace: str, key: str) -> bool:
        """End the value of a key; its history stays. False where there was none."""
        with self.writing():
            there = self._alive(namespace, key)
            if there:
                self._keep(namespace, {"key": key}, gone=True)
            return bool(there)

    def undo(self, namespace: str, key: str) -> bool:
        """Take back the last version of a key, so that the one before counts. False where there is none."""
        with self.writing():
            rows = self._rows("namespace=? AND key=? ORDER BY id DESC LIMIT 2", namespace, key)
            if rows:
                self._unindex(rows[0])
                self.db.execute("DELETE FROM versions WHERE id=?", (rows[0][0],))
            for row in rows[1:]:
                self.db.execute("UPDATE versions SET latest=1 WHERE id=?", (row[0],))
                self._index(row)
            return bool(rows)

    def recall(self, namespace: str, key: str) -> Record | None:
        """The memory of a key, None where there is none (any more)."""
        row = self._alive(namespace, key)
        return memory(row) if row else None

    def history(self, namespace: str, key: str) -> list[Record]:
        """All versions of a key, the oldest first."""
        return [
            memory(row) for row in self._rows("namespace=? AND key=? ORDER BY id", namespace, key)
        ]

    def items(self, namespace: str | None, tags: Iterable[str] = ()) -> Iterator[Record]:
        """The memories of a namespace (None: of all), by key, that carry every one of the tags."""
        where, values = ALIVE, [clock.time()]
        rows = self._rows(
            where
            + (
                " ORDER BY namespace, key" if namespace is None else " AND namespace=? ORDER BY key"
            ),
            *values,
            *([] if namespace is None else [namespace]),
        )
        return (memory(row) for row in rows if set(tags) <= set(row[4].split()))

    def search(
        self, namespace: str | None, words: str, tags: Iterable[str] = (), limit: int = 20
    ) -> list[Record]:
        """The memories with all of the words, else any of them, the best first (BM25). Plain text."""
        distinct = list(dict.fromkeys(words.replace("\0", " ").split()))[:TERMS]
        terms = ['"' + word.replace('"', '""') + '"' for word in distinct]
        for queries in ([" ".join(terms)], terms) if len(terms) > 1 else (terms,):
            scores: dict[int, float] = {}
            for query in queries:
                for id, score in self._match(query):
                    scores[id] = scores.get(id, 0.0) + score
            if found := self._wanted(
                sorted(scores, key=scores.__getitem__), namespace, set(tags), limit
            ):
                return found
        return []

    def _match(self, query: str) -> list[tuple[int, float]]:
        """(version, score; the lower the better) of the newest CANDIDATES: a word that stands in every
        memory must not cost a look at every memory."""
        with self._told():
            return self.db.execute(
                "SELECT rowid, bm25(words, 4, 1, 2) FROM words WHERE words MATCH ? "
                "ORDER BY rowid DESC LIMIT ?",
                (query, CANDIDATES),
            ).fetchall()

    def _wanted(
        self, ids: list[int], namespace: str | None, tags: set[str], limit: int
    ) -> list[Record]:
        """The first `limit` of the versions that are alive, in the namespace, with the tags."""
        found: list[Record] = []
        for id in ids:
            if len(found) == limit:
                break
            for row in self._rows(ALIVE + " AND v.id=?", clock.time(), id):
                if namespace in (None, row[1]) and tags <= set(row[4].split()):
                    found.append(memory(row))
        return found

    def stats(self) -> Record:
        """Counts and sizes, as one record."""
        with self._told():
            alive, keys, versions = self.db.execute(
                f"SELECT (SELECT count(*) FROM versions v WHERE {ALIVE}), "
                "(SELECT count(*) FROM versions WHERE latest), "
                "(SELECT count(*) FROM versions)",
                (clock.time(),),
            ).fetchone()
            names = [
                row[0]
                for row in self.db.execute("SELECT DISTINCT namespace FROM versions ORDER BY 1")
            ]
        return {
            "type": "stats",
            "store": self.path,
            "memories": alive,
            "keys": keys,
            "versions": versions,
            "namespaces": names,
            "bytes": os.path.getsize(self.path),
        }

    def vacuum(self) -> int:
        """Drop what is expired or forgotten, history and all, and give the room back; how many keys."""
        with self.writing():
            gone = self.db.execute(
                f"SELECT namespace, key FROM versions v WHERE latest AND NOT ({ALIVE})",
                (clock.time(),),
            ).fetchall()
            for namespace, key in gone:
                for row in self._rows("namespace=? AND key=? AND latest", namespace, key):
                    self._unindex(row)
                self.db.execute(
                    "DELETE FROM versions WHERE namespace=? AND key=?", (namespace, key)
                )
        with self._told():
            self.db.execute("VACUUM")
        return len(gone)

    def check(self) -> str:
        """ "ok", or what SQLite's own integrity check finds."""
        with self._told():
            return str(self.db.execute("PRAGMA integrity_check").fetchone()[0])

    def _keep(self, namespace: str, item: Record, gone: bool = False, again: bool = True) -> int:
        """One new version of a key, inside a transaction; `again`: also where nothing changed."""
        row = version(namespace, item, gone)
        for old in self.db.execute(LATEST, (namespace, item["key"])).fetchall():
            if not again and old[3:5] == row[2:4] and old[6] == row[5]:
                return int(old[0])
            self._unindex(old)
            self.db.execute("UPDATE versions SET latest=0 WHERE id=?", (old[0],))
        made = self.db.execute(
            "INSERT INTO versions(namespace, key, value, tags, time, expires, latest) VALUES(?,?,?,?,?,?,1)",
            row,
        ).lastrowid
        assert made is not None
        self._index((made, *row))
        return made

    def _index(self, row: tuple[Any, ...]) -> None:
        if row[3] is not None:
            self.db.execute(
                "INSERT INTO words(rowid, key, value, tags) VALUES(?,?,?,?)",
                (row[0], row[2], row[3], row[4]),
            )

    def _unindex(self, row: tuple[Any, ...]) -> None:
        if row[3] is not None:
            self.db.execute(
                "INSERT INTO words(words, rowid, key, value, tags) VALUES('delete',?,?,?,?)",
                (row[0], row[2], row[3], row[4]),
            )

    def _alive(self, namespace: str, key: str) -> tuple[Any, ...] | None:
        rows = self._rows(ALIVE + " AND namespace=? AND key=?", clock.time(), namespace, key)
        return rows[0] if rows else None

    def _rows(self, where: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.sql(f"SELECT {COLUMNS} FROM versions v WHERE {where}", *values)

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return bool(self.sql("SELECT 1 FROM sqlite_master WHERE name=?", table))

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement gives; it has ? for each of the values."""
        with self._told():
            return self.db.execute(text, values).fetchall()

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[None]:
        """One write transaction, begun with the lock in hand: it cannot fail half-way for want of it."""
        if not self.writable:
            raise Fault("tool_denied", f"{self.path}: read only")
        with self._told():
            self.db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours, with the path."""
        try:
            yield
        except sqlite3.Error as bad:
            raise _fault(self.path, bad) from None
        except OSError as bad:
            raise Fault("invalid_input", f"{self.path}: {bad.strerror}") from None


def _fault(path: str, bad: sqlite3.Error) -> Fault:
    name = getattr(bad, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Fault("timeout", f"{path}: another program is writing; waited and gave up")
    if _full(bad):
        return Fault(
            "limit_exceeded",
            f"{path}: the disk is full: nothing of this was kept, what was there before is whole",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return Fault("tool_denied", f"{path}: read only")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Fault(
            "invalid_input", f"{path}: damaged, or not a store: {bad}; it was left as it is"
        )
    return Fault("invalid_input", f"{path}: {bad}")


def _full(bad: sqlite3.Error) -> bool:
    name = getattr(bad, "sqlite_errorname", "") or ""
    return name.startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM"))


def _uri(path: str, writable: bool) -> str:
    """The file as SQLite's URI; a store in a folder that cannot be written is read without its log."""
    quoted = os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    alone = not writable and not os.path.exists(path + "-wal")
    return f"file:{quoted}?mode={'rw' if writable else 'ro'}" + ("&immutable=1" if alone else "")


def _whole(path: str) -> bool:
    """Whether the file can be written; a Fault where it is no store of ours, by its header and its length.

    The header: https://sqlite.org/fileformat2.html#the_database_header; our marks never change, so they are in it.
    """
    seen = os.stat(path)
    if not stat.S_ISREG(seen.st_mode):
        raise Fault("invalid_input", f"{path}: not a file")
    with open(path, "rb") as file:
        head = file.read(100)
    if not head.startswith(b"SQLite format 3\0"):
        what = "empty" if not head else "not a database"
        raise Fault(
            "invalid_input", f"{path}: {what}, so not a store of memories; it was left as it is"
        )
    if int.from_bytes(head[68:72], "big") != APPLICATION:
        raise Fault(
            "invalid_input", f"{path}: a database of another program, not a store of memories"
        )
    if int.from_bytes(head[60:64], "big") > LAYOUT:
        raise Fault("invalid_input", f"{path}: made by a newer agent-memory")
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    if seen.st_size < pages * (65536 if page == 1 else page) and not os.path.exists(path + "-wal"):
        raise Fault(
            "invalid_input",
            f"{path}: damaged: the file is shorter than it was; it was left as it is",
        )
    return os.access(path, os.W_OK) and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)


def _make(path: str) -> None:
    """A new store, whole from the first moment it can be seen: made beside, then linked into its place."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    beside = f"{path}.{os.urandom(6).hex()}.new"
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        db = sqlite3.connect(beside, isolation_level=None)
        db.executescript(SCHEMA)
        db.execute("PRAGMA journal_mode=WAL")
        db.close()
        try:
            os.link(beside, path)
        except FileExistsError:  # another process made it at the same moment
            pass
    finally:
        os.unlink(beside)
