"""The commands of agent-memory: what each needs of the arguments (COMMANDS), and what it does; an exit status each."""

import os
import re
import select
import time
from contextlib import ExitStack

from agentlib import cli, paths, records, stderr
from agentlib.faults import Fault
from agentlib.memory.sqlite import Sqlite
from agentlib.memory.store import Store
from agentlib.records import Line
from agentlib.types import Any, Callable, Iterable, Namespace, Record

BATCH = 1000  # records a transaction, where they come faster than they are kept


class Nothing(Exception):
    """There is no such store yet: to read from it is an empty answer, not a fault."""


def run(command: str, args: Namespace) -> int:
    """The exit status of one command: 1 where there is nothing to read from."""
    with _stores:
        try:
            return COMMANDS[command](args)
        except Nothing:
            return 1


_stores = ExitStack()  # closes them


def opened(args: Namespace, create: bool = False) -> Store:
    """The store of --store; made where `create` says so, else Nothing where it is not there."""
    name = args.store
    if name.startswith(("postgres://", "postgresql://")):
        from agentlib.memory.postgres import Postgres

        database: Any = Postgres(name, args.wait)
    else:
        path = located(name)
        if not create and not os.path.lexists(path):
            raise Nothing
        if create and path.startswith(paths.place("data")):
            paths.private(paths.place("data"))  # the folder of stores in it is private too
        database = Sqlite(path, args.wait, create)
    _stores.callback(database.db.close)  # which folds SQLite's log into the file
    return Store(database)


def located(name: str) -> str:
    """The file of a store: a path as it is, a bare name in the user's data folder."""
    if "/" in name or name.endswith(".db"):
        return name
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
        raise Fault("invalid_input", f"--store {name}: a name of letters, digits, _ . -, or a path")
    return os.path.join(paths.place("data"), "memory", f"{name}.db")


def item(record: Record, tags: list[str], ttl: str | None) -> Record:
    """What the store keeps of a memory: checked key and tags (these and its own), the time to live as a moment."""
    key = record.get("key")
    if more := record.get("tags"):
        tags = [*tags, *(tag for tag in more if tag not in tags)]
    if not isinstance(key, str) or not 1 <= len(key) <= 1024:
        raise Fault("invalid_input", "a key is a text of 1 to 1024 characters")
    for tag in tags:
        if not isinstance(tag, str) or not re.fullmatch(r"\S+", tag):
            raise Fault("invalid_input", f"{key}: a tag is a word without blanks")
    expires = record.get("expires")
    if expires is not None:
        from datetime import datetime

        try:
            expires = datetime.fromisoformat(expires).timestamp()
        except (TypeError, ValueError):
            why = f"expires: {expires!r} is not a time like 2026-01-31T12:00:00Z"
            raise Fault("invalid_input", why) from None
    if ttl:
        expires = time.time() + cli.duration(ttl, "--ttl ")
    moments = {"time": record.get("time"), "expires": expires}
    return {"key": key, "value": record.get("value"), "tags": tags, **moments}


def value_of(text: str) -> Any:
    """JSON where the text is JSON, else the text itself. A number that would be written otherwise (3.10) is text."""
    try:
        value = records.loads(text)
    except ValueError:
        return text
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return text if is_number and records.dumps(value) != text.strip() else value


def _print(found: Iterable[Record]) -> int:
    status = 1
    for record in found:
        records.write(record)
        status = 0
    return status


def ranked(args: Namespace, words: str) -> list[Record]:
    """The memories that fit the words best; with --semantic by meaning too."""
    store, wanted = opened(args), (_namespace(args), words, args.tag, args.limit)
    if args.semantic is None:
        return store.search(*wanted)
    from agentlib.memory import vectors

    return vectors.search(store, args.semantic, *wanted)


