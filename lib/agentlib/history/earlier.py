"""An earlier conversation, out of the history, to go on with (--continue)."""

import os
import re
from contextlib import suppress

from agentlib import records
from agentlib.faults import Fault
from agentlib.history import files, now, session
from agentlib.types import Any, Iterator, Record


def conversation(words: list[str], name: Any = None) -> tuple[Record, list[Record], list[str]]:
    """(run, messages, words) of the conversation to go on with: of the run whose id is the first word, which is then
    taken from them, else of the last one in this terminal. name: of the agent whose last one it is to be."""
    named = words and re.fullmatch("[0-9a-f]{8,32}", words[0])
    id, rest = (words[0], words[1:]) if named else ("", words)
    run = _found(id, name)
    if not run:
        where = f"no run has the id {id}" if id else "no conversation in this terminal yet"
        raise Fault("invalid_input", f"--continue: {where}; agent-trace lists them")
    messages, at, system = list[Record](), run, ""
    for _ in range(1000):
        messages = [*_messages(at), *messages]
        system = system or at.get("system", "")
        if not at.get("continues") or not (at := _found(at["continues"])):
            break
    last = next((one for one in reversed(messages) if one.get("role") == "assistant"), {})
    known = {name: run.get(name) or last.get(name) for name in ("provider", "model")}
    messages.sort(key=lambda one: one.get("role") != "system")
    return {**run, **known, "system": system}, messages, rest


def _found(id: str, name: str | None = None) -> Record:
    """The `run` record with this id, "" for the last one of this terminal; {} where there is none."""
    wanted = {"session": session(), "host": os.uname().nodename, "name": name}
    wanted = {} if id else {field: value for field, value in wanted.items() if value}
    start, found, today = b'{"type":"run","id":"%b' % id.encode(), list[Record](), now()[:10]
    for path in reversed(files()):
        for record in _last_records(path, start):
            if isinstance(record.get("time"), str) and wanted.items() <= record.items():
                found.append(record)
                break
        if found and os.path.basename(path)[:10] <= today:
            break  # others are of days to come: the clock was wrong, and it counts which process began last
    return max(found, key=lambda run: f"{run.get('ticks')!s:>20}", default={})


def _messages(run: Record) -> list[Record]:
    start = b'{"type":"message","run":"%b"' % run["id"].encode()
    since = min(run["time"], now())[:10]
    found = [one for path in files(since)[::-1] for one in _last_records(path, start)]
    return [one for one in reversed(found) if isinstance(one.get("role"), str)]


def _last_records(path: str, start: bytes) -> Iterator[Record]:
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    for raw in reversed(lines):
        if raw.startswith(start) and raw.endswith(b"}"):
            with suppress(ValueError):  # a half line, and another writer's behind it
                yield records.foreign(raw)
