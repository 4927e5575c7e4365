"""One request out of records and operands."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.llm import prompt


def contents(*stream: dict[str, Any], operands: str = "") -> list[Any]:
    return [
        (reply["role"], reply["content"]) for reply in prompt.request(stream, operands)["messages"]
    ]


def test_operands_alone_are_the_user() -> None:
    assert contents(operands="hi") == [("user", "hi")]


def test_without_operands_the_input_asks_and_the_rest_is_material() -> None:
    assert contents({"type": "input", "text": "hi\n"}) == [("user", "hi")]
    [(role, text)] = contents(
        {"type": "context", "source": "f", "text": "stuff"}, {"type": "input", "text": "What?"}
    )
    assert role == "user" and text.startswith("What?\n") and "stuff" in text


def test_a_conversation_asks_by_itself() -> None:
    assert contents({"type": "message", "role": "user", "content": "hi"}) == [("user", "hi")]


@pytest.mark.parametrize(
    "stream",
    [
        [],
        [{"type": "message", "role": "assistant", "content": "hi"}],
        [{"type": "context", "text": "x"}],
        [{"type": "tool", "name": "t"}],
        [{"type": "input", "text": "\n"}],
    ],
)
def test_nothing_asked_is_refused(stream: list[dict[str, Any]]) -> None:
    with pytest.raises(Fault, match="no request"):
        prompt.request(stream, "")


def test_a_picture_is_a_part_of_the_message() -> None:
    [(_, parts)] = contents(
        {"type": "context", "media_type": "image/png", "data": "QQ=="}, operands="What is it?"
    )
    assert [part["type"] for part in parts] == ["text", "image"] and parts[1]["data"] == "QQ=="


def test_an_answer_is_material_by_its_text_and_anything_unknown_as_it_is() -> None:
    response = {"type": "response", "message": {"role": "assistant", "content": "the answer"}}
    [(_, text)] = contents(
        response, {"type": "step", "id": "a", "output": "done"}, operands="Sum up"
    )
    assert "the answer" in text and '{"type":"step","id":"a","output":"done"}' in text


def test_filling_says_nothing_that_the_request_says_itself() -> None:
    values = {
        "temperature": 1,
        "max_tokens": 5,
        "system": "S",
        "options": {"a": 1, "b": 1},
        "unknown": 1,
    }
    request = {
        "messages": [{"role": "user", "content": "x"}],
        "temperature": 0,
        "options": {"b": 2},
    }
    assert prompt.filled(request, values) == {
        "temperature": 0,
        "max_tokens": 5,
        "options": {"a": 1, "b": 2},
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "x"}],
    }
    mine = {"messages": [{"role": "system", "content": "mine"}]}
    assert prompt.filled(mine, {"system": "S"}) == mine
    assert prompt.filled(mine, {}) == mine
