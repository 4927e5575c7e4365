"""The options of agent-llm, and what they bound and keep."""

from __future__ import annotations

import os

from agentlib import cli, records
from agentlib.faults import Fault
from agentlib.llm import inflight
from agentlib.types import TYPE_CHECKING, Any, Callable, Namespace, Record

if TYPE_CHECKING:
    from agentlib.llm.inflight import Limits
    from agentlib.llm.ratelimit import Pace

USAGE = "agent-llm [OPTION...] [-] [REQUEST...]\n       agent-llm [OPTION...] < requests > answers"


def parse(args: list[str], doc: str) -> Namespace:
    """The options of these arguments. Fault `invalid_input` for wrong usage."""
    parser = cli.parser(doc, usage=USAGE)
    add = parser.add_argument
    add("request", nargs="*", help="the request; - reads standard input as plain text")
    add("--system", metavar="TEXT", help="the system prompt")
    add("--model", metavar="NAME", help="the model, or provider/model")
    add("--provider", metavar="NAME", help="the provider, or the path of one")
    add("--temperature", type=number(0), metavar="N")
    add("--max-tokens", type=count(1), metavar="N", help="most tokens of one answer")
    add(
        "--stop",
        action="append",
        metavar="TEXT",
        help="end the answer at this text; may be repeated",
    )
    add("--reasoning", choices=("low", "medium", "high"), help="how hard to think")
    add(
        "--schema",
        type=json_schema,
        metavar="FILE|JSON",
        help="JSON Schema that the answer matches",
    )
    add(
        "--option",
        dest="options",
        action="append",
        type=option,
        metavar="KEY=VALUE",
        help="a field of the vendor's own; VALUE is JSON, else text",
    )
    add("--json", action="store_true", help="print one `response` or `error` record, not text")
    add("--quiet", action="store_true", help="no notes on standard error")
    add(
        "--fallback",
        type=names,
        default=[],
        metavar="MODEL[,…]",
        help="models to ask, in turn, when one fails",
    )
    add(
        "--retries",
        type=count(0),
        default=inflight.RETRIES,
        metavar="N",
        help="tries after the first (default 2)",
    )
    add(
        "--timeout",
        type=number(0),
        metavar="S",
        help="seconds for a request with its retries (default 600)",
    )
    add(
        "--connect-timeout",
        type=number(0),
        metavar="S",
        help="seconds to reach the service (default 5)",
    )
    add(
        "--silence-timeout", type=number(0), metavar="S", help="seconds between words (default 120)"
    )
    add(
        "--rate-limit",
        type=pace,
        metavar="N[/s|/m|/h]",
        help="most requests of all your processes (default /m)",
    )
    add("--budget", type=number(1e-9), metavar="USD", help="most to spend in this run")
    add("--max-total-tokens", type=count(1), metavar="N", help="most tokens to use in this run")
    add(
        "--cache", action="store_true", help="answer a request that was asked before from the cache"
    )
    add("--record", metavar="FILE", help="append requests and answers to a tape")
    add("--replay", metavar="FILE", help="answer from a tape, ask nobody")
    add(
        "--list-providers",
        action="store_true",
        help="print the providers and whether they can be used",
    )
    add("--list-models", action="store_true", help="print the models of --provider, or of all")
    options = parser.parse_intermixed_args(args)
    options.options = dict(options.options) if options.options else None
    if not options.record and not options.replay:  # a tape for all that a pipeline asks
        options.record, options.replay = (
            os.environ.get("AGENT_RECORD"),
            os.environ.get("AGENT_REPLAY"),
        )
    if options.replay and (options.record or options.cache):
        parser.error("--replay asks nobody: it goes with neither --record nor --cache")
    return options


def number(least: float) -> Callable[[str], float]:
    """A type for argparse: a finite number, not under `least`."""

    def convert(text: str) -> float:
        value = float(text)
        if not least <= value < float("inf"):
            raise ValueError
        return value

    convert.__name__ = "number"
    return convert


def count(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number, not under `least`."""

    def convert(text: str) -> int:
        value = int(text)
        if not least <= value < 2**53:
            raise ValueError
        return value

    convert.__name__ = "whole number"
    return convert


def names(text: str) -> list[str]:
    """The words of a list with commas."""
    return [name for name in text.split(",") if name]


def pace(text: str) -> Pace:
    """The pace of --rate-limit."""
    from agentlib.llm import ratelimit

    return ratelimit.parse(text)


def option(text: str) -> tuple[str, Any]:
    """(key, value) of --option."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError
    try:
        return name, records.loads(value)
    except ValueError:
        return name, value


def json_schema(text: str) -> Record:
    """The object of --schema, given itself or as a file's name."""
    where = "--schema"
    if not text.lstrip().startswith("{"):
        where = text
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except OSError as bad:
            raise Fault("invalid_input", f"--schema: {where}: {bad.strerror}") from None
    try:
        value = records.loads(text)
    except ValueError as bad:
        raise Fault("invalid_input", f"{where}: not JSON: {bad}") from None
    if not isinstance(value, dict):
        raise Fault("invalid_input", f"{where}: a JSON Schema is an object")
    return value


def limits(options: Namespace) -> Limits:
    """What bounds the run and keeps its answers, out of the options and the environment."""

    for name in ("timeout", "connect_timeout", "silence_timeout"):
        if (value := getattr(options, name)) is not None:
            os.environ[f"AGENT_{name.upper()}"] = f"{value:g}"  # the providers read them there
    made = inflight.Limits(
        seconds("AGENT_TIMEOUT", 600),
        seconds("AGENT_SILENCE_TIMEOUT", 120),
        options.retries,
        options.rate_limit,
    )
    own = options.budget or options.max_total_tokens
    if own or os.environ.get("AGENT_BUDGET"):
        from agentlib import budget

        every = [
            budget.Budget(options.budget, options.max_total_tokens) if own else None,
            budget.inherited(),
        ]
        made.budgets = [one for one in every if one]
    if options.replay or options.record or options.cache:
        from agentlib.llm import tape

        made.player = tape.Player(options.replay) if options.replay else None
        made.recorder = tape.Recorder(options.record) if options.record else None
        made.cache = tape.Cache() if options.cache else None
    return made


def seconds(variable: str, default: float) -> float:
    """A bound of time from the environment; 0 is none."""
    try:
        value = float(os.environ.get(variable) or default)
    except ValueError:
        value = default
    return value if value > 0 else float("inf")
