"""Answers kept to be used again: on a tape (--record, --replay: one JSON-lines file), in the cache (a file a request).

Both find a request by its key, a hash of what it asks: not its id, not what was measured on its messages, not where its
tools lie. A line of the tape: {"type":"exchange","key":…,"request":{…},"records":[…]}, the records without ids.
"""

import os

from agentlib import paths, records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.lock import replace
from agentlib.messages import validate
from agentlib.records.tail import append, cut
from agentlib.types import Any, BinaryIO, Record

UNASKED = ("id", "type")
MEASURED = ("type", "usage", "model", "provider", "cost_usd", "duration_ms", "time")
OF_A_TOOL = ("name", "description", *validate.NAMES)


def canonical(request: Record) -> Record:
    """What the request asks, the same for two requests that ask the same."""
    out = {k: v for k, v in request.items() if k not in UNASKED and v is not None}
    for name in ("messages", "tools"):
        if isinstance(out.get(name), list):
            out[name] = [_fields(item, name == "tools") for item in out[name]]
    return _ordered(out)  # type: ignore[no-any-return]


def _fields(item: Any, of_a_tool: bool) -> Any:
    if not isinstance(item, dict):
        return item
    return {k: v for k, v in item.items() if (k in OF_A_TOOL if of_a_tool else k not in MEASURED)}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def key(request: Record) -> str:
    """The name of a canonical request; streamed or not, it asks the same."""
    import hashlib

    fields = {name: value for name, value in request.items() if name != "stream"}
    return hashlib.sha256(records.encode(fields)).hexdigest()[:32]


class Recorder:
    """Appends exchanges to a tape; many processes may do so at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        with os_errors(f"--record: {path}"):  # told before money is spent
            append(path, b"")

    def keep(self, request: Record, answer: list[Record]) -> None:
        exchange = {"type": "exchange", "key": key(request), "request": request, "records": answer}
        append(self.path, records.line(exchange))


class Player:
    """Gives the answers that are on a tape; a request recorded several times gets them in turn, then the last again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._answers: dict[str, list[list[Record]]] = {}
        with os_errors(f"--replay: {path}"), open(path, "rb") as file:
            for number, raw in records.lines(file):
                self._enter(file, raw, number)

    def _enter(self, file: BinaryIO, raw: bytes, number: int) -> None:
        try:
            line: Any = records.loads(raw)
        except ValueError as bad:
            if not cut(file):
                why = f"{self.path}: line {number}: not a tape: {bad}"
                raise Fault("invalid_input", why) from None
            # a recorder that was killed left half a line
            return stderr.warn(f"{self.path}: its last line was cut off and is passed over")
        if not isinstance(line, dict) or line.get("type") != "exchange":
            return
        if not isinstance(line.get("request"), dict) or not isinstance(line.get("records"), list):
            why = f"{self.path}: line {number}: an exchange without request or records"
            raise Fault("invalid_input", why)
        self._answers.setdefault(key(canonical(line["request"])), []).append(line["records"])

    def find(self, request: Record) -> list[Record]:
        """The records of this request; Fault `not_found` where it is not on the tape."""
        takes = self._answers.get(key(request))
        if not takes:
            count = f"({sum(map(len, self._answers.values()))} exchanges are)"
            cure = "record it again with --record, the same options and the same input"
            raise Fault("not_found", f"this request is not on the tape {self.path} {count}; {cure}")
        return takes.pop(0) if len(takes) > 1 else takes[0]


class Cache:
    """Answers of earlier runs in the user's cache folder, each file 0600; only whole answers are kept."""

    def __init__(self) -> None:
        self.folder = os.path.join(paths.place("cache"), "answers")

    def find(self, request: Record) -> list[Record] | None:
        """The records of this request, None where there are none, or none that can be read."""
        try:
            with open(self._file(request), "rb") as file:
                return [records.loads(raw) for _, raw in records.lines(file)]
        except (OSError, ValueError, Fault):
            return None

    def keep(self, request: Record, answer: list[Record]) -> None:
        if answer[-1].get("type") == "error":
            return
        replace(self._file(request), b"".join(map(records.line, answer)))

    def _file(self, request: Record) -> str:
        name = key(request)
        return os.path.join(self.folder, name[:2], name[2:])
