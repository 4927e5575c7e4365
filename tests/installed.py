"""The suite as it is installed for the tests, by tests/prefix."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path


@functools.cache
def prefix() -> Path:
    """The prefix of the installed suite; tests/prefix makes it where tests/run has not."""
    place = os.environ.get("SUITE_PREFIX")
    if not place:
        argv = [str(Path(__file__).with_name("prefix"))]
        place = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return Path(place)


def suite() -> Path:
    """The folder with bin/, tools/, providers/, plugins/ and lib/, by the path that stays at an upgrade."""
    return prefix() / "lib/agentutils"


CHECKOUT = Path(__file__).parent.parent


def path(*more: str) -> str:
    """The search path of a user: the suite's programs, and the system's with `more` of those of tests alone."""
    return f"{prefix()}/bin:{system(*more)}"


def alone(name: str) -> Path:
    """A program that only tests may find, unless they put it on a PATH."""
    return suite().resolve() / "share/alone" / name / name


def system(*more: str) -> str:
    """The search path of the system's programs, bubblewrap and `more` of those of tests alone."""
    folders = [
        suite().resolve() / "share/system",
        *(alone(name).parent for name in ("bwrap", *more)),
    ]
    return ":".join(map(str, folders))
