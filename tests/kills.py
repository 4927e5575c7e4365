#!/usr/bin/env python3
"""kills.py [--after CALLS] [--aim WORD] COUNT COMMAND... - kill -9 a program just as it starts a tool

COMMAND is started COUNT times, with standard input of ours and a mark in its environment. As soon as a process below it
has WORD (slow) in its command for the CALLS-th time, COMMAND is killed, some fraction of a millisecond later, another
each time. Whatever bears the mark 5 s after that was left, and is told and ended. Status 1 if there was any.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

MARK = b"AGENT_KILLS="
STEP, STEPS = 0.0005, 12  # seconds between one aim and the next; aims
END_TIMEOUT = 5.0  # seconds that what was started has to end
START = 20.0  # seconds that a program has to start its tool


def main() -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--after", type=int, default=1)
    parser.add_argument("--aim", default="slow")
    parser.add_argument("count", type=int)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    stdin = sys.stdin.buffer.read()
    left = hits = 0
    for n in range(args.count):
        mark = MARK + f"{os.getpid()}-{n}".encode()
        env = {**os.environ, "AGENT_KILLS": mark.split(b"=")[1].decode()}
        child = subprocess.Popen(
            args.command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdin
        child.stdin.write(stdin)
        child.stdin.close()
        hits += aimed(child, args.aim.encode(), args.after)
        time.sleep(STEP * (n % STEPS))
        child.kill()
        child.wait()
        left += survivors(mark)
    print(f"{args.count} kills, {hits} while a tool started, {left} left something")
    return int(bool(left or hits < args.count))


def aimed(child: subprocess.Popen[bytes], word: bytes, after: int) -> bool:
    """Wait for the tool to be started for that time; whether it was."""
    seen: set[int] = set()
    until = time.monotonic() + START
    while time.monotonic() < until and child.poll() is None:
        new = [one for one in below(child.pid) if one not in seen and word in read(one, "cmdline")]
        seen.update(new[:1])
        if len(seen) >= after:
            return True
    return False


def below(pid: int) -> list[int]:
    """All processes below this one."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = [int(word) for one in threads for word in read(pid, f"task/{one}/children").split()]
    return [*found, *(one for child in found for one in below(child))]


def survivors(mark: bytes) -> bool:
    """Whether something is left; it is told, and ended."""
    until = time.monotonic() + END_TIMEOUT
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(0.02)
    for pid in left:
        what = read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
        print(f"left: {pid} {read(pid, 'wchan').decode()}: {what[-300:]}")
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    return bool(left)


def marked(mark: bytes) -> list[int]:
    """The processes with the mark in their environment."""
    return [
        int(one)
        for one in os.listdir("/proc")
        if one.isdigit() and mark in read(int(one), "environ").split(b"\0")
    ]


def read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main())
