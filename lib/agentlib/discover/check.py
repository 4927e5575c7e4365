"""Hold executables against the rules of `--agent-schema`, and say for each fault which line to mend, and how."""

import os
import re
import tempfile

from agentlib import records
from agentlib.discover import search_path
from agentlib.faults import Fault
from agentlib.messages.subschemas import input_schema
from agentlib.schema import probe, schemas, trust
from agentlib.schema.probe import Outcome
from agentlib.types import Iterator

PROMPT = 1.0  # seconds within which a program has to answer, on a machine that is not busy
UNMARKED = (
    "does not hold the bytes agent-schema, so it is never asked; add a comment that names --agent-schema"
    " (a script that answers through agent-react --name needs none)"
)
NOT_PASSED = 'the script does not pass its arguments on; end its agent-react with "$@"'
_PASSED = re.compile(r'"?\$(?:@|\{@\})|"?\$\*')


def report(operands: list[str], timeout: float | None) -> int:
    """Print a line for each fault, `FILE:LINE: what; cure`, or that the file is well; the exit status. Other than in a
    listing, a file of the working folder goes before a tool of that name."""
    files = [os.path.join(".", one) if os.path.isfile(one) else one for one in operands]
    found, status = search_path.of(files)
    for path, named in found:
        try:  # what could not be run for its schema is of interest where it was named
            trust.checked(path, {})
            skipped = not trust.marked(path)
        except Fault as refused:
            skipped = isinstance(refused, trust.Skipped)
        if skipped and not named:
            continue
        short = os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path
        wrong = list(faults(path, timeout))
        for fault in wrong or ["well"]:
            line = _line(path, fault) if wrong else 0
            where = f"{short}:{line}" if line else short
            records.put(f"{where}: {fault}\n".encode("utf-8", "replace"))
        status = status or int(bool(wrong))
    return status


def faults(path: str, timeout: float | None) -> Iterator[str]:
    """What falls short of the rules, each with its cure; nothing where all is well."""
    try:
        trust.checked(path, {})
        if broken := trust.broken(path):
            raise Fault("invalid_input", broken)
        if not trust.marked(path):
            raise Fault("invalid_input", UNMARKED)
        patient, first, made = _probe_twice(path, timeout)
        answer = schemas.answer(first)
    except Fault as fault:
        yield fault.message
        if "--agent-schema" in fault.message:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
            if text.startswith("#!") and "agent-react" in text and not _PASSED.search(text):
                yield NOT_PASSED
        return
    yield from _manners(patient, first, made)
    names = set()
    for one in answer:
        wrong = schemas.faults(one)
        yield from wrong
        if not wrong:
            yield from _arguments(one)
            if one["name"] in names:
                yield f'"name" {one["name"]!r} comes twice; give each tool of a program its own'
            names.add(one["name"])


def _probe_twice(path: str, timeout: float | None) -> tuple[Outcome, Outcome, list[str]]:
    """Two answers to --agent-schema, on an open pipe that stays silent and on /dev/null, and what files it left."""
    silent, writer = os.pipe()
    name = {"prefix": "agent-check-", "ignore_cleanup_errors": True}
    with open(silent) as stdin, open(writer, "w"), tempfile.TemporaryDirectory(**name) as folder:  # type: ignore[call-overload]
        arguments = ([path], [f"--{trust.flag(path)}"], timeout, "work", folder)
        patient = probe.run(*arguments, stdin.fileno())[path]
        first = probe.run(*arguments)[path]
        return patient, first, sorted(set(os.listdir(folder)) - {".cache"})


def _manners(patient: Outcome, first: Outcome, made: list[str]) -> Iterator[str]:
    if patient.why or patient.status:
        yield "--agent-schema waits for standard input; answer before anything is read"
    elif patient.out != first.out:
        yield "--agent-schema answers differently each time; print a text that is the same"
    seconds = min(first.seconds, patient.seconds)
    if seconds > PROMPT * probe.busy():
        yield f"--agent-schema takes {seconds:.1f} s, not {PROMPT:g} s or less; print it first of all"
    for name in made:
        yield f"--agent-schema leaves {name!r} behind in HOME or the working folder; print and do nothing else"


def _arguments(schema: dict[str, object]) -> Iterator[str]:
    """What is wrong inside of inputSchema, and with the examples."""
    rules = input_schema(schema, {})
    known, needed = rules.get("properties", {}), rules.get("required", [])
    if not isinstance(known, dict) or not isinstance(needed, list):
        yield '"inputSchema" needs "properties", an object, and "required", a list'
        return
    for name in needed:
        if name not in known:
            yield f'"required" names {name!r}, which "properties" does not have'
    examples = schema.get("examples", [])
    for one in examples if isinstance(examples, list) else [None]:
        fields = one if isinstance(one, dict) else {}
        request, arguments = fields.get("request"), fields.get("arguments")
        if not isinstance(request, str) or not isinstance(arguments, dict):
            yield '"examples" is no list of {"request":…,"arguments":{…}}'
        elif known and not set(needed) <= set(arguments) <= set(known):
            yield f'"examples": {request!r} does not fit "inputSchema"'


def _line(path: str, fault: str) -> int:
    """The number of the line that a fault is about, 0 where it is none in particular."""
    if fault.startswith("#!"):
        return 1
    field = re.match(r'"(\w+)"', fault)
    pattern = rf"\b{field[1]}\b[\"'\\]*\s*[:=]" if field else r"^[^#]*\bagent-react\b"
    if not field and fault != NOT_PASSED:
        return 0
    with open(path, encoding="utf-8", errors="replace") as file:
        return next((number for number, line in enumerate(file, 1) if re.search(pattern, line)), 0)
