"""A store of memories: versions of values by namespace and key, in a database of sqlite.py or postgres.py.

Both have: sql(text, *values) with ? for the values; writing(durable), a transaction; add(row), a new version in full
text too, index(row) and unindex(row); matching(namespace, terms, every, tags), the rows found, the best first; db, the
connection; and statements: lock (of a key, until the transaction ends; "": needs none), table (whether there is one of
this name), size (in bytes), compact, check ("ok", or what is wrong with the files), vectors (make their table).

What the full-text index gets is not the text but spaced(text), so that words are found inside of scripts that put no
blanks between them. Of four ways, with 100,000 values of 60 signs (25 MB as the plain index has it): this one 26 MB
and 1 ms a search, pairs of signs 41 MB and up to 60 ms for one sign, trigrams 67 MB and 54 ms for words of one or
two signs, no index but a look at each value 54 ms.
"""

import functools
import os
import re
import time as clock
from itertools import islice

from agentlib.records import dumps, loads
from agentlib.types import Any, Iterable, Iterator, Record

TERMS = 32  # words of a search that count
COLUMNS = "v.id, v.namespace, v.key, v.value, v.tags, v.time, v.expires"
ALIVE = "v.latest AND v.value IS NOT NULL AND (v.expires IS NULL OR v.expires > ?)"
# Signs that are words of their own in the index: of scripts without blanks between words (Thai, Lao, Tibetan, Burmese,
# Khmer, Chinese, Japanese, Korean), emoji and the like. Halfwidth and fullwidth forms become the usual ones.
SIGNS = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3021-\ua4cf\ua960-\ua97f"
    "\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff\uff01-\uffef\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "\u00a9\u00ae\u203c\u2049\u20a0-\u20bf\u2122-\u24ff\u25a0-\u2bff\U0001f000-\U0001faff"
)
ESCAPE = r"\\(?:u[0-9a-f]{4}|.)"  # in a JSON string


def spaced(text: str) -> str:
    """The text as it is indexed and searched: with blanks around each of SIGNS, and a name where it is no letter."""
    if text.isascii() or not re.search(f"[{SIGNS}]", text):
        return text
    import unicodedata

    words = re.findall(f"[{SIGNS}]|[^\\W{SIGNS}]+", unicodedata.normalize("NFKC", text))
    return " ".join(w if w[0].isalnum() or w[0] < "\x80" else f"u{ord(w[0]):x}x" for w in words)


def indexed(key: str, value: str, tags: str) -> tuple[str, str, str]:
    """Key, value (JSON) and tags as they are indexed; escapes in the JSON do not stick to the words beside them."""
    if "\\" in value:
        value = re.sub(ESCAPE, " ", value)
    return spaced(key), spaced(value), spaced(tags)


def statements(database: str) -> str:
    """The SQL that makes the tables, of the file beside this one."""
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), f"{database}.sql")) as file:
        return file.read()


def select(where: str) -> str:
    """The statement for the rows of COLUMNS that fit."""
    return f"SELECT {COLUMNS} FROM versions v WHERE {where}"


LATEST = select("namespace=? AND key=? AND latest")
_utc = functools.lru_cache(64)(lambda s: clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(s)))


def memory(row: tuple[Any, ...]) -> Record:
    """The `memory` record of a row of COLUMNS."""
    _, namespace, key, value, tags, time, expires = row
    plain = None if value is None else loads(value)
    out: Record = {"type": "memory", "key": key, "value": plain, "time": time}
    if value is None:
        out["forgotten"] = True
    if namespace != "default":
        out["namespace"] = namespace
    if tags:
        out["tags"] = tags.split()
    if expires is not None:
        out["expires"] = _utc(int(expires)) + "Z"
    return out


