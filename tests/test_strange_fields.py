"""Every field of every vendor's answer, with a value of another type in it: a record all the same, and in words."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from agentlib.provider import worker
from agentlib.provider.answer import checked
from agentlib.provider.openai import completion, responses
from vendors import provider

Record = dict[str, Any]
STRANGE = (None, 0, -1, 1e308, True, "x", "", [], [None], ["x"], {}, {"x": None})
CALL = {"id": "q", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODIES: dict[str, Record] = {
    "openai": {
        "id": "c",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "x",
                    "refusal": None,
                    "tool_calls": [CALL],
                },
                "logprobs": {"content": []},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
        "error": None,
    },
    "responses": {
        "status": "completed",
        "model": "m",
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "x"}],
            },
            {"type": "function_call", "call_id": "q", "name": "f", "arguments": "{}"},
        ],
        "usage": {
            "input_tokens": 3,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 1},
        },
        "incomplete_details": {"reason": None},
    },
    "anthropic": {
        "type": "message",
        "model": "m",
        "content": [
            {"type": "text", "text": "x"},
            {"type": "tool_use", "id": "q", "name": "f", "input": {}},
            {"type": "thinking", "thinking": "t", "signature": "s"},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1},
    },
    "bedrock": {
        "output": {
            "message": {
                "content": [
                    {"text": "x"},
                    {"toolUse": {"toolUseId": "q", "name": "f", "input": {}}},
                ]
            }
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2},
    },
    "gemini": {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "x"},
                        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"},
                    ]
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 1,
        },
        "modelVersion": "m",
        "promptFeedback": {"blockReason": None},
    },
    "ollama": {
        "message": {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 2,
        "model": "m",
    },
}


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every field and item in a value."""
    if at:
        yield at
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for name, one in inner.items() if isinstance(inner, dict) else ():
        yield from paths(one, (*at, name))


def changed(body: Record, path: tuple[Any, ...], value: Any) -> Record:
    out = copy.deepcopy(body)
    *above, last = path
    place: Any = out
    for name in above:
        place = place[name]
    place[last] = value
    return out


def parse(name: str, modules: dict[str, ModuleType], body: Record) -> Record:
    if name == "openai":
        return completion.parse("openai", body)
    if name == "responses":
        return responses.parse("openai", body)
    answer: Record = modules[name].parse({"messages": []}, body)
    return answer


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    return {name: provider(name) for name in ("anthropic", "bedrock", "gemini", "ollama")}


@pytest.mark.parametrize("name", BODIES)
def test_a_field_of_another_type_is_a_record_and_never_a_python_error(
    name: str, modules: dict[str, ModuleType]
) -> None:
    tried = 0
    for path in paths(BODIES[name]):
        for value in STRANGE:
            tried += 1
            body = changed(BODIES[name], path, value)
            try:
                answer = checked(parse(name, modules, body))
            except Exception as bad:
                message = worker._fault(bad).message
                assert not re.search(
                    r"[A-Z]\w+(Error|Exception)\b|object has no attribute", message
                ), (path, value)
                continue
            assert well_formed(answer) == "", (path, value, answer)
    print(f"{name}: {tried} answers")
    assert tried > 100


def well_formed(answer: Record) -> str:
    """What is wrong with an Answer, "" if it makes a record that other programs can read."""
    json.dumps(answer, allow_nan=False)
    message, usage = answer["message"], answer["usage"]
    content = message["content"]
    if not isinstance(content, str) and not all(
        isinstance(part.get("type"), str) for part in content
    ):
        return "content"
    for call in message.get("tool_calls", []):
        if not (
            isinstance(call["id"], str)
            and call["id"]
            and isinstance(call["name"], str)
            and call["name"]
        ):
            return "a call without id or name"
        if not isinstance(call["arguments"], dict | None):
            return "arguments"
    if not all(isinstance(n, int) and n >= 0 for n in usage.values()):
        return "usage"
    return "" if isinstance(answer.get("model"), str | None) else "model"
