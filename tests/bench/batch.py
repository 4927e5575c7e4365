#!/usr/bin/env python3
"""batch - 1,000 tasks with a tool call each, 4,000 without, in one agent-react; the same by hand with asyncio

Bounds: with tools, wall at most 1.5 times the limit: two latencies of 1 s, and the CPU of the tools themselves over the
cores, where they run: in the sandbox. (The ratio to the limit of the bare tools is printed too. The sandbox alone takes
longer than that allows, and asyncio by hand without any just keeps it.) Without tools, at most 60 kB a task over one
task's, the resident memory of all processes together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from concurrency import vendor
from measure import ROOT, surroundings

sys.path.insert(0, str(ROOT / "lib"))
from agentlib.process import run as process_run
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.kept import wards

LATENCY = 1.0
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
    argv: Sequence[str], env: dict[str, str], stdin: Path | str = os.devnull
) -> tuple[float, float, int]:
    """(wall s, CPU s, peak kB) of a command that must print as many results as there are tasks."""
    began, peak = time.monotonic(), 0
    with open(stdin, "rb") as given, tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, env=env, stdin=given, stdout=out)
        usage: list[tuple[int, int, os.struct_rusage]] = []  # type: ignore[name-defined]
        waiter = threading.Thread(target=lambda: usage.append(os.wait4(child.pid, 0)))  # type: ignore[arg-type]
        waiter.start()
        while not usage:
            peak = max(peak, resident(child.pid))
            time.sleep(0.05)
        waiter.join()
        child.returncode = 0
        wall = time.monotonic() - began
        out.seek(0)
        good = sum(b'"type":"result"' in line and b'"error"' not in line for line in out)
    if good != int(env["TASKS"]):
        sys.exit(f"{argv}: {good} results of {env['TASKS']}")
    return wall, usage[0][2].ru_utime + usage[0][2].ru_stime, peak


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


def bare(tool: Path, count: int) -> float:
    """Seconds of CPU that the tool itself takes so many times, over the cores."""
    before = os.times()
    for _ in range(count):
        subprocess.run([tool], input=b"{}\n", stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    spent = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return spent / (os.cpu_count() or 1)


def sandboxed(tool: Path, count: int) -> float:
    """Seconds that so many calls take in the sandbox with all cores busy, and no model and no agent around them."""
    rooms = wards.Wards()

    def one(_: int) -> None:
        with sandbox_cell.Cell(
            [str(tool)], "read", str(tool.parent), env={"PATH": os.defpath}
        ) as cell:

            def begin(*given: int) -> process_run.Child:
                return rooms.begin(cell, *given)

            assert process_run.run(begin, b"{}\n", 60, 100, process_run.Leash()).out == b"3\n"

    began = time.monotonic()
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        list(pool.map(one, range(count)))
    spent = time.monotonic() - began
    rooms.close()
    return spent


def main() -> int:
    with vendor(LATENCY) as address, tempfile.TemporaryDirectory(prefix="bench-") as home:
        env, folder = surroundings(home, address), Path(home)
        tool = folder / "three"
        tool.write_text(TOOL)
        tool.chmod(0o755)
        raw = [sys.executable, str(ROOT / "tests/bench/batch_raw.py")]
        react = [str(ROOT / "bin/agent-react"), "--jobs"]
        least, limit = 2 * LATENCY + bare(tool, 1000), 2 * LATENCY + sandboxed(tool, 1000)
        rows: list[tuple[str, list[str], Path | str]] = [
            ("agent-react", [*react, "1000"], tasks(folder, 1000, tool)),
            (
                "agent-react --sandbox off",
                [*react, "1000", "--sandbox", "off"],
                tasks(folder, 1000, tool),
            ),
            ("asyncio by hand", [*raw, "1000", address, str(tool)], os.devnull),
        ]
        good = True
        print(f"the limit: {limit:.2f} s in the sandbox, {least:.2f} s without")
        for name, argv, stdin in rows:
            wall, cpu, peak = run(argv, {**env, "TASKS": "1000"}, stdin)
            good &= wall <= 1.5 * limit or name != "agent-react"
            ratios = (
                f"{wall / limit:4.2f} of the limit (at most 1.5), "
                if name == "agent-react"
                else " " * 36
            )
            print(
                f"1,000 tasks with a tool: {name:26} {wall:6.2f} s = {ratios}{wall / least:4.2f} of that without; "
                f"cpu {cpu:5.2f} s, {peak // 1024} MiB",
                flush=True,
            )
        for name, argv, one in (
            ("agent-react", [*react, "4000"], [*react, "1"]),
            ("asyncio by hand", [*raw, "4000", address], [*raw, "1", address]),
        ):
            ours = name == "agent-react"
            least = run(one, {**env, "TASKS": "1"}, tasks(folder, 1, None) if ours else os.devnull)
            wall, cpu, peak = run(
                argv, {**env, "TASKS": "4000"}, tasks(folder, 4000, None) if ours else os.devnull
            )
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
