"""The options of agent-llm, and what they bound and keep."""

import os

from agentlib import cli, records
from agentlib.environment import seconds
from agentlib.llm import inflight
from agentlib.types import Any, Namespace

USAGE = "agent-llm [OPTION...] [-] [REQUEST...]\n       agent-llm [OPTION...] < requests > answers"

OPTIONS = """
--system TEXT           the system prompt
--model NAME            the model, or provider/model
--provider NAME         the provider, or the path of one
--temperature N         randomness of the answer
--max-tokens N          most tokens of one answer
--stop TEXT...          end the answer at this text; may be repeated
--reasoning low|medium|high  how hard to think
--schema FILE|JSON      JSON Schema that the answer matches
--option KEY=VALUE...   a field of the vendor's own; VALUE is JSON, else text
--json                  print one `response` or `error` record, not text
--quiet                 no notes on standard error
--fallback MODEL[,…]    models to ask, in turn, when one fails
--retries N             tries after the first (default 2)
--timeout S             seconds for a request with its retries (default 600)
--connect-timeout S     seconds to reach the service (default 5)
--silence-timeout S     seconds between words (default 120)
--rate-limit N[/s|/m|/h]  most requests of all your processes (default /m)
--budget USD            most to spend in this run
--max-total-tokens N    most tokens to use in this run
-c, --continue          go on with the last conversation in this terminal, or with the run whose id is the first word
--cache                 answer a request that was asked before from the cache
--record FILE           append requests and answers to a tape
--replay FILE           answer from a tape, ask nobody
--no-history            keep nothing of this in the history
--list-providers        print the providers and whether they can be used
--list-models           print the models of --provider, or of all
"""


def parse(args: list[str], doc: str) -> Namespace:
    parser = cli.parser(doc, usage=USAGE)
    what = "the request; - reads standard input as plain text"
    parser.add_argument("request", nargs="*", help=what)
    times = ("temperature", "timeout", "connect_timeout", "silence_timeout")
    kinds = {**dict.fromkeys(times, cli.number(0)), "budget": cli.number(1e-9)}
    kinds |= dict.fromkeys(("max_tokens", "max_total_tokens"), cli.count(1))
    kinds |= {"stop": {"default": None}, "fallback": {"type": names, "default": []}}
    kinds |= {"schema": cli.json_schema, "option": {"dest": "options", "type": option}}
    retries = os.environ.get("AGENT_RETRY") or inflight.RETRIES
    kinds["retries"] = {"type": cli.count(0), "default": retries}
    rate = os.environ.get("AGENT_RATE_LIMIT") or None
    kinds |= {
        "continue": {"dest": "earlier"},
        "rate_limit": {"type": inflight.pace, "default": rate},
    }
    cli.options(parser, OPTIONS, **kinds)
    options = parser.parse_intermixed_args(args)
    options.options = dict(options.options) if options.options else None
    if not options.record and not options.replay:  # a tape for all that a pipeline asks
        options.record = os.environ.get("AGENT_RECORD")
        options.replay = os.environ.get("AGENT_REPLAY")
    if options.replay and (options.record or options.cache):
        parser.error("--replay asks nobody: it goes with neither --record nor --cache")
    return options


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError
    try:
        return name, records.loads(value)
    except ValueError:
        return name, value


def limits(options: Namespace) -> inflight.Limits:
    """What bounds the run and keeps its answers, out of the options and the environment."""
    for name in ("timeout", "connect_timeout", "silence_timeout"):
        if (value := getattr(options, name)) is not None:
            os.environ[f"AGENT_{name.upper()}"] = f"{value:g}"  # the providers read them there
    budgets: list[Any] = []
    stores: list[Any] = [None, None, None]
    bounded = options.budget or options.max_total_tokens
    if bounded or {"AGENT_BUDGET", "AGENT_COUNT"} & os.environ.keys():
        from agentlib import budget

        ours = [budget.Budget(options.budget, options.max_total_tokens)] if bounded else []
        paths = map(os.environ.get, (budget.VARIABLE, budget.COUNT))
        budgets = [*ours, *(budget.Budget(path=path) for path in paths if path)]
    if options.replay or options.record or options.cache:
        from agentlib.llm import tape

        stores[0] = options.replay and tape.Player(options.replay)
        stores[1] = options.record and tape.Recorder(options.record)
        stores[2] = options.cache and tape.Cache()
    times = seconds("AGENT_TIMEOUT", 600), seconds("AGENT_SILENCE_TIMEOUT", 120)
    return inflight.Limits(*times, options.retries, options.rate_limit, budgets, *stores)
