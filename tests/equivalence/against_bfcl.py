#!/usr/bin/env python3
"""against_bfcl - conversations of the Berkeley function calling leaderboard, their right calls made through agent-react

    tests/equivalence/against_bfcl.py [COUNT]

A job of its own, no part of tests/run: it fetches the wheel of bfcl-eval (data and simulators; nothing of it is
installed) into the user's cache folder. For each conversation of `multi_turn_base` whose simulators need the standard
library alone, a scripted model makes the calls of the ground truth, turn by turn, each turn a run of agent-react that
continues the transcript, the simulators a coprocess in the sandbox, the schemas those of bfcl. Every result, and the
simulators' state at the end, must be what calling them directly gives. This is a test of dispatch, never a score.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import simulator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = "bfcl-eval==2026.3.23"
DOCS = {"TwitterAPI": "posting_api"}  # where the file of the schemas is not called like the module
REFUSED = {
    "multi_turn_base_173"
}  # closes ticket "ticket_001" where its own schema says integer: agent-react refuses
TYPES = {"dict": "object", "float": "number", "tuple": "array"}
Call = tuple[str, dict[str, Any]]


def wheel() -> zipfile.ZipFile:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentutils-bfcl"
    if not list(cache.glob("*.whl")):
        argv = [
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            str(cache),
            PACKAGE,
        ]
        subprocess.run([sys.executable, *argv], check=True)
    return zipfile.ZipFile(next(cache.glob("*.whl")))


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in archive.read(f"bfcl_eval/data/{name}").splitlines()
        if line.strip()
    ]


def schema(found: Any) -> Any:
    """A JSON Schema out of bfcl's own words for types."""
    if not isinstance(found, dict):
        return found
    kept = {key: value for key, value in found.items() if not (key == "type" and value == "any")}
    out: dict[str, Any] = {
        key: [schema(one) for one in value] if isinstance(value, list) else schema(value)
        for key, value in kept.items()
    }
    if isinstance(out.get("type"), str):
        out["type"] = TYPES.get(out["type"], out["type"])
    return out


def tools(archive: zipfile.ZipFile, entry: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    command = ["/usr/bin/python3", str(folder / "simulator.py"), str(folder)]
    common = {"type": "tool", "invoke": "jsonl", "command": command}
    return [
        {
            **common,
            "name": doc["name"],
            "description": doc["description"],
            "inputSchema": schema(doc["parameters"]),
        }
        for name in entry["involved_classes"]
        for doc in lines(
            archive, f"multi_turn_func_doc/{DOCS.get(name, simulator.MODULES[name])}.json"
        )
    ]


def parsed(text: str, methods: dict[str, Any]) -> Call:
    """(name, arguments by name) of a call that is written as Python."""
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    names = list(inspect.signature(methods[node.func.id]).parameters)
    values = dict(zip(names, map(ast.literal_eval, node.args), strict=False))
    return node.func.id, {
        **values,
        **{str(one.arg): ast.literal_eval(one.value) for one in node.keywords},
    }


def directly(folder: Path, entry: dict[str, Any], turns: list[list[Call]]) -> tuple[list[str], Any]:
    """(results, state at the end) of calling the simulators in this process."""
    simulators = simulator.fresh(str(folder), entry)
    reply = [
        simulator.call(simulators, name, arguments) for turn in turns for name, arguments in turn
    ]
    return reply, simulator.state(simulators)


def through_react(
    folder: Path, turns: list[list[Call]], env: dict[str, str]
) -> tuple[list[str], Any]:
    """The same through one agent-react a turn."""
    import pickle

    for turn in turns:
        script = "\n".join(
            [*(f"{name} {json.dumps(arguments)}" for name, arguments in turn), "= done"]
        )
        with open(folder / "tools.jsonl", "rb") as values:
            argv = [
                "agent-react",
                "--quiet",
                "--allow",
                "all",
                "--max-iterations",
                "0",
                "--transcript",
                "t.jsonl",
            ]
            subprocess.run(
                [*argv, script], env=env, cwd=folder, stdin=values, check=True, timeout=120
            )
    messages = [json.loads(line) for line in open(folder / "t.jsonl")]
    with open(folder / "state", "rb") as file:
        return [one["content"] for one in messages if one["role"] == "tool"], simulator.state(
            pickle.load(file)
        )


def same(
    archive: zipfile.ZipFile, entry: dict[str, Any], truth: list[list[str]], env: dict[str, str]
) -> bool:
    with tempfile.TemporaryDirectory(prefix="bfcl-", dir=env["HOME"]) as made:
        folder = Path(made)
        archive.extractall(
            folder, [one for one in archive.namelist() if "/func_source_code/" in one]
        )
        (folder / "simulator.py").write_bytes((HERE / "simulator.py").read_bytes())
        (folder / "entry.json").write_text(json.dumps(entry))
        (folder / "tools.jsonl").write_text(
            "".join(json.dumps(one) + "\n" for one in tools(archive, entry, folder))
        )
        methods = simulator.methods(simulator.fresh(str(folder), entry))
        turns = [[parsed(text, methods) for text in turn] for turn in truth]
        ours, theirs = through_react(folder, turns, env), directly(folder, entry, turns)
        for one, other in zip(ours[0], theirs[0], strict=False):
            if one != (other or "(no output)"):
                print(f"  {entry['id']}: ours {one[:300]!r}, directly {other[:300]!r}")
        if ours[1] != theirs[1]:
            print(
                f"  {entry['id']}: the state differs: ours {str(ours[1])[:900]}, directly {str(theirs[1])[:900]}"
            )
        return [other or "(no output)" for other in theirs[0]] == ours[0] and ours[1] == theirs[1]


def main() -> int:
    archive = wheel()
    truths = {
        one["id"]: one["ground_truth"]
        for one in lines(archive, "possible_answer/BFCL_v4_multi_turn_base.json")
    }
    entries = lines(archive, "BFCL_v4_multi_turn_base.json")
    fit = [one for one in entries if set(one["involved_classes"]) <= set(simulator.MODULES)]
    fit = fit[: int(sys.argv[1])] if sys.argv[1:] else fit
    argv = [
        sys.executable,
        str(ROOT / "tests/model_server.py"),
        str(ROOT / "tests/script_model.py"),
        "--with-parent",
    ]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout
        address = server.stdout.readline().strip()
        env = {
            "PATH": f"{ROOT}/bin:{ROOT}/.venv/bin:/usr/bin:/bin",
            "HOME": home,
            "OPENAI_API_KEY": "test-key",
            "OPENAI_BASE_URL": address,
            "AGENT_PROVIDER": "openai",
            "AGENT_MODEL": "test-model",
        }
        try:
            wrong = [one["id"] for one in fit if not same(archive, one, truths[one["id"]], env)]
        finally:
            server.terminate()
    calls = sum(len(turn) for one in fit for turn in truths[one["id"]])
    print(
        f"{len(fit)} conversations of {len(entries)}, {calls} calls: {len(fit) - len(wrong)} the same; not: {wrong}"
        f" (known: {', '.join(REFUSED)}, whose ground truth breaks its schema)"
    )
    return 1 if set(wrong) - REFUSED else 0


if __name__ == "__main__":
    sys.exit(main())