class Keeper:
    """Keeps the `memory` records of a stream, as many at once as have arrived. `passing`: as a stage, else (import)
    the number kept so far is written after each transaction; what it counts is on the disk."""

    def __init__(self, args: Namespace, passing: bool) -> None:
        self.store, self.args, self.passing = opened(args, create=True), args, passing
        self.batch: list[tuple[str, Record]] = []
        self.pending: list[bytes] = []  # lines that may go on once the batch is on the disk
        self.count = self.failed = 0
        self.line = self.done = 0  # the number of the last line read; of the last one that is kept

    def run(self) -> int:
        after = True
        try:
            for line in records.read():
                self.take(line)
                # a batch need not be full: what has arrived is kept before more is waited for
                if len(self.batch) >= BATCH or not select.select([0], [], [], 0)[0]:
                    self.flush()
            after = False
        finally:
            try:
                self.flush()
            finally:
                if not self.passing:
                    refused = f", {self.failed} refused" if self.failed else ""
                    rest = (
                        f", to line {self.done}: go on with line {self.done + 1}" if after else ""
                    )
                    stderr.warn(f"{self.count} kept{refused}{rest}")
        return 1 if self.failed else 0

    def take(self, line: Line) -> None:
        self.line, record = line.number, line.record
        if self.passing:
            self.pending.append(line.raw + b"\n")
        if record["type"] != "memory" or record.get("forgotten"):
            return
        try:
            if "value" not in record:
                raise Fault("invalid_input", "a memory needs a `value`")
            if not isinstance(record.get("namespace"), str | None):
                raise Fault("invalid_input", "a memory's `namespace` must be a string")
            kept = item(record, self.args.tag, self.args.ttl)
            self.batch.append((record.get("namespace") or self.args.namespace, kept))
        except Fault as bad:
            self.failed += 1
            fault = Fault(bad.kind, f"line {line.number}: {bad.message}")
            self.pending.append(records.line(fault.record()))

    def flush(self) -> None:
        batch, self.batch = self.batch, []
        lines, self.pending = self.pending, []
        if batch:
            self.store.remember_many(batch)
            self.count, self.done = self.count + len(batch), self.line
            if not self.passing:
                counts = {"count": self.count, "line": self.line}
                lines.append(records.line({"type": "imported", **counts}))
        if lines:
            records.put(b"".join(lines))


def load(args: Namespace) -> int:
    """Pass the stream on; at its end add the memories that fit the words, else the stream's own request."""
    words, room = " ".join(args.words), args.max_tokens * 4  # bytes that they may take
    request = [words]
    cli.end_with_reader()
    for record in records.passed_on():
        if not words and record["type"] == "input":
            request.append(str(record.get("text", ""))[:10_000])
    for record in fitting(args, " ".join(request)):
        line_out = records.line(record)
        room -= len(line_out)
        if room < 0:
            break
        records.put(line_out)
    return 0


def fitting(args: Namespace, words: str) -> list[Record]:
    """The best memories for the words; the newest ones where no word says what is wanted."""
    try:
        if words.strip():
            return ranked(args, words)
        found = opened(args).items(_namespace(args), args.tag)
    except Nothing:
        return []
    return sorted(found, key=lambda r: str(r["time"]), reverse=True)[: args.limit]


def tool(args: Namespace) -> int:
    """A call by a model: the arguments object on standard input. That there is nothing is an answer too."""
    name = args.words[0]
    if name not in ANSWERS:
        raise Fault("invalid_input", f"tool {name}: one of {', '.join(ANSWERS)}")
    arguments = value_of(records.plain()["text"])
    if not isinstance(arguments, dict):
        raise Fault("invalid_arguments", "standard input must be a JSON object")
    key = str(arguments.get("key", ""))
    args.words = [str(arguments.get("words", "")) if name == "search_memory" else key]
    args.limit = int(arguments.get("limit") or 10)
    status = 0
    if name == "remember":
        kept = item({**arguments, "time": None, "expires": None}, [], None)
        opened(args, create=True).remember(args.namespace, kept)
    else:
        status = run(name.removesuffix("_memory"), args)
    if answer := ANSWERS[name][status].format(key=key):
        records.put(answer.encode() + b"\n")
    return 0


