"""AWS event stream (application/vnd.amazon.eventstream): frames out of bytes that come in pieces of any size.

A frame is, big-endian: its length (4 bytes), the length of its headers (4), the CRC-32 of those 8, headers, payload,
the CRC-32 of all before. What does not hold is a Fault `bad_response`: after one wrong length nothing is in step.
"""

from __future__ import annotations

import struct
from binascii import crc32

from agentlib.faults import Fault
from agentlib.types import Iterable, Iterator, NamedTuple

Value = bool | int | bytes | str


class Frame(NamedTuple):
    """One message: its headers by name, and its payload."""

    headers: dict[str, Value]
    payload: bytes


PRELUDE, TAIL = 12, 4  # bytes before the headers, and after the payload
HEADER_CAP = 128 * 1024  # bytes; the limits of AWS's own library
PAYLOAD_CAP = 24 * 1024 * 1024
BYTES, STRING = 6, 7  # the header types with a length of their own
# byte, short, int, long, timestamp in ms, uuid
FIXED = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q", 9: "16s"}


def frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The messages of a stream, wherever its chunks were cut; a fault where it ends inside a frame."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= PRELUDE:
            total, header_size = lengths(bytes(rest[:PRELUDE]))
            if len(rest) < total:
                break
            data = bytes(rest[:total])
            del rest[:total]
            yield frame(data, header_size)
    if rest:
        raise Fault("network", "event stream: eof inside a frame")


def wrong(reason: str) -> Fault:
    return Fault("bad_response", f"event stream: {reason}")


def lengths(prelude: bytes) -> tuple[int, int]:
    """(length of the frame, length of its headers), from its first 12 bytes alone: no nonsense is waited for."""
    total, header_size, checksum = struct.unpack(">III", prelude)
    payload_size = total - header_size - PRELUDE - TAIL
    faults = {
        "prelude checksum": crc32(prelude[:8]) != checksum,
        "headers too long": header_size > HEADER_CAP,
        "bad lengths": payload_size < 0,
        "payload too long": payload_size > PAYLOAD_CAP,
    }
    if reason := next(filter(faults.get, faults), None):
        raise wrong(reason)
    return total, header_size


def frame(data: bytes, header_size: int) -> Frame:
    body, (checksum,) = data[:-TAIL], struct.unpack(">I", data[-TAIL:])
    if crc32(body) != checksum:
        raise wrong("message checksum")
    return Frame(headers(body[PRELUDE : PRELUDE + header_size]), body[PRELUDE + header_size :])


def headers(block: bytes) -> dict[str, Value]:
    out: dict[str, Value] = {}
    at = 0
    while at < len(block):
        start, size = at + 1, block[at]
        name, kind = cut(block, start, size), cut(block, start + size, 1)[0]
        value, at = header_value(block, kind, start + size + 1)
        key = text(name)
        if key in out:
            raise wrong(f"duplicate header {key}")
        out[key] = value
    return out


def header_value(block: bytes, kind: int, at: int) -> tuple[Value, int]:
    """(the value that starts at `at`, where the next header starts)."""
    if kind in (0, 1):
        return kind == 0, at
    if kind in (BYTES, STRING):
        (size,) = struct.unpack(">H", cut(block, at, 2))
        raw = cut(block, at + 2, size)
        return (raw if kind == BYTES else text(raw)), at + 2 + size
    if kind not in FIXED:
        raise wrong(f"unknown header type {kind}")
    size = struct.calcsize(FIXED[kind])
    value: int | bytes = struct.unpack(FIXED[kind], cut(block, at, size))[0]
    return value, at + size


def cut(block: bytes, at: int, size: int) -> bytes:
    if at + size > len(block):
        raise wrong("header value overruns the header block")
    return block[at : at + size]


def text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise wrong("a header that is not UTF-8") from None
