"""Run foreign programs briefly and at once: no shell, no input, little output, an end for sure."""

import os
import time
from functools import partial

from agentlib.faults import Fault
from agentlib.process import run as process_run
from agentlib.process.child import Child
from agentlib.process.run import Begin, Leash
from agentlib.sandbox.kept.wards import Wards
from agentlib.types import TYPE_CHECKING, Callable, NamedTuple, Sequence

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell


class Outcome(NamedTuple):
    """How a program ended.

    status: its exit status, -N after signal N, None where `why` says what stopped it. out, err: what it
    wrote, up to the cap. seconds: wall time. why: "", or one phrase ("no answer within 3 s").
    """

    status: int | None
    out: bytes
    err: bytes
    seconds: float
    why: str


OUTPUT = 64 * 1024  # bytes of standard output; more ends the program
AT_ONCE = 8  # programs: more only wait for each other on a small machine
LIMIT = 3.0  # seconds for a program
BUSY = 5.0  # times as long at most, on a busy machine


def busy() -> float:
    """How many times longer a program takes now than alone: the processes that want a core, a core; from 1 to BUSY."""
    wanting = 0.0
    try:
        wanting = os.getloadavg()[0]
        with open("/proc/stat") as file:
            counts = dict(line.split()[:2] for line in file if line.startswith("procs_"))
        wanting = max(wanting, sum(map(int, counts.values())))
    except (OSError, ValueError):
        pass
    return min(BUSY, max(1.0, wanting / len(os.sched_getaffinity(0))))


def run(
    keys: Sequence[str],
    prepare: "Callable[[str], Cell]",
    timeout: float | None,
    stdin: int | None = None,
) -> dict[str, Outcome]:
    """Run a program for each key, AT_ONCE at a time; how each ended, by its key.

    prepare: makes the start of a key's program ready, when its turn comes; a Fault of it is an Outcome too.
    timeout: seconds for each; None: LIMIT, and longer on a busy machine. stdin: what each reads; None: nothing.
    """
    leash, wards, outcomes = process_run.Leash(), Wards(), dict[str, Outcome]()

    def begin(cell: "Cell", passed: int, *files: int) -> Child:
        return wards.begin(cell, passed if stdin is None else stdin, *files)

    def work(key: str) -> None:
        try:
            with prepare(key) as cell:
                outcomes[key] = _one(partial(begin, cell), timeout or LIMIT * busy(), leash)
        except (Fault, OSError) as bad:
            why = bad.message if isinstance(bad, Fault) else f"cannot be run: {bad.strerror}"
            outcomes[key] = Outcome(None, b"", b"", 0.0, why)

    try:
        list(process_run.at_once(AT_ONCE, keys, work, leash))
    finally:
        wards.close()
    return {key: outcomes[key] for key in keys}


def _one(begin: Begin, timeout: float, leash: Leash) -> Outcome:
    start = time.monotonic()
    done = process_run.run(begin, b"", timeout, OUTPUT, leash, grace=0.0)
    why = f"no answer within {timeout:.3g} s" if done.late else ""
    if done.over:
        why = f"more than {OUTPUT >> 10} KiB of output"
    status = None if why else done.status
    return Outcome(status, done.out, done.err, time.monotonic() - start, why)
