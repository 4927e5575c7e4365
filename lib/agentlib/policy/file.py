"""The user's policy file, $XDG_CONFIG_HOME/agentutils/policy.toml: rules on tools and arguments (docs/safety.md)."""

from __future__ import annotations

import os

from agentlib import paths
from agentlib.faults import Fault
from agentlib.policy.rules import WIDTH, Policy, Rule
from agentlib.types import Any

VERDICTS = ("allow", "ask", "deny")


def load() -> Policy:
    """The user's policy file as a policy; an empty one where there is none."""
    path = os.path.join(paths.place("config"), "policy.toml")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Policy()
    except OSError as bad:
        raise Fault("invalid_input", f"{path}: {bad.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        seen = os.fstat(fd)
        if seen.st_uid not in (os.getuid(), 0) or seen.st_mode & 0o022:
            why = f"{path}: others may write to it (it must be your own, chmod go-w)"
            raise Fault("invalid_input", why)
        return parse(file.read().decode("utf-8", "replace"), path)


def parse(text: str, path: str) -> Policy:
    """The policy that a TOML text states (docs/safety.md, "The policy file"); every word of it must be known."""
    import tomllib

    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise Fault("invalid_input", f"{path}: {bad}") from None
    _known(path, told, {"rule", "sandbox", "ask", "env"})
    sandbox = told.get("sandbox", "")
    if sandbox and sandbox not in WIDTH or not isinstance(told.get("ask", False), bool):
        why = f"{path}: sandbox is one of {', '.join(WIDTH)}, ask is true or false"
        raise Fault("invalid_input", why)
    rules = told.get("rule", [])
    if not isinstance(rules, list):
        raise Fault("invalid_input", f"{path}: rules begin with [[rule]]")
    return Policy(
        [_rule(path, number, rule) for number, rule in enumerate(rules, 1)],
        sandbox=sandbox,
        ask=told.get("ask", False),
        env=_words(path, told.get("env", [])),
    )


def _rule(path: str, number: int, told: dict[str, Any]) -> Rule:
    where = f"{path}: rule {number}"
    _known(where, told, set(Rule._fields))
    if not told.get("tool"):
        raise Fault("invalid_input", f"{where}: it names no `tool`")
    if told.get("verdict", "allow") not in VERDICTS or told.get("profile", "read") not in WIDTH:
        why = f"{where}: verdict is one of {', '.join(VERDICTS)}, profile of {', '.join(WIDTH)}"
        raise Fault("invalid_input", why)
    arguments = told.get("arguments", {})
    if not isinstance(arguments, dict):
        raise Fault("invalid_input", f"{where}: arguments is a table of globs")
    read, write, env = (_words(where, told.get(part, [])) for part in ("read", "write", "env"))
    return Rule(
        _words(where, told["tool"]),
        {name: _words(where, globs) for name, globs in arguments.items()},
        told.get("verdict", ""),
        told.get("profile", ""),
        read,
        write,
        env,
        str(told.get("reason") or f"rule {number} of {os.path.basename(path)}"),
    )


def _known(where: str, told: dict[str, Any], words: set[str]) -> None:
    if unknown := sorted(set(told) - words):
        why = f"{where}: unknown: {', '.join(unknown)} (known are {', '.join(sorted(words))})"
        raise Fault("invalid_input", why)


def _words(where: str, value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        why = f"{where}: {value!r} is neither a string nor a list of strings"
        raise Fault("invalid_input", why)
    return tuple(words)
