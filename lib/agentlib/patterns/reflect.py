"""The work of agent-reflect: try, judge, put the lesson into words, try again (https://arxiv.org/abs/2303.11366)."""

from __future__ import annotations

import os
import subprocess
import time

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.patterns import model
from agentlib.types import TYPE_CHECKING, Namespace, Record

if TYPE_CHECKING:
    from agentlib.process.run import Leash

SHOWN = 8000  # characters of an output or a check that a model sees
LESSON = """A try at a task failed its check. Say in one to three sentences, addressed to whoever tries next, what went
wrong and what to do differently. Be concrete. Do not do the task yourself."""
JUDGE = (
    "You judge an output by a given measure. Be strict: it passes only if the measure is fully met."
)
VERDICT = {
    "type": "object",
    "properties": {"passed": {"type": "boolean"}, "why": {"type": "string"}},
    "required": ["passed", "why"],
    "additionalProperties": False,
}


def main(args: Namespace) -> int:
    """Up to --tries runs; 0 where one passed."""
    given = _standard_input(args)
    lessons = recalled(args)
    tries: list[Record] = []
    began, leash = time.monotonic(), command.Leash()
    try:
        for number in range(1, max(1, args.tries) + 1):
            output, error = attempt(args, with_lessons(args, given, lessons), leash)
            why = error or judged(args, output, leash)
            tries.append({"output": output, "passed": not why, **({"why": why} if why else {})})
            say(
                args,
                f"try {number}: " + ("passed" if not why else f"failed: {why.splitlines()[0]}"),
            )
            if not why:
                break
            if number < args.tries:
                lessons.append(lesson(args, output, why))
                tries[-1]["reflection"] = lessons[-1]
                remembered(args, lessons[-1])
    finally:
        leash.pull()
    show(args, tries, began)
    return 0 if tries[-1]["passed"] else 1


def _standard_input(args: Namespace) -> bytes:
    """All of standard input: the text after `-`, else a record stream, held against the rules of one."""
    if args.plain:
        return str(records.plain()["text"]).encode()
    return b"".join(line.raw + b"\n" for line in records.read())


def with_lessons(args: Namespace, given: bytes, lessons: list[str]) -> bytes:
    """Standard input of the next try."""
    if args.plain:
        told = "".join(f"Lesson of an earlier try: {text}\n" for text in lessons)
        return (told + "\n").encode() + given if told else given
    made = [
        {"type": "memory", "key": f"lesson {i}", "value": text} for i, text in enumerate(lessons, 1)
    ]
    return given + b"".join(records.line(record) for record in made)


def attempt(args: Namespace, given: bytes, leash: Leash) -> tuple[str, str]:
    """(output, what went wrong with the run itself or "") of one try."""
    ended = command.run(args.command, given, args.timeout, leash)
    text = ended.out.decode("utf-8", "replace")
    if ended.late:
        return text, f"the command was ended after {args.timeout:g} s"
    if ended.status:
        why = ended.err.decode("utf-8", "replace")[-1000:].strip()
        return text, f"the command ended with status {ended.status}: {why}"
    return text, ""


def judged(args: Namespace, output: str, leash: Leash) -> str:
    """Why the output does not pass; "" where it does. Every judge that was named must agree."""
    return (
        (args.check and by_command(args, output, leash))
        or (args.schema and by_schema(args.schema, output))
        or (args.critic and by_model(args, output))
        or ""
    )


def by_command(args: Namespace, output: str, leash: Leash) -> str:
    """The user's own shell command; the output is its standard input."""
    words = ["sh", "-c", f"exec 2>&1\n{args.check}"]
    ended = command.run(words, output.encode("utf-8", "replace"), args.timeout, leash)
    if ended.late:
        return f"the check `{args.check}` was ended after {args.timeout:g} s"
    said = ended.out.decode("utf-8", "replace").strip()[-SHOWN:]
    if ended.status:
        return f"the check `{args.check}` ended with status {ended.status}:\n{said}"
    return ""


def by_schema(file: str, output: str) -> str:
    """JSON Schema."""
    from agentlib.messages.validate import Validator

    with open(file, "rb") as stream:
        schema = records.loads(stream.read())
    try:
        return "; ".join(Validator(schema).problems(model.value(output)))
    except Fault as bad:
        return bad.message


def by_model(args: Namespace, output: str) -> str:
    """A critic."""
    verdict = model.ask(
        args, JUDGE, f"The measure: {args.critic}\n\nThe output:\n{output[:SHOWN]}", VERDICT
    )
    passed = isinstance(verdict, dict) and verdict.get("passed") is True
    if passed:
        return ""
    return str(verdict.get("why") if isinstance(verdict, dict) else verdict) or "the critic said no"


def lesson(args: Namespace, output: str, why: str) -> str:
    """What the model says should be done differently."""
    task = " ".join(args.command)
    return str(
        model.ask(
            args,
            LESSON,
            f"The task: {task}\n\nThe output:\n{output[:SHOWN]}\n\nThe check:\n{why[:SHOWN]}",
        )
    ).strip()


def recalled(args: Namespace) -> list[str]:
    """The lessons that the store has for this command."""
    if not args.store:
        return []
    words = [
        "search",
        "--store",
        args.store,
        "--tag",
        "lesson",
        "--limit",
        "5",
        "--",
        *args.command,
    ]
    found = [os.path.join(command.BIN, "agent-memory"), *words]
    done = subprocess.run(found, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return [str(records.loads(line)["value"]) for line in done.stdout.splitlines()]


def remembered(args: Namespace, text: str) -> None:
    """Keep a lesson under its command and moment."""
    if args.store:
        key = f"{' '.join(args.command)[:200]} {time.time():.3f}"
        words = ["remember", key, "-", "--store", args.store, "--tag", "lesson"]
        subprocess.run(
            [os.path.join(command.BIN, "agent-memory"), *words], input=text.encode(), check=False
        )


def say(args: Namespace, text: str) -> None:
    if not args.quiet:
        stderr.say("> " + text[:200])


def show(args: Namespace, tries: list[Record], began: float) -> None:
    """The last output, or the record of all."""
    if not args.json:
        records.put(tries[-1]["output"].encode("utf-8", "replace"))
        return
    last = tries[-1]
    result = {
        "type": "result",
        "output": last["output"],
        "incomplete": not last["passed"],
        "iterations": len(tries),
    }
    records.write(
        {**result, "tries": tries, "duration_ms": round((time.monotonic() - began) * 1000)}
    )
