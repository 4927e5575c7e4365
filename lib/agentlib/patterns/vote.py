"""The work of agent-vote: run, put alike answers together, count (https://arxiv.org/abs/2203.11171)."""

from __future__ import annotations

import queue
import sys
import threading

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.patterns import model
from agentlib.types import Any, Namespace, Record

ALIKE = """Several answers to the same question follow, numbered. Put those together that mean the same, however they
are worded. Answer with {"groups": [[numbers], ...]}, each number in exactly one group."""
GROUPS = {
    "type": "object",
    "properties": {
        "groups": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    },
    "required": ["groups"],
    "additionalProperties": False,
}


def main(args: Namespace) -> int:
    """Print the answer of most; 0 where it is one, 1 where there is a tie or no answer."""
    given = (
        b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read(records.LINE_CAP)
    )
    answers, failures = run(args, given)
    if not answers:
        raise Fault("tool_error", f"no run succeeded: {failures[0]}")
    groups = sorted(together(args, answers), key=len, reverse=True)
    tie = len(groups) > 1 and len(groups[0]) == len(groups[1])
    votes = [{"answer": answers[group[0]], "votes": len(group)} for group in groups]
    tell(args, votes, failures, tie)
    if args.json:
        records.write(
            {"type": "result", "output": votes[0]["answer"], "incomplete": tie, "votes": votes}
        )
    else:
        records.put(str(votes[0]["answer"]).encode("utf-8", "replace") + b"\n")
    return 1 if tie else 0


def run(args: Namespace, given: bytes) -> tuple[list[str], list[str]]:
    """(the outputs in the order of the runs, why the others failed)."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(args.runs):
        todo.put(number)
    ended: dict[int, str | Fault] = {}
    leash = command.Leash()

    def work() -> None:
        while not todo.empty():
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            try:
                ended[number] = command.text(args.command, given, args.timeout, leash)
            except Fault as bad:
                ended[number] = bad
            except InterruptedError:
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(args.jobs, args.runs))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        leash.pull()
    inorder = [ended[number] for number in sorted(ended)]
    return [o for o in inorder if isinstance(o, str)], [
        o.message for o in inorder if isinstance(o, Fault)
    ]


def together(args: Namespace, answers: list[str]) -> list[list[int]]:
    """The numbers of the answers that are alike, the earliest first in each group."""
    if args.judge:
        return judged(args, answers)
    groups: dict[str, list[int]] = {}
    for number, answer in enumerate(answers):
        groups.setdefault(field(answer, args.field) if args.field else answer.strip(), []).append(
            number
        )
    return list(groups.values())


def field(answer: str, name: str) -> str:
    """What is compared of a JSON answer; an answer without the field is alike only to others without it."""
    try:
        value = model.value(answer)
    except Fault:
        return ""
    return records.dumps(value[name]) if isinstance(value, dict) and name in value else ""


def judged(args: Namespace, answers: list[str]) -> list[list[int]]:
    """The groups that a model makes; what it left out or named twice is put right."""
    told = "\n\n".join(f"Answer {i}:\n{text[:4000]}" for i, text in enumerate(answers))
    said: Any = model.ask(args, ALIKE, told, GROUPS)
    left, groups = set(range(len(answers))), []
    for group in said.get("groups", []) if isinstance(said, dict) else []:
        kept = [number for number in group if number in left]
        left -= set(kept)
        groups += [sorted(kept)] if kept else []
    return groups + [[number] for number in sorted(left)]


def tell(args: Namespace, votes: list[Record], failures: list[str], tie: bool) -> None:
    """The counts, the failures, a tie."""
    for why in failures:
        stderr.warn(f"a run failed: {why}")
    if tie:
        stderr.warn(
            f"a tie: {sum(v['votes'] == votes[0]['votes'] for v in votes)} answers have {votes[0]['votes']} each"
        )
    elif not args.quiet:
        stderr.say(f"> {votes[0]['votes']} of {sum(v['votes'] for v in votes)} votes")
