#!/usr/bin/env python3
"""history - what the history costs a one-shot (at most 1 ms), and agent-trace over 100,000 records (1 s)

The cost is that of agent-llm or agent-react alone, without its provider: what the kernel has counted for the process
(/proc/PID/schedstat), with the history and without it in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import ROOT, model, run

TIMES = 150
RULES = "def reply(body):\n    return 'fine'\n"
PID = 1 << 30  # of no process
HEAD = {"provider": "openai", "model": "test-model", "pid": PID, "ticks": "1"}
USAGE = {"usage": {"input_tokens": 70, "output_tokens": 12}, "model": "test-model"}
TRY = {"provider": "openai", "kind": "auth", "status": 401, "message": "no", "duration_ms": 94}
ERROR = {"kind": "auth", "message": "no", "status": 401, "retryable": False, "attempts": [TRY]}
MIXES = ("usual", "one-shots", "failed", "killed", "begun")


def main() -> int:
    with model(RULES) as env:
        good = [one_shot(program, env) for program in ("agent-llm", "agent-react")]
        good += [listed(mix, env) for mix in MIXES]
    return 0 if all(good) else 1


def one_shot(program: str, env: dict[str, str]) -> bool:
    """The CPU of a program with and without the history, in turn."""
    argv = [str(ROOT / "bin" / program), "hi"]
    plain = [*argv, "--no-history"]
    pairs = [(alone(argv, env), alone(plain, env)) for _ in range(TIMES)]
    kept, none = zip(*pairs, strict=True)
    more = statistics.median(kept) - statistics.median(none)
    least = min(kept) - min(none)
    print(
        f"{program:12} hi: median {statistics.median(kept) * 1e3:.2f} ms,"
        f" {more * 1e3:+.2f} ms by the history; minimum {least * 1e3:+.2f} ms (at most 1)",
        flush=True,
    )
    return min(more, least) <= 1e-3


def alone(argv: list[str], env: dict[str, str]) -> float:
    """Seconds of CPU of this process, without those of its children."""
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    pid = os.posix_spawn(argv[0], argv, env, file_actions=files)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    nanoseconds = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    assert os.waitpid(pid, 0)[1] == 0
    return nanoseconds / 1e9


def listed(mix: str, env: dict[str, str]) -> bool:
    """The CPU of agent-trace over 100,000 records in the history."""
    folder = Path(env["HOME"], ".local/state/agentutils/history")
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    lines = records(mix)
    text = "".join(f"{json.dumps(next(lines), separators=(',', ':'))}\n" for _ in range(100_000))
    (folder / "2026-11-28.jsonl").write_text(text)
    cost = min(run([str(ROOT / "bin/agent-trace")], env).cpu for _ in range(5))
    print(f"agent-trace, 100,000 records, {mix}: {cost:.2f} s (at most 1)", flush=True)
    return cost <= 1


def records(mix: str) -> Iterator[dict[str, Any]]:
    """The records of runs of this kind, without end."""
    for number in range(1, sys.maxsize):
        kind = ("failed", "react", "one-shots")[min(number % 9, 2)] if mix == "usual" else mix
        run_id, seconds = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", number % 86_400
        time = f"2026-11-28T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.517Z"
        ids = {"id": run_id, "time": time, "trace_id": run_id * 2, "program": "agent-llm"}
        yield {"type": "run", **ids, **HEAD, "host": os.uname().nodename}
        if kind == "begun":
            continue
        head = {"type": "message", "run": run_id, "time": time}
        yield {**head, "role": "user", "content": f"Say what number {number} is good for"}
        result = {"type": "result", "run": run_id, "time": time, "calls": 0, "iterations": 0}
        if kind == "failed":
            yield {**result, "error": ERROR}
        elif kind != "killed":
            for answer in range(3 if kind == "react" else 1):
                role = "tool" if answer == 1 else "assistant"
                yield {**head, "role": role, "content": "It is good for nothing.", **USAGE}
            yield {**result, **USAGE, "incomplete": False}


if __name__ == "__main__":
    sys.exit(main())
