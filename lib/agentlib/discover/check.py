"""Hold executables against the rules of `--agent-schema`, and say for each fault which line to mend, and how."""

from __future__ import annotations

import os
import re
import tempfile

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.schema import schemas, shebang, trust
from agentlib.types import TYPE_CHECKING, Iterable, Iterator

if TYPE_CHECKING:
    from agentlib.discover.search_path import Candidate
    from agentlib.schema.probe import Outcome

PROMPT = 1.0  # seconds within which a program has to answer
_LINE_TWO = re.compile(r'^(?:"""|#|//|--|;)\s*(?P<name>\S+) - (?P<purpose>.+?)(?:""")?$')


def report(files: Iterable[Candidate], timeout: float) -> int:
    """Print a line for each fault, `FILE:LINE: what; cure`, or that the file is well; the exit status."""
    status = 0
    for path, named in files:
        if not named and _no_candidate(path):
            continue
        short = os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path
        found = list(faults(path, timeout))
        for wrong in found or ["well"]:
            line = _line(path, wrong) if found else 0
            _say(f"{short}:{line}: {wrong}" if line else f"{short}: {wrong}")
        status |= bool(found)
    return status


def _no_candidate(path: str) -> bool:
    """Whether a file of a folder is none that would ever be asked."""
    try:
        trust.checked(path, {})
    except Fault as fault:
        return isinstance(fault, trust.Skipped)
    return not trust.marked(path)


def _say(line: str) -> None:
    records.put(line.encode("utf-8", "replace") + b"\n")


def faults(path: str, timeout: float) -> Iterator[str]:
    """What falls short of the rules, each with its cure; nothing where all is well."""
    try:
        trust.checked(path, {})
        if broken := shebang.fault(path):
            raise Fault("invalid_input", broken)
        if not trust.marked(path):
            yield (
                "does not hold the bytes agent-schema, so it is never asked; add a comment that names "
                "--agent-schema"
            )
            return
        patient, first, made = _ask_twice(path, timeout)
        answer = schemas.answer(first)
    except Fault as fault:
        yield fault.message
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
    if paths.of_suite(path):
        yield from _house_rules(path, answer, timeout)


def _ask_twice(path: str, timeout: float) -> tuple[Outcome, Outcome, list[str]]:
    """Two answers to --agent-schema, on an open pipe that stays silent and on /dev/null, and what files it left."""
    silent, writer = os.pipe()
    try:
        with tempfile.TemporaryDirectory(
            prefix="agent-check-", ignore_cleanup_errors=True
        ) as folder:
            ask = ([path], [f"--{trust.flag(path)}"], timeout, folder, "work")
            patient = schemas.question(*ask, stdin=silent)[path]
            first = schemas.question(*ask)[path]
            return patient, first, sorted(set(os.listdir(folder)) - {".cache"})
    finally:
        os.close(silent)
        os.close(writer)


def _manners(patient: Outcome, first: Outcome, made: list[str]) -> Iterator[str]:
    if patient.why or patient.status:
        yield "--agent-schema waits for standard input; answer before anything is read"
    elif patient.out != first.out:
        yield "--agent-schema answers differently each time; print a text that is the same"
    if min(first.seconds, patient.seconds) > PROMPT:
        yield f"--agent-schema takes {first.seconds:.1f} s, not {PROMPT:g} s or less; print it first of all"
    for name in made:
        yield f"--agent-schema leaves {name!r} behind in HOME or the working folder; print and do nothing else"


def _arguments(schema: dict[str, object]) -> Iterator[str]:
    """What is wrong inside of inputSchema, and with the examples."""
    rules = schemas.input_schema(schema, {})
    assert isinstance(rules, dict)
    known, needed = rules.get("properties", {}), rules.get("required", [])
    if not isinstance(known, dict) or not isinstance(needed, list):
        yield '"inputSchema" needs "properties", an object, and "required", a list'
        return
    for name in needed:
        if name not in known:
            yield f'"required" names {name!r}, which "properties" does not have'
    examples = schema.get("examples", [])
    for one in examples if isinstance(examples, list) else [None]:
        if (
            not isinstance(one, dict)
            or not isinstance(one.get("request"), str)
            or not isinstance(one.get("arguments"), dict)
        ):
            yield '"examples" is no list of {"request":…,"arguments":{…}}'
        elif known and not set(needed) <= set(one["arguments"]) <= set(known):
            yield f'"examples": {one["request"]!r} does not fit "inputSchema"'


def _house_rules(path: str, answers: list[dict[str, object]], timeout: float) -> Iterator[str]:
    """What only the suite's own programs promise: one sentence everywhere, and no unknown flag."""
    with open(path, encoding="utf-8", errors="replace") as file:
        found = _LINE_TWO.match((file.readline(), file.readline())[1].rstrip("\n"))
    if not found:
        yield 'line two is not "name - purpose" in a comment'
    elif found["name"] != os.path.basename(path):
        yield f"line two names {found['name']!r}, not the file"
    elif (
        len(answers) == 1
        and answers[0].get("description") != found["purpose"][:1].upper() + found["purpose"][1:]
    ):
        yield f'"description" is not the purpose of line two, {found["purpose"]!r}'
    outcome = schemas.questions([path], ["--no-such-flag"], timeout)[path]
    if outcome.status != 2 or outcome.out or not outcome.err:
        yield "an unknown flag does not end with status 2, a line on stderr and nothing on stdout"


def _line(path: str, wrong: str) -> int:
    """The number of the line that a fault is about, 0 where it is none in particular."""
    if wrong.startswith(("#!", "line two")):
        return 1 + (wrong[0] == "l")
    field = re.match(r'"(\w+)"', wrong)
    if not field:
        return 0
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if re.search(rf"\b{field[1]}\b[\"'\\]*\s*[:=]", line):
                    return number
    except (OSError, UnicodeDecodeError):
        pass
    return 0
