#!/usr/bin/env python3
"""concurrency - 1,000 posts in flight in one provider at 1 s latency, and the same by the other transports

Bounds: CPU at most 1.25 times that of bare httpx, a client and a thread a request; memory at most 60 kB a request.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COUNT, LATENCY = 1000, 1.0
Cost = tuple[float, float]
REQUEST = {"type": "request", "messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def vendor(latency: float, deltas: int = 0) -> Iterator[str]:
    """The address of a fast vendor, while the block runs."""
    argv = [sys.executable, str(HERE / "fast_vendor.py"), str(latency), str(deltas)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def used(argv: Sequence[str], address: str, requests: int = 0) -> tuple[float, float, int]:
    """(wall s, CPU s, peak kB) of a command that gets so many request records; the peak does not count this process."""
    env = {
        **os.environ,
        "OPENAI_BASE_URL": address,
        "OPENAI_API_KEY": "bench",
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
    }
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
        for number in range(requests):
            stdin.write(json.dumps({**REQUEST, "id": str(number)}).encode() + b"\n")
        stdin.seek(0)
        began = time.monotonic()
        actions = [
            (os.POSIX_SPAWN_DUP2, stdin.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, stdout.fileno(), 1),
        ]
        pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - began
        stdout.seek(0)
        answered = sum(b'"type":"response"' in line for line in stdout)
    if status or answered != requests:
        sys.exit(f"{argv}: wait status {status}, {answered} responses of {requests}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def row(name: str, one: tuple[float, float, int], many: tuple[float, float, int]) -> Cost:
    """Prints what COUNT cost over one; ms of CPU and kB a request."""
    cpu, memory = (many[1] - one[1]) / COUNT * 1e3, (many[2] - one[2]) / COUNT
    wall = many[0] - LATENCY
    print(f"{name:28} {wall:5.2f} s more, {cpu:5.2f} ms and {memory:5.1f} kB a request", flush=True)
    return cpu, memory


def main() -> int:
    provider = [str(ROOT / "providers/openai")]
    costs: dict[str, Cost] = {}
    with vendor(LATENCY) as address:
        ours = row("providers/openai", used(provider, address, 1), used(provider, address, COUNT))
        for name in ("threads", "http.client", "asyncio10", "asyncio"):
            argv = ["python3", str(HERE / "transports.py"), name]
            costs[name] = row(
                name if name == "http.client" else f"httpx, {name}",
                used([*argv, "10", address], address),
                used([*argv, str(COUNT), address], address),
            )
    ratio = ours[0] / costs["threads"][0]
    good = ratio <= 1.25 and ours[1] <= 60
    print(f"CPU of ours, against bare httpx: {ratio:.2f}: {'yes' if good else 'NO'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
