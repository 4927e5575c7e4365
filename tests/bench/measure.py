"""Measure commands against each other: CPU (user and system, with all children that were waited for) and wall time.

The commands are run in turn, so that what else the machine does falls on all alike; the figures are medians, and what
counts is their ratio, within one run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
BARE = ["python3", "-I", "-S", "-c", "pass"]  # the floor: an interpreter that does nothing


class Cost(NamedTuple):
    cpu: float  # seconds
    wall: float  # seconds


def run(argv: Sequence[str], env: dict[str, str] | None = None, stdin: str = os.devnull) -> Cost:
    """The cost of one run, which must succeed. Its standard input is the file `stdin`, its output is dropped."""
    env = dict(os.environ) if env is None else env
    program = shutil.which(argv[0], path=env["PATH"]) or sys.exit(f"{argv[0]}: not found")
    with tempfile.TemporaryFile() as errors:
        files = [
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        begun = time.perf_counter()
        pid = os.posix_spawn(program, list(argv), env, file_actions=files)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - begun
        errors.seek(0)
        if status:
            sys.exit(
                f"{' '.join(argv)[:200]}: wait status {status}: {errors.read().decode()[-500:]}"
            )
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def medians(
    commands: Sequence[Sequence[str]], times: int, env: dict[str, str] | None = None
) -> list[Cost]:
    """The median cost of each command over so many rounds; a first round, to warm the caches, does not count."""
    rounds = [[run(argv, env) for argv in commands] for _ in range(times + 1)][1:]
    return [
        Cost(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))
        for costs in zip(*rounds, strict=True)
    ]


def compare(
    title: str,
    ours: Sequence[str],
    theirs: Sequence[str],
    times: int,
    bound: float,
    name: str = "",
    env: dict[str, str] | None = None,
) -> bool:
    """Prints one line, ours against theirs; whether the ratio of CPU is within the bound."""
    us, them = medians([ours, theirs], times, env)
    line(title, us, them, bound, name)
    return us.cpu <= bound * them.cpu


def line(title: str, us: Cost, them: Cost, bound: float, name: str = "") -> None:
    ratio = us.cpu / them.cpu
    print(
        f"{title:34} cpu {us.cpu * 1e3:7.1f} ms / {them.cpu * 1e3:7.1f} ms {name:5} = {ratio:5.2f}"
        f" (at most {bound}: {'yes' if ratio <= bound else 'NO'})"
        f"   wall {us.wall * 1e3:7.1f} / {them.wall * 1e3:7.1f} ms",
        flush=True,
    )


@contextmanager
def model(rules: str, *options: str) -> Iterator[dict[str, str]]:
    """The scripted model while the block runs: an environment with a private home that leads to it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        Path(home, "rules.py").write_text(rules)
        argv = [
            sys.executable,
            str(ROOT / "tests/model_server.py"),
            f"{home}/rules.py",
            "--with-parent",
            *options,
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            try:
                yield surroundings(home, server.stdout.readline().strip())
            finally:
                server.terminate()


def surroundings(home: str, address: str) -> dict[str, str]:
    """An environment with this home, whose model is at this address."""
    path = f"{ROOT}/bin:{ROOT}/.venv/bin:/usr/bin:/bin"
    return {
        "HOME": home,
        "PATH": path,
        "LANG": "C.UTF-8",
        "LLM_USER_PATH": home,
        "AGENT_PROVIDER": "openai",
        "AGENT_MODEL": "test-model",
        "OPENAI_API_KEY": "test-key",
        "OPENAI_BASE_URL": address,
    }


LLM = "llm==0.36"


def llm(env: dict[str, str]) -> str:
    """PyPI's `llm` in an environment of its own, made if it does not exist yet, set up for the model of `env`."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "agentutils-bench" / LLM.replace("==", "-")
    if not (cache / "bin" / "llm").exists():
        print(f"installing {LLM} into {cache}", file=sys.stderr)
        subprocess.run(["python3", "-m", "venv", str(cache)], check=True)
        subprocess.run([cache / "bin/pip", "install", "-q", LLM], check=True)
    Path(env["LLM_USER_PATH"], "extra-openai-models.yaml").write_text(
        "- model_id: test-model\n  model_name: test-model\n  supports_tools: true\n"
        f"  api_base: {env['OPENAI_BASE_URL']}\n"
    )
    return str(cache / "bin" / "llm")
