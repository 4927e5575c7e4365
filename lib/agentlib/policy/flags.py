"""The flags of consent and sandbox, and the policy that they and the user's file make."""

from __future__ import annotations

import os

from agentlib import cli, records
from agentlib.faults import Fault
from agentlib.policy.rules import WIDTH, Policy, Rule
from agentlib.types import Action, Any, ArgumentParser, Namespace

OPTIONS = """
--allow NAME[:PROFILE]...  let this tool run though it is not read-only (`all`: every tool), and in this sandbox
--deny NAME...             never run this tool
--ask                      ask on the terminal before a tool that is not allowed
--sandbox PROFILE          of all tools: read, work, net or off (none)
"""


def options(parser: Any) -> None:
    """The flags of consent and sandbox, for an argument parser or a group of one."""
    cli.options(parser, OPTIONS, sandbox={"choices": tuple(WIDTH)})
    help = "say what the sandbox gives here, and exit"
    parser.add_argument("--sandbox-status", action=_status(), nargs=0, help=help)
    cli.options(parser, "--env NAME...  give tools this variable of the environment")


def _status() -> type[Action]:
    import argparse

    class Status(argparse.Action):
        """Print the lines of standing.py and end."""

        def __call__(self, parser: ArgumentParser, *_: Any) -> None:
            from agentlib.sandbox import status
            from agentlib.sandbox.kept import wards

            lines = [*status.lines(os.getcwd()), wards.status(os.getcwd())]
            records.put("".join(f"{line}\n" for line in lines).encode())
            parser.exit()

    return Status


def words(args: Namespace) -> list[str]:
    """The same flags, for an agent-react that works under them."""
    named = {"--allow": args.allow, "--deny": args.deny, "--env": args.env}
    flags = [word for flag, values in named.items() for value in values for word in (flag, value)]
    return [*flags, *["--ask"] * args.ask, *(["--sandbox", args.sandbox] if args.sandbox else [])]


def inherit(args: Namespace) -> None:
    """What was denied to who started us is denied here, and to all that we start: AGENT_DENY says it."""
    denied = [*filter(None, os.environ.get("AGENT_DENY", "").split(",")), *args.deny]
    args.deny = list(dict.fromkeys(denied))
    if denied:
        os.environ["AGENT_DENY"] = ",".join(args.deny)


def policy(args: Namespace) -> Policy:
    """The policy of the flags and of the user's file. Fault invalid_input where either is not well formed."""
    from agentlib.policy import file

    rules = [
        *map(_allowed, args.allow),
        *(Rule((name,), verdict="deny", reason="--deny") for name in args.deny),
    ]
    told = file.load()
    theirs = [rule._replace(profile="") for rule in told.rules] if args.sandbox else told.rules
    return Policy(
        [*rules, *theirs],
        sandbox=args.sandbox or told.sandbox,
        ask=args.ask or told.ask,
        env=[*args.env, *told.env],
    )


def _allowed(text: str) -> Rule:
    name, colon, profile = text.partition(":")
    if colon and profile not in WIDTH or not name:
        why = f"--allow {text}: not NAME or NAME:PROFILE (a profile: {', '.join(WIDTH)})"
        raise Fault("invalid_input", why)
    return Rule(
        ("*" if name == "all" else name,), verdict="allow", profile=profile, reason="--allow"
    )
