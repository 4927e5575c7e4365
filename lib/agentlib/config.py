"""The user's configuration, $XDG_CONFIG_HOME/agentutils/config.toml: the only file that can loosen anything."""

from __future__ import annotations

import os

from agentlib.faults import Fault
from agentlib.paths import place
from agentlib.types import Any


def load() -> dict[str, Any]:
    """The tables of the file, {} where there is none; a fault with line and column where it is not TOML."""
    file = os.path.join(place("config"), "config.toml")
    try:
        with open(file, "rb") as opened:
            text = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as bad:
        raise Fault("invalid_input", f"{file}: {bad.strerror}") from None
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise Fault("invalid_input", f"{file}: {bad}") from None
