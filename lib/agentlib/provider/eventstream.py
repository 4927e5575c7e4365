"""AWS event stream (application/vnd.amazon.eventstream): frames out of bytes that come in pieces of any size.

A frame is, big-endian: its length (4 bytes), the length of its headers (4), the CRC-32 of those 8, headers, payload,
the CRC-32 of all before. What does not hold is a Fault `bad_response`: after one wrong length nothing is in step.
"""

import struct
from binascii import crc32
from io import BytesIO

from agentlib.faults import Fault
from agentlib.types import Any, Iterable, Iterator, NamedTuple

Value = bool | int | bytes | str


class Frame(NamedTuple):
    """One message: its headers by name, and its payload."""

    headers: dict[str, Value]
    payload: bytes


PRELUDE, TAIL = 12, 4  # bytes before the headers, and after the payload
HEADER_CAP = 128 * 1024  # bytes; the limits of AWS's own library
PAYLOAD_CAP = 24 * 1024 * 1024
# the types of headers; FIXED: byte, short, int, long, time in ms, uuid
TRUE, FALSE, BYTES, STRING = 0, 1, 6, 7
FIXED = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q", 9: "16s"}


def frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The messages of a stream, wherever its chunks were cut; a fault where it ends inside a frame."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= PRELUDE:
            total, header_size, checksum = struct.unpack(">III", rest[:PRELUDE])
            payload_size = total - header_size - PRELUDE - TAIL
            check(crc32(rest[:8]) == checksum, "prelude checksum")
            check(header_size <= HEADER_CAP, "headers too long")
            check(payload_size >= 0, "bad lengths")
            check(payload_size <= PAYLOAD_CAP, "payload too long")
            if len(rest) < total:
                break
            data = bytes(rest[:total])
            del rest[:total]
            yield frame(data, PRELUDE + header_size)
    if rest:
        raise Fault("network", "event stream: eof inside a frame")


def check(good: bool, wrong: str) -> None:
    if not good:
        raise Fault("bad_response", f"event stream: {wrong}")


def frame(data: bytes, at: int) -> Frame:
    """A whole frame, whose payload begins there."""
    body, (checksum,) = data[:-TAIL], struct.unpack(">I", data[-TAIL:])
    check(crc32(body) == checksum, "message checksum")
    try:
        return Frame(headers(BytesIO(body[PRELUDE:at])), body[at:])
    except UnicodeDecodeError:
        raise Fault("bad_response", "event stream: a header that is not UTF-8") from None
    except struct.error:
        why = "event stream: header value overruns the header block"
        raise Fault("bad_response", why) from None


def headers(block: BytesIO) -> dict[str, Value]:
    out: dict[str, Value] = {}
    while size := block.read(1):
        name = unpacked(block, f"{size[0]}s").decode()
        kind = unpacked(block, "B")
        check(name not in out, f"duplicate header {name}")
        check(kind in (TRUE, FALSE, BYTES, STRING, *FIXED), f"unknown header type {kind}")
        if kind in (TRUE, FALSE):
            out[name] = kind == TRUE
        elif kind in FIXED:
            out[name] = unpacked(block, FIXED[kind])
        else:
            raw = unpacked(block, f"{unpacked(block, '>H')}s")
            out[name] = raw if kind == BYTES else raw.decode()
    return out


def unpacked(block: BytesIO, form: str) -> Any:
    """The next value of a block, in this form of struct's; struct.error where there is not so much."""
    return struct.unpack(form, block.read(struct.calcsize(form)))[0]
