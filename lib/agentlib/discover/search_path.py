"""Which files the operands of agent-discover mean: files, folders, and names looked up on the tool path."""

import os

from agentlib import paths, stderr
from agentlib.faults import NOT_FOUND, UNUSABLE, Fault, near, os_errors
from agentlib.schema import schemas
from agentlib.types import Iterable, Iterator, NamedTuple


class Candidate(NamedTuple):
    """A file whose schema may be read. named: the user named this very file, so its failure is worth a message."""

    path: str
    named: bool


# these names clash with no folder
SUITE = {f"@{kind}s": kind for kind in ("tool", "provider", "plugin", "format")}


def folders_of(kind: str) -> list[str]:
    """The folders where executables of this kind are looked for."""
    more = [os.path.join(paths.TOP, "bin")] if kind == "agent" else []
    name = "tool" if kind == "agent" else kind
    variable = "" if kind == "plugin" else f"AGENT_{name.upper()}_PATH"
    return [*paths.folders(variable, f"{name}s"), *more]


def _all_folders() -> list[str]:
    kinds = ("agent", "provider", "plugin", "format")
    return list(dict.fromkeys(path for kind in kinds for path in folders_of(kind)))


def candidates(operands: list[str], kinds: Iterable[str] = ()) -> tuple[list[Candidate], int]:
    """The files of all operands, each once; and 0, or the exit status of an operand that has none (said on stderr).

    No operand: everything on the tool path, or where these kinds are. `-` is no file.
    """
    if not operands:
        folders = dict.fromkeys(
            folder for kind in kinds or ("tool",) for folder in folders_of(kind)
        )
        return list(everything(folders)), 0
    found: dict[str, Candidate] = {}
    status = 0
    for operand in operands:
        try:
            for one in expand(operand) if operand != "-" else ():
                found.setdefault(one.path, one)
        except Fault as fault:
            stderr.warn(fault.message)
            status = NOT_FOUND if fault.kind == "not_found" else max(status, UNUSABLE)
    return list(found.values()), status


def expand(operand: str) -> Iterator[Candidate]:
    """The files of one operand, a folder's sorted by name. A Fault where there is no such thing.

    A name without a slash is looked up on the tool path, then among the suite's programs, providers and plugins,
    before the working folder: what lies where one happens to be must not take a tool's place (as with `.` in PATH).
    `@tools` is what the user and the suite have, wherever one is; where nothing here is called `tools`, so is that.
    """
    if operand in SUITE:
        suites = os.path.join(paths.TOP, operand[1:])
        yield from everything(dict.fromkeys([*folders_of(SUITE[operand]), suites]))
        return
    if os.sep not in operand:
        try:
            yield Candidate(schemas.find(operand, _all_folders()), True)
            return
        except Fault:
            pass
        if not os.path.lexists(operand):
            known = [path for path in _all_folders() if path.endswith(f"/{operand}")]
            if not known:
                hint = near(operand, [*folders_of("tool"), *_all_folders()])
                looked = os.pathsep.join(folders_of("tool"))
                why = f"{operand}: no file here, nor a tool in {looked}"
                raise Fault("not_found", why + hint)
            yield from everything(known)
            return
    if os.path.isdir(operand):
        yield from folder(operand)
    else:
        yield Candidate(os.path.abspath(operand), True)


def folder(path: str) -> Iterator[Candidate]:
    """The files in a folder, hidden ones left out, sorted by name. A Fault for one that anyone may change."""
    if open_to_all := paths.exposed(path):
        what = f"anyone may write to {open_to_all}: nothing in it is asked (chmod o-w)"
        raise Fault("tool_denied", f"{path}: {what}")
    with os_errors(path, "not_found"):
        names = sorted(name for name in os.listdir(path) if name[0] != ".")
    start = os.path.join(os.path.abspath(path), "")
    yield from (Candidate(start + name, False) for name in names)


def everything(folders: Iterable[str]) -> Iterator[Candidate]:
    """The files of all folders of a search path that are there."""
    for path in filter(os.path.isdir, folders):
        yield from folder(path)
