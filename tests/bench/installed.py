#!/usr/bin/env python3
"""installed - starts from a wheel and from a bundle against those of install.sh's; the size of a bundle

All are made in a folder of their own, for the Python that .venv is of, and run in turn: the wheel as pip lays it and
through links, as pipx and uv make them (at most 1.15), the bundle from its unpacked tree (at most 1.3). An agent runs
with a tool, on the scripted model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from measure import ROOT, line, medians, model

MEGABYTES = 12
BOUNDS = {"wheel": 1.15, "wheel by links": 1.15, "bundle": 1.3}
RULES = """
def reply(body):
    if body["messages"][-1]["role"] == "tool":
        return "It says ABC"
    return {"tool_calls": [{"name": "uppercase", "arguments": {"text": "abc"}}]}
"""
# each so many times
TASKS = (
    (["agent-discover", "@tools"], 30),
    (["agent-llm", "hi"], 20),
    (["text-processor", "Capitals: abc"], 8),
)
PYTHON = Path(sys.base_prefix, "bin/python3").resolve()


def do(*argv: str | Path) -> None:
    """Run a step; its output is shown if it fails. The user's settings are kept, for the package index."""
    env = {**os.environ, "PATH": f"{PYTHON.parent}:/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(done.stdout.decode() + f"{argv[0]}: status {done.returncode}")


def made(home: Path) -> dict[str, list[str]]:
    """Where each kind of installation has its programs: the words before a name, by the kind."""
    ours = f"{ROOT}/.venv/bin/python3"
    do(ROOT / "install.sh", "--prefix", home / "script")
    do(ours, "-m", "hatchling", "build", "-t", "wheel", "-d", home / "dist")
    do(PYTHON, "-m", "venv", "--without-pip", home / "venv")
    wheel = next((home / "dist").glob("*.whl"))
    do(ours, "-m", "pip", "--python", home / "venv/bin/python3", "install", wheel)
    (home / "links").mkdir()
    for program in (home / "venv/bin").glob("*-*"):
        (home / "links" / program.name).symlink_to(program)
    bundler, version = home / "script/bin/agent-bundle", "%d.%d" % sys.version_info[:2]  # noqa: UP031
    do(bundler, "--all", "--python", version, "-o", home / "all")
    do(bundler, "text-processor", "-o", home / "bundle")
    return {
        "install.sh": [f"{home}/script/bin/"],
        "wheel": [f"{home}/venv/bin/"],
        "wheel by links": [f"{home}/links/"],
        "bundle": [f"{home}/all", ""],
    }


def command(place: Sequence[str], task: Sequence[str]) -> list[str]:
    """A task of one installation."""
    return [*place[:-1], place[-1] + task[0], *task[1:]]


def main() -> int:
    good = True
    with model(RULES) as env:
        home = Path(env["HOME"])
        places = made(home)
        env["PATH"] = f"{PYTHON.parent}:/usr/bin:/bin"
        for task, times in TASKS:
            costs = medians([command(place, task) for place in places.values()], times, env)
            for name, cost in list(zip(places, costs, strict=True))[1:]:
                line(f"{task[0]}, {name}", cost, costs[0], BOUNDS[name], "")
                good &= cost.cpu <= BOUNDS[name] * costs[0].cpu
        size = (home / "bundle").stat().st_size / 1e6
        print(f"text-processor for all Pythons: {size:.1f} MB (at most {MEGABYTES})")
    return 0 if good and size <= MEGABYTES else 1


if __name__ == "__main__":
    sys.exit(main())
