"""Run a program that the user named, to its end: found, bounded, ended with us, however we end."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

from agentlib import paths
from agentlib.faults import KINDS, Fault
from agentlib.launch import start
from agentlib.process import run as process_run
from agentlib.sandbox import host
from agentlib.types import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from agentlib.process.run import Child, Outcome

BIN = os.path.join(paths.TOP, "bin")
CAP = 4 * 1024 * 1024  # bytes of its output
# Reads lines, each all the groups that are going now; at the end of its input, which is ours, it ends those left.
WATCH = 'while read -r now; do held=$now; done; [ -z "$held" ] || { kill -TERM $held; sleep 1; kill -KILL $held; }'


class Leash(process_run.Leash):
    """A leash that holds after kill -9 too: a shell beside us ends the groups that we can no longer end."""

    def __init__(self) -> None:
        super().__init__()
        self._watch: subprocess.Popen[bytes] | None = None
        self._telling = threading.Lock()

    def start(self, begin: Callable[[], Child]) -> Child:
        child = super().start(begin)
        self._tell()
        return child

    def drop(self, child: Child) -> int:
        status = super().drop(child)
        self._tell()
        return status

    def pull(self, grace: float = 0.1) -> None:
        super().pull(grace)
        self._tell()

    def _tell(self) -> None:
        with self._telling:
            if self._watch is None:
                quiet: dict[str, Any] = {
                    "stdout": subprocess.DEVNULL,
                    "stderr": subprocess.DEVNULL,
                    "cwd": "/",
                }
                words = ["/bin/sh", "-c", WATCH]
                self._watch = subprocess.Popen(
                    words, stdin=subprocess.PIPE, start_new_session=True, **quiet
                )
            assert self._watch.stdin
            held = (
                []
                if self.pulled
                else [child for child in list(self._held) if isinstance(child, process_run.Own)]
            )
            groups = "".join(f" -{child.pid}" for child in held)
            try:
                os.write(self._watch.stdin.fileno(), groups.encode() + b"\n")
            except BrokenPipeError:  # somebody has ended it: the leash holds as long as we live
                pass


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


def bound(argv: list[str]) -> list[str]:
    """The same command, told to end when the thread that starts it is gone, where the system can do that."""
    leader = shutil.which("setpriv")
    return [leader, "--pdeathsig", "TERM", "--", *argv] if leader else argv


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
        raise Fault("timeout", f"ended after {timeout:g} s")
    if ended.over:
        raise Fault("limit_exceeded", f"ended for an output of more than {CAP >> 20} MiB")
    if ended.status:
        why = ended.err.decode("utf-8", "replace").strip().splitlines()
        kind = next((k for k, status in KINDS.items() if status == ended.status), "tool_error")
        how = f"status {ended.status}" if ended.status > 0 else f"signal {-ended.status}"
        raise Fault(kind, f"{how}: {why[-1] if why else out[-200:]}".rstrip(": "))
    return out
