#!/usr/bin/env python3
"""sandbox - what a tool call costs more in the sandbox than without, by profile, way, folder and deed

Bounds: 3 ms for a call in a kept sandbox; 10 ms for the first call of a run of agent-react, which starts
one beside its first request to a model, here one that answers at once. What a first call takes where nothing
was started before is printed and has no bound. A call that writes, for which a new overlay is made, has none either.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measure import ROOT, model

sys.path.insert(0, str(ROOT / "lib"))
from agentlib.process import run as process_run
from agentlib.process.supervised import Supervised
from agentlib.sandbox import prepare
from agentlib.sandbox.kept.pool import SandboxPool

BOUND, ALONE = 3.0, 10.0  # milliseconds
ROUNDS = 60
ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
RULES = """def reply(body):
    call = {"name": "three", "arguments": {}}
    return "done" if body["messages"][-1]["role"] == "tool" else {"tool_calls": [call]}
"""
WRITE = ("/bin/sh", "-c", "echo x >made")


def call(profile: str, folder: Path, way: str, pool: SandboxPool, *argv: str) -> Callable[[], None]:
    """One call as agent-react makes it, in a sandbox of this pool."""

    def make() -> None:
        prepare._ways[True] = (way.replace("off", "bubblewrap"), "")
        argv_ = list(argv or ["/bin/true"])
        with prepare.Sandbox(argv_, profile, str(folder), env=ENV) as sandbox:
            begin = partial(pool.begin, sandbox)
            assert process_run.run(begin, b"", 10, 10, process_run.Scope()).status == 0

    return make


def fresh(folder: Path, way: str) -> float:
    """Milliseconds of a call for which everything is started first."""
    if server := Supervised._server:
        server[0].close()
        server[1].reap()
        Supervised._server = None
    pool = SandboxPool()
    spent = timed(call("read" if way != "off" else "off", folder, way, pool))
    pool.close()
    return spent


def first(base: Path, way: str) -> float:
    """Milliseconds of the first call of a run of agent-react whose model answers at once: a median of 11 runs."""
    tool = base / "three"
    tool.write_text("#!/bin/sh\n# three (answers --agent-schema)\necho 3\n")
    tool.chmod(0o755)
    programs = base / "programs"
    programs.mkdir(exist_ok=True)
    for one in ("/usr/bin", "/bin"):
        for name in set(os.listdir(one)) - {"bwrap", *os.listdir(programs)}:
            (programs / name).symlink_to(f"{one}/{name}")
    record = {"type": "tool", "name": "three", "description": "d", "command": [str(tool)]}
    record |= {"inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    argv = [
        str(ROOT / "bin/agent-react"),
        "--events",
        *(["--sandbox", "off"] if way == "off" else []),
        "go",
    ]
    spent = []
    with model(RULES) as env:
        if way == "landlock":
            env["PATH"] = f"{ROOT}/.venv/bin:{programs}"
        for _ in range(11):
            stdin = json.dumps(record).encode() + b"\n"
            ran = subprocess.run(argv, input=stdin, env=env, cwd=base, capture_output=True)
            records = map(json.loads, ran.stdout.splitlines())
            spent.append(next(one["duration_ms"] for one in records if one.get("role") == "tool"))
    return statistics.median(spent)


def timed(make: Callable[[], None]) -> float:
    """Milliseconds of wall time."""
    begun = time.perf_counter()
    make()
    return (time.perf_counter() - begun) * 1e3


def folders(base: Path) -> list[tuple[str, Path]]:
    """A small folder and one with 2,000 files, secrets and guarded paths."""
    small, large = base / "small", base / "large"
    small.mkdir()
    (large / ".git" / "hooks").mkdir(parents=True)
    for n in range(2000):
        (large / f"part{n % 40}").mkdir(exist_ok=True)
        (large / f"part{n % 40}" / f"file{n}").touch()
    for name in (".env", "AGENTS.md", ".git/config", "part1/AGENTS.md", "part2/.env"):
        (large / name).touch()
    return [("small folder", small), ("2,000 files", large)]


def main() -> int:
    with contextlib.suppress(PermissionError):
        os.nice(-15)  # what else the machine does matters less so
    with tempfile.TemporaryDirectory() as base:
        places, pool = folders(Path(base)), SandboxPool()
        small = places[0][1]
        ways = ["landlock"]
        if prepare.walled()[0] == "bubblewrap":
            ways.insert(0, "bubblewrap")
        rows = [
            (f"{way}, {profile}, {title}", call(profile, folder, way, pool))
            for way in ways
            for title, folder in places
            for profile in ("read", "work")
            if (way, profile, title) != ("landlock", "work", "2,000 files")
        ]
        written = Path(base) / "written"
        written.mkdir()
        others = [
            (f"{way}, work, a call that writes", call("work", written, way, pool, *WRITE))
            for way in ways
        ]
        bare = call("off", small, ways[0], pool)
        made = [bare, *(make for _, make in rows), *(make for _, make in others)]
        costs = [[timed(make) for make in made] for _ in range(ROUNDS + 1)][1:]
        pool.close()
        least, *walls = [statistics.median(column) for column in zip(*costs, strict=True)]
        colds = [statistics.median(fresh(small, way) for _ in range(11)) for way in ("off", *ways)]
        alone = [first(Path(base), way) for way in ("off", *ways)]
    print(f"{'profile off':44} {least:6.1f} ms")
    for (title, _), wall in zip([*rows, *others], walls, strict=True):
        times = wall / least
        print(f"{title:44} {wall:6.1f} ms, {wall - least:5.1f} more, {times:4.1f} times as much")
    for title, column in (
        ("if nothing was started", colds),
        ("the first of agent-react", alone),
    ):
        for way, wall in zip(("off", *ways), column, strict=True):
            print(
                f"{f'{way}, {title}':44} {wall:6.1f} ms, {wall - least:5.1f} more than one kept off"
            )
    if max(walls[: len(rows)]) - least <= BOUND and max(alone[1:]) - least <= ALONE:
        return 0
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        print(f"more than {BOUND:g} ms more, but the machine is busy with other things: no verdict")
        return 0
    print(f"more than {BOUND:g} ms more, or {ALONE:g} for a first call")
    return 1


if __name__ == "__main__":
    sys.exit(main())
