"""The work of agent-vote: run, put alike answers together, count (https://arxiv.org/abs/2203.11171)."""

import sys

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.messages.subschemas import object_schema
from agentlib.patterns import model
from agentlib.process.run import at_once
from agentlib.types import Any, Namespace

NUMBERS = {"type": "array", "items": {"type": "integer"}}
GROUPS = object_schema({"groups": {"type": "array", "items": NUMBERS}})


def main(args: Namespace) -> int:
    """Print the most frequent answer; 0 where it is one, 1 where there is a tie or no answer."""
    if command.described(args.command):
        return 0
    at_terminal = sys.stdin is None or sys.stdin.isatty()
    stdin = b"" if at_terminal else sys.stdin.buffer.read(records.LINE_CAP)
    answers, failures = run(args, stdin)
    if args.field:
        voting = [answer for answer in answers if field(answer, args.field) is not None]
        failures += [f"no field {args.field!r} in its answer"] * (len(answers) - len(voting))
        answers = voting
    if not answers:
        raise Fault("tool_error", f"no run succeeded: {failures[0]}")
    groups = sorted(together(args, answers), key=len, reverse=True)
    counts = [len(group) for group in groups]
    votes = [{"answer": answers[group[0]], "votes": len(group)} for group in groups]
    tie = counts.count(counts[0])
    for why in failures:
        stderr.warn(f"a run failed: {why}")
    if tie > 1:
        stderr.warn(f"a tie: {tie} answers have {counts[0]} each")
    elif not args.quiet:
        stderr.say(f"> {counts[0]} of {sum(counts)} votes")
    winner = str(votes[0]["answer"])
    if args.json:
        records.write({"type": "result", "output": winner, "incomplete": tie > 1, "votes": votes})
    else:
        records.put(winner.encode("utf-8", "replace") + b"\n")
    return int(tie > 1)


def run(args: Namespace, stdin: bytes) -> tuple[list[str], list[str]]:
    """(the outputs in the order of the runs, why the others failed)."""
    leash = command.Leash()

    def one(number: int) -> tuple[int, str | Fault]:
        try:
            return number, command.text(args.command, stdin, args.timeout, leash)
        except Fault as bad:
            return number, bad

    ended = dict(at_once(args.jobs, range(args.runs), one, leash))
    in_order = [ended[number] for number in sorted(ended)]
    failures = [outcome.message for outcome in in_order if isinstance(outcome, Fault)]
    return [outcome for outcome in in_order if isinstance(outcome, str)], failures


def together(args: Namespace, answers: list[str]) -> list[list[int]]:
    """The numbers of the answers that are alike, the earliest first in each group."""
    if args.judge:
        return judged(args, answers)
    groups: dict[str | None, list[int]] = {}
    for number, answer in enumerate(answers):
        key = field(answer, args.field) if args.field else answer.strip()
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def field(answer: str, name: str) -> str | None:
    """The field of a JSON answer, as JSON; None where the answer has no such field."""
    try:
        value = model.value(answer)
    except Fault:
        return None
    return records.dumps(value[name]) if isinstance(value, dict) and name in value else None


def judged(args: Namespace, answers: list[str]) -> list[list[int]]:
    """The groups that a model makes; an answer that it left out or named twice is put right."""
    text = "\n\n".join(f"Answer {i}:\n{answer[:4000]}" for i, answer in enumerate(answers))
    verdict: Any = model.call(args, model.prompt("alike"), text, GROUPS)
    left, groups = set(range(len(answers))), []
    for numbers in verdict.get("groups", []) if isinstance(verdict, dict) else []:
        if group := sorted(left.intersection(numbers)):
            left -= set(group)
            groups.append(group)
    return groups + [[number] for number in sorted(left)]
