#!/usr/bin/env python3
"""local_eval - how often the local model calls the right tool with the right arguments: FILE [TOOL...]

FILE: JSON lines {"id","request","tool","args"}; a tool of null means that no tool fits. TOOL: what is offered (default:
the six that the requests are about; `all`: every tool of the suite). Uses the installed model, or AGENT_LOCAL_MODEL.
Prints each miss and one row: right tool, right tool and arguments, refusals, answers that hold the tool's result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]
from agentlib.faults import Fault  # noqa: E402
from programs import loaded  # noqa: E402

arithmetic = loaded("tools/calculator")
SIX = ["wordcount", "uppercase", "reverse", "calculator", "read_file", "list_files"]
Case = dict[str, Any]


def main() -> int:
    file, *tools = sys.argv[1:] or sys.exit(__doc__)
    cases = [json.loads(line) for line in Path(file).read_text().splitlines() if line.strip()]
    offered = offers([] if tools == ["all"] else tools or SIX)
    with subprocess.Popen(
        [str(ROOT / "providers/local")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as model:
        begun = time.monotonic()
        scores = [one(model, case, offered) for case in cases]
        spent = time.monotonic() - begun
        model.stdin.close()
    report(cases, scores, spent, len(offered))
    return 0


def offers(names: list[str]) -> list[Case]:
    """The `tool` records of these tools, all where none is named."""
    found = subprocess.run(
        [str(ROOT / "bin/agent-discover"), *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "AGENT_TOOL_PATH": str(ROOT / "tools")},
    )
    return [json.loads(line) for line in found.stdout.splitlines()]


def one(model: subprocess.Popen[bytes], case: Case, tools: list[Case]) -> tuple[bool, bool, bool]:
    """(right tool, right arguments too, the answer holds the result) for one request."""
    question = {"role": "user", "content": case["request"]}
    reply = ask(model, [question], tools)
    call = (reply.get("tool_calls") or [{"name": None, "arguments": {}}])[0]
    right = call["name"] == case["tool"]
    exact = right and plain(call["arguments"]) == plain(
        case["args"]
    )  # an optional argument more is a miss
    if not exact:
        print(
            f"{case['id']}: {case['request']}: {call['name']} {call['arguments']}, not {case['tool']} {case['args']}"
        )
    if case["tool"] is None:
        return right, exact, False
    arguments, key = result(case)
    wanted = [{"id": "c", "name": case["tool"], "arguments": case["args"]}]
    output = [
        question,
        {"role": "assistant", "content": "", "tool_calls": wanted},
        {"role": "tool", "tool_call_id": "c", "name": case["tool"], "content": arguments},
    ]
    reply = ask(model, output, tools)
    answer = reply.get("content") or ""
    if key.lower() not in answer.lower():
        instead = answer or (reply.get("tool_calls") or [{}])[0]
        print(f"{case['id']}: {case['request']}: the result {arguments!r} became {instead!r}")
    return right, exact, key.lower() in answer.lower()


def ask(model: subprocess.Popen[bytes], messages: list[Case], tools: list[Case]) -> Case:
    request = {
        "type": "request",
        "id": "1",
        "messages": messages,
        "tools": tools,
        "max_tokens": 200,
    }
    model.stdin.write(json.dumps(request).encode() + b"\n")
    model.stdin.flush()
    record = json.loads(model.stdout.readline())
    if record["type"] == "error":
        print(f"error: {record['message']}")
    return record.get("message") if record["type"] == "response" else {}


def result(case: Case) -> tuple[str, str]:
    """What the tool would say (the files are not there), and what of it the answer must hold."""
    args = case["args"]
    if case["tool"] == "calculator":
        value = arithmetic.text(arithmetic.value(args["expression"]))
        return value, value
    if case["tool"] in ("uppercase", "reverse"):
        text = args["text"].upper() if case["tool"] == "uppercase" else args["text"][::-1]
        return text, text
    return {
        "wordcount": ('{"lines":31,"words":347,"bytes":2105}', "347"),
        "read_file": ("port: 8141\nname: heron\n", "8141"),
        "list_files": ("heron.txt\nnotes/\n", "heron.txt"),
    }[case["tool"]]


def plain(args: Case) -> Case:
    """Arguments as they are compared: paths without ./, texts without case and quotes, expressions by value."""
    out = {}
    for name, value in args.items():
        if name == "path":
            value = os.path.normpath(str(value))
        elif name == "text":
            value = str(value).strip(" \"'").lower()
        elif name == "expression":
            try:
                value = arithmetic.value(str(value))
            except Fault:
                pass
        out[name] = value
    return out


def report(
    cases: list[Case], scores: list[tuple[bool, bool, bool]], spent: float, offered: int
) -> None:
    calls = [score for case, score in zip(cases, scores, strict=True) if case["tool"]]
    none = [score for case, score in zip(cases, scores, strict=True) if not case["tool"]]
    print(
        f"{offered} tools offered | right tool {sum(s[0] for s in calls)}/{len(calls)} | "
        f"and arguments {sum(s[1] for s in calls)}/{len(calls)} | no tool {sum(s[0] for s in none)}/{len(none)} | "
        f"answer holds the result {sum(s[2] for s in calls)}/{len(calls)} | {spent:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
