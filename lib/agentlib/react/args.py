"""The command line of agent-react, also where it speaks for an agent (--name): help and schema come at once."""

import os
import select
import stat
import time

from agentlib import cli, records, stderr
from agentlib.types import Any, ArgumentParser, Namespace

USAGE = "%(prog)s [OPTION...] [REQUEST...]"
# options that agent-llm takes, but for --retry
TO_MODEL = "provider model rate_limit max_total_tokens fallback record replay".split()
EPILOG = """The request is the operands, or the text on standard input. The exit status is 0 for an answer, 1
for one that is not whole, 2 for wrong usage, 100 for refused, 111 for: may work later.
"""
# seconds that the stages before us in a pipe get to end, once help or schema is printed: less than discovery waits. One
# that has written and is silent now waits for its own input.
DRAIN, QUIET = 2.0, 0.5

OPTIONS = """
the agent:
--name NAME            speak for the agent of this name: in help, schema and results
--description TEXT     what the agent does, in one line
-s, --system TEXT      instructions for the model
--task TEXT            what is to be done where no request is given: the input is then material
--schema JSON|FILE     JSON Schema that the final answer must fit
--memory STORE         recall from this store what fits the request, and remember the run in it
--plugin 'COMMAND ARGS'...  a plugin; may be repeated
--plugin-timeout S     seconds for its answer (30)

the model (handed to agent-llm):
-p, --provider PROVIDER  who serves the model
-m, --model MODEL      which model
--temperature T        randomness of the answers
--max-tokens N         length of one answer
--reasoning low|medium|high  how hard the model thinks
--rate-limit N         requests a minute
--retry N              tries after a passing failure
--budget USD           most to spend, by the agents it calls too
--max-total-tokens N   most tokens to use
--fallback MODEL,…     models to try when this one fails
--record FILE          keep requests and answers on a tape
--replay FILE          answer from a tape

the run:
--max-iterations N     questions to the model in one run (5; 0: no limit)
-t, --timeout S        seconds for a whole run
--tool-timeout S       seconds for a call (120, an agent 600; or what the tool says)
--max-parallel-tools N  read-only calls of one answer at once (8)
-c, --continue         go on with the last conversation in this terminal, or with the run whose id is the first word
--transcript FILE      go on with the conversation in FILE, and add to it
--context-window N     tokens that the model can hold; sum up before that
--no-history           keep nothing of this run in the history
--text-react           Thought/Action/Observation as text, for models without tool calls

consent and sandbox:

many tasks:
--jobs N               `task` records at work at once (16 a core)
--ordered              results in the order of the tasks
--skip-done RESULTS    leave out tasks with a good result in this file

what is printed:
-j, --json             the `result` record instead of the answer's text
--events               every record of the run as it happens
-q, --quiet            nothing; only the exit status tells
"""
FIELD = "--field NAME[=FILE]...  of an answer in JSON (--schema) this field (. for all) as text, or put into FILE"


def parser(doc: str) -> ArgumentParser:
    """Every option, in groups."""
    from agentlib.policy import flags

    made = cli.parser(doc, USAGE)
    help = "the request; - for: standard input is plain text"
    made.add_argument("request", nargs="*", metavar="REQUEST", help=help)
    positive, limit = cli.number(1e-9), os.environ.get("AGENT_RUN_TIMEOUT") or None
    types: dict[str, Any] = {"continue": {"dest": "earlier"}, "schema": cli.json_schema}
    types |= dict.fromkeys("max_tokens max_total_tokens context_window jobs".split(), cli.count(1))
    types |= {"tool_timeout": positive, "budget": positive, "rate_limit": rate}
    types |= {"temperature": cli.number(0), "retry": cli.count(0)}
    types |= {"timeout": {"type": positive, "default": limit}}
    types |= {"plugin_timeout": {"type": positive, "default": 30.0}}
    types |= {"max_iterations": {"type": cli.count(0), "default": 5}}
    types |= {"max_parallel_tools": {"type": cli.count(1), "default": 8}}
    for block in OPTIONS.strip().split("\n\n"):
        title, _, table = block.partition(":\n")
        group = made.add_argument_group(title.rstrip(":"))
        if title == "what is printed":
            cli.options(group.add_mutually_exclusive_group(), table)
            cli.options(group, FIELD)
        elif table:
            cli.options(group, table, **types)
        else:
            flags.options(group)
    return made


def rate(text: str) -> str:
    """A rate of agent-llm: N, N/s, N/m or N/h."""
    amount, slash, unit = text.partition("/")
    cli.number(1e-9)(amount)
    if slash and unit not in ("s", "m", "h"):
        raise ValueError
    return text


def parse(doc: str, args: list[str]) -> Namespace:
    """The options; --help and --version end the program, for the agent that --name names."""
    known = _named(args)
    if name := known.get("name"):
        stderr.agent = name
        purpose = known.get("description", "")
        if purpose[1:2].islower():
            purpose = purpose[:1].lower() + purpose[1:]
        doc = f"{name} - {purpose or 'an agent'}\n\n{EPILOG}"
    wanted = {"--help", "-h", "--version"}.intersection(_before_dashes(args))
    if wanted:
        version = cli.version(cli.headline(doc)[0])
        text = f"{version}\n" if wanted == {"--version"} else parser(doc).format_help()
        records.put(text.encode())
        _drain()
        cli.end(0)
    options = parser(doc).parse_intermixed_args(args)
    env = os.environ.get("AGENT_RECORD") or os.environ.get("AGENT_REPLAY")
    # what is remembered changes, and a tape answers what it knows
    if options.memory and (options.record or options.replay or env):
        options.memory = None
        if not options.quiet:
            stderr.warn("--memory: not with a tape: nothing is recalled, nothing is kept")
    return options


def schema(doc: str, args: list[str]) -> cli.Schemas:
    """The answer to --agent-schema: of agent-react itself, or of the agent that --name names."""
    text = {"type": "string", "description": "The request, with its material"}
    shape = {"type": "object", "properties": {"input": text}, "required": ["input"]}
    more = {"kind": "agent", "invoke": "text", "inputSchema": shape}
    answer: cli.Schema = {**cli.schema(doc), **more, "args": ["-"]}
    known = _named(args)
    if name := known.get("name"):
        answer = {"name": name, "description": known.get("description") or name, **more}
    records.put(records.line(answer))
    _drain()
    return []


def _before_dashes(args: list[str]) -> list[str]:
    return args[: args.index("--")] if "--" in args else args


def _named(args: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    words = iter(_before_dashes(args))
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--name", "--description"):
            found[option[2:]] = value if equals else next(words, "")
    return found


def _drain() -> None:
    """Let the stages before us end in peace: with `pipefail`, a stage that meets a closed pipe fails the agent."""
    until, wait = time.monotonic() + DRAIN, DRAIN
    while stat.S_ISFIFO(os.fstat(0).st_mode) and time.monotonic() < until:
        if not select.select([0], [], [], wait)[0] or not os.read(0, 65536):
            return
        wait = QUIET
