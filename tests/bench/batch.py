#!/usr/bin/env python3
"""batch - 1,000 tasks with a tool call each, 4,000 without, in one agent-react; the same by hand with asyncio

Bounds: with tools, wall at most 1.5 times (two latencies of 1 s, and the tools' own CPU over the cores); without, at
most 60 kB a task over one task's, the resident memory of all processes together. Beside it the wall time of the same
calls in the sandbox with nothing around them: less than that, and the latencies, no agent can take.
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

from measure import ROOT, model

sys.path.insert(0, str(ROOT / "lib"))
from agentlib import sandbox  # noqa: E402

LATENCY = 1.0
RULES = '''
def reply(body):
    if body["messages"][-1]["role"] == "tool" or "tools" not in body:
        return "done"
    return {"tool_calls": [{"name": "three", "arguments": {}}]}
'''
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


def run(argv: Sequence[str], env: dict[str, str], stdin: Path | str = os.devnull) -> tuple[float, float, int]:
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
    record = {"type": "tool", "name": "three", "description": "Say three", "inputSchema": {"type": "object"},
              "command": [str(tool)], "annotations": {"readOnlyHint": True}}
    lines = [json.dumps(record)] if tool else []
    file.write_text("".join(f"{line}\n" for line in [*lines, *['{"type":"task","input":"go"}'] * count]))
    return file


def bare(tool: Path, count: int) -> float:
    """Seconds of CPU that the tool itself takes so many times."""
    before = os.times()
    for _ in range(count):
        subprocess.run([tool], input=b"{}\n", stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def cells(tool: Path, count: int) -> float:
    """Seconds that so many calls take in the sandbox alone, a few at a time: no model, no agent."""
    call = [str(tool)]

    def one(_: int) -> None:
        with sandbox.Cell(call, "read", str(tool.parent), env={"PATH": os.defpath}) as cell:
            subprocess.run(**cell.options, input=b"{}\n", stdout=subprocess.DEVNULL, check=True)

    began = time.monotonic()
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        list(pool.map(one, range(count)))
    return time.monotonic() - began


def main() -> int:
    with model(RULES, "--latency", str(LATENCY)) as env:
        folder = Path(env["HOME"])
        tool = folder / "three"
        tool.write_text(TOOL)
        tool.chmod(0o755)
        raw = [sys.executable, str(ROOT / "tests/bench/batch_raw.py")]
        react = [str(ROOT / "bin/agent-react"), "--jobs"]
        limit = 2 * LATENCY + bare(tool, 1000) / (os.cpu_count() or 1)
        rows: list[tuple[str, list[str], Path | str]] = [
            ("agent-react", [*react, "1000"], tasks(folder, 1000, tool)),
            ("agent-react --sandbox off", [*react, "1000", "--sandbox", "off"], tasks(folder, 1000, tool)),
            ("asyncio by hand", [*raw, "1000", env["OPENAI_BASE_URL"], str(tool)], os.devnull)]
        good = True
        print(f"1,000 calls in the sandbox:  nothing else                {cells(tool, 1000):6.2f} s", flush=True)
        for name, argv, stdin in rows:
            wall, cpu, peak = run(argv, {**env, "TASKS": "1000"}, stdin)
            good &= wall <= 1.5 * limit or name != "agent-react"
            print(f"1,000 tasks with a tool: {name:26} {wall:6.2f} s = {wall / limit:4.2f} of the limit"
                  f" (at most 1.5), cpu {cpu:5.2f} s, {peak // 1024} MiB", flush=True)
        address = env["OPENAI_BASE_URL"]
        for name, argv, one in (("agent-react", [*react, "4000"], [*react, "1"]),
                                ("asyncio by hand", [*raw, "4000", address], [*raw, "1", address])):
            ours = name == "agent-react"
            least = run(one, {**env, "TASKS": "1"}, tasks(folder, 1, None) if ours else os.devnull)
            wall, cpu, peak = run(argv, {**env, "TASKS": "4000"}, tasks(folder, 4000, None) if ours else os.devnull)
            each = (peak - least[2]) / 4000
            good &= each <= 60 or not ours
            print(f"4,000 tasks without:     {name:26} {wall:6.2f} s, cpu {cpu:5.2f} s, {each:4.1f} kB a task"
                  " (at most 60)", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
