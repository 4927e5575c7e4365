"""One request to a model, made by agent-llm: what the patterns (plan, execute, reflect, vote) need of one."""

import os
import time

from agentlib import records, stderr
from agentlib.faults import Fault, in_words
from agentlib.messages import transcript
from agentlib.process.child import bound
from agentlib.types import Any, ArgumentParser, Namespace, Record

TIMEOUT = 3600.0  # seconds; agent-llm has shorter limits


def prompt(name: str) -> str:
    """A text of prompts.toml."""
    import tomllib

    with open(
        os.path.join(os.path.dirname(os.path.realpath(__file__)), "prompts.toml"), "rb"
    ) as file:
        return str(tomllib.load(file)[name])


def options(parser: ArgumentParser, what: str = "") -> None:
    """The options that name the model; `what` says for which work, where a program calls two."""
    help = "the agent that messages speak for"
    parser.add_argument("--name", type=_speak_for, metavar="NAME", help=help)
    parser.add_argument("-m", "--model", metavar="MODEL", help=f"the model{what}")
    parser.add_argument("-p", "--provider", metavar="NAME", help=f"the provider{what}")


def _speak_for(name: str) -> str:
    stderr.agent = name
    return name


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
    reply = transcript.text(send(args, request)["message"])
    return reply if schema is None else value(reply)


def send(args: Namespace, request: Record) -> Record:
    """The `response` to a request; the Fault that an `error` says."""
    import subprocess  # not loaded for --help

    from agentlib.launch import command

    argv = bound([os.path.join(command.BIN, "agent-llm"), *words(args)])
    limit = getattr(args, "timeout", TIMEOUT)
    line = records.line(request)
    try:
        done = subprocess.run(argv, input=line, stdout=subprocess.PIPE, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Fault("timeout", f"no answer of the model within {limit:g} s") from None
    for record in map(records.loads, done.stdout.splitlines()):
        if record["type"] == "response":
            return dict(record)
        if record["type"] == "error":
            raise Fault(str(record.get("kind", "server")), in_words(record))
    raise Fault("server", f"agent-llm ended with status {done.returncode} and no answer")


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


def print_result(output: str, json: bool, incomplete: bool, began: float, **fields: Any) -> None:
    """Print the output, or the `result` record of it with these fields. began: by time.monotonic()."""
    if json:
        head = {"type": "result", "output": output, "incomplete": incomplete, **fields}
        records.write({**head, "duration_ms": round((time.monotonic() - began) * 1000)})
    else:
        records.put(output.encode("utf-8", "replace"))
