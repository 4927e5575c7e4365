"""Run a program that the user named, to its end: found, bounded, ended with us."""

from __future__ import annotations

import os
import shutil

from agentlib import process
from agentlib.faults import KINDS, Fault
from agentlib.paths import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agentlib.process import Leash, Outcome

BIN = str(ROOT / "bin")
CAP = 4 * 1024 * 1024  # bytes of its output


def run(words: list[str], given: bytes, timeout: float, leash: Leash) -> Outcome:
    """What became of the program; a Fault `not_found` where there is none of that name on PATH or in the suite."""
    path = shutil.which(words[0]) or shutil.which(os.path.join(BIN, words[0]))
    if path is None:
        raise Fault("not_found", f"{words[0]}: no such program")
    argv = [path, *words[1:]]
    if leader := shutil.which("setpriv"):  # so that it ends when we are killed
        argv = [leader, "--pdeathsig", "TERM", "--", *argv]
    try:
        return process.run({"args": argv}, given, timeout, CAP, leash)
    except OSError as bad:
        raise Fault("not_found", f"{words[0]}: {bad.strerror}") from None


def text(words: list[str], given: bytes, timeout: float, leash: Leash) -> str:
    """The program's output; a Fault of the kind that its status says."""
    ended = run(words, given, timeout, leash)
    out = ended.out.decode("utf-8", "replace").strip()
    if ended.late:
        raise Fault("timeout", f"ended after {timeout:g} s")
    if ended.status:
        why = ended.err.decode("utf-8", "replace").strip().splitlines()
        kind = next((k for k, status in KINDS.items() if status == ended.status), "tool_error")
        raise Fault(kind, f"status {ended.status}: {why[-1] if why else out[-200:]}")
    return out
