"""The one door: whatever is not the suite's own machinery is started by what `cell` makes ready (docs/safety.md).

Whose program it is (`origin`) is decided in agentlib.schema.origin where a model, a plan or a record names it, and
then the Decision is the user's policy's. What the user typed, as a command or a plugin, is TYPED.
"""

from __future__ import annotations

import os

from agentlib.faults import Fault
from agentlib.types import TYPE_CHECKING, Iterable, NamedTuple

if TYPE_CHECKING:
    from agentlib.sandbox.cell import Cell


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


def cell(
    argv: list[str],
    origin: str,
    decision: Decision,
    *,
    env: dict[str, str],
    folder: str = "",
    read: Iterable[str] = (),
) -> Cell:
    """Make a start ready. env: all that the program gets of the environment. read: more paths to see.

    Fault tool_denied without an allow. What is the suite's is started by the real path that was judged, so that a
    link moved meanwhile starts nothing else.
    """
    from agentlib.sandbox.cell import Cell  # not loaded for --help

    if decision.verdict != "allow":
        raise Fault("tool_denied", f"{argv[0]} was not started: {decision.reason}")
    program = os.path.realpath(argv[0]) if origin == SUITE else argv[0]
    return Cell(
        [program, *argv[1:]],
        decision.profile,
        folder or os.getcwd(),
        env=env,
        read=[*decision.read, *read],
        write=decision.write,
    )


def keyless(granted: Iterable[str] = ()) -> dict[str, str]:
    """Our environment for a plugin: without what looks like a secret, a provider's key above all; but `granted`."""
    from agentlib.environment import secret

    return {
        name: value
        for name, value in os.environ.items()
        if name in granted or not secret(name, value)
    }
