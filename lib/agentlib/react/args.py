"""The command line of agent-react, also where it speaks for an agent (--name): help and schema come at once."""

from __future__ import annotations

import os
import select
import time

from agentlib import __version__, cli, records
from agentlib.faults import Fault
from agentlib.types import TYPE_CHECKING, ArgumentGroup, ArgumentParser, Namespace, Sequence

if TYPE_CHECKING:
    from agentlib.cli import Schema

USAGE = "%(prog)s [OPTION...] [REQUEST...]"
TO_MODEL = {  # options of ours that agent-llm takes, by its names
    "provider": "provider",
    "model": "model",
    "rate_limit": "rate-limit",
    "retry": "retries",
    "max_total_tokens": "max-total-tokens",
    "fallback": "fallback",
    "record": "record",
    "replay": "replay",
}
DRAIN = 0.8  # seconds that the stages before us in a pipe get to end, once help or schema is given


def parser(doc: str) -> ArgumentParser:
    """Every option, in groups."""
    from agentlib.policy import flags

    made = cli.parser(doc, USAGE)
    made.add_argument(
        "request",
        nargs="*",
        metavar="REQUEST",
        help="the request; - for: standard input is plain text",
    )
    _agent(made.add_argument_group("the agent"))
    _model(made.add_argument_group("the model (handed to agent-llm)"))
    _run(made.add_argument_group("the run"))
    flags.options(made.add_argument_group("consent and sandbox"))
    _batch(made.add_argument_group("many tasks"))
    _out(made.add_argument_group("what is printed"))
    return made


def _agent(group: ArgumentGroup) -> None:
    group.add_argument(
        "--name", help="speak for the agent of this name: in help, schema and results"
    )
    group.add_argument("--description", metavar="TEXT", help="what the agent does, in one line")
    group.add_argument("--system", metavar="TEXT", help="instructions for the model")
    group.add_argument(
        "--schema", metavar="JSON|FILE", help="JSON Schema that the final answer must fit"
    )
    group.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="'COMMAND ARGS'",
        help="a plugin; may be repeated",
    )
    group.add_argument(
        "--plugin-timeout",
        type=_amount,
        default=30.0,
        metavar="S",
        help="seconds for its answer (30)",
    )


def _model(group: ArgumentGroup) -> None:
    group.add_argument("--provider", help="who serves the model")
    group.add_argument("--model", help="which model")
    group.add_argument("--temperature", type=float, metavar="T", help="randomness of the answers")
    group.add_argument("--max-tokens", type=int, metavar="N", help="length of one answer")
    group.add_argument(
        "--reasoning", choices=("low", "medium", "high"), help="how hard the model thinks"
    )
    group.add_argument("--rate-limit", metavar="N", help="requests a minute")
    group.add_argument("--retry", metavar="N", help="tries after a passing failure")
    group.add_argument(
        "--budget", type=_amount, metavar="USD", help="most to spend, by the agents it calls too"
    )
    group.add_argument("--max-total-tokens", metavar="N", help="most tokens to use")
    group.add_argument("--fallback", metavar="MODEL,…", help="models to try when this one fails")
    group.add_argument("--record", metavar="FILE", help="keep requests and answers on a tape")
    group.add_argument("--replay", metavar="FILE", help="answer from a tape")


def _run(group: ArgumentGroup) -> None:
    group.add_argument(
        "--max-iterations",
        type=_count,
        default=5,
        metavar="N",
        help="questions to the model in one run (5; 0: no limit)",
    )
    group.add_argument("--timeout", type=_amount, metavar="S", help="seconds for a whole run")
    group.add_argument(
        "--tool-timeout",
        type=_amount,
        metavar="S",
        help="seconds for a call (120, an agent 600; or what the tool says)",
    )
    group.add_argument(
        "--max-parallel-tools",
        type=_positive,
        default=8,
        metavar="N",
        help="read-only calls of one answer at once (8)",
    )
    group.add_argument(
        "--transcript", metavar="FILE", help="go on with the conversation in FILE, and add to it"
    )
    group.add_argument(
        "--context-window",
        type=_positive,
        metavar="N",
        help="tokens that the model can hold; sum up before that",
    )
    group.add_argument(
        "--text-react",
        action="store_true",
        help="Thought/Action/Observation as text, for models without tool calls",
    )


