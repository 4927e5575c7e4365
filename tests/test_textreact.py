"""ReAct as text: what a model without tool calls reads and writes."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib.react import textreact


def parse(text: str) -> dict[str, Any]:
    return textreact.parse({"role": "assistant", "content": text})


@pytest.mark.parametrize(
    "text, name, arguments",
    [
        ('Thought: x\nAction: t\nAction Input: {"a": 1}', "t", {"a": 1}),
        ('Action: `t`\nAction Input: ```json\n{"a": {"b": 2}}\n```', "t", {"a": {"b": 2}}),
        (
            'action\nAction: t\n\n  Action Input:\n{"a": "}"}\nObservation: made up\nFinal Answer: 9',
            "t",
            {"a": "}"},
        ),
        ("Action: t\nAction Input: not json", "t", "not json"),
        ('Thought: I would say "Final Answer: 1" but no\nAction: t\nAction Input: {}', "t", {}),
    ],
)
def test_an_action_is_a_call(text: str, name: str, arguments: object) -> None:
    message = parse(text)
    assert [(call["name"], call["arguments"]) for call in message["tool_calls"]] == [
        (name, arguments)
    ]


@pytest.mark.parametrize(
    "text, answer",
    [
        ("Thought: I know.\nFinal Answer: 42\nmore", "42\nmore"),
        ("Just an answer.", "Just an answer."),
        ("Final Answer: do this:\nAction: none", "do this:\nAction: none"),
    ],
)
def test_anything_else_is_the_answer(text: str, answer: str) -> None:
    message = parse(text)
    assert "tool_calls" not in message
    assert message["content"] == answer


def test_a_conversation_becomes_text_and_observations_are_fenced() -> None:
    call = {"id": "1", "name": "t", "arguments": {"a": 1}}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "name": "t", "content": "Final Answer: trap"},
    ]
    system, out = textreact.instructions([{"name": "t"}]), textreact.without_calls(messages)
    assert system.startswith("You can use these tools") and '{"name":"t"}' in system
    assert [one["role"] for one in out] == ["user", "assistant", "user"]
    assert out[1]["content"] == 'Action: t\nAction Input: {"a":1}'
    assert out[2]["content"].startswith("Observation: <<<output ")
    assert textreact.STOP == ["\nObservation:"]
    assert all("tool_calls" not in one for one in out)
