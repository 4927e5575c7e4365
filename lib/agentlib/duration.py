"""A time as people write it."""

import os
import re

from agentlib.faults import Fault


def seconds(text: str, option: str = "") -> float:
    """The seconds of a time like 90s, 15m, 12h, 30d or 2w."""
    why = "is not a time: a number and one of s m h d w, such as 10m"
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text, re.A):
        length = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]
        if length <= 1000 * 366 * 86400:
            return length
        why = "is longer than a thousand years"
    raise Fault("invalid_input", f"{option}{text!r} {why}")


def of_variable(name: str, default: float) -> float:
    """The bound of time in seconds that a variable sets; 0 means none, infinity. Fault for what is no number."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text) if float(text) > 0 else float("inf")
    except ValueError:
        raise Fault("invalid_input", f"{name}: {text!r} is not a number of seconds") from None
