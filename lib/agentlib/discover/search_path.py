"""The folders in which executables of each kind are looked for, and the files in them."""

import os

from agentlib import paths
from agentlib.faults import Fault, os_errors
from agentlib.types import Iterable, Iterator


def folders_of(kind: str) -> list[str]:
    """The folders where executables of this kind are looked for."""
    more = [os.path.join(paths.TOP, "bin")] if kind == "agent" else []
    name = "tool" if kind == "agent" else kind
    variable = "" if kind == "plugin" else f"AGENT_{name.upper()}_PATH"
    return [*paths.folders(variable, f"{name}s"), *more]


def files_in(folder: str) -> Iterator[str]:
    """The files in a folder, hidden ones left out, sorted by name. A Fault for one that anyone may change."""
    if open_to_all := paths.exposed(folder):
        what = f"anyone may write to {open_to_all}: nothing in it is asked (chmod o-w)"
        raise Fault("tool_denied", f"{folder}: {what}")
    with os_errors(folder, "not_found"):
        names = sorted(name for name in os.listdir(folder) if name[0] != ".")
    start = os.path.join(os.path.abspath(folder), "")
    yield from (start + name for name in names)


def everything(folders: Iterable[str]) -> Iterator[str]:
    """The files of all folders of a search path that are there."""
    for folder in filter(os.path.isdir, folders):
        yield from files_in(folder)
