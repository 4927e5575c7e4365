"""Make tools of programs that were never meant to be: what their own --help says becomes what the model reads.

Only for programs that the user names, in the strict sandbox, and with `--help` alone: `-h` and `help` make some
programs work on standard input, power off, or create a file of that name.
"""

from __future__ import annotations

import os
import re
import shutil

from agentlib import records, stderr
from agentlib.discover import manpages
from agentlib.faults import Fault
from agentlib.schema import schemas, trust
from agentlib.types import TYPE_CHECKING, Iterator, Sequence

if TYPE_CHECKING:
    from agentlib.schema.probe import Outcome

HELP = 4_000  # characters of a help that the model gets to read


def report(names: Sequence[str], timeout: float | None) -> int:
    """Print a `tool` record with `invoke: argv` for each program; the exit status: 1 where one gives no help."""
    found = dict(_programs(names))
    outcomes = schemas.questions(list(found.values()), ["--help"], timeout)
    described = manpages.Descriptions(list(found.values()))
    status = int(len(found) < len(names))
    for name, path in found.items():
        if text := _text(outcomes[path]):
            about = described.of(path)[0] or text.splitlines()[0].strip()[:200]
            records.put(schemas.line(_record(name, path, about, text)) + b"\n")
        else:
            why = outcomes[path].why or "no output"
            stderr.warn(f"{name}: --help says nothing ({why}); it cannot be made a tool so")
            status = 1
    return status


def _programs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    search = os.pathsep.join(manpages.search_path())
    for name in names:
        path = shutil.which(name, path=search)
        try:
            if not path:
                raise Fault("not_found", "not found on PATH")
            trust.checked(path, {})
            yield name, path
        except Fault as fault:
            stderr.warn(f"{name}: {fault.message}")


def _text(outcome: Outcome) -> str:
    """The help, wherever it was printed; "" where the program was stopped or failed in silence."""
    if outcome.why:
        return ""
    text = (outcome.out if outcome.out.strip() else outcome.err).decode("utf-8", "replace")
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", text).strip()


def _record(name: str, path: str, about: str, text: str) -> dict[str, object]:
    cut = text if len(text) <= HELP else text[:HELP] + " [cut]"
    args = f"its arguments, one string each, without a shell. Its own help: {cut}"
    strings = {"type": "array", "items": {"type": "string"}, "description": args}
    stdin = {"type": "string", "description": "what it reads on standard input"}
    properties = {"args": strings, "stdin": stdin}
    schema = {
        "name": re.sub(r"[^A-Za-z0-9_-]", "_", os.path.basename(name))[:64],
        "description": about,
        "invoke": "argv",
        "inputSchema": {"type": "object", "properties": properties, "required": ["args"]},
    }
    return schemas.tool(schema, path)
