"""What a plan must be: named steps, each needing only others of the plan, without a circle."""

from __future__ import annotations

import re

from agentlib.types import Record


def problems(
    steps: list[Record],
    most: int = 1000,
    tools: set[str] | None = None,
    known: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong with a plan, in words for whoever made it; [] when all is well.

    tools: where each step must name one of them. known: ids of steps that are done already and may be needed.
    """
    if not steps:
        return ["it has no steps"]
    if len(steps) > most:
        return [f"it has {len(steps)} steps, more than {most}"]
    wrong: list[str] = []
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        wrong += _one(step, number, seen, tools)
    ids = {str(step.get("id")) for step in steps}
    wrong += [f"the id {id} is taken by a step that is done" for id in sorted(known & ids)]
    ids |= known
    for step in steps:
        wrong += [
            f"step {step.get('id')} needs {need!r}, which is no step"
            for need in _needs(step)
            if need not in ids
        ]
    return wrong or _circle(steps)


def _one(step: Record, number: int, seen: set[str], tools: set[str] | None) -> list[str]:
    id, wrong = step.get("id"), []
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", id):
        wrong.append(f"step {number}: the id {id!r} is not 1 to 64 of A-Z a-z 0-9 _ . -")
    elif id in seen:
        wrong.append(f"the id {id} stands twice")
    seen.add(str(id))
    if not isinstance(step.get("task"), str) or not str(step.get("task")).strip():
        wrong.append(f"step {id} has no task")
    if not isinstance(step.get("needs", []), list) or not all(
        isinstance(n, str) for n in step.get("needs", [])
    ):
        wrong.append(f"step {id}: needs is a list of ids")
    if tools is not None and step.get("tool") not in tools:
        wrong.append(f"step {id}: there is no tool {step.get('tool')!r}")
    return wrong


def _needs(step: Record) -> list[str]:
    needs = step.get("needs", [])
    return needs if isinstance(needs, list) else []


def _circle(steps: list[Record]) -> list[str]:
    """A circle of needs, told by its steps: what is left once every step that can run has run."""
    left = {step["id"]: set(_needs(step)) for step in steps}
    while ready := [id for id, needs in left.items() if not needs & left.keys()]:
        for id in ready:
            del left[id]
    return [f"these steps wait for each other: {', '.join(left)}"] if left else []
