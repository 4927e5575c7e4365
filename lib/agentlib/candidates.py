"""Which files the operands of agent-discover mean: files, folders, and names looked up on the tool path."""
from __future__ import annotations

import os
from collections import namedtuple

from agentlib import cli, paths, schemas
from agentlib.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NamedTuple

    class Candidate(NamedTuple):
        """A file to ask. named: the user named this very file, so that a failure of it is worth a word."""
        path: str
        named: bool
else:
    Candidate = namedtuple("Candidate", "path named")


NOT_FOUND = 127         # exit status


def of(operands: list[str]) -> tuple[list[Candidate], int]:
    """The files of all operands, each once, and 0, or NOT_FOUND where one is missing (said on stderr).

    No operand: everything on the tool path. `-` is no file.
    """
    if not operands:
        return list(everything(paths.folders("AGENT_TOOL_PATH", "tools"))), 0
    found: dict[str, Candidate] = {}
    status = 0
    for operand in operands:
        if operand == "-":
            continue
        try:
            for one in expand(operand):
                found.setdefault(one.path, one)
        except Fault as fault:
            cli.warn(fault.message)
            status = NOT_FOUND
    return list(found.values()), status


def expand(operand: str) -> Iterator[Candidate]:
    """The files of one operand, a folder's sorted by name. A Fault where there is no such thing.

    A name without a slash is looked up on the tool path and in the suite's bin/ before the working folder:
    what lies in a folder one happens to be in must not take the place of a tool (as with `.` in PATH).
    """
    if os.sep not in operand:
        try:
            known = [*paths.folders("AGENT_TOOL_PATH", "tools"), os.path.join(paths.TOP, "bin")]
            yield Candidate(schemas.find(operand, known), True)
            return
        except Fault as fault:
            if not os.path.lexists(operand):
                raise fault from None
    if os.path.isdir(operand):
        yield from folder(operand)
    else:
        yield Candidate(os.path.abspath(operand), True)


def folder(path: str) -> Iterator[Candidate]:
    """The files in a folder, hidden ones left out, sorted by name."""
    try:
        names = sorted(name for name in os.listdir(path) if name[0] != ".")
    except OSError as bad:
        raise Fault("not_found", f"{path}: {bad.strerror}") from None
    start = os.path.join(os.path.abspath(path), "")
    for name in names:
        yield Candidate(start + name, False)


def everything(folders: Iterable[str]) -> Iterator[Candidate]:
    """The files of all folders of a search path that are there."""
    for path in folders:
        if os.path.isdir(path):
            yield from folder(path)
