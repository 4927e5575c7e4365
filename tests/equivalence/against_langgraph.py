#!/usr/bin/env python3
"""against_langgraph - the same conversations with agent-react and with langgraph's react agent, message by message

    tests/equivalence/against_langgraph.py

A job of its own, no part of tests/run: it installs langgraph (versions below) into an environment in the user's cache
folder. Both talk to tests/model_server.py with the rules of tests/script_model.py; the same are the roles, the texts,
the calls with their arguments, which result answers which call, and what counts as an error. What an error says is each
one's own words. Known to differ: on arguments that are no JSON langgraph ends the run; agent-react tells the model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ("langgraph==1.2.24", "langchain-openai==1.7.4")
TOOLS = {
    "double": ("read -r a; echo \"$a\" | jq '.n * 2'", {"n": {"type": "integer"}}),
    "slow": ("read -r a; sleep 0.3; echo \"$a\" | jq '.n + 1'", {"n": {"type": "integer"}}),
    "broken": ("echo 'no such table' >&2; exit 3", {}),
    "empty": ("printf 'two\\nlines'", {}),
}
CASES = {
    "an answer at once": "= hi",
    "one call": 'double {"n":21}\n= {results}',
    "a dependent call": 'double {"n":1}\ndouble {"n":2}\ndouble {"n":4}\n= {results}',
    "parallel calls": 'slow {"n":1} & double {"n":2} & slow {"n":3}\n= {results}',
    "a tool that fails": "broken {}\n= it failed",
    "one of two fails": 'double {"n":2} & broken {}\n= half of it',
    "an unknown tool": 'tripel {"n":2}\ndouble {"n":2}\n= found it',
    "arguments of a wrong type": 'double {"n":"two"}\ndouble {"n":2}\n= mended',
    "arguments that are missing": 'double {}\ndouble {"n":2}\n= mended',
    "several lines of output": "empty {}\n= {results}",
}


def environment() -> Path:
    """The python of an environment that has langgraph."""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentutils-langgraph"
    )
    if not (cache / "done").exists():
        print(f"installing {' '.join(PACKAGES)} into {cache}", file=sys.stderr)
        subprocess.run(["python3", "-m", "venv", cache], check=True)
        subprocess.run([cache / "bin/pip", "install", "-q", *PACKAGES], check=True)
        (cache / "done").touch()
    return cache / "bin/python"


def make_tools(folder: Path) -> None:
    with open(folder / "tools.jsonl", "w") as stream:
        for name, (body, properties) in TOOLS.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)
            schema = {"type": "object", "properties": properties, "required": sorted(properties)}
            stream.write(
                json.dumps(
                    {
                        "type": "tool",
                        "name": name,
                        "description": "a test",
                        "inputSchema": schema,
                        "command": [str(folder / name)],
                        "annotations": {"readOnlyHint": True},
                    }
                )
                + "\n"
            )


def alike(lines: str) -> list[Any]:
    """The messages of a conversation, without what may differ: ids are numbered, words of errors left out."""
    ids: dict[str, int] = {}
    out = []
    for line in lines.splitlines():
        message = json.loads(line)
        if "role" not in message:
            continue
        calls = message.get("tool_calls") or []
        for call in calls:
            ids.setdefault(call["id"], len(ids))
        bad = bool(message.get("is_error"))
        out.append(
            (
                message["role"],
                bad or str(message["content"]).rstrip("\n"),
                ids.get(message.get("tool_call_id")),
                [(ids[call["id"]], call["name"], call["arguments"]) for call in calls],
            )
        )
    return out


def conversation(argv: list[Any], env: dict[str, str], stdin: Path) -> list[Any]:
    with open(stdin, "rb") as tasks_file:
        ran = subprocess.run(
            argv,
            env=env,
            cwd=env["HOME"],
            stdin=tasks_file,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    return alike(ran.stdout)


def main() -> int:
    python, differ = environment(), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_tools(folder)
        tests = ROOT / "tests"
        argv = [
            sys.executable,
            str(tests / "model_server.py"),
            str(tests / "script_model.py"),
            "--with-parent",
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            address = server.stdout.readline().strip()
            env = {
                "PATH": f"{ROOT}/bin:{ROOT}/.venv/bin:/usr/bin:/bin",
                "HOME": scratch,
                "OPENAI_API_KEY": "test-key",
                "OPENAI_BASE_URL": address,
                "AGENT_PROVIDER": "openai",
                "AGENT_MODEL": "test-model",
            }
            for title, request in CASES.items():
                ours = conversation(
                    ["agent-react", "--events", request], env, folder / "tools.jsonl"
                )
                theirs = conversation(
                    [python, HERE / "its_side.py", folder, request], env, Path("/dev/null")
                )
                same = ours == theirs and len(ours) > 1
                differ += not same
                print(
                    f"{'same' if same else 'DIFFERENT':10} {len(ours):2} messages  {title}",
                    flush=True,
                )
                if not same:
                    print(f"  ours   {ours}\n  theirs {theirs}")
            server.terminate()
    print(f"{len(CASES)} conversations, {len(CASES) - differ} the same")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
