"""Messages to people: one line on standard error, with the program's name."""

from __future__ import annotations

import os
import sys


def program() -> str:
    """The name by which messages call this program."""
    return os.path.basename(sys.argv[0]) or "agent"


def warn(message: str) -> None:
    """One line on standard error, `program: what: why`; never fails."""
    say(f"{program()}: {message}")


def say(line: str) -> None:
    """One line on standard error as it is; control characters of foreign text are made visible."""
    shown = (
        c if c.isprintable() or c == "\t" else " " if c in "\r\n" else "\N{REPLACEMENT CHARACTER}"
        for c in line
    )
    clean = "".join(shown)
    try:
        os.write(2, clean.encode("utf-8", "replace") + b"\n")
    except OSError:
        pass
