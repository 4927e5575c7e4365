"""Ask executables what they are (`--agent-schema`), all at once and cached: the records of agent-discover.

Only a file that its owner marked is run: one that holds the bytes `agent-schema`, or one of the suite's own.
The head of a record is always `{"type":…,"name":…,"kind":…,`, so that a listing need not parse it.
"""

import os
import stat
from binascii import crc32

from agentlib import __version__, paths, records
from agentlib.faults import Fault
from agentlib.messages.validate import INVOKES, input_schema
from agentlib.process import status
from agentlib.schema import trust
from agentlib.types import TYPE_CHECKING, Any, Iterable, Record, Sequence

if TYPE_CHECKING:
    from agentlib.process.run import Outcome

SchemaLines = list[bytes] | Fault
Cache = dict[bytes, list[bytes]]  # path to [stamp, record…]

PROGRAMS = 20_000  # remembered at most

KINDS = ("tool", "agent", "provider", "plugin", "format")
_OURS = ("type", "command", "args", "parameters", "input_schema")  # not passed on from a schema
_TEXTS = {"title": 200, "description": 8000, "tags": 100, "$comment": 1000}  # characters at most
_VALUES = ("enum", "const", "default", "examples")  # of arguments: kept as they are
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def read(
    files: Iterable[str], timeout: float | None = None, fresh: bool = False
) -> dict[str, list[Record] | Fault]:
    """The records of each executable, by the path given; a Fault, never raised, for one that has none.

    timeout: seconds for one program (probe.LIMIT); all are asked at once. fresh: do not believe the cache.
    """
    return {
        path: answer if isinstance(answer, Fault) else [records.loads(raw) for raw in answer]
        for path, answer in read_lines(files, timeout, fresh).items()
    }


def read_lines(
    files: Iterable[str], timeout: float | None = None, fresh: bool = False, profile: str = "probe"
) -> dict[str, SchemaLines]:
    """As read(), with each record as the bytes of its line. profile: the sandbox for all programs but our own."""
    cache, folders = cached(), dict[str, str]()
    answers: dict[str, SchemaLines] = {}
    stamps: dict[str, bytes] = {}
    for path in files:
        try:
            seen = trust.checked(path, folders)
        except Fault as fault:
            answers[path] = fault
            continue
        stamp, kept = stamp_of(seen), cache.get(key(path))
        if kept and kept[0] == stamp and not fresh:
            answers[path] = kept[1:] if len(kept) > 1 else trust.unmarked()
        else:
            stamps[path] = stamp
            answers[path] = []  # keeps the order of the files
    if stamps:
        found = _probe(list(stamps), timeout, profile)
        answers.update(found)
        known = {path: [] if isinstance(a, trust.Skipped) else a for path, a in found.items()}
        save(cache, {p: [stamps[p], *a] for p, a in known.items() if isinstance(a, list)})
    return answers


def find(name: str, folders: Sequence[str | os.PathLike[str]]) -> str:
    """The path of the first executable file of this name in the folders; a Fault where there is none."""
    if os.sep in name or name in ("", ".", ".."):
        raise Fault("not_found", f"{name!r}: not a name to look up")
    for folder in folders:
        path = os.path.abspath(os.path.join(os.fspath(folder), name))
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return path
    looked = os.pathsep.join(os.fspath(folder) for folder in folders)
    raise Fault("not_found", f"{name}: not in {looked or 'any folder'}")


def tool(schema: Record, path: str) -> Record:
    """The record of one schema told by the executable `path`; a Fault where the schema falls short.

    Unknown fields stay; a `command` of the schema's own does not: what is run is the file that answered.
    """
    for wrong in faults(schema):
        raise Fault("bad_response", wrong)
    schema = _visible(schema)
    kind = schema.get("kind", "tool")
    made = {"type": kind if kind in KINDS[2:] else "tool", "name": schema["name"]}
    made |= {"kind": kind, "description": schema["description"]}
    if made["type"] == "tool":
        arguments = {"type": "object", **input_schema(schema)}
        made |= {"inputSchema": arguments, "invoke": "text" if kind == "agent" else "json"}
        schema.pop("inputSchema", None)
    made |= {name: value for name, value in schema.items() if name not in _OURS}
    return {**made, "command": [os.path.abspath(path), *schema.get("args", [])]}


def _visible(value: Any, key: str = "") -> Any:
    """A schema whose texts for people and models have an end, and code points for what a terminal obeys or hides."""
    if isinstance(value, str) and key in _TEXTS:
        text = " ".join(value.split()) if key in ("title", "tags") else value
        from agentlib.display import visible

        return visible(text)[: _TEXTS[key]]
    if isinstance(value, list) and key not in _VALUES:
        return [_visible(one, key) for one in value]
    if isinstance(value, dict):
        return {name: _visible(one, name) for name, one in value.items()}
    return value


