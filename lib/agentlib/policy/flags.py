"""The flags of consent and sandbox, and the policy that they and the user's file make."""

import os
from contextlib import suppress

from agentlib import cli, paths, records
from agentlib.faults import Fault, os_errors
from agentlib.types import TYPE_CHECKING, Any, ArgumentParser, Namespace

if TYPE_CHECKING:
    from agentlib.policy.rules import Policy, Rule

COMMAND = "command"  # --allow NAME:command
OPTIONS = """
--allow NAME[:PROFILE]...  let this tool run though it is not read-only (`all`: every tool), in this sandbox;
 NAME:command, for an agent of yours: as your own command, without a sandbox, with your environment and its keys
--deny TOOL...             never run this tool; may be repeated
--ask                      ask on the terminal before a tool that is not allowed
--sandbox PROFILE          of all tools: read, work, net or off (no sandbox)
"""


def options(parser: Any) -> None:
    """Add the flags of consent and sandbox to an argument parser or to a group of one."""
    import argparse

    class Status(argparse.Action):
        def __call__(self, parser: ArgumentParser, *_: Any) -> None:
            from agentlib.sandbox.kept import status

            records.put("".join(f"{line}\n" for line in status.lines(os.getcwd())).encode())
            parser.exit()

    profiles = {"choices": ("read", "work", "net", "off")}
    cli.options(parser, OPTIONS, sandbox=profiles, allow=lambda word: _allowed(word) and word)
    help = "describe the sandbox on this machine, and exit"
    parser.add_argument("--sandbox-status", action=Status, nargs=0, help=help)
    cli.options(parser, "--env VARIABLE...  give tools this environment variable; may be repeated")


def words(args: Namespace) -> list[str]:
    """The same flags as words of a command line, for an agent-react that works under them."""
    named = {"--allow": args.allow, "--deny": args.deny, "--env": args.env}
    flags = [word for flag, values in named.items() for value in values for word in (flag, value)]
    return [*flags, *["--ask"] * args.ask, *(["--sandbox", args.sandbox] if args.sandbox else [])]


def inherit(args: Namespace) -> None:
    """Deny what was denied to the program that started us, here and in all that we start (AGENT_DENY)."""
    denied = [*filter(None, os.environ.get("AGENT_DENY", "").split(",")), *args.deny]
    args.deny = list(dict.fromkeys(denied))
    if denied:
        os.environ["AGENT_DENY"] = ",".join(args.deny)


def policy(args: Namespace) -> "Policy":
    """The policy of the flags and of the user's file. Fault invalid_input where either is not well formed."""
    from agentlib.policy.rules import Policy, Rule

    user, path = Policy(), os.path.join(paths.place("config"), "policy.toml")
    absent = suppress(FileNotFoundError, NotADirectoryError)
    with os_errors(path), absent, open(path, "rb") as file:
        info = os.fstat(file.fileno())
        if info.st_uid not in (os.getuid(), 0) or info.st_mode & 0o022:
            why = "others may write to it (it must be your own, chmod go-w)"
            raise Fault("invalid_input", f"{path}: {why}")
        from agentlib.policy.file import parse

        user = parse(file.read().decode("utf-8", "replace"), path)
    denials = [Rule((name,), verdict="deny", reason="--deny") for name in args.deny]
    # --sandbox beats the profiles in the file
    rules = [rule._replace(profile="") for rule in user.rules] if args.sandbox else user.rules
    rules = [*map(_allowed, args.allow), *denials, *rules]
    env = [*args.env, *user.env]
    return Policy(rules, args.sandbox or user.sandbox, args.ask or user.ask, env)


def _allowed(text: str) -> "Rule":
    from agentlib.policy.rules import WIDTH, Rule

    name, colon, profile = text.partition(":")
    rule = Rule(("*" if name == "all" else name,), verdict="allow", reason="--allow")
    if profile == COMMAND and name not in ("", "all"):
        return rule._replace(profile="off", env=tuple(os.environ))
    if colon and profile not in WIDTH or not name:
        why = f"a profile: {', '.join(WIDTH)}; or for one agent {COMMAND}"
        raise Fault("invalid_input", f"--allow {text}: not NAME or NAME:PROFILE ({why})")
    return rule._replace(profile=profile)
