"""The commands of agent-memory, each from parsed arguments to an exit status."""

from __future__ import annotations

import os
import re
import select
import time

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.memory.sqlite import Sqlite
from agentlib.memory.store import Store
from agentlib.types import TYPE_CHECKING, Any, Namespace, Record

if TYPE_CHECKING:
    from agentlib.records import Line

BATCH = 1000  # records a transaction, where they come faster than they are kept
NAMED = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
)  # signs of a store's name
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Nothing(Exception):
    """There is no such store yet: to read from it is an empty answer, not a fault."""


def run(command: str, args: Namespace) -> int:
    """One command, its store closed at the end whatever happens. 1 where there is nothing to read from."""
    try:
        return int(globals()[command](args))
    except Nothing:
        return 1
    finally:
        for store in _open:
            store.close()


_open: list[Any] = []


def opened(args: Namespace, create: bool = False) -> Any:
    """The store that --store names; made where `create` says so, else Nothing where it is not there."""
    if args.store.startswith(("postgres://", "postgresql://")):
        from agentlib.memory.postgres import Postgres

        database: Any = Postgres(args.store, args.wait)
    else:
        path = located(args.store)
        if not os.path.lexists(path):
            if not create:
                raise Nothing
            if path.startswith(paths.place("data")):
                paths.private(paths.data())  # ours alone, and so is the folder of stores in it
        database = Sqlite(path, args.wait, create)
    store = Store(database)
    _open.append(store)
    return store


def located(name: str) -> str:
    """The file of a store: a path as it is, a bare name in the user's data folder."""
    if "/" in name or name.endswith(".db"):
        return name
    if not 1 <= len(name) <= 100 or name[0] == "." or not set(name) <= NAMED:
        raise Fault("invalid_input", f"--store {name}: a name of letters, digits, _ . -, or a path")
    return os.path.join(paths.place("data"), "memory", f"{name}.db")


def item(args: Namespace, key: Any, value: Any, record: Record | None = None) -> Record:
    """What the store keeps: checked key and tags, the time to live as a moment."""
    record = record or {}
    tags = [*args.tag, *(t for t in record.get("tags") or [] if t not in args.tag)]
    if not isinstance(key, str) or not 1 <= len(key) <= 1024:
        raise Fault("invalid_input", "a key is a text of 1 to 1024 characters")
    if not all(isinstance(t, str) and t and not re.search(r"\s", t) for t in tags):
        raise Fault("invalid_input", f"{key}: a tag is a word without blanks")
    expires = time.time() + seconds(args.ttl) if args.ttl else moment(record.get("expires"))
    return {
        "key": key,
        "value": value,
        "tags": tags,
        "time": record.get("time"),
        "expires": expires,
    }


def seconds(text: str) -> float:
    """A time to live in seconds: 90s, 15m, 12h, 30d, 2w."""
    found = re.fullmatch(r"(\d+)([smhdw])", text)
    if not found:
        raise Fault("invalid_input", f"--ttl {text}: a number and one of s m h d w, such as 30d")
    return float(found[1]) * UNITS[found[2]]


def moment(text: Any) -> float | None:
    """Seconds since 1970 of an RFC 3339 time, None for none."""
    if text is None:
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        raise Fault(
            "invalid_input", f"expires: {text!r} is not a time like 2026-01-31T12:00:00Z"
        ) from None


def value_of(text: str) -> Any:
    """JSON where the text is JSON, else the text itself."""
    try:
        return records.loads(text)
    except ValueError:
        return text


def shown(value: Any) -> bytes:
    """A value for people and pipes: text as it is, anything else as JSON."""
    return (value if isinstance(value, str) else records.dumps(value)).encode(
        "utf-8", "replace"
    ) + b"\n"


def remember(args: Namespace) -> int:
    key, value = args.words
    if value == "-":
        value = records.plain()["text"].removesuffix("\n")
    opened(args, create=True).remember(args.namespace, item(args, key, value_of(value)))
    return 0


