"""The user's configuration, $XDG_CONFIG_HOME/agentutils/config.toml: the only file that can loosen anything."""

import os
from contextlib import suppress

from agentlib.faults import Fault, near, os_errors
from agentlib.paths import place
from agentlib.types import Any, Iterable

# And their names; None: any.
TABLES = {"keys": None, "prices": None, "discover": {"allow"}, "history": {"days", "megabytes"}}
SETTINGS = set("name description provider model temperature max_tokens system stop".split())
SETTINGS |= {"schema", "reasoning", "options", "warm"}


def load() -> dict[str, Any]:
    """The tables of the file, {} where there is none; a fault with line and column where it is not TOML."""
    file = os.path.join(place("config"), "config.toml")
    text = b""
    absent = suppress(FileNotFoundError, NotADirectoryError)
    with os_errors(file), absent, open(file, "rb") as opened:
        text = opened.read()
    if not text:
        return {}
    import tomllib

    try:
        found = tomllib.loads(text.decode())
    except UnicodeDecodeError as bad:
        raise Fault("invalid_input", f"{file}: byte {bad.start + 1} is not UTF-8") from None
    except tomllib.TOMLDecodeError as bad:
        raise Fault("invalid_input", f"{file}: {bad}") from None
    check(found, SETTINGS | TABLES.keys(), file)
    for name, known in TABLES.items():
        table = found.get(name, {})
        table = {} if name == "history" and isinstance(table, bool) else table
        if not isinstance(table, dict):
            raise Fault("invalid_input", f"{file}: {name} is a table: [{name}]")
        if known:
            check(table, known, f"{file}: [{name}]")
    history = found.get("history")
    for name, value in history.items() if isinstance(history, dict) else ():
        if type(value) not in (int, float) or not 0 <= value < 1e9:
            raise Fault("invalid_input", f"{file}: [history]: {name} is a number, not {value!r}")
    return found


def check(table: Iterable[str], known: Iterable[str], where: str) -> None:
    """A Fault for a name that is none, with the one that was probably meant."""
    for name in table:
        if name not in known:
            hint = near(name, known) or f"; there are: {', '.join(sorted(known))}"
            raise Fault("invalid_input", f"{where}: {name} is no setting{hint}")
