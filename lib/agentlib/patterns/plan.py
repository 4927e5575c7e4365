"""The work of agent-plan: have a model plan steps, check them, and have them corrected once.

Plan-and-Solve (https://arxiv.org/abs/2305.04091); ReWOO, where all tool calls are planned at once and variables stand
for their results (https://arxiv.org/abs/2305.18323).
"""

import re

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.messages import material, transcript
from agentlib.messages.subschemas import object_schema
from agentlib.patterns import model
from agentlib.types import Any, Callable, Namespace, Record

MOST_NEEDED = 20  # ids that a schema lists
FIELDS = ("id", "task", "needs", "agent", "tool", "arguments")  # of a step


def main(args: Namespace) -> int:
    """Pass the stream on, then print the steps."""
    stream = list(records.passed_on("-" in args.request, terminal=True))
    pieces = [record for record in stream if record["type"] in material.KINDS]
    tools = [record for record in stream if record["type"] == "tool"]
    request = " ".join(word for word in args.request if word != "-").strip()
    inputs = [piece for piece in pieces if piece["type"] == "input"]
    if inputs and not request:  # without operands, its text is the request
        pieces.remove(inputs[0])
        request = str(inputs[0].get("text", "")).strip()
    if not request:
        raise Fault("invalid_input", "no request: give it as operands, or - and standard input")
    steps = plan(args, request, pieces, tools)
    for record in ({"type": "plan", "request": request}, *steps):
        records.write(record)
    return 0


def plan(
    args: Namespace,
    request: str,
    pieces: list[Record],
    tools: list[Record],
    known: frozenset[str] = frozenset(),
) -> list[Record]:
    """The steps for a request; where they break the rules the model gets one more try, and what was wrong."""
    prefix = "E" if args.rewoo else ""
    first = 1 + max(
        [0, *map(int, filter(str.isdecimal, known))]
    )  # after the ids of an earlier plan

    def id_of(position: int) -> str:
        return f"{prefix}{first + position}"

    ids = [*sorted(known), *map(id_of, range(min(args.max_steps, MOST_NEEDED)))]
    system, schema = _question(args, tools, ids, id_of(0))
    text = transcript.text(material.message(request, pieces), joint="\n")
    names = {tool["name"] for tool in tools} if args.rewoo else None
    hint = ""
    for _ in range(2):
        steps = read(model.call(args, system, text + hint, schema), id_of)
        wrong = "; ".join(problems(steps, args.max_steps, names, known))
        if not wrong:
            return steps
        stderr.warn(f"the plan was refused: {wrong}")
        hint = f"\n\nYour last plan was refused: {wrong}. Answer with a whole, mended plan."
    raise Fault("bad_response", f"no usable plan in two tries: {wrong}")


def _question(
    args: Namespace, tools: list[Record], ids: list[str], first: str
) -> tuple[str, Record]:
    """(the system text, the JSON Schema of the answer)"""
    lines = ["", ""]  # of tools, of agents
    names: tuple[list[str], list[str]] = ([], [])
    for tool in tools:
        schema = f" {records.dumps(tool.get('inputSchema', {}))}" if args.rewoo else ""
        is_agent = tool.get("kind") == "agent"
        lines[is_agent] += f"- {tool['name']}: {tool.get('description', '')}{schema}\n"
        names[is_agent].append(tool["name"])
    others, agents = (text.removesuffix("\n") for text in lines)
    text: Record = {"type": "string"}
    needs = {"type": "array", "items": {**text, "enum": ids}}
    fields: Record = {"task": text, "needs": needs}
    if args.rewoo:
        if not others:
            why = "--rewoo: there are no tools on the stream; begin with agent-discover"
            raise Fault("invalid_input", why)
        system = model.prompt("rewoo") % (args.max_steps, others)
        fields |= {"tool": {**text, "enum": names[0]}, "arguments": text}
    else:
        system = model.prompt("plan") % (first, args.max_steps)
        system += model.prompt("agents") % agents if agents else ""
        system += model.prompt("tools") % others if others else ""
        fields |= {"agent": {**text, "enum": [*names[1], ""]}} if agents else {}
    steps = {"type": "array", "items": object_schema(fields)}
    return system, object_schema({"steps": steps})


def read(answer: Any, id_of: Callable[[int], str]) -> list[Record]:
    """The step records of an answer; problems() names what is malformed. A step without an id has that of its position,
    and needs none that comes after it."""
    listed = answer.get("steps") if isinstance(answer, dict) else None
    steps: list[Any] = listed if isinstance(listed, list) else []
    if not all(isinstance(step, dict) for step in steps):
        raise Fault("bad_response", "the model's plan has a step that is no object")
    later = [step.setdefault("id", id_of(place)) for place, step in enumerate(steps)]
    known = set(map(str, later))
    out = []
    for place, step in enumerate(steps):
        fields = {name: step[name] for name in FIELDS if name in step}  # no `type` of the model's
        empty = [name for name in FIELDS[2:] if fields.get(name) in ("", None)]
        fields = {name: value for name, value in fields.items() if name not in empty}
        if isinstance(fields.get("arguments"), str):
            fields["arguments"] = model.value(fields["arguments"])
        by_place = fields["id"] == id_of(place)
        needs = [id for id in fields.get("needs") or [] if not by_place or id not in later[place:]]
        used = re.findall(r"#([A-Za-z0-9_-]+)", records.dumps(fields.get("arguments", {})))
        needs += [id for id in dict.fromkeys(used) if id in known and id not in needs]
        out.append({"type": "step", **fields, "needs": needs, "status": "open"})
    return out


def problems(
    steps: list[Record],
    most: int = 1000,
    tools: set[str] | None = None,
    known: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong with a plan, in words for whoever made it; [] where nothing is.

    tools: where each step must name one of them. known: ids of steps that are done already and may be needed.
    """
    if not steps:
        return ["it has no steps"]
    if len(steps) > most:
        return [f"it has {len(steps)} steps, more than {most}"]
    found: list[str] = []
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        found += _step_problems(step, number, seen, tools)
    found += [f"the id {id} is taken by a step that is done" for id in sorted(known & seen)]
    for step in steps:
        unknown = [need for need in _needs(step) if need not in seen | known]
        found += [f"step {step.get('id')} needs {need!r}, which is no step" for need in unknown]
    left = {step["id"]: set(_needs(step)) for step in steps if not found}
    while ready := [id for id, needs in left.items() if not needs & left.keys()]:
        for id in ready:
            del left[id]
    # what is left once every step that can run has run
    return [*found, *[f"these steps wait for each other: {', '.join(left)}"] * bool(left)]


def _step_problems(step: Record, number: int, seen: set[str], tools: set[str] | None) -> list[str]:
    id, task, needs = step.get("id"), step.get("task"), step.get("needs", [])
    found = []
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", id):
        found.append(f"step {number}: the id {id!r} is not 1 to 64 of A-Z a-z 0-9 _ . -")
    elif id in seen:
        found.append(f"the id {id} stands twice")
    seen.add(str(id))
    if not isinstance(task, str) or not task.strip():
        found.append(f"step {id} has no task")
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        found.append(f"step {id}: needs is a list of ids")
    if tools is not None and step.get("tool") not in tools:
        found.append(f"step {id}: there is no tool {step.get('tool')!r}")
    return found


def _needs(step: Record) -> list[str]:
    needs = step.get("needs", [])
    return needs if isinstance(needs, list) else []
