"""The user's policy file, $XDG_CONFIG_HOME/agentutils/policy.toml: rules on tools and arguments (docs/safety.md)."""

import os

from agentlib.faults import Fault
from agentlib.policy.rules import WIDTH, Policy, Rule
from agentlib.types import Any

VERDICTS = ("allow", "ask", "deny")
PROFILES = ", ".join(WIDTH)


def parse(text: str, path: str) -> Policy:
    """The policy in a TOML text (docs/safety.md, "The policy file"). Fault invalid_input where a key is unknown."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise _fault(path, bad) from None
    _check_keys(path, table, {"rule", "sandbox", "ask", "env"})
    sandbox, ask, rules = table.get("sandbox", ""), table.get("ask", False), table.get("rule", [])
    if sandbox and sandbox not in WIDTH or not isinstance(ask, bool):
        raise _fault(path, f"sandbox is one of {PROFILES}, ask is true or false")
    if not isinstance(rules, list):
        raise _fault(path, "rules begin with [[rule]]")
    parsed = [_rule(path, number, rule) for number, rule in enumerate(rules, 1)]
    return Policy(parsed, sandbox, ask, _strings(path, table.get("env", [])))


def _rule(path: str, number: int, table: dict[str, Any]) -> Rule:
    where = f"{path}: rule {number}"
    _check_keys(where, table, set(Rule._fields))
    if not table.get("tool"):
        raise _fault(where, "it names no `tool`")
    if table.get("verdict", "allow") not in VERDICTS or table.get("profile", "read") not in WIDTH:
        raise _fault(where, f"verdict is one of {', '.join(VERDICTS)}, profile of {PROFILES}")
    arguments = table.get("arguments", {})
    if not isinstance(arguments, dict):
        raise _fault(where, "arguments is a table of globs")
    fields: dict[str, Any] = {name: table[name] for name in ("verdict", "profile") if name in table}
    fields |= {key: _strings(where, table.get(key, [])) for key in ("tool", "read", "write", "env")}
    globs = {name: _strings(where, value) for name, value in arguments.items()}
    reason = str(table.get("reason") or f"rule {number} of {os.path.basename(path)}")
    return Rule(**fields, arguments=globs, reason=reason)


def _check_keys(where: str, table: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        names = ", ".join(sorted(known))
        raise _fault(where, f"unknown: {', '.join(unknown)} (known are {names})")


def _strings(where: str, value: Any) -> tuple[str, ...]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(item, str) for item in strings):
        raise _fault(where, f"{value!r} is neither a string nor a list of strings")
    return tuple(strings)


def _fault(where: str, why: object) -> Fault:
    return Fault("invalid_input", f"{where}: {why}")
