"""Lines out of pieces: numbers, blanks, byte order mark, carriage returns, the cap."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import records
from agentlib.faults import Fault
from agentlib.process import events


def split(pieces: list[bytes]) -> list[tuple[int, bytes]]:
    one = events.Splitter()
    return [line for piece in pieces for line in one.feed(piece)] + one.rest()


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b" ", b"\xef\xbb\xbf", b"long word", b""])))
def test_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    assert split(pieces) == list(records.lines(io.BytesIO(b"".join(pieces))))


def test_a_line_that_never_ends_is_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "LINE_CAP", 1000)
    one = events.Splitter()
    with pytest.raises(Fault) as caught:
        for _ in range(1000):
            one.feed(b"x" * 100)
    assert caught.value.kind == "limit_exceeded" and "line 1" in caught.value.message
