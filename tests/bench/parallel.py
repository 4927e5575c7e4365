#!/usr/bin/env python3
"""What agent-parallel costs: a task more than by hand, and 10,000 tasks at 8 workers against the limit of latency.

`each`: 10,000 tasks through an agent that answers at once, 8 workers, less the same agent fed by a pipe: at most 2 ms
of wall time a task; and the CPU of the controller alone. `limit`: 10,000 tasks of agent-react, 8 workers with 25 tasks
at work each, and a vendor that takes 2 s: at most 1.15 times 10,000 / 200 * 2 s. Needs GNU parallel. A number on the
command line stands for 10,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from concurrency import vendor
from measure import ROOT, surroundings

WORKERS = 8
JOBS = 25
LATENCY = 2.0
AGENT = """#!/usr/bin/env -S python3 -IS
import json, sys
for line in sys.stdin:
    task = json.loads(line)
    result = {"type": "result", "id": task["id"], "output": "x", "incomplete": False}
    print(json.dumps(result, separators=(",", ":")), flush=True)
"""


def run(argv: list[str], env: dict[str, str], tasks: Path, count: int) -> tuple[float, float]:
    """(wall s, CPU s of the process) of a command that must give a good result for each task, once."""
    began, before = time.monotonic(), os.times()
    with tasks.open("rb") as stdin, tempfile.TemporaryFile() as out:
        subprocess.run(argv, env=env, stdin=stdin, stdout=out, check=True)
        wall, after = time.monotonic() - began, os.times()
        out.seek(0)
        ids = {line.partition(b'"id":')[2].split(b",")[0] for line in out if b'"error"' not in line}
    if len(ids) != count:
        sys.exit(f"{argv}: {len(ids)} results of {count}")
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return wall, cpu


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    parallel = [str(ROOT / "bin/agent-parallel"), "--quiet", "--local", str(WORKERS)]
    with vendor(LATENCY) as address, tempfile.TemporaryDirectory(prefix="bench-") as home:
        env, folder = surroundings(home, address), Path(home)
        agent, tasks = folder / "agent", folder / "tasks"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        tasks.write_text(
            "".join(f'{{"type":"task","id":{n},"input":"go"}}\n' for n in range(count))
        )
        alone = run([str(agent)], env, tasks, count)
        spread = run([*parallel, "--", str(agent)], env, tasks, count)
        each = (spread[0] - alone[0]) / count * 1000
        print(
            f"each:  {each:5.2f} ms a task (at most 2), {spread[1] / count * 1000:.2f} ms of CPU in the controller",
            flush=True,
        )
        limit = count / (WORKERS * JOBS) * LATENCY
        wall, cpu = run([*parallel, "--jobs", str(JOBS)], env, tasks, count)
        print(
            f"limit: {wall:6.1f} s = {wall / limit:4.2f} of the limit of latency (at most 1.15), "
            f"{count / wall:.0f} tasks a second, {cpu / count * 1000:.2f} ms of CPU in the controller a task"
        )
    return 0 if each <= 2 and wall <= 1.15 * limit else 1


if __name__ == "__main__":
    sys.exit(main())
