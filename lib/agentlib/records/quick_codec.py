"""JSON by orjson, where json would give the same; where the two could differ, json decides (codec.py)."""

import re

from agentlib import packages
from agentlib.types import Any

packages.need("orjson")
import orjson  # noqa: E402

UNSURE = object()
_tiny = re.compile(rb"e-[6-9]").search  # finds the exponent of a tiny number


def loads(text: str | bytes, strict: bool) -> Any:
    """What orjson reads, where json would read the same; else UNSURE. orjson takes a key twice (and keeps the last),
    and makes a float of an integer beyond 64 bits. So the value is written again: a float of that size has a + in it,
    and a key that was lost is a colon less, but where a string that spells a colon as an escape makes up for it."""
    try:
        value = orjson.loads(text)
        again = orjson.dumps(value)  # TypeError at a depth that json may refuse
        raw = text if isinstance(text, bytes) else text.encode()
    except (ValueError, TypeError):
        return UNSURE
    if again == raw:
        return value
    if b"+" in again or (strict and again.count(b":") != raw.count(b":")):
        return UNSURE
    return UNSURE if strict and b"\\" in raw and b"\\u003" in raw else value


def encode(value: Any) -> bytes:
    """The bytes that orjson writes, where json would write the same; b"" else. orjson refuses a lone surrogate, an
    integer beyond 64 bits and more than 254 levels, writes null for NaN, and numbers under 0.0001 in another form."""
    try:
        data: bytes = orjson.dumps(value)
    except TypeError:
        return b""
    if isinstance(value, str):
        return data
    unsure = b"0.0000" in data or (b"e-" in data and _tiny(data))
    return b"" if unsure or (b"null" in data and orjson.loads(data) != value) else data