def faults(schema: object) -> list[str]:
    """What keeps this answer from being a schema, each as a phrase with its cure; [] where all is well."""
    if not isinstance(schema, dict):
        words = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        answered = words.get(type(schema), "a number")
        return [f"the answer is {answered}, not an object; print one object a line, a line a tool"]
    found = []
    name, description = schema.get("name"), schema.get("description")
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not _NAME.issuperset(name):
        found.append(f'"name" is {_excerpt(name)}; give 1 to 64 of A-Z a-z 0-9 _ -')
    if not isinstance(description, str) or not description.strip():
        found.append(f'"description" is {_excerpt(description)}; say in a sentence what it does')
    arguments = input_schema(schema)
    if not isinstance(arguments, dict) or arguments.get("type", "object") != "object":
        found.append('"inputSchema" is not a JSON Schema of "type": "object"')
    for field, allowed in (("kind", KINDS), ("invoke", INVOKES)):
        if field in schema and schema[field] not in allowed:
            choices = " ".join(allowed)
            found.append(f'"{field}" is {_excerpt(schema[field])}; it is one of {choices}')
    args = schema.get("args", [])
    if not isinstance(args, list) or not all(isinstance(a, str) and "\0" not in a for a in args):
        found.append('"args" is not a list of strings')
    timeout = schema.get("timeout", 1)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        found.append(f'"timeout" is {_excerpt(timeout)}; give seconds, more than 0')
    return found


def answer(outcome: "Outcome | Fault") -> list[Any]:
    """The JSON values of what a program answered; a Fault where it did not answer, or not in JSON."""
    if isinstance(outcome, Fault):
        raise Fault("bad_response", f"--agent-schema: {outcome.message}")
    if outcome.status:
        words = outcome.err.decode("utf-8", "replace").strip().splitlines()[-1:]
        why = "".join(f": {line[:200]}" for line in words)
        raise Fault("bad_response", f"--agent-schema {status.words(outcome.status)}{why}")
    try:
        return [records.loads(outcome.out)]
    except ValueError:  # not one document: a line a tool
        pass
    try:
        found = [records.loads(line) for line in outcome.out.splitlines() if line.strip()]
    except ValueError as bad:
        raise Fault("bad_response", f"--agent-schema does not print JSON: {bad}") from None
    if not found:
        raise Fault("bad_response", "--agent-schema prints nothing")
    return found


def _probe(files: Sequence[str], timeout: float | None, profile: str) -> dict[str, SchemaLines]:
    from agentlib.schema import probe

    answers: dict[str, SchemaLines] = {path: trust.unmarked() for path in files}
    commands = {path: [f"--{trust.flag(path)}"] for path in files if trust.marked(path)}
    for path, outcome in probe.run(commands, timeout, profile).items():
        try:
            answers[path] = [line(tool(each, path)) for each in answer(outcome)]
        except RecursionError:
            answers[path] = Fault("bad_response", "--agent-schema: the answer is nested too deeply")
        except Fault as fault:
            from agentlib.process.unusable import broken

            wrong = broken(path)
            kind = trust.NoInterpreter if paths.of_suite(path) else Fault
            answers[path] = kind(fault.kind, wrong) if wrong else fault
    return answers


def line(record: Record) -> bytes:
    """The line of a record; a path that is no UTF-8 keeps its bytes as the escapes \\udc80 to \\udcff."""
    try:
        (record.get("path") or record["command"][0]).encode()
    except UnicodeEncodeError:
        from json import dumps

        return dumps(record, separators=(",", ":")).encode()
    return records.encode(record)


def _excerpt(value: object) -> str:
    return "missing" if value is None else records.dumps(value)[:60]


# What executables answered, in one file of the user's cache folder; a line a program, ready to print and read without
# a JSON parser (500 in 1 ms): PATH, DEVICE:INODE:SIZE:MTIME_NS, and the records, none where there is no mark; by tabs.


def stamp_of(seen: os.stat_result) -> bytes:
    """What changes when the file does."""
    return b"%d:%d:%d:%d" % (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def key(path: str) -> bytes:
    """How the cache calls a file: its absolute path as bytes."""
    return os.fsencode(path if path[:1] == "/" else os.path.abspath(path))


def cached() -> Cache:
    """The cache; {} where there is none, or one of another version, or one whose checksum does not fit."""
    try:
        with open(_file(), "rb") as file:
            first, _, body = file.read().partition(b"\n")
    except OSError:
        first = body = b""
    if first != _title(body):
        return {}
    return {path: rest for path, *rest in (line.split(b"\t") for line in body.split(b"\n") if line)}


def save(cache: Cache, new: dict[str, list[bytes]]) -> None:
    """Write the cache again: the new entries, and the old ones whose files are still there. It never fails."""
    for path, answer in new.items():
        cache.pop(key(path), None)
        if not {9, 10} & set(key(path)):  # a tab or newline in the name: asked again each time
            cache[key(path)] = answer
    kept = [(path, answer) for path, answer in cache.items() if os.path.exists(path)][-PROGRAMS:]
    body = b"".join(b"\t".join([path, *answer]) + b"\n" for path, answer in kept)
    from agentlib.lock import replace  # a warm listing saves nothing

    try:
        replace(_file(), _title(body) + b"\n" + body)
    except OSError:
        pass


def _title(body: bytes) -> bytes:
    return b"agentutils schemas 2 %b %d" % (__version__.encode(), crc32(body))


def _file() -> str:
    return os.path.join(paths.place("cache"), "schemas")
