"""The database of a store in one SQLite file, searched by FTS5 (store.py).

`remember` returns when the value is on the disk (WAL, synchronous=FULL); what `remember_many` returned from
survives the death of the process, not of the power (NORMAL). Writers queue on SQLite's own lock. A file that is
not a whole store of ours is an error that names it: never an empty store, never overwritten
(https://sqlite.org/rescode.html, https://sqlite.org/wal.html).
"""

import os
import sqlite3
import stat
import time as clock
from contextlib import contextmanager, suppress

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Iterable, Iterator
from memorystore.store import ALIVE, indexed, select, spaced, statements

APPLICATION = 0x6167656D  # "agem", in the header of each store (https://sqlite.org/pragma.html#pragma_application_id)
LAYOUT = 2  # 1: the words were indexed as they stand, not as store.indexed() has them
CANDIDATES = 2000  # matches of one query that are ranked
INSERT = "INSERT INTO versions(namespace, key, value, tags, time, expires, latest) VALUES(?,?,?,?,?,?,true)"
INDEX = "INSERT INTO words(rowid, key, value, tags) VALUES(?,?,?,?)"
UNINDEX = "INSERT INTO words(words, rowid, key, value, tags) VALUES('delete',?,?,?,?)"
# The lowest score is the best. Only the newest are ranked: a word that every memory has must not make a search slow.
MATCH = (
    "SELECT words.rowid, bm25(words, 4, 1, 2) FROM words JOIN versions v ON v.id=words.rowid "
    f"WHERE words MATCH ? AND {ALIVE} AND (? IS NULL OR v.namespace=?) "
    "AND NOT EXISTS (SELECT 1 FROM json_each(?) t WHERE instr(' '||v.tags||' ', ' '||t.value||' ')=0) "
    "ORDER BY words.rowid DESC LIMIT ?"
)
FULL = "FULL IOERR_WRITE IOERR_SHM"  # how the errors of a full disk begin, after SQLITE_
FAULTS = (  # how an error begins, and what it means
    ("BUSY LOCKED", "timeout", "another program is writing; waited and gave up"),
    (FULL, "limit_exceeded", "the disk is full: nothing of this was kept, what was there is whole"),
    ("READONLY PERM", "tool_denied", "read only"),
    ("CORRUPT NOTADB", "invalid_input", "damaged, or not a store: ERROR; it was left as it is"),
)