ANSWERS = {  # of the tools, in words: where it is done or printed, and where there is nothing
    "remember": ("remembered", ""),
    "recall": ("", "nothing is kept under {key!r}"),
    "search_memory": ("", "nothing found"),
    "forget": ("forgotten", "nothing is kept under {key!r}"),
}


def plugin(args: Namespace) -> int:
    """As a plugin of agent-react: what fits the request before the run, the tools during it."""
    from agentlib.plugin.serve import serve

    store = args.store if "://" in args.store else os.path.abspath(located(args.store))
    options = ["--store", store, "--namespace", args.namespace]
    program = os.path.join(paths.TOP, "bin", "agent-memory")

    def see(hook: str, record: Record) -> Record:
        if hook == "install":
            tools = [tool for tool in record.get("tools") or [] if isinstance(tool, dict)]
            for tool in [one for one in args.schema if one.get("kind") != "plugin"]:
                command = [program, *tool["args"], *options]
                tools.append({"type": "tool", **tool, "command": command, "invoke": "json"})
            return {**record, "tools": tools}
        request = record.get("input")
        words = request if isinstance(request, str) else records.dumps(request)
        material = [*(record.get("material") or []), *fitting(args, words)]
        return {**record, "material": material}

    return serve(see)


def _namespace(args: Namespace) -> str | None:
    return None if args.all else args.namespace


def _remember(args: Namespace) -> int:
    key, value = args.words
    if value == "-":
        value = records.plain()["text"].removesuffix("\n")
    kept = item({"key": key, "value": value_of(value)}, args.tag, args.ttl)
    opened(args, create=True).remember(args.namespace, kept)
    return 0


def _recall(args: Namespace) -> int:
    store, key = opened(args), args.words[0]
    if args.history:
        return _print(store.history(args.namespace, key))
    record = store.recall(args.namespace, key)
    if record is None:
        return 1
    value = record if args.json else record["value"]
    text = value if isinstance(value, str) else records.dumps(value)
    records.put(text.encode("utf-8", "replace") + b"\n")
    return 0


def _import(args: Namespace) -> int:
    if not args.flat:
        return Keeper(args, passing=False).run()
    store = opened(args, create=True)
    flat = value_of(records.plain()["text"])
    if not isinstance(flat, dict):
        why = "import --flat: standard input must be one JSON object of key to value"
        raise Fault("invalid_input", why)
    made = ({"key": key, "value": value} for key, value in flat.items())
    store.remember_many((args.namespace, item(one, args.tag, args.ttl)) for one in made)
    records.write({"type": "imported", "count": len(flat)})
    return 0


def _list(args: Namespace) -> int:
    if args.flat and args.command == "export":
        found = opened(args).items(args.namespace, args.tag)
        records.write({record["key"]: record["value"] for record in found})
    else:
        _print(opened(args).items(_namespace(args), args.tag))
    return 0


def _embed(args: Namespace) -> int:
    from agentlib.memory import vectors

    stderr.warn(f"{vectors.make(opened(args), args.semantic or '')} vectors made")
    return 0


def _check(args: Namespace) -> int:
    store = opened(args)
    found = store.db.sql(store.db.check)[0][0]
    if found != "ok":
        raise Fault("invalid_input", f"{store.db.path}: {found}")
    return 0


def _vacuum(args: Namespace) -> int:
    stderr.warn(f"{opened(args).vacuum()} keys dropped")
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "remember": _remember,
    "recall": _recall,
    "search": lambda args: _print(ranked(args, " ".join(args.words))),
    "forget": lambda args: 1 - opened(args).forget(args.namespace, args.words[0]),
    "undo": lambda args: 1 - opened(args).undo(args.namespace, args.words[0]),
    "list": _list,
    "load": load,
    "save": lambda args: Keeper(args, passing=True).run(),
    "import": _import,
    "export": _list,
    "embed": _embed,
    "stats": lambda args: _print([opened(args).stats()]),
    "vacuum": _vacuum,
    "check": _check,
    "tool": tool,
    "plugin": plugin,
}