def recall(args: Namespace) -> int:
    store = opened(args)
    if args.history:
        found = store.history(args.namespace, args.words[0])
        for record in found:
            records.write(record)
        return 0 if found else 1
    record = store.recall(args.namespace, args.words[0])
    if record is None:
        return 1
    records.put(records.line(record) if args.json else shown(record["value"]))
    return 0


def search(args: Namespace) -> int:
    found = ranked(args, opened(args), " ".join(args.words))
    for record in found:
        records.write(record)
    return 0 if found else 1


def ranked(args: Namespace, store: Any, words: str) -> list[Record]:
    """The memories that fit the words best; with --semantic by meaning too."""
    space = None if args.all else args.namespace
    if args.semantic is None:
        return list(store.search(space, words, args.tag, args.limit))
    from agentlib.memory import semantic

    return semantic.search(store, args.semantic, space, words, args.tag, args.limit)


def embed(args: Namespace) -> int:
    from agentlib.memory import semantic

    made = semantic.make(opened(args), args.semantic or "")
    stderr.warn(f"{made} vectors made")
    return 0


def forget(args: Namespace) -> int:
    return 0 if opened(args).forget(args.namespace, args.words[0]) else 1


def undo(args: Namespace) -> int:
    return 0 if opened(args).undo(args.namespace, args.words[0]) else 1


def listing(args: Namespace) -> int:
    for record in opened(args).items(None if args.all else args.namespace, args.tag):
        records.write(record)
    return 0


def export(args: Namespace) -> int:
    if not args.flat:
        return listing(args)
    flat = {
        record["key"]: record["value"] for record in opened(args).items(args.namespace, args.tag)
    }
    records.put(records.line(flat))
    return 0


def bring(args: Namespace) -> int:
    """import: the number kept so far is written after each transaction; what it counts is on the disk."""
    if args.flat:
        flat = value_of(records.plain()["text"])
        if not isinstance(flat, dict):
            raise Fault(
                "invalid_input",
                "import --flat: one JSON object of key to value is due on standard input",
            )
        opened(args, create=True).remember_many(
            (args.namespace, item(args, k, v)) for k, v in flat.items()
        )
        records.write({"type": "imported", "count": len(flat)})
        return 0
    return Keeper(args, passing=False).run()


def save(args: Namespace) -> int:
    return Keeper(args, passing=True).run()


class Keeper:
    """Keeps the `memory` records of a stream, as many at once as have arrived."""

    def __init__(self, args: Namespace, passing: bool) -> None:
        self.args, self.passing, self.store = args, passing, opened(args, create=True)
        self.batch: list[tuple[str, Record]] = []
        self.held: list[bytes] = []  # lines that may go on once the batch is on the disk
        self.count = self.failed = 0
        self.line = self.done = 0  # the number of the last line read; of the last one that is kept

    def run(self) -> int:
        ended = False
        try:
            for line in records.read():
                self.take(line)
                if len(self.batch) >= BATCH or not more():
                    self.flush()
            ended = True
        finally:
            try:
                self.flush()
            finally:
                if not self.passing:
                    self.report(ended)
        return 1 if self.failed else 0

    def report(self, ended: bool) -> None:
        """How many are kept; where the stream broke off, also how to go on."""
        refused = f", {self.failed} refused" if self.failed else ""
        after = "" if ended else f", to line {self.done}: go on with line {self.done + 1}"
        stderr.warn(f"{self.count} kept{refused}{after}")

    def take(self, line: Line) -> None:
        self.line = line.number
        if self.passing:
            self.held.append(line.raw + b"\n")
        record = line.record
        if record["type"] != "memory" or record.get("forgotten"):
            return
        try:
            if "value" not in record:
                raise Fault("invalid_input", "a memory needs a `value`")
            kept = item(self.args, record.get("key"), record["value"], record)
            self.batch.append((str(record.get("namespace") or self.args.namespace), kept))
        except Fault as bad:
            self.failed += 1
            self.held.append(
                records.line(Fault(bad.kind, f"line {line.number}: {bad.message}").record())
            )

    def flush(self) -> None:
        batch, self.batch = self.batch, []
        lines, self.held = self.held, []
        if batch:
            self.store.remember_many(batch)
            self.count, self.done = self.count + len(batch), self.line
            if not self.passing:
                lines.append(
                    b'{"type":"imported","count":%d,"line":%d}\n' % (self.count, self.line)
                )
        if lines:
            records.put(b"".join(lines))


