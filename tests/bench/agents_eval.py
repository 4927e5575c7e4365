#!/usr/bin/env python3
"""agents_eval - how often agents and pipes do what is asked on the local model

FILE (default: agents.jsonl beside this script): JSON lines {"id","kind","run"}, `run` a line for bash; `files` are made
before it in a fresh folder, and committed where `git` is set, then those of `then`. A case is right where it ends with
status 0 and all of these hold: each pattern of `expect` is found in what it prints, none of `reject`, each file of
`written` has its pattern, and each key of `json` in the printed object.
Prints each miss, then the table of docs/local.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIMIT = 600  # seconds for a case
# Of the environment; above all no key of a vendor.
KEPT = "HOME LANG TMPDIR XDG_RUNTIME_DIR XDG_DATA_HOME XDG_CACHE_HOME XDG_STATE_HOME".split()
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
Case = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only cases whose id or kind has this word")
    parser.add_argument("--bin", type=Path, default=HERE.parents[1] / "bin")
    parser.add_argument("file", nargs="?", type=Path, default=HERE / "agents.jsonl")
    args = parser.parse_args()
    cases = [json.loads(line) for line in args.file.read_text().splitlines()]
    cases = [case for case in cases if args.k in case["id"] + " " + case["kind"]]
    kinds: dict[str, list[tuple[bool, float]]] = {}
    for case in cases:
        begun = time.monotonic()
        problem, output = outcome(case, args.bin.resolve())
        if problem:
            print(f"{case['id']}: {case['run']}: {problem}: {output.strip()[:300]!r}", flush=True)
        spent = time.monotonic() - begun
        kinds.setdefault(case["kind"], []).append((not problem, spent))
    report(kinds)
    return 0


def outcome(case: Case, programs: Path) -> tuple[str, str]:
    """(what is wrong with a case, "" for nothing; what it printed)"""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env |= {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "AGENT_PROVIDER": "local"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(case, folder)
        command = ["timeout", str(LIMIT), "bash", "-c", case["run"]]
        ended = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            return f"status {ended.returncode}", ended.stdout + ended.stderr[-200:]
        return wrong(case, folder, ended.stdout), ended.stdout


def prepare(case: Case, folder: Path) -> None:
    """Make the files of a case."""
    write(case.get("files", {}), folder)
    if case.get("git"):
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
            subprocess.run([*GIT, *words], cwd=folder, check=True)
    write(case.get("then", {}), folder)


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def wrong(case: Case, folder: Path, output: str) -> str:
    """What of a case does not hold, "" where all does."""
    lacking = [p for p in case.get("expect", []) if not re.search(p, output)]
    having = [p for p in case.get("reject", []) if re.search(p, output)]
    unwritten = [
        name
        for name, pattern in case.get("written", {}).items()
        if not (folder / name).is_file() or not re.search(pattern, (folder / name).read_text())
    ]
    fields = case.get("json", {})
    try:
        value = json.loads(output) if fields else {}
    except ValueError:
        return "no JSON"
    differing = [key for key, p in fields.items() if not re.search(p, json.dumps(value.get(key)))]
    found = {"lacks": lacking, "has": having, "not written": unwritten, "differs": differing}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in found.items() if names)


def report(kinds: dict[str, list[tuple[bool, float]]]) -> None:
    print("\n| kind | right | seconds each |\n|---|---|---|")
    for kind, results in [*sorted(kinds.items()), ("all", sum(kinds.values(), []))]:
        right = sum(good for good, _ in results)
        mean = sum(spent for _, spent in results) / max(1, len(results))
        print(f"| {kind} | {right}/{len(results)} | {mean:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
