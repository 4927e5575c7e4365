#!/usr/bin/env python3
"""stage [CHECKOUT] - 200,000 lines through a stage, against a loop by hand or the same stage of another checkout"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Cost, line, run

COUNT = 200_000
ROUNDS = 5
BOUND = 1.3
BY_HAND = """
import json, os, sys
for line in sys.stdin.buffer:
    assert json.loads(line)["type"]
    os.write(1, line)
"""
TEXT = "the words of a text that somebody wrote, and some more of them, à la carte; "


def record(n: int) -> dict[str, object]:
    """One of four kinds in turn, 300 bytes in the mean."""
    call = {"id": f"call_{n}", "name": "wordcount", "arguments": {"path": "a.txt", "n": n}}
    return [
        {"type": "memory", "key": f"key {n}", "value": TEXT, "time": "2026-01-31T12:00:00Z"},
        {"type": "context", "source": f"lib/file{n}.py", "text": f"{TEXT}\n" * 6},
        {"type": "message", "role": "assistant", "content": TEXT * 2, "tool_calls": [call]},
        {"type": "result", "id": n, "output": TEXT, "iterations": 2, "cost_usd": 0.0012},
    ][n % 4]


def middle(costs: list[Cost]) -> Cost:
    return sorted(costs)[len(costs) // 2]


def main(other: str = "") -> int:
    good = True
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        env = {**os.environ, "HOME": folder, "PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin"}
        for form, separators in (("compact", (",", ":")), ("spaced", (", ", ": "))):
            file = Path(folder, form)
            with file.open("w") as out:
                for n in range(COUNT):
                    out.write(json.dumps(record(n), ensure_ascii=False, separators=separators))
                    out.write("\n")
            for stage in ("agent-context", "agent-memory load"):
                name, *words = stage.split()
                ours = [f"{ROOT}/bin/{name}", *words]
                theirs = (
                    [f"{other}/bin/{name}", *words] if other else ["python3", "-IS", "-c", BY_HAND]
                )
                rounds = [
                    (run(ours, env, str(file)), run(theirs, env, str(file))) for _ in range(ROUNDS)
                ]
                us, them = (middle(list(costs)) for costs in zip(*rounds, strict=True))
                line(f"{stage}, {form}", us, them, BOUND, "other" if other else "hand")
                good &= us.cpu <= BOUND * them.cpu
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
