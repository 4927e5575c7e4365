#!/usr/bin/env python3
"""agents_eval - how often agents and pipes do what is asked on the local model

    tests/bench/agents_eval.py [-k WORD] [--bin FOLDER] [FILE] [-- OPTION OF agent-eval...]

FILE (default: agents.jsonl beside this script): cases of agent-eval whose `input` is a line for bash. Lines of an older
form are read as such: `run` the line; `expect` and `reject` patterns; `written` files with the pattern that each has;
`json` fields of the printed object with theirs; `git`: the files are committed first, then those of `then` written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shlex import quote
from typing import Any

HERE = Path(__file__).resolve().parent
# Of the environment; above all no key of a vendor.
KEPT = "HOME LANG TMPDIR XDG_RUNTIME_DIR XDG_DATA_HOME XDG_CACHE_HOME XDG_STATE_HOME".split()
COMMIT = (
    "git init -q && git add . && git -c user.name=a -c user.email=a@example.org commit -qm start"
)
WRITTEN = "import re, sys; sys.exit(not re.search(sys.argv[1], open(sys.argv[2]).read()))"
FIELD = "import json, re, sys; value = json.load(sys.stdin)[sys.argv[2]]; print(value)"
FIELD += "; sys.exit(not re.search(sys.argv[1], json.dumps(value)))"
Case = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only cases whose id or kind has this word")
    parser.add_argument("--bin", type=Path, default=HERE.parents[1] / "bin")
    parser.add_argument("file", nargs="?", type=Path, default=HERE / "agents.jsonl")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = parser.parse_args(sys.argv[1:cut])
    cases = [case(json.loads(line)) for line in args.file.read_text().splitlines()]
    programs = args.bin.resolve()
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env |= {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "AGENT_PROVIDER": "local"}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        chosen = (one for one in cases if args.k in f"{one['id']} {one['kind']}")
        file.writelines(f"{json.dumps(one)}\n" for one in chosen)
        file.flush()
        options = ["--jobs", "1", *sys.argv[cut + 1 :]]
        words = [programs / "agent-eval", file.name, *options, "--", "bash", "-c", "{}"]
        return subprocess.run(words, env=env, stdin=subprocess.DEVNULL).returncode


def case(old: Case) -> Case:
    """A case of the older form as agent-eval has it; one of today as it is."""
    if "run" not in old:
        return old
    before = [COMMIT] if old.get("git") else []
    before += [f"printf %s {quote(text)} >{quote(n)}" for n, text in old.get("then", {}).items()]
    checks = [{"regex": pattern} for pattern in old.get("expect", [])]
    checks += [{"not_regex": pattern} for pattern in old.get("reject", [])]
    for program, wanted in ((WRITTEN, old.get("written", {})), (FIELD, old.get("json", {}))):
        for name, pattern in wanted.items():
            checks.append(
                {"command": f"python3 -c {quote(program)} {quote(pattern)} {quote(name)}"}
            )
    same = {name: old[name] for name in ("id", "kind", "files") if name in old}
    return {**same, "input": "\n".join([*before, old["run"]]), "checks": checks}


if __name__ == "__main__":
    sys.exit(main())