def _batch(group: ArgumentGroup) -> None:
    group.add_argument(
        "--jobs", type=_positive, metavar="N", help="`task` records at work at once (16 a core)"
    )
    group.add_argument("--ordered", action="store_true", help="results in the order of the tasks")
    group.add_argument(
        "--skip-done", metavar="RESULTS", help="leave out tasks with a good result in this file"
    )


def _out(group: ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group()
    one.add_argument(
        "--json", action="store_true", help="the `result` record instead of the answer's text"
    )
    one.add_argument("--events", action="store_true", help="every record of the run as it happens")
    one.add_argument(
        "--field",
        action="append",
        metavar="NAME[=FILE]",
        help="of an answer in JSON (--schema) this field as text, or put into FILE",
    )
    one.add_argument("--quiet", action="store_true", help="nothing; only the exit status tells")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError
    return value


_count.__name__, _positive.__name__, _amount.__name__ = "number", "number", "number"  # for messages


def parse(doc: str, args: list[str]) -> Namespace:
    """The options; --help and --version end the program, for the agent that --name names."""
    known = _named(args)
    if name := known.get("name"):
        doc = _doc(name, known.get("description", ""))
    wanted = {"--help", "-h", "--version"}.intersection(_own(args))
    if not wanted:
        return parser(doc).parse_intermixed_args(args)
    name = cli.headline(doc)[0]
    text = f"{name} {__version__}\n" if wanted == {"--version"} else parser(doc).format_help()
    records.put(text.encode())
    _drain()
    cli.end(0)


def schema(doc: str, args: list[str]) -> Schema | Sequence[Schema]:
    """The answer to --agent-schema: of agent-react itself, or of the agent that --name names."""
    known = _named(args)
    said = {
        "kind": "agent",
        "invoke": "text",
        "inputSchema": {
            "type": "object",
            "properties": {
                "input": {"type": "string", "description": "The request, with its material"}
            },
            "required": ["input"],
        },
    }
    if known.get("name"):
        told: Schema = {
            "name": known["name"],
            "description": known.get("description") or known["name"],
            **said,
        }
    else:
        told = {**cli.schema(doc), **said, "args": ["-"]}
    records.put(records.line(told))
    _drain()
    return []


def _own(args: list[str]) -> list[str]:
    return args[: args.index("--")] if "--" in args else args


def _named(args: list[str]) -> dict[str, str]:
    """--name and --description, found without the parser (it need not be loaded for a schema)."""
    found: dict[str, str] = {}
    words = iter(_own(args))
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--name", "--description"):
            found[option[2:]] = value if equals else next(words, "")
    return found


def _doc(name: str, description: str) -> str:
    told = description[:1].lower() + description[1:] if description[1:2].islower() else description
    return (
        f"{name} - {told or 'an agent'}\n\n"
        "The request is the operands, or the text on standard input. The exit status is 0 for an answer, 1\n"
        "for one that is not whole, 2 for wrong usage, 100 for refused, 111 for: may work later.\n"
    )


def _drain() -> None:
    """Let the stages before us end in peace: with `pipefail`, a stage that meets a closed pipe fails the agent."""
    try:
        if not os.path.exists("/proc/self/fd/0") or not _is_pipe():
            return
        until = time.monotonic() + DRAIN
        while (left := until - time.monotonic()) > 0 and select.select([0], [], [], left)[0]:
            if not os.read(0, 65536):
                return
    except OSError:
        pass


def _is_pipe() -> bool:
    import stat

    return stat.S_ISFIFO(os.fstat(0).st_mode)


def read_schema(given: str) -> object:
    """The value of --schema: JSON as it is, else the name of a file with it."""
    text = given
    try:
        if not given.lstrip().startswith("{"):
            with open(given, encoding="utf-8") as stream:
                text = stream.read()
        return records.loads(text)
    except (OSError, ValueError) as bad:
        raise Fault("invalid_input", f"--schema {given[:80]}: {bad}") from None
