"""The user's policy file, $XDG_CONFIG_HOME/agentutils/policy.toml: rules on tools and arguments (docs/safety.md)."""

import os
from fnmatch import fnmatchcase

from agentlib import records
from agentlib.config import check
from agentlib.faults import Fault
from agentlib.policy.rules import WIDTH, Policy, Rule
from agentlib.types import Any, Iterator

VERDICTS = ("allow", "ask", "deny")
PROFILES = ", ".join(WIDTH)


def parse(text: str, path: str) -> Policy:
    """The policy in a TOML text (docs/safety.md, "The policy file"). Fault invalid_input where a key is unknown."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise _fault(path, bad) from None
    check(table, ("rule", "sandbox", "ask", "env"), path)
    sandbox, ask, rules = table.get("sandbox", ""), table.get("ask", False), table.get("rule", [])
    if sandbox and sandbox not in WIDTH or not isinstance(ask, bool):
        raise _fault(path, f"sandbox is one of {PROFILES}, ask is true or false")
    if not isinstance(rules, list):
        raise _fault(path, "rules begin with [[rule]]")
    parsed = [_rule(path, number, rule) for number, rule in enumerate(rules, 1)]
    return Policy(parsed, sandbox, ask, _strings(path, table.get("env", [])))


def _rule(path: str, number: int, table: dict[str, Any]) -> Rule:
    where = f"{path}: rule {number}"
    check(table, {*Rule._fields, "arguments"} - {"fits"}, where)
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
    verdict = fields.get("verdict", "")
    fits = lambda values: all(_fits(values, name, globs[name], verdict) for name in globs)  # noqa: E731
    return Rule(**fields, fits=fits, reason=reason)


def _strings(where: str, value: Any) -> tuple[str, ...]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(item, str) for item in strings):
        raise _fault(where, f"{value!r} is neither a string nor a list of strings")
    return tuple(strings)


def _fault(where: str, why: object) -> Fault:
    return Fault("invalid_input", f"{where}: {why}")


def _fits(arguments: Any, name: str, globs: tuple[str, ...], verdict: str) -> bool:
    """Whether an argument matches: for an allow every part of it must, of which there is at least one.

    No allow matches null, an empty list or object, nor a path with `..` in it. For a deny or ask any part is enough,
    also the parts in a row, as a command would have them, or the whole as JSON.
    """
    if not isinstance(arguments, dict) or name not in arguments:
        return False
    parts = list(_parts(arguments[name]))
    texts = [text for text in parts if text is not None]
    if verdict in ("deny", "ask"):
        texts += [" ".join(texts), records.dumps(arguments[name])]
        return any(fnmatchcase(text, glob) for text in texts for glob in globs)
    if len(texts) < len(parts) or any(".." in text.split("/") for text in texts):
        return False
    return all(any(fnmatchcase(text, glob) for glob in globs) for text in texts)


def _parts(value: Any) -> Iterator[str | None]:
    """All strings, numbers and booleans in a value, as texts; None for null and for what is empty."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and value:
        for item in value if isinstance(value, list) else [*value, *value.values()]:
            yield from _parts(item)
    elif value is None or isinstance(value, list | dict):
        yield None
    else:
        yield records.dumps(value)
