"""Conversations of the history, found again to be gone on with."""

import os
import re

from agentlib import history, records
from agentlib.faults import Fault
from agentlib.types import Record

ID = re.compile(r"[0-9a-f]{8,32}")


def earlier(words: list[str], name: str | None = None) -> tuple[Record, list[Record], list[str]]:
    """(run, messages, words) of the conversation to go on with: of the run whose id is the first word, which is then
    taken from them, else of the last one in this terminal. name: of the agent whose last one it is to be."""
    id, rest = (words[0], words[1:]) if words and ID.fullmatch(words[0]) else ("", words)
    run = _run(id, name)
    if not run:
        where = f"no run has the id {id}" if id else "no conversation in this terminal yet"
        raise Fault("invalid_input", f"--continue: {where}; agent-trace lists them")
    messages, at, system = list[Record](), run, ""
    for _ in range(1000):
        messages = [*_messages(at), *messages]
        system = system or at.get("system", "")
        if not at.get("continues") or not (at := _run(at["continues"])):
            break
    last = next((one for one in reversed(messages) if one.get("role") == "assistant"), {})
    known = {name: run.get(name) or last.get(name) for name in ("provider", "model")}
    messages.sort(key=lambda one: one.get("role") != "system")
    return {**run, **known, "system": system}, messages, rest


def _run(id: str, name: str | None = None) -> Record:
    """The `run` record with this id, "" for the last one of this terminal; {} where there is none."""
    wanted = {"session": history.session(), "host": os.uname().nodename, "name": name}
    wanted = {} if id else {field: value for field, value in wanted.items() if value}
    start = b'{"type":"run","id":"%b' % id.encode()
    for path in reversed(history.files()):
        for raw in reversed(_lines(path)):
            if raw.startswith(start) and raw.endswith(b"}"):
                record: Record = records.foreign(raw)
                if all(record.get(field) == value for field, value in wanted.items()):
                    return record
    return {}


def _messages(run: Record) -> list[Record]:
    start = b'{"type":"message","run":"%b"' % run["id"].encode()
    lines = [raw for path in history.files(run["time"][:10]) for raw in _lines(path)]
    return [records.foreign(raw) for raw in lines if raw.startswith(start) and raw.endswith(b"}")]


def _lines(path: str) -> list[bytes]:
    with open(path, "rb") as file:
        return file.read().splitlines()
