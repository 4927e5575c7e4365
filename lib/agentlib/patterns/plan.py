"""What the steps of a plan must hold to; agent-plan and agent-execute check it."""

import re

from agentlib.types import Record

Ids = frozenset[str]


def problems(
    steps: list[Record], most: int = 1000, tools: set[str] | None = None, done: Ids = frozenset()
) -> list[str]:
    """What is wrong with a plan, in words for the author, who may be a model. tools: where each step must name one of
    them. done: ids of steps that are done already and may be needed."""
    if not steps:
        return ["it has no steps"]
    if len(steps) > most:
        return [f"it has {len(steps)} steps, more than {most}"]
    found: list[str] = []
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        found += _step_problems(step, number, seen, tools)
    found += [f"the id {id} is taken by a step that is done" for id in sorted(done & seen)]
    for step in steps:
        unknown = [need for need in _needs(step) if need not in seen | done]
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
