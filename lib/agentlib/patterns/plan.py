"""The work of agent-plan: ask for steps, hold them against the rules, have them mended once.

Plan-and-Solve (https://arxiv.org/abs/2305.04091); ReWOO, where all tool calls are planned at once and variables stand
for their results (https://arxiv.org/abs/2305.18323).
"""

from __future__ import annotations

import re

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.messages import material, transcript
from agentlib.patterns import model
from agentlib.patterns.steps import problems
from agentlib.types import Any, Namespace, Record

PLAN = """You plan work that others carry out. Answer with a JSON object {"steps": [...]}.
A step is {"id": a short word, "task": what is to be done, in full sentences, understandable on its own,
"needs": the ids of the steps whose output this one must have}. Steps that do not need each other run at the same time.
Use as few steps as do the work well, at most %d."""
AGENTS = """
These agents can be given a step by naming one in its field "agent" (leave it empty where none fits):
%s"""
TOOLS = """
Whoever carries out a step has these tools:
%s"""
FIELDS = ("id", "task", "needs", "agent", "tool", "arguments")  # of a step
REWOO = """You plan tool calls that are then made without you. Answer with a JSON object {"steps": [...]}.
A step is {"id": "E1", "E2" and so on, "task": what it is for, "tool": the name of a tool, "arguments": its arguments
as a JSON text, "needs": the ids of the steps whose results it uses}. In the arguments #E1 stands for the result of E1.
Use as few steps as answer the request, at most %d. The tools:
%s"""


def main(args: Namespace) -> int:
    """Pass the stream on, then print the steps."""
    pieces, tools, asked = [], [], [word for word in args.request if word != "-"]
    stream = [records.plain()] if "-" in args.request else (line for line in records.read())
    for one in stream:
        record = one if isinstance(one, dict) else one.record
        records.put(records.line(record) if isinstance(one, dict) else one.raw + b"\n")
        if record["type"] in material.KINDS:
            pieces.append(record)
        elif record["type"] == "tool":
            tools.append(record)
    request = (" ".join(asked) or _only_input(pieces)).strip()
    if not request:
        raise Fault("invalid_input", "no request: give it as operands, or - and standard input")
    steps = plan(args, request, pieces, tools)
    records.write({"type": "plan", "request": request})
    for step in steps:
        records.write(step)
    return 0


def _only_input(pieces: list[Record]) -> str:
    """Without operands the `input` is the request, and no longer material."""
    for piece in pieces:
        if piece["type"] == "input":
            pieces.remove(piece)
            return str(piece.get("text", ""))
    return ""


def plan(
    args: Namespace,
    request: str,
    pieces: list[Record],
    tools: list[Record],
    known: frozenset[str] = frozenset(),
) -> list[Record]:
    """The steps for a request; asked again once, with what was wrong, where they break the rules."""
    system = brief(args, tools)
    text = transcript.text(material.message(request, pieces), joint="\n")
    wrong: list[str] = []
    for _ in range(2):
        mend = (
            f"\n\nYour last plan was refused: {'; '.join(wrong)}. Answer with a whole, mended plan."
            if wrong
            else ""
        )
        steps = read(model.ask(args, system, text + mend, shape(args, tools)))
        wrong = problems(
            steps, args.max_steps, {tool["name"] for tool in tools} if args.rewoo else None, known
        )
        if not wrong:
            return steps
        stderr.warn(f"the plan was refused: {'; '.join(wrong)}")
    raise Fault("bad_response", f"no usable plan in two tries: {'; '.join(wrong)}")


def brief(args: Namespace, tools: list[Record]) -> str:
    """The planner's instructions."""
    lines = [
        (t.get("kind") == "agent", f"- {t['name']}: {t.get('description', '')}{_schema(args, t)}")
        for t in tools
    ]
    agents, hands = (
        "\n".join(line for is_agent, line in lines if is_agent is wanted)
        for wanted in (True, False)
    )
    if args.rewoo:
        if not hands:
            why = "--rewoo: there are no tools on the stream; begin with agent-discover"
            raise Fault("invalid_input", why)
        return REWOO % (args.max_steps, hands)
    return str(
        PLAN % args.max_steps
        + (AGENTS % agents if agents else "")
        + (TOOLS % hands if hands else "")
    )


def _schema(args: Namespace, tool: Record) -> str:
    return f" {records.dumps(tool.get('inputSchema', {}))}" if args.rewoo else ""


def shape(args: Namespace, tools: list[Record]) -> Record:
    """The JSON Schema of an answer; every field required, as strict vendors want it."""
    text: Record = {"type": "string"}
    fields: dict[str, Any] = {"id": text, "task": text, "needs": {"type": "array", "items": text}}
    if args.rewoo:
        fields |= {"tool": text, "arguments": text}
    elif any(t.get("kind") == "agent" for t in tools):
        fields |= {"agent": text}
    step = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"steps": {"type": "array", "items": step}},
        "required": ["steps"],
        "additionalProperties": False,
    }


def read(answer: Any) -> list[Record]:
    """The step records of an answer; what is malformed is left for `problems` to name."""
    given = answer.get("steps") if isinstance(answer, dict) else None
    steps: list[Any] = given if isinstance(given, list) else []
    out = []
    for step in steps:
        if not isinstance(step, dict):
            raise Fault("bad_response", "the model's plan has a step that is no object")
        kept = {k: step[k] for k in FIELDS if k in step}  # nothing else: no `type` of the model's
        kept = {k: v for k, v in kept.items() if v not in ("", None) or k in ("id", "task")}
        if isinstance(kept.get("arguments"), str):
            kept["arguments"] = model.value(kept["arguments"])
        needs = list(kept.get("needs") or [])
        used = re.findall(r"#([A-Za-z0-9_-]+)", records.dumps(kept.get("arguments", {})))
        ids = {str(s.get("id")) for s in steps if isinstance(s, dict)}
        kept["needs"] = [*needs, *(u for u in dict.fromkeys(used) if u in ids and u not in needs)]
        out.append({"type": "step", **kept, "status": "open"})
    return out