def more() -> bool:
    """Whether standard input has something to read at once (a batch need not be full to be kept)."""
    return bool(select.select([0], [], [], 0)[0])


def load(args: Namespace) -> int:
    """Pass the stream on; at its end add the memories that fit the words, else the stream's own request."""
    asked = [" ".join(args.words)]
    for line in records.read():
        records.put(line.raw + b"\n")
        if not args.words and line.record["type"] == "input":
            asked.append(str(line.record.get("text", ""))[:10_000])
    room = args.max_tokens * 4
    for record in fitting(args, " ".join(asked)):
        line_out = records.line(record)
        room -= len(line_out)
        if room < 0:
            break
        records.put(line_out)
    return 0


def fitting(args: Namespace, words: str) -> list[Record]:
    """The best memories for the words; the newest ones where no word says what is wanted."""
    try:
        store = opened(args)
    except Nothing:
        return []
    if words.strip():
        return ranked(args, store, words)
    space = None if args.all else args.namespace
    return sorted(store.items(space, args.tag), key=lambda r: str(r["time"]), reverse=True)[
        : args.limit
    ]


def stats(args: Namespace) -> int:
    records.write(opened(args).stats())
    return 0


def vacuum(args: Namespace) -> int:
    stderr.warn(f"{opened(args).vacuum()} keys dropped")
    return 0


def check(args: Namespace) -> int:
    found = opened(args).check()
    if found != "ok":
        raise Fault("invalid_input", f"{args.store}: {found}")
    return 0


def tool(args: Namespace) -> int:
    """A call by a model: the arguments object on standard input."""
    given = value_of(records.plain()["text"])
    if not isinstance(given, dict):
        raise Fault("invalid_arguments", "a JSON object is due on standard input")
    name = args.words[0]
    if name == "remember":
        args.tag = given.get("tags") or []
        opened(args, create=True).remember(
            args.namespace, item(args, given.get("key"), given.get("value"))
        )
        return _said(0, "", "remembered")
    if name == "search_memory":
        args.words, args.limit = [str(given.get("words", ""))], int(given.get("limit") or 10)
        return _said(run("search", args), "nothing found")
    if name in ("recall", "forget"):
        args.words = [str(given.get("key", ""))]
        return _said(
            run(name, args),
            f"nothing is kept under {args.words[0]!r}",
            "" if name == "recall" else "forgotten",
        )
    raise Fault("invalid_input", f"tool {name}: one of remember, recall, search_memory, forget")


def plugin(args: Namespace) -> int:
    """As a plugin of agent-react: what fits the request before the run, the tools during it."""
    from agentlib.plugin.serve import serve

    def see(hook: str, record: Record) -> Record:
        if hook == "install":
            return {
                **record,
                "tools": [
                    *(t for t in record.get("tools") or [] if isinstance(t, dict)),
                    *tools(args),
                ],
            }
        asked = record.get("input")
        found = fitting(args, asked if isinstance(asked, str) else records.dumps(asked))
        return {**record, "material": [*(record.get("material") or []), *found]}

    return serve(see)


def tools(args: Namespace) -> list[Record]:
    """The `tool` records of this store and namespace."""
    store = args.store if "://" in args.store else os.path.abspath(located(args.store))
    own = ["--store", store, "--namespace", args.namespace]
    command = [os.path.join(paths.TOP, "bin", "agent-memory")]
    made = [one for one in args.schema if one.get("kind") != "plugin"]
    return [
        {"type": "tool", **one, "command": [*command, *one["args"], *own], "invoke": "json"}
        for one in made
    ]


def _said(status: int, without: str, with_: str = "") -> int:
    """An answer in words: that there is nothing is an answer too, not a failure of the tool."""
    if text := without if status else with_:
        records.put(text.encode() + b"\n")
    return 0
