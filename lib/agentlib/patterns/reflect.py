"""The work of agent-reflect: try, judge, write down the lesson, try again (https://arxiv.org/abs/2303.11366)."""

import os
import subprocess
import time

from agentlib import cli, records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.messages.subschemas import object_schema
from agentlib.patterns import model
from agentlib.types import Any, Namespace, Record

LASTING = (2, 100, 126, 127)  # statuses that no other try changes
SHOWN = 8000  # characters of an output or a check that a model sees
VERDICT = object_schema({"passed": {"type": "boolean"}, "why": {"type": "string"}})


def main(args: Namespace) -> int:
    """Up to --tries runs; 0 where one passed."""
    if command.described(args.command):
        return 0
    if args.plain:
        stdin = str(records.plain()["text"]).encode()
    else:
        stdin = b"".join(line.raw + b"\n" for line in records.read(cure=records.CURE))
    lessons = _recalled_lessons(args)
    tries: list[Record] = []
    began, leash = time.monotonic(), command.Leash()
    try:
        for number in range(1, max(1, args.tries) + 1):
            output, error, status = attempt(args, _with_lessons(args, stdin, lessons), leash)
            why = error or judged(args, output, leash)
            tries.append({"output": output, "passed": not why, **({"why": why} if why else {})})
            if not args.quiet:
                end = f"failed: {why.splitlines()[0]}" if why else "passed"
                stderr.say(f"> try {number}: {end}"[:202])
            if not why or status in LASTING:
                break
            if number < args.tries:
                text = f"The output:\n{output[:SHOWN]}\n\nThe check:\n{why[:SHOWN]}"
                text = f"The task: {' '.join(args.command)}\n\n{text}"
                lessons.append(str(model.call(args, model.prompt("lesson"), text)).strip())
                tries[-1]["reflection"] = lessons[-1]
                _remember(args, lessons[-1])
    finally:
        leash.pull()
    more: Record = {"iterations": len(tries), "tries": tries}
    model.print_result(output, args.json, bool(why), began, **more)
    return status if status in LASTING else int(bool(why))


def _with_lessons(args: Namespace, stdin: bytes, lessons: list[str]) -> bytes:
    if args.plain:
        head = "".join(f"Lesson of an earlier try: {text}\n" for text in lessons)
        return (head + "\n").encode() + stdin if head else stdin
    for number, text in enumerate(lessons, 1):
        stdin += records.line({"type": "memory", "key": f"lesson {number}", "value": text})
    return stdin


def attempt(args: Namespace, stdin: bytes, leash: command.Leash) -> tuple[str, str, int]:
    """(output, what went wrong with the run itself or "", its exit status) of one try."""
    outcome = command.run(args.command, stdin, args.timeout, leash)
    text = outcome.out.decode("utf-8", "replace")
    if outcome.late:
        return text, f"the command was ended after {args.timeout:g} s", 1
    if outcome.status:
        why = outcome.err.decode("utf-8", "replace")[-1000:].strip()
        if "\n" in why:  # the last line says it best
            why = f"{why.splitlines()[-1]}\n{why}"
        return text, f"the command ended with status {outcome.status}: {why}", outcome.status
    return text, "", 0


def judged(args: Namespace, output: str, leash: command.Leash) -> str:
    """Why the output does not pass; "" where it does. Every judge that was named must agree."""
    if args.check:
        words = ["sh", "-c", f"exec 2>&1\n{args.check}"]
        outcome = command.run(words, output.encode("utf-8", "replace"), args.timeout, leash)
        if outcome.late:
            return f"the check `{args.check}` was ended after {args.timeout:g} s"
        if outcome.status:
            printed = outcome.out.decode("utf-8", "replace").strip()[-SHOWN:]
            return f"the check `{args.check}` ended with status {outcome.status}:\n{printed}"
    why = args.schema and by_schema(cli.json_schema(args.schema), output)
    return why or args.critic and by_model(args, args.critic, output) or ""


def by_schema(schema: Any, output: str) -> str:
    """Why the output does not fit the JSON Schema; "" where it does."""
    from agentlib.messages.validate import Validator

    try:
        return "; ".join(Validator(schema).problems(model.value(output)))
    except Fault as bad:
        return bad.message


def by_model(args: Namespace, measure: str, output: str) -> str:
    """Why a model refuses the output, by the user's measure; "" where it does not."""
    text = f"The measure: {measure}\n\nThe output:\n{output[:SHOWN]}"
    verdict = model.call(args, model.prompt("judge"), text, VERDICT)
    if not isinstance(verdict, dict):
        verdict = {"why": verdict}
    return "" if verdict.get("passed") is True else str(verdict.get("why")) or "the critic said no"


def _recalled_lessons(args: Namespace) -> list[str]:
    if not args.store:
        return []
    words = ["--store", args.store, *"--tag lesson --limit 5 --".split(), *args.command]
    argv = [os.path.join(command.BIN, "agent-memory"), "search", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return [str(records.loads(line)["value"]) for line in done.stdout.splitlines()]


def _remember(args: Namespace, text: str) -> None:
    if args.store:
        key = f"{' '.join(args.command)[:200]} {time.time():.3f}"
        words = ["remember", key, "-", "--store", args.store, "--tag", "lesson"]
        argv = [os.path.join(command.BIN, "agent-memory"), *words]
        subprocess.run(argv, input=text.encode(), check=False)
