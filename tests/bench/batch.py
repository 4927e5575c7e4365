#!/usr/bin/env python3
"""batch [PREFIX] - 1,000 tasks with a tool call each, 4,000 without, in one agent-react; the same by hand with asyncio

PREFIX: of an installed suite (`~/.local`); else the checkout is measured, whose programs are longer in starting.
Bounds: with a tool, in the sandbox, at most 1.3 times the wall time of asyncio by hand, which has no sandbox (medians
of three rounds, in turn; the CPU of all processes is printed too). Without tools, at most 60 kB a task over one task's,
the resident memory of all processes together.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from concurrency import vendor
from measure import ROOT, surroundings

LATENCY, ROUNDS = 1.0, 3
stay: set[int] = set()  # of our children: the vendor
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
TOOL = "#!/bin/sh\n# three - say three (answers --agent-schema)\necho 3\n"


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in below for one in tree(int(child)))]


def resident(pid: int) -> int:
    """kB of resident memory of all of them, what they share counted once (Pss)."""
    total = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def run(
    argv: Sequence[str], env: dict[str, str], stdin: Path | str = os.devnull, look: float = 60.0
) -> tuple[float, float, int]:
    """(wall s, CPU s, peak kB) of a command that must print as many results as there are tasks. look: seconds between
    two looks at the memory, each of which takes a part of what is measured."""
    began = time.monotonic()
    before = used()
    peak = 0
    with open(stdin, "rb") as stdin_file, tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, env=env, stdin=stdin_file, stdout=out)
        waiter = threading.Thread(target=child.wait)
        waiter.start()
        while waiter.is_alive():
            waiter.join(look)
            peak = max(peak, resident(child.pid) if look < 1 else 0)
        wall = time.monotonic() - began
        out.seek(0)
        good = sum(b'"type":"result"' in line and b'"error"' not in line for line in out)
    if good != int(env["TASKS"]):
        sys.exit(f"{argv}: {good} results of {env['TASKS']}")
    return wall, used() - before, peak


def used() -> float:
    """Seconds of CPU of all that has ended below us; what others leave is ours to wait for."""
    until = time.monotonic() + 2
    while set(tree(os.getpid())[1:]) - stay and time.monotonic() < until:
        os.waitpid(-1, os.WNOHANG)
        time.sleep(0.001)
    times = os.times()
    return times.children_user + times.children_system


def tasks(folder: Path, count: int, tool: Path | None) -> Path:
    """A stream of so many tasks, after the record of the tool."""
    file = folder / f"tasks-{count}.jsonl"
    record = {
        "type": "tool",
        "name": "three",
        "description": "Say three",
        "inputSchema": {"type": "object"},
        "command": [str(tool)],
        "annotations": {"readOnlyHint": True},
    }
    lines = [json.dumps(record)] if tool else []
    file.write_text(
        "".join(f"{line}\n" for line in [*lines, *['{"type":"task","input":"go"}'] * count])
    )
    return file


def main() -> int:
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    suite = Path(sys.argv[1]).absolute() if sys.argv[1:] else ROOT
    with vendor(LATENCY) as address, tempfile.TemporaryDirectory(prefix="bench-") as home:
        stay.update(tree(os.getpid())[1:])
        env, folder = surroundings(home, address), Path(home)
        env["PATH"] = f"{suite}/bin:{env['PATH']}"
        tool = folder / "three"
        tool.write_text(TOOL)
        tool.chmod(0o755)
        raw = [sys.executable, str(ROOT / "tests/bench/batch_raw.py")]
        react, stream = [str(suite / "bin/agent-react"), "--jobs"], tasks(folder, 1000, tool)
        rows: dict[str, tuple[list[str], Path | str]] = {
            "asyncio by hand": ([*raw, "1000", address, str(tool)], os.devnull),
            "agent-react": ([*react, "1000"], stream),
            "agent-react --no-history": ([*react, "1000", "--no-history"], stream),
            "agent-react --sandbox off": ([*react, "1000", "--sandbox", "off"], stream),
        }
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in rows}
        for _ in range(ROUNDS):
            for name, (argv, stdin) in rows.items():
                found[name].append(run(argv, {**env, "TASKS": "1000"}, stdin))
        walls = {name: median(one[0] for one in runs) for name, runs in found.items()}
        good = walls["agent-react"] <= 1.3 * walls["asyncio by hand"]
        for name, wall in walls.items():
            ratio, cpu = wall / walls["asyncio by hand"], median(one[1] for one in found[name])
            print(
                f"1,000 tasks with a tool: {name:26} {wall:6.2f} s = {ratio:4.2f} of asyncio by hand, cpu {cpu:5.2f} s",
                flush=True,
            )
        for name, argv, one in (
            ("agent-react", [*react, "4000"], [*react, "1"]),
            ("asyncio by hand", [*raw, "4000", address], [*raw, "1", address]),
        ):
            ours = name == "agent-react"
            first, all_of_them = (
                tasks(folder, count, None) if ours else os.devnull for count in (1, 4000)
            )
            least = run(one, {**env, "TASKS": "1"}, first, 0.05)
            wall, cpu, peak = run(argv, {**env, "TASKS": "4000"}, all_of_them, 0.05)
            each = (peak - least[2]) / 4000
            good &= each <= 60 or not ours
            print(
                f"4,000 tasks without:     {name:26} {wall:6.2f} s, cpu {cpu:5.2f} s, {each:4.1f} kB a task"
                " (at most 60)",
                flush=True,
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
