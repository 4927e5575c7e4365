"""One request to a model, made by agent-llm: what the patterns (plan, execute, reflect, vote) and agent-eval need."""

import os
import time

from agentlib import paths, records
from agentlib.faults import Fault, in_words
from agentlib.messages import transcript
from agentlib.messages.subschemas import object_schema
from agentlib.types import Any, ArgumentParser, Namespace, Record

TIMEOUT = 3600.0  # seconds; agent-llm has shorter limits
SHOWN = 8000  # characters of an output or a check that a model sees
VERDICT = object_schema({"passed": {"type": "boolean"}, "why": {"type": "string"}})


def prompt(name: str) -> str:
    """A text of prompts.toml."""
    import tomllib

    with open(os.path.join(os.path.dirname(__file__), "prompts.toml"), "rb") as file:
        return str(tomllib.load(file)[name])


def options(parser: ArgumentParser, what: str = "") -> None:
    """The options that name the model; `what` says for which work, where a program calls two."""
    parser.add_argument("-m", "--model", metavar="MODEL", help=f"the model{what}")
    parser.add_argument("-p", "--provider", metavar="NAME", help=f"the provider{what}")


def words(args: Namespace) -> list[str]:
    """The same options as words of a command line."""
    values = (("--model", args.model), ("--provider", args.provider))
    return [word for name, value in values if value for word in (name, value)]


def call(args: Namespace, system: str, text: str, schema: Record | None = None) -> Any:
    """The model's answer: a text, or with a schema the value; Fault where there is none."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    request: Record = {"type": "request", "id": "1", "messages": messages}
    if schema is not None:
        request["schema"] = schema
    limit = getattr(args, "timeout", TIMEOUT)
    status, out = run("agent-llm", words(args), records.line(request), limit)
    for record in map(records.loads, out.splitlines()):
        if record["type"] == "response":
            reply = transcript.text(record["message"])
            return reply if schema is None else value(reply)
        if record["type"] == "error":
            raise Fault(str(record.get("kind", "server")), in_words(record), record.get("exit"))
    raise Fault("server", f"agent-llm ended with status {status} and no answer")


def run(name: str, words: list[str], stdin: bytes, limit: float = TIMEOUT) -> tuple[int, bytes]:
    """(exit status, output) of a program of the suite, which ends with us; Fault `timeout` after limit seconds."""
    import subprocess  # not loaded for --help

    from agentlib.process.child import bound

    argv, out = [os.path.join(paths.TOP, "bin", name), *words], subprocess.PIPE
    try:
        done = subprocess.run(argv, input=stdin, stdout=out, env=bound(), timeout=limit)
    except subprocess.TimeoutExpired:
        raise Fault("timeout", f"{name}: no answer within {limit:g} s") from None
    return done.returncode, done.stdout


def value(text: str) -> Any:
    """The JSON value of an answer, also where a small model put it in a code block of Markdown."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.split("\n", 1)[-1].rsplit("```", 1)[0]
    try:
        return records.loads(bare)
    except ValueError as bad:
        why = f"the model's answer is not JSON: {bad}: {text[:200]!r}"
        raise Fault("bad_response", why) from None


def misfit(schema: Any, output: str) -> str:
    """Why an output is not JSON that fits the JSON Schema; "" where it is."""
    from agentlib.messages.validate import Validator

    try:
        return "; ".join(Validator(schema).problems(value(output)))
    except Fault as bad:
        return bad.message


def refusal(args: Namespace, measure: str, output: str) -> str:
    """Why a model refuses an output, by the user's measure; "" where it does not."""
    text = f"The measure: {measure}\n\nThe output:\n{output[:SHOWN]}"
    verdict = call(args, prompt("judge"), text, VERDICT)
    verdict = verdict if isinstance(verdict, dict) else {"why": verdict}
    return "" if verdict.get("passed") is True else str(verdict.get("why")) or "the critic said no"


def print_result(output: str, json: bool, incomplete: bool, began: float, **fields: Any) -> None:
    """Print the output, or the `result` record of it with these fields. began: by time.monotonic()."""
    if json:
        head = {"type": "result", "output": output, "incomplete": incomplete, **fields}
        records.write({**head, "duration_ms": round((time.monotonic() - began) * 1000)})
    else:
        records.put(output.encode("utf-8", "replace"))
