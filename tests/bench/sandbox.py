#!/usr/bin/env python3
"""sandbox - what a tool call costs more in the sandbox than without (at most 15 ms), by profile, way and folder

The first two calls of a run have a sandbox each; those after them start in one that is kept up ("kept"). With Landlock
all of them do, and the first call waits for it: that is printed, and not held against the bound.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import ROOT

sys.path.insert(0, str(ROOT / "lib"))
from agentlib.process import run
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.kept import wards

BOUND = 15.0  # milliseconds
ROUNDS = 60
ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def call(profile: str, folder: Path, way: str, rooms: wards.Wards | None) -> Callable[[], None]:
    """One call of `true` as agent-react makes it: in a sandbox of its own, or in one of those rooms."""

    def make() -> None:
        sandbox_cell._verdict = (way, "")
        with sandbox_cell.Cell(["/bin/true"], profile, str(folder), env=ENV) as cell:

            def begin(*given: int) -> run.Child:
                return rooms and rooms.begin(cell, *given) or run.start(cell.options, *given)

            assert run.run(begin, b"", 10, 10, run.Leash()).status == 0

    return make


def fresh(folder: Path) -> float:
    """Milliseconds of a call for which a sandbox is first put up and kept."""
    rooms = wards.Wards()
    spent = timed(call("read", folder, "landlock", rooms))
    rooms.close()
    return spent


def timed(make: Callable[[], None]) -> float:
    """Milliseconds of wall time."""
    begun = time.perf_counter()
    make()
    return (time.perf_counter() - begun) * 1e3


def main() -> int:
    with contextlib.suppress(PermissionError):
        os.nice(-15)  # what else the machine does matters less so
    with tempfile.TemporaryDirectory() as base:
        small, large = Path(base, "small"), Path(base, "large")
        small.mkdir()
        (large / ".git" / "hooks").mkdir(parents=True)
        for n in range(2000):
            (large / f"part{n % 40}").mkdir(exist_ok=True)
            (large / f"part{n % 40}" / f"file{n}").touch()
        for name in (".env", "AGENTS.md", ".git/config", "part1/AGENTS.md", "part2/.env"):
            (large / name).touch()
        ways = (
            ["bubblewrap", "landlock"]
            if sandbox_cell.verdict()[0] == "bubblewrap"
            else ["landlock"]
        )
        wards.ALONE, rooms = 0, wards.Wards()
        rows = [
            (
                f"{way}{', kept' if kept else ''}, {profile}, {title}",
                call(profile, folder, way, kept),
            )
            for way in ways
            for kept in (None, rooms)
            if kept or way == "bubblewrap"
            for title, folder in (("small folder", small), ("2,000 files", large))
            for profile in ("read", "work")
            if (way, profile, folder) != ("landlock", "work", large)
        ]
        bare = call("off", small, ways[0], None)
        costs = [[timed(bare), *(timed(make) for _, make in rows)] for _ in range(ROUNDS + 1)][1:]
        rooms.close()
        first_of_all = statistics.median(fresh(small) for _ in range(ROUNDS))
    first, *others = [statistics.median(column) for column in zip(*costs, strict=True)]
    print(f"{'profile off':44} {first:6.1f} ms")
    for (title, _), wall in zip(rows, others, strict=True):
        print(
            f"{title:44} {wall:6.1f} ms, {wall - first:5.1f} more, {wall / first:4.1f} times as much"
        )
    print(
        f"{'landlock, the first call of a run':44} {first_of_all:6.1f} ms, {first_of_all - first:5.1f} more"
    )
    if max(others) - first <= BOUND:
        return 0
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        print(f"more than {BOUND:g} ms more, but the machine is busy with other things: no verdict")
        return 0
    print(f"more than {BOUND:g} ms more")
    return 1


if __name__ == "__main__":
    sys.exit(main())