class Sqlite:
    """One open SQLite file."""

    vectors = (  # made when the first vector is kept (vectors.py)
        "CREATE TABLE IF NOT EXISTS vectors("
        "id INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY(id, model))",
        "CREATE TRIGGER IF NOT EXISTS vectors_gone AFTER DELETE ON versions "
        "BEGIN DELETE FROM vectors WHERE id=old.id; END",
    )
    collation = "BINARY"
    lock = ""  # a transaction has the whole file
    table = "SELECT 1 FROM sqlite_master WHERE name=?"
    size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    check, compact = "PRAGMA integrity_check", "VACUUM"

    def __init__(self, path: str, wait: float = 10.0, create: bool = True) -> None:
        self.path = path
        try:
            if create and not os.path.lexists(path):
                _make(path)
            self.writable = _is_whole(path)
            self.db = self._open(wait)
        except sqlite3.Error as bad:
            raise _fault(path, bad) from None
        except OSError as bad:
            raise Fault("invalid_input", f"{path}: {bad.strerror}") from None

    def _open(self, wait: float) -> sqlite3.Connection:
        """A connection; one that has the file alone, where there is no room for what processes share: the index of the
        log, which is then kept in memory (https://sqlite.org/wal.html#noshm)."""
        path = os.path.abspath(self.path)
        path = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")

        def connect() -> sqlite3.Connection:
            # in a folder that cannot be written it is read without its log
            alone = not self.writable and not os.path.exists(self.path + "-wal")
            options = f"mode={'rw' if self.writable else 'ro'}" + ("&immutable=1" if alone else "")
            uri = f"file:{path}?{options}"
            return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)

        db = connect()
        try:
            db.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as bad:
            self.writable &= bad.sqlite_errorname != "SQLITE_CANTOPEN"  # no room for a log
            if self.writable and not _named(bad, FULL):
                raise
            db.close()
            db = connect()
            if self.writable:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")
        return db

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self.db.execute(text, values).fetchall()
        except sqlite3.Error as bad:
            raise _fault(self.path, bad) from None

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[None]:
        """One write transaction. It takes the lock at its beginning, so that it cannot fail for it in the middle."""
        if not self.writable:
            raise Fault("tool_denied", f"{self.path}: read only")
        self.sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self.sql("BEGIN IMMEDIATE")
        try:
            if self._old():
                for row in self.sql(select("latest AND value IS NOT NULL")):
                    if indexed(*row[2:5]) != row[2:5]:
                        self.sql(UNINDEX, row[0], *row[2:5])
                        self.index(row)
                self.sql(f"PRAGMA user_version={LAYOUT}")
            yield
            self.sql("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.sql("ROLLBACK")
            raise

    def _old(self) -> bool:
        return bool(self.sql("PRAGMA user_version") != [(LAYOUT,)])

    def add(self, row: tuple[Any, ...]) -> int:
        try:
            id = self.db.execute(INSERT, row).lastrowid or 0
        except sqlite3.Error as bad:
            raise _fault(self.path, bad) from None
        self.index((id, *row))
        return id

    def index(self, row: tuple[Any, ...]) -> None:
        """Let a version be found by its words."""
        if row[3] is not None:
            self.sql(INDEX, row[0], *indexed(*row[2:5]))

    def unindex(self, row: tuple[Any, ...]) -> None:
        """Let a version be found no more; its columns must be those that were indexed."""
        if row[3] is not None:
            self.sql(UNINDEX, row[0], *indexed(*row[2:5]))

    def matching(
        self, namespace: str | None, terms: list[str], every: bool, tags: Iterable[str]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows that are alive, carry the tags and hold every or any of the terms, the best first (BM25)."""
        if self.writable and self._old():
            with suppress(Fault), self.writing():  # a full disk: it is searched as it is
                pass
        plain = terms if self._old() else map(spaced, terms)
        quoted = ['"' + term.replace('"', '""') + '"' for term in plain]
        scores: dict[int, float] = {}
        for query in [" ".join(quoted)] if every else quoted:
            wanted = (clock.time(), namespace, namespace, records.dumps(list(tags)))
            for id, score in self.sql(MATCH, query, *wanted, CANDIDATES):
                scores[id] = scores.get(id, 0.0) + score
        for id in sorted(scores, key=scores.__getitem__):
            yield from self.sql(select(f"{ALIVE} AND v.id=?"), clock.time(), id)


def _named(bad: sqlite3.Error, names: str) -> bool:
    name = getattr(bad, "sqlite_errorname", "") or ""
    return name.removeprefix("SQLITE_").startswith(tuple(names.split()))


def _fault(path: str, bad: sqlite3.Error) -> Fault:
    other = ("", "invalid_input", "ERROR")
    _, kind, why = next((row for row in FAULTS if _named(bad, row[0])), other)
    return Fault(kind, f"{path}: {why.replace('ERROR', str(bad))}")


def _is_whole(path: str) -> bool:
    """Whether the file can be written; a Fault where it is no store of ours, by its header and its length.

    The header: https://sqlite.org/fileformat2.html#the_database_header; our marks never change, so they are in it.
    """
    seen = os.stat(path)
    if not stat.S_ISREG(seen.st_mode):
        raise Fault("invalid_input", f"{path}: not a file")
    with open(path, "rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18], "big")
    size = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
    why = ""
    if not head.startswith(b"SQLite format 3\0"):
        what = "not a database" if head else "empty"
        why = f"{what}, so not a store of memories; it was left as it is"
    elif int.from_bytes(head[68:72], "big") != APPLICATION:
        why = "a database of another program, not a store of memories"
    elif int.from_bytes(head[60:64], "big") > LAYOUT:
        why = "made by a newer agent-memory"
    elif seen.st_size < size and not os.path.exists(path + "-wal"):
        why = "damaged: the file is shorter than it was; it was left as it is"
    if why:
        raise Fault("invalid_input", f"{path}: {why}")
    try:  # os.access() of the file knows nothing of Landlock
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)


def _make(path: str) -> None:
    """A new store, whole from the first moment it can be seen: made beside, then linked into its place."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
    beside = f"{path}.{os.urandom(6).hex()}.new"
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        db = sqlite3.connect(beside, isolation_level=None)
        db.executescript(statements("sqlite"))
        db.execute(f"PRAGMA application_id={APPLICATION}")
        db.execute(f"PRAGMA user_version={LAYOUT}")
        db.execute("PRAGMA journal_mode=WAL")
        db.close()
        with suppress(FileExistsError):  # another process made it at the same moment
            os.link(beside, path)
    finally:
        os.unlink(beside)
