"""Run a program that the user named, to its end: found, bounded, ended with us, however we end."""

from __future__ import annotations

import os
import shutil

from agentlib import paths
from agentlib.faults import KINDS, Fault
from agentlib.launch import start
from agentlib.process import run as process_run
from agentlib.process import status
from agentlib.sandbox import host
from agentlib.types import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlib.process.run import Outcome

BIN = os.path.join(paths.TOP, "bin")
CAP = 4 * 1024 * 1024  # bytes of its output
Leash = process_run.Leash


def found(name: str) -> str:
    """The path of a program: of PATH, else of the suite; a Fault `not_found` where there is none.

    A name of the suite's is not found in a folder of the project, wherever PATH has that.
    """
    search = os.environ.get("PATH", os.defpath)
    ours = os.path.join(BIN, name)
    if os.path.exists(ours) and os.sep not in name:
        search = os.pathsep.join(one for one in search.split(os.pathsep) if not _project(one))
    path = shutil.which(name, path=search) or shutil.which(ours)
    if path is None:
        raise Fault("not_found", f"{name}: no such program")
    return path


def _project(folder: str) -> bool:
    """Whether a folder of PATH lies in the working folder, and is not the suite's own."""
    real = os.path.realpath(folder or ".")
    return real != BIN and host.inside(real, os.path.realpath("."))


def run(words: list[str], given: bytes, timeout: float, leash: process_run.Leash) -> Outcome:
    """What became of the program; a Fault `not_found` where there is none of that name on PATH or in the suite."""
    try:
        argv = [found(words[0]), *words[1:]]
        with start.cell(argv, start.USER, start.TYPED, env=dict(os.environ)) as cell:
            return process_run.run(cell.options, given, timeout, CAP, leash)
    except OSError as bad:
        raise Fault("not_found", f"{words[0]}: {bad.strerror}") from None


def text(words: list[str], given: bytes, timeout: float, leash: process_run.Leash) -> str:
    """The program's output; a Fault of the kind that its status says."""
    ended = run(words, given, timeout, leash)
    out = ended.out.decode("utf-8", "replace").strip()
    if ended.late:
        raise Fault("timeout", f"timed out after {timeout:g} s")
    if ended.over:
        raise Fault("limit_exceeded", f"ended for an output of more than {CAP >> 20} MiB")
    if ended.status:
        why = ended.err.decode("utf-8", "replace").strip().splitlines()
        kind = next((k for k, code in KINDS.items() if code == ended.status), "tool_error")
        how, last = status.words(ended.status), why[-1] if why else out[-200:]
        raise Fault(status.kind(ended.status, kind), f"{how}: {last}".rstrip(": "))
    return out
