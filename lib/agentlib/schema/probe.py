"""Run foreign programs briefly and at once: no shell, no input, little output, an end for sure."""

import os

from agentlib import paths
from agentlib.faults import Fault
from agentlib.launch import start
from agentlib.process import run as process_run
from agentlib.process.at_once import at_once
from agentlib.process.child import Child
from agentlib.process.run import Outcome
from agentlib.sandbox.kept.pool import SandboxPool
from agentlib.types import TYPE_CHECKING, Mapping, Sequence

if TYPE_CHECKING:
    from agentlib.sandbox.prepare import Sandbox


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
    commands: Mapping[str, Sequence[str]],
    timeout: float | None,
    profile: str = "probe",
    folder: str = "",
    stdin: int | None = None,
) -> dict[str, Outcome | Fault]:
    """Run each file with its arguments, AT_ONCE at a time, in an empty home and folder (or this one): how each ended;
    or why it could not be run to its end, in a phrase ("no answer within 3 s").

    profile: the sandbox of all but our own. They see no key and no configuration, the suite's own programs first.
    timeout: seconds for each; None: LIMIT, and longer on a busy machine. stdin: what each reads; None: nothing.
    """
    if not folder:
        import tempfile

        try:
            made = tempfile.TemporaryDirectory(prefix="agent-probe-", ignore_cleanup_errors=True)
        except OSError:  # nothing can be written anywhere, so they cannot either
            return run(commands, timeout, profile, "/", stdin)
        with made as folder:
            return run(commands, timeout, profile, folder, stdin)
    scope, pool, outcomes = process_run.Scope(), SandboxPool(), dict[str, Outcome | Fault]()

    def work(path: str) -> None:
        patience = timeout or LIMIT * busy()
        try:
            with _sandbox([os.path.abspath(path), *commands[path]], profile, folder) as sandbox:

                def begin(passed: int, *others: int) -> Child:
                    return pool.begin(sandbox, passed if stdin is None else stdin, *others)

                done = process_run.run(begin, b"", patience, OUTPUT, scope, grace=0.0)
        except (Fault, OSError) as bad:
            why = bad.message if isinstance(bad, Fault) else f"cannot be run: {bad.strerror}"
        else:
            why = f"no answer within {patience:.3g} s" if done.late else ""
            why = f"more than {OUTPUT >> 10} KiB of output" if done.over else why
        outcomes[path] = Fault("bad_response", why) if why else done

    try:
        list(at_once(AT_ONCE, commands, work, scope))
    finally:
        pool.close()
    return {path: outcomes[path] for path in commands}


def _sandbox(argv: list[str], profile: str, folder: str) -> "Sandbox":
    origin = start.SUITE if paths.of_suite(argv[0]) else start.OTHER
    how = start.Decision("allow", "off" if origin == start.SUITE else profile, "its mark")
    search = os.pathsep.join([os.path.join(paths.TOP, "bin"), os.environ.get("PATH") or os.defpath])
    env = {"PATH": search, "HOME": folder, "TMPDIR": folder}
    env["LANG"] = os.environ.get("LANG", "C.UTF-8")
    return start.sandbox(argv, origin, how, folder=folder, env=env)
