"""Ask executables what they are (`--agent-schema`), all at once and cached: the records of agent-discover.

Only a file that its owner marked is run: one that holds the bytes `agent-schema`, or one of the suite's own.
The head of a record is always `{"type":…,"name":…,"kind":…,`, so that a listing need not parse it.
"""

import os
import stat

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.messages.subschemas import INVOKES, input_schema
from agentlib.process import status
from agentlib.schema import cache as schema_cache
from agentlib.schema import shebang, trust
from agentlib.types import TYPE_CHECKING, Any, Iterable, Record, Sequence

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell
    from agentlib.schema.probe import Outcome

Answer = list[bytes] | Fault

KINDS = ("tool", "agent", "provider", "plugin", "format")
_OURS = ("type", "command", "args", "parameters", "input_schema")  # not passed on from a schema
_TEXTS = {"title": 200, "description": 8000, "tags": 100, "$comment": 1000}  # characters at most
_VALUES = ("enum", "const", "default", "examples")  # of arguments: kept as they are
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def ask(
    files: Iterable[str], timeout: float | None = None, fresh: bool = False
) -> dict[str, list[Record] | Fault]:
    """The records of each executable, by the path given; a Fault, never raised, for one that has none.

    timeout: seconds for one program (probe.LIMIT); all are asked at once. fresh: do not believe the cache.
    """
    return {
        path: answer if isinstance(answer, Fault) else [records.loads(raw) for raw in answer]
        for path, answer in ask_raw(files, timeout, fresh).items()
    }


def ask_raw(
    files: Iterable[str], timeout: float | None = None, fresh: bool = False, profile: str = "probe"
) -> dict[str, Answer]:
    """As ask(), with each record as the bytes of its line. profile: the sandbox for all programs but our own."""
    cache = schema_cache.load()
    answers: dict[str, Answer] = {}
    stamps: dict[str, bytes] = {}
    folders: dict[str, str] = {}
    for path in files:
        try:
            stamp = schema_cache.stamp(trust.checked(path, folders))
        except Fault as fault:
            answers[path] = fault
            continue
        known = cache.get(schema_cache.key(path))
        if known and known[0] == stamp and not fresh:
            answers[path] = known[1:] if len(known) > 1 else trust.unmarked(path)
        else:
            stamps[path] = stamp
            answers[path] = []  # keeps the order of the files
    if stamps:
        found = _probe(list(stamps), timeout, profile)
        answers.update(found)
        kept = {path: [] if isinstance(a, trust.Skipped) else a for path, a in found.items()}
        lists = {path: a for path, a in kept.items() if isinstance(a, list)}
        schema_cache.save(cache, {path: [stamps[path], *lines] for path, lines in lists.items()})
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


def answer(outcome: "Outcome") -> list[Any]:
    """The JSON values of what a program answered; a Fault where it did not answer, or not in JSON."""
    if outcome.why:
        raise Fault("bad_response", f"--agent-schema: {outcome.why}")
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


def head(raw: bytes) -> tuple[str, str]:
    """(name, kind) of a record's line, read off its fixed head."""
    parts = raw.split(b'"', 12)
    return parts[7].decode(), parts[11].decode()


def _probe(files: Sequence[str], timeout: float | None, profile: str) -> dict[str, Answer]:
    """Ask the marked ones of the files; what came of each."""
    unmarked = [path for path in files if not trust.marked(path)]
    answers: dict[str, Answer] = {path: trust.unmarked(path) for path in unmarked}
    flags = {path: trust.flag(path) for path in files if path not in answers}
    outcomes: dict[str, Outcome] = {}
    for word in set(flags.values()):
        same = [path for path in flags if flags[path] == word]
        outcomes |= questions(same, [f"--{word}"], timeout, profile)
    for path, outcome in outcomes.items():
        try:
            answers[path] = [line(tool(each, path)) for each in answer(outcome)]
        except RecursionError:
            answers[path] = Fault("bad_response", "--agent-schema: the answer is nested too deeply")
        except Fault as fault:
            wrong = shebang.fault(path)
            kind = trust.NoInterpreter if paths.of_suite(path) else Fault
            answers[path] = kind(fault.kind, wrong) if wrong else fault
    return answers


def questions(
    files: Sequence[str],
    args: Sequence[str],
    timeout: float | None,
    profile: str = "probe",
    folder: str = "",
    stdin: int | None = None,
) -> "dict[str, Outcome]":
    """Run each file with these arguments, all at once, in an empty home and folder (or this one); how each ended.

    profile: the sandbox of all but our own. They see no key and no configuration, the suite's own programs first.
    """
    if not folder:
        import tempfile

        try:
            made = tempfile.TemporaryDirectory(prefix="agent-probe-", ignore_cleanup_errors=True)
        except OSError:  # nothing can be written anywhere, so they cannot either
            return questions(files, args, timeout, profile, "/", stdin)
        with made as folder:
            return questions(files, args, timeout, profile, folder, stdin)
    from agentlib.launch import start
    from agentlib.schema import probe

    search = os.pathsep.join([os.path.join(paths.TOP, "bin"), os.environ.get("PATH") or os.defpath])
    env = {"PATH": search, "HOME": folder, "TMPDIR": folder}
    env["LANG"] = os.environ.get("LANG", "C.UTF-8")

    def prepare(path: str) -> "Cell":
        origin = start.SUITE if paths.of_suite(path) else start.OTHER
        how = start.Decision("allow", "off" if origin == start.SUITE else profile, "its mark")
        return start.cell([os.path.abspath(path), *args], origin, how, folder=folder, env=env)

    return probe.run(files, prepare, timeout, stdin)


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
