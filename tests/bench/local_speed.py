#!/usr/bin/env python3
"""local_speed - how long a question with one tool takes on the local model, and whether its answer stays the same

    tests/bench/local_speed.py [--bin FOLDER] [--runs N]

With one tool and with all tools of the suite: from a cold start (no process holds the model), again (warm), and once
more after another question. The model, of the user who runs this, must be installed. Prints a row a list of tools, the
median of N runs (default 1). Status 1 where a cold start takes more than 25 s, a warm question more than 6 s (the
bounds for 2 idle cores), or the answers differ.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BINARIES = Path(__file__).resolve().parents[2] / "bin"
COLD, WARM = 25.0, 6.0  # seconds
QUESTION = "How many words are in poem.txt?"
OTHER = "Which file mentions roses?"
LISTS = {"one tool": ["wordcount"], "all tools": ["@tools"]}
KEPT = "HOME LANG TMPDIR XDG_DATA_HOME XDG_CACHE_HOME XDG_STATE_HOME".split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--bin", type=Path, default=BINARIES, help="the programs (default: this checkout's)"
    )
    parser.add_argument("--runs", type=int, default=1)
    args = parser.parse_args()
    programs, good = args.bin.resolve(), True
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, tools in LISTS.items():
        runs = [measured(programs, tools) for _ in range(args.runs)]
        cold, warm, after = (
            statistics.median(column) for column in zip(*(r[0] for r in runs), strict=True)
        )
        answers = {answer for _, every in runs for answer in every}
        good = good and cold <= COLD and max(warm, after) <= WARM and len(answers) == 1
        same = "the same answer each time" if len(answers) == 1 else f"answers differ: {answers}"
        print(
            f"{name:10} cold {cold:5.1f} s   warm {warm:5.1f} s   after another question {after:5.1f} s   {same}",
            flush=True,
        )
    return int(not good)


def measured(programs: Path, tools: list[str]) -> tuple[list[float], list[str]]:
    """(seconds, answers) of the question: cold, warm, and after another question."""
    with tempfile.TemporaryDirectory() as runtime, tempfile.TemporaryDirectory() as folder:
        Path(folder, "poem.txt").write_text("roses are red\n")
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        env |= {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "AGENT_PROVIDER": "local",
            "XDG_RUNTIME_DIR": runtime,
        }
        offered = subprocess.run(
            [programs / "agent-discover", *tools],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        seconds, answers = [], []
        try:
            for question in (QUESTION, QUESTION, OTHER, QUESTION):
                begun = time.monotonic()
                done = subprocess.run(
                    [programs / "agent-react", question],
                    env=env,
                    cwd=folder,
                    input=offered,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                if question == QUESTION:
                    seconds.append(time.monotonic() - begun)
                    answers.append(done.stdout.decode())
        finally:
            end_holder(runtime)
        return seconds, answers


def end_holder(runtime: str) -> None:
    """End the process that holds the model: the one that listens in this runtime folder."""
    for path in glob.glob(f"{runtime}/**/*", recursive=True):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            size = struct.calcsize("3i")
            pid, _, _ = struct.unpack(
                "3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
