"""OpenAI's chat dialect: what goes to the vendor, what is made of its answers, all recordings of its vendors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider.openai import chat
from agentlib.provider.refusal import explain
from raw_server import Reply, ask, completion, http, serving
from vendors import failures, shared

VENDORS = ("groq", "together", "mistral", "openrouter", "deepseek")
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOL = {
    "name": "f",
    "description": "d",
    "inputSchema": SCHEMA,
    "command": ["/x"],
    "annotations": {},
    "timeout": 3,
}


def vendor(**quirks: Any) -> chat.Vendor:
    return chat.Vendor("x", "https://x.test/v1", "X_BASE_URL", ("X_API_KEY",), **quirks)


def body(quirks: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    replies = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **request}
    return chat.body(vendor(**quirks or {}), requests.checked(replies))


def reply(message: dict[str, Any], quirks: dict[str, Any] | None = None) -> dict[str, Any]:
    """How a message is said to the vendor."""
    out: dict[str, Any] = body(quirks, messages=[message])["messages"][0]
    return out


def test_only_what_was_asked_is_sent() -> None:
    assert body() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_every_field_finds_its_place() -> None:
    out = body(
        stream=True,
        tools=[TOOL],
        tool_choice={"name": "f"},
        max_tokens=9,
        temperature=0,
        stop=["x"],
        reasoning="low",
        schema=SCHEMA,
        options={"seed": 7, "top_p": 0.5},
    )
    assert out == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": SCHEMA},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "max_tokens": 9,
        "temperature": 0,
        "stop": ["x"],
        "reasoning_effort": "low",
        "seed": 7,
        "top_p": 0.5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
    }


def test_quirks_are_obeyed() -> None:
    quirks = {
        "required": "any",
        "effort": "reasoning",
        "usage_asked": False,
        "limit": lambda model: f"limit_of_{model}",
    }
    out = body(
        quirks, stream=True, tools=[TOOL], tool_choice="required", reasoning="high", max_tokens=1
    )
    assert (
        out["tool_choice"] == "any"
        and out["reasoning"] == {"effort": "high"}
        and out["limit_of_m"] == 1
    )
    assert "stream_options" not in out


def test_options_are_merged_deeply_and_win() -> None:
    out = body(
        max_tokens=9,
        schema=SCHEMA,
        options={
            "max_tokens": 3,
            "response_format": {"json_schema": {"name": "other"}},
            "temperature": None,
        },
    )
    assert out["max_tokens"] == 3 and out["response_format"]["json_schema"]["name"] == "other"
    assert out["response_format"]["json_schema"]["schema"] == SCHEMA and "temperature" not in out


def test_a_schema_is_strict_only_where_it_keeps_the_rules() -> None:
    assert chat.is_strict(SCHEMA)
    for loose in (
        {**SCHEMA, "required": []},
        {**SCHEMA, "additionalProperties": True},
        {"type": "object"},
        {**SCHEMA, "properties": {"n": {"type": "object", "properties": {}}}},
    ):
        assert not chat.is_strict(loose)
    assert "strict" not in body(schema={"type": "object"})["response_format"]["json_schema"]


def test_parts_are_sent_in_the_vendors_form(tmp_path: Any) -> None:
    image, document = tmp_path / "a.png", tmp_path / "b.pdf"
    image.write_bytes(b"\x89PNG\r\n\x1a\n")
    document.write_bytes(b"%PDF-1.4")
    parts = [
        {"type": "text", "text": "t"},
        {"type": "image", "path": str(image)},
        {"type": "image", "url": "https://x/i.jpg"},
        {"type": "image", "media_type": "image/gif", "data": "R0lG"},
    ]
    assert reply({"role": "user", "content": parts})["content"] == [
        {"type": "text", "text": "t"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://x/i.jpg"}},
        {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}},
    ]
    paper = {"role": "user", "content": [{"type": "document", "path": str(document)}]}
    data = "data:application/pdf;base64,JVBERi0xLjQ="
    assert reply(paper, {"document": "file"})["content"] == [
        {"type": "file", "file": {"filename": "b.pdf", "file_data": data}}
    ]
    assert reply(paper, {"document": "document_url"})["content"] == [
        {"type": "document_url", "document_url": data, "document_name": "b.pdf"}
    ]


@pytest.mark.parametrize(
    ("message", "quirks", "word"),
    [
        ({"role": "user", "content": [{"type": "document", "data": "eA=="}]}, {}, "document"),
        (
            {"role": "assistant", "content": [{"type": "image", "data": "eA=="}]},
            {},
            "image",
        ),
        ({"role": "user", "name": "ann", "content": "hi"}, {"names": False}, "name"),
        ({"role": "user", "content": [{"type": "image", "path": "/no/such"}]}, {}, "/no/such"),
    ],
)
def test_what_the_vendor_cannot_carry_is_named(
    message: dict[str, Any], quirks: dict[str, Any], word: str
) -> None:
    with pytest.raises(Fault) as caught:
        reply(message, quirks)
    assert caught.value.kind == "invalid_request" and word in caught.value.message


def test_pictures_of_tools_follow_their_round_as_the_users() -> None:
    picture = {"type": "image", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content = [{"type": "text", "text": "Look:"}, picture]
    rounds = [
        {"role": "tool", "tool_call_id": "a", "content": content},
        {"role": "tool", "tool_call_id": "b", "content": "no"},
        {"role": "assistant", "content": "seen"},
    ]
    made = body({}, messages=rounds)["messages"]
    assert [one["role"] for one in made] == ["tool", "tool", "user", "assistant"]
    assert made[0]["content"] == "Look:"
    assert made[2]["content"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


def test_schemas_are_refused_where_there_are_none() -> None:
    with pytest.raises(Fault, match="schema"):
        body({"schemas": False}, schema=SCHEMA)


def test_calls_and_results_are_sent() -> None:
    calls = [
        {"id": "c1", "name": "f", "arguments": {"n": 1}},
        {"id": "c2", "name": "g", "arguments": None, "arguments_raw": '{"n'},
    ]
    assert reply({"role": "assistant", "content": "", "tool_calls": calls}) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"n'}},
        ],
    }
    result = {
        "role": "tool",
        "tool_call_id": "c1",
        "name": "f",
        "content": [{"type": "text", "text": "a"}],
        "is_error": True,
    }
    assert reply(result) == {"role": "tool", "tool_call_id": "c1", "content": "a"}


def test_thinking_goes_back_only_where_it_is_wanted() -> None:
    turn = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "t"}],
        "provider_data": {"x": {"reasoning_content": "hm"}},
    }
    assert reply(turn) == {"role": "assistant", "content": "t"}
    assert (
        reply({**turn, "tool_calls": [{"id": "1", "name": "f", "arguments": {}}]})[
            "reasoning_content"
        ]
        == "hm"
    )
    assert "reasoning_content" not in reply(
        {
            **turn,
            "tool_calls": [{"id": "1", "name": "f", "arguments": {}}],
            "provider_data": {"other": {"reasoning_content": "hm"}},
        }
    )
    assert reply({**turn, "provider_data": {"x": {"reasoning_details": [{"a": 1}]}}})[
        "reasoning_details"
    ] == [{"a": 1}]


def answered(text: str, **message: Any) -> Reply:
    with serving(http(completion(text, **message))) as server:
        return ask(server.address)


def test_a_whole_answer_becomes_a_response() -> None:
    final = answered("well").final
    assert final.pop("duration_ms") >= 0
    assert final == {
        "type": "response",
        "id": "1",
        "message": {"role": "assistant", "content": "well"},
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1},
        "model": "m",
        "provider": "openai",
        "cost_usd": None,
    }


def test_visible_reasoning_is_thinking() -> None:
    message = answered("well", reasoning_content="hm").final["message"]
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "well"},
    ]
    assert message["provider_data"] == {"openai": {"reasoning_content": "hm"}}


def test_a_refusal_is_reported_as_one() -> None:
    final = answered("", refusal="I will not.").final
    assert (final["stop_reason"], final["message"]["content"]) == ("refusal", "I will not.")


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a":1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ('{"a":', None),
        ("[1]", None),
        ('"x"', None),
        ('{"a":NaN}', None),
    ],
)
def test_arguments_are_an_object_or_kept_raw(raw: Any, wanted: Any) -> None:
    function = {"name": "f", "arguments": raw}
    call = answered("", tool_calls=[{"id": "c", "type": "function", "function": function}]).final[
        "message"
    ]["tool_calls"][0]
    assert call["arguments"] == wanted and ("arguments_raw" in call) is (wanted is None)
    assert call.get("arguments_raw", raw) == raw


def test_a_call_without_an_id_gets_one() -> None:
    calls = answered(
        "", tool_calls=[{"function": {"name": n, "arguments": "{}"}} for n in "ab"]
    ).final["message"]["tool_calls"]
    assert [c["name"] for c in calls] == ["a", "b"] and len({c["id"] for c in calls}) == 2


@pytest.mark.parametrize(
    "odd",
    [
        "{}",
        '{"choices":[]}',
        '{"choices":null}',
        '{"choices":[{"message":{"content":5}}]}',
        "[]",
        "5",
        '{"choices":[{"message":{"tool_calls":[7]}}]}',
        '{"choices":"x"}',
        "{",
        "null",
    ],
)
def test_an_answer_of_another_form_is_a_bad_response(odd: str) -> None:
    with serving(http(odd)) as server:
        assert ask(server.address).final["kind"] == "bad_response"


def test_an_error_in_a_success_is_an_error() -> None:
    with serving(http('{"error":{"message":"broken","type":"server_error"}}')) as server:
        assert ask(server.address).final["kind"] == "server"


@pytest.mark.parametrize(
    ("status", "found", "kind", "retryable"),
    [
        (
            400,
            {"error": {"code": "context_length_exceeded", "message": "m"}},
            "context_length",
            False,
        ),
        (400, {"error": {"code": "model_not_found", "message": "m"}}, "not_found", False),
        (429, {"error": {"code": "insufficient_quota", "message": "m"}}, "rate_limit", False),
        (402, {"error": {"message": "m"}}, "rate_limit", False),
        (401, {"detail": "m"}, "auth", False),
        (413, {"error": {"code": "rate_limit_exceeded", "message": "m"}}, "invalid_request", False),
        (503, {"error": {"type": "service_unavailable", "message": "m"}}, "overloaded", True),
        (422, {"detail": [{"msg": "m"}]}, "invalid_request", False),
        (500, {"error": "m"}, "server", True),
        (403, {"error": {"message": "m"}}, "auth", False),
        (400, {"object": "error", "message": "m", "code": "1500"}, "invalid_request", False),
    ],
)
def test_the_vendors_word_decides_the_kind(
    status: int, found: Any, kind: str, retryable: bool
) -> None:
    fault = explain(status, {}, json.dumps(found).encode())
    assert (fault.kind, fault.fields["retryable"], fault.fields["status"]) == (
        kind,
        retryable,
        status,
    ) and "m" in fault.message


# The text of this recording begins with <think>, which is thinking.
OTHERWISE = {("wire", "groq"): {"chat-system-deepseek-r1-distill-llama-70b"}}


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("check", ["wire", "wire-requests"])
def test_the_recorded_exchanges_hold(check: str, name: str) -> None:
    assert set(failures(check, name)) == OTHERWISE.get((check, name), set())


def test_what_is_sent_keeps_the_vendors_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    everything = {
        "tools": [TOOL],
        "tool_choice": "required",
        "max_tokens": 9,
        "temperature": 1,
        "stop": ["x"],
        "stream": True,
    }
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "name": "f", "arguments": {}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    sent = {**body(messages=messages, **everything), "model": "gpt-4o"}
    complete = json.loads(shared("specs/openai/openapi-trimmed.json").read_text())
    schemas = [
        {
            "$ref": "#/components/schemas/CreateChatCompletionRequest",
            "components": complete["components"],
        },
        json.loads(shared("specs/groq/chat-completions-request.schema.json").read_text()),
    ]
    for schema in schemas:
        assert [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(sent)] == []