class Store:
    """An open store. Never kept over a fork."""

    def __init__(self, database: Any) -> None:
        self.db = database

    def remember(self, namespace: str, item: Record) -> int:
        """Keep one memory; the number of its version, once it is on the disk."""
        with self.db.writing():
            return self._keep(namespace, item)

    def remember_many(self, items: Iterable[tuple[str, Record]]) -> None:
        """Keep several in one transaction, or none. What is there already makes no new version."""
        with self.db.writing(durable=False):
            for namespace, item in items:
                self._keep(namespace, item, again=False)

    def forget(self, namespace: str, key: str) -> bool:
        """End the value of a key; its history stays. False where there was none."""
        with self.db.writing():
            if self.recall(namespace, key) is None:
                return False
            self._keep(namespace, {"key": key}, gone=True)
            return True

    def undo(self, namespace: str, key: str) -> bool:
        """Take back the last version of a key, so that the one before counts. False where there is none."""
        with self.db.writing():
            last = "namespace=? AND key=? ORDER BY id DESC LIMIT 2"
            rows = self.db.sql(select(last), namespace, key)
            if rows:
                self.db.unindex(rows[0])
                self.db.sql("DELETE FROM versions WHERE id=?", rows[0][0])
            for row in rows[1:]:
                self.db.sql("UPDATE versions SET latest=true WHERE id=?", row[0])
                self.db.index(row)
            return bool(rows)

    def recall(self, namespace: str, key: str) -> Record | None:
        """The memory of a key, None where there is none (any more)."""
        alive = select(f"{ALIVE} AND namespace=? AND key=?")
        rows = self.db.sql(alive, clock.time(), namespace, key)
        return memory(rows[0]) if rows else None

    def history(self, namespace: str, key: str) -> list[Record]:
        """All versions of a key, the oldest first."""
        rows = self.db.sql(select("namespace=? AND key=? ORDER BY id"), namespace, key)
        return [memory(row) for row in rows]

    def items(self, namespace: str | None, tags: Iterable[str] = ()) -> Iterator[Record]:
        """The memories of a namespace (None: of all), by key, that carry every one of the tags."""
        where = ALIVE if namespace is None else f"{ALIVE} AND namespace=?"
        where += f" ORDER BY namespace, key COLLATE {self.db.collation}"
        values = [] if namespace is None else [namespace]
        rows = self.db.sql(select(where), clock.time(), *values)
        return (memory(row) for row in _tagged(rows, tags))

    def search(
        self, namespace: str | None, words: str, tags: Iterable[str] = (), limit: int = 20
    ) -> list[Record]:
        """The memories with all of the words, else any of them, the best first. Words are plain text."""
        tags = list(tags)
        terms = list(dict.fromkeys(words.replace("\0", " ").split()))[:TERMS]
        for every in (True, False) if len(terms) > 1 else (True,) * len(terms):
            rows = _tagged(self.db.matching(namespace, terms, every, tags), tags)
            if found := [memory(row) for row in islice(rows, limit)]:
                return found
        return []

    def stats(self) -> Record:
        """Counts and sizes, as one record."""
        count = "SELECT count(*) FROM versions v"
        three = f"SELECT ({count} WHERE {ALIVE}), ({count} WHERE latest), ({count})"
        [counts] = self.db.sql(three, clock.time())
        names = self.db.sql("SELECT DISTINCT namespace FROM versions ORDER BY 1")
        found: Record = {"type": "stats", "store": self.db.path}
        found |= zip(("memories", "keys", "versions"), counts, strict=True)
        found["namespaces"] = [row[0] for row in names]
        return {**found, "bytes": int(self.db.sql(self.db.size)[0][0])}

    def vacuum(self) -> int:
        """Drop what is expired or forgotten, history and all, and give the room back; how many keys."""
        with self.db.writing():
            gone = self.db.sql(select(f"latest AND NOT ({ALIVE})"), clock.time())
            for row in gone:
                self.db.unindex(row)
                self.db.sql("DELETE FROM versions WHERE namespace=? AND key=?", *row[1:3])
        self.db.sql(self.db.compact)
        return len(gone)

    def _keep(self, namespace: str, item: Record, gone: bool = False, again: bool = True) -> int:
        """Make a new version of a key, inside a transaction. again: also where nothing changed."""
        if self.db.lock:
            self.db.sql(self.db.lock, f"{namespace}\x1f{item['key']}")
        seconds, fraction = divmod(clock.time(), 1)
        moment = item.get("time") or f"{_utc(int(seconds))}.{int(fraction * 1000):03d}Z"
        value, words = None if gone else dumps(item["value"]), " ".join(item.get("tags") or ())
        row = (namespace, item["key"], value, words, moment, item.get("expires"))  # of COLUMNS
        for old in self.db.sql(LATEST, namespace, item["key"]):
            if not again and old[3:5] == row[2:4] and old[6] == row[5]:
                return int(old[0])
            self.db.unindex(old)
            self.db.sql("UPDATE versions SET latest=false WHERE id=?", old[0])
        return int(self.db.add(row))


def _tagged(rows: Iterable[tuple[Any, ...]], tags: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    wanted = set(tags)
    return (row for row in rows if wanted <= set(row[4].split()))
