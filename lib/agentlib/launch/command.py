"""Run a program that the user named, to its end: found, bounded, ended with us, however we end."""

import os

from agentlib import budget, paths, records
from agentlib.faults import KINDS, UNUSABLE, Fault, os_errors
from agentlib.launch import start
from agentlib.process import run as process_run
from agentlib.process import status
from agentlib.process.run import Outcome
from agentlib.process.unusable import broken, unusable
from agentlib.sandbox import host
from agentlib.types import Any, Iterable

BIN = os.path.join(paths.TOP, "bin")
CAP = 4 * 1024 * 1024  # bytes of its output
Scope = process_run.Scope


def found(name: str, first: Iterable[str] = ()) -> str:
    """The path of a program in the folders `first`, on PATH, or in the suite; unusable() says why there is none. A
    program of the suite is not looked for in folders of PATH that lie in the working folder."""
    search = os.environ.get("PATH", os.defpath)
    if os.sep not in name and os.path.exists(os.path.join(BIN, name)):
        real = {folder: os.path.realpath(folder or ".") for folder in search.split(os.pathsep)}
        here, ours = os.path.realpath("."), os.path.realpath(BIN)
        kept = [f for f in real if real[f] == ours or not host.inside(real[f], here)]
        search = os.pathsep.join(kept)
    folders = [*first, *search.split(os.pathsep)] if os.sep not in name else [""]
    places = [os.path.join(one, name) for one in (*folders, BIN)]
    for path in places:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            if broken(path)[:2] == "#!":
                raise unusable(path)
            return path
    raise unusable(next(filter(os.path.exists, places), name))


def run(argv: list[str], stdin: bytes, timeout: float, scope: Scope, **options: Any) -> Outcome:
    """The outcome of the program. options: another `folder` or `env` than ours."""
    words = [found(argv[0]), *argv[1:]]
    where = {"env": dict(os.environ), **options}
    with starting(words), start.sandbox(words, start.USER, start.TYPED, **where) as made:
        return process_run.run(made.options, stdin, timeout, CAP, scope)


def starting(argv: list[str]) -> os_errors:
    """An OSError inside of this block is why the program was not started."""
    return os_errors(f"{argv[0]}: cannot be run", "invalid_request", exit=UNUSABLE)


def described(words: list[str]) -> bool:
    """Whether a command is to say what it is, and nothing else; then what it says is printed: so an agent that runs its
    agent-react through one of us answers --help and --agent-schema."""
    options = words[: words.index("--")] if "--" in words else words
    if not {"--agent-schema", "--help", "--version"}.intersection(options):
        return False
    records.put(f"{text(words, b'', 10, Scope())}\n".encode())
    return True


def text(argv: list[str], stdin: bytes, timeout: float, scope: Scope) -> str:
    """The program's output; a Fault of the kind that its status says."""
    outcome = run(argv, stdin, timeout, scope)
    if fault := failure(outcome, timeout):
        raise fault
    return outcome.out.decode("utf-8", "replace").strip()


def failure(outcome: Outcome, timeout: float) -> Fault | None:
    """The Fault of a program that did not do its work, of the kind that its status says."""
    if outcome.late:
        return Fault("timeout", f"timed out after {timeout:g} s")
    if outcome.over:
        return Fault("limit_exceeded", f"ended for an output of more than {CAP >> 20} MiB")
    if not (code := outcome.status):
        return None
    kind = next((name for name, number in KINDS.items() if number == code), "tool_error")
    errors = outcome.err.decode("utf-8", "replace").strip().splitlines()
    why = errors[-1] if errors else outcome.out.decode("utf-8", "replace").strip()[-200:]
    if budget.REFUSAL in why:
        kind = "limit_exceeded"
    return Fault(status.kind(code, kind), f"{status.words(code)}: {why}".rstrip(": "), code)


def keyless(granted: Iterable[str] = ()) -> dict[str, str]:
    """Our environment for a plugin: without what looks like a secret (a provider's key), but for `granted`."""
    from agentlib.environment import secret

    pairs = os.environ.items()
    return {name: value for name, value in pairs if name in granted or not secret(name, value)}
