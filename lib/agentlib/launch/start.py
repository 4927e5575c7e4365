"""The only way to start a program that is no part of the suite: in a Sandbox made here (docs/safety.md).

Where a model, a plan or a record names the program, agentlib.schema.origin says whose it is and the user's policy makes
the Decision. What the user typed, as a command or a plugin, is TYPED.
"""

import os

from agentlib.faults import Fault
from agentlib.types import TYPE_CHECKING, Iterable, NamedTuple

if TYPE_CHECKING:
    from agentlib.sandbox.prepare import Sandbox

Env = dict[str, str]
Paths = Iterable[str]


class Decision(NamedTuple):
    """verdict: `allow` or `deny`. profile: of the sandbox. reason: in words. read, write, env: what is granted."""

    verdict: str
    profile: str
    reason: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    env: frozenset[str] = frozenset()


SUITE, USER, OTHER = "suite", "user", "other"  # origins
TYPED = Decision("allow", "off", "the user typed the command")


def sandbox(
    argv: list[str], origin: str, decision: Decision, env: Env, folder: str = "", read: Paths = ()
) -> "Sandbox":
    """A sandbox that is ready to start `argv`. env: its whole environment. read: more paths that it may see. Fault
    tool_denied where the decision is not `allow`. The suite's own are started by their real paths."""
    from agentlib.sandbox.prepare import Sandbox  # not loaded for --help

    if decision.verdict != "allow":
        raise Fault("tool_denied", f"{argv[0]} was not started: {decision.reason}")
    program = os.path.realpath(argv[0]) if origin == SUITE else argv[0]
    words, visible = [program, *argv[1:]], [*decision.read, *read]
    place = folder or os.getcwd()
    return Sandbox(words, decision.profile, place, env, visible, decision.write)
