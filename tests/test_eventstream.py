"""AWS event stream frames: every vector, whole, byte by byte and cut at random; our own corner cases without them."""

from __future__ import annotations

import binascii
import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider.eventstream import Frame, frames
from vendors import shared


def packed(header_block: bytes, payload: bytes) -> bytes:
    """One frame with right lengths and checksums."""
    head = struct.pack(">II", 16 + len(header_block) + len(payload), len(header_block))
    body = head + struct.pack(">I", binascii.crc32(head)) + header_block + payload
    return body + struct.pack(">I", binascii.crc32(body))


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The data cut into pieces of these sizes, the last of them for ever."""
    at, turn = 0, 0
    while at < len(data):
        size = sizes[min(turn, len(sizes) - 1)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def decoded(data: bytes, sizes: list[int]) -> list[Frame]:
    return list(frames(pieces(data, sizes)))


def plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def as_vector(frame: Frame) -> dict[str, Any]:
    return {
        "headers": {name: plain(value) for name, value in frame.headers.items()},
        "payload": frame.payload.hex(),
    }


def vectors(kind: str) -> list[dict[str, Any]]:
    lines = shared("vectors/aws-eventstream/vectors.jsonl").read_text().splitlines()
    return [v for v in map(json.loads, lines) if v["kind"] == kind]


def cuts(data: bytes) -> list[list[int]]:
    dice = random.Random(len(data))
    return [
        [len(data)],
        [dice.randint(1, 40) for _ in range(200)],
        [1] if len(data) < 5000 else [1000],
    ]


def test_every_positive_vector_decodes_however_it_is_cut() -> None:
    for vector in vectors("positive"):
        data = bytes.fromhex(vector["frame_hex"])
        want = {
            "headers": {h["name"]: h["value"] for h in vector["headers"]},
            "payload": vector["payload_hex"],
        }
        for sizes in cuts(data):
            assert [as_vector(f) for f in decoded(data, sizes)] == [want], vector["id"]


def test_every_stream_vector_gives_the_same_messages_however_it_is_cut() -> None:
    for vector in vectors("stream"):
        data = bytes.fromhex(vector["frame_hex"])
        complete = decoded(data, [len(data)])
        assert len(complete) > 1
        for sizes in cuts(data):
            assert decoded(data, sizes) == complete, vector["id"]


def test_every_negative_vector_is_refused_for_its_reason() -> None:
    for vector in vectors("negative"):
        data = bytes.fromhex(vector["frame_hex"])
        for sizes in cuts(data):
            with pytest.raises(Fault, match=vector["reason"]) as caught:
                decoded(data, sizes)
            cut_off = vector["reason"] == "eof"  # as any stream that breaks off: to be tried again
            assert caught.value.kind == ("network" if cut_off else "bad_response")


def test_a_length_that_is_nonsense_is_refused_before_its_bytes_are_waited_for() -> None:
    head = struct.pack(">II", 1 << 31, 0)
    with pytest.raises(Fault, match="payload too long"):
        next(frames(iter([head + struct.pack(">I", binascii.crc32(head))])))


def test_a_frame_comes_out_with_the_byte_that_completes_it() -> None:
    def sent() -> Iterator[bytes]:
        yield packed(b"\x01a\x07\x00\x01b", b"{}")
        pytest.fail("it waited for more")

    assert next(frames(sent())) == Frame({"a": "b"}, b"{}")


@pytest.mark.parametrize(
    "block, reason",
    [
        (b"\x01a\x07\x00\x05b", "overruns"),
        (b"\x05a", "overruns"),
        (b"\x01a\x63", "unknown header type"),
        (b"\x01a\x07\x00\x01\xff", "not UTF-8"),
        (b"\x01a\x00\x01a\x01", "duplicate"),
    ],
)
def test_a_header_block_that_does_not_hold_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(Fault, match=reason):
        decoded(packed(block, b""), [1000])
