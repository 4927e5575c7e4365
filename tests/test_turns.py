"""agentlib.provider.blocks: an assistant's turn of blocks, read into a message and put back in its order."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider import blocks
from vendors import Record

SIGNED = {"type": "thinking", "thinking": "hm", "signature": "s"}


def call(id: str) -> Record:
    return {"id": id, "name": "look", "arguments": {}}


def read() -> Record:
    turn = blocks.Turn()
    turn.block(SIGNED)
    turn.text("one")
    turn.call(call("a"), {"mark": 1})
    turn.text("two")
    turn.call(call("b"))
    return turn.message("vendor")


def order(reply: Record, name: str = "vendor") -> list[Any]:
    return [
        (kind, value if kind == "own" else value.get("text") or value["id"], more)
        for kind, value, more in blocks.replay(reply, name)
    ]


def test_a_turn_goes_back_in_its_order() -> None:
    assert order(read()) == [
        ("own", SIGNED, {}),
        ("text", "one", {}),
        ("call", "a", {"mark": 1}),
        ("text", "two", {}),
        ("call", "b", {}),
    ]


def test_another_provider_gets_text_and_calls_and_nothing_of_the_vendors() -> None:
    assert order(read(), "other") == [
        ("text", "one", {}),
        ("text", "two", {}),
        ("call", "a", {}),
        ("call", "b", {}),
    ]


def test_what_was_taken_out_stays_out_and_what_was_added_comes_last() -> None:
    reply = read()
    reply["content"] = [{"type": "text", "text": "new"}]
    reply["tool_calls"] = [call("b"), call("c")]
    assert order(reply) == [
        ("own", SIGNED, {}),
        ("text", "new", {}),
        ("call", "b", {}),
        ("call", "c", {}),
    ]


def test_plain_turns_are_plain_messages() -> None:
    turn = blocks.Turn()
    for text in ("", "one ", "two"):
        turn.text(text)
    turn.call(call("a"))
    assert turn.message("vendor") == {
        "role": "assistant",
        "content": "one two",
        "tool_calls": [call("a")],
    }
    assert blocks.Turn().message("vendor") == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        "x",
        {"vendor": {}},
        {"vendor": "own"},
        {"vendor": [3, [], ["own"], ["call", "a"], ["text", 3]]},
    ],
)
def test_data_that_is_no_order_is_passed_over(data: Any) -> None:
    reply = {"role": "assistant", "content": "yes", "provider_data": data}
    assert order(reply) == [("text", "yes", {})]


def test_a_data_address_is_read_and_another_address_is_left_to_the_vendor() -> None:
    assert blocks.media({"type": "image", "url": "data:image/png;x=y;base64,aGk="}) == (
        "image/png",
        "aGk=",
    )
    assert blocks.media({"type": "image", "url": "https://x/y.png"}) is None
    with pytest.raises(Fault, match="base64"):
        blocks.media({"type": "image", "url": "data:text/plain,hi"})
