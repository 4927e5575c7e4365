"""What servers that only resemble a vendor really send, in OpenAI's dialect (docs/protocol.md, "Providers")."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider import refusal
from agentlib.provider.http_call import Event
from agentlib.provider.openai import chat, completion

Record = dict[str, Any]


def body(message: Record, stop: str | None = "stop", **more: Any) -> Record:
    return {"choices": [{"index": 0, "message": message, "finish_reason": stop}], **more}


def chunk(delta: Record, stop: str | None = None) -> Record:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": stop}]}


def streamed(*chunks: Record, done: bool = True) -> Record:
    texts = [json.dumps(one) for one in chunks] + (["[DONE]"] if done else [])
    deltas = completion.stream("v", iter(Event("message", text, "") for text in texts))
    while True:
        try:
            next(deltas)
        except StopIteration as end:
            answer: Record = end.value
            return answer


def calls(answer: Record) -> list[tuple[str, Any]]:
    return [(call["name"], call["arguments"]) for call in answer["message"]["tool_calls"]]


@pytest.mark.parametrize(
    "stop", ["abort", "insufficient_system_resource", "error", "cancelled", "toolong"]
)
def test_a_reason_to_stop_that_is_not_known_is_no_success(stop: str) -> None:
    for ask in (
        lambda: completion.parse("v", body({"content": "Hel"}, stop)),
        lambda: streamed(chunk({"content": "Hel"}), chunk({}, stop)),
    ):
        with pytest.raises(Fault, match=f"broke off the answer: its stop reason is '{stop}'"):
            ask()


@pytest.mark.parametrize("stop", ["stop", "STOP", "eos_token", "stop_sequence", "end_turn"])
def test_other_servers_words_for_the_end_are_known(stop: str) -> None:
    assert completion.parse("v", body({"content": "Hi"}, stop))["message"]["content"] == "Hi"


@pytest.mark.parametrize(
    "form",
    [
        {
            "object": "error",
            "message": "the engine is dead",
            "type": "BadRequestError",
            "code": 400,
        },
        {"detail": "the engine is dead"},
        {"detail": [{"msg": "the engine is dead"}]},
        {"message": "the engine is dead", "code": 402},
        {"error_type": "x", "error_message": "the engine is dead"},
        {"error": "the engine is dead"},
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "the engine is dead"}}]},
    ],
)
def test_an_error_in_a_stream_is_one_in_whatever_form(form: Record) -> None:
    with pytest.raises(Fault, match="the engine is dead"):
        streamed(form)
    with pytest.raises(Fault, match="the engine is dead"):
        completion.parse("v", form)


def test_an_answer_without_choices_is_no_success() -> None:
    with pytest.raises(Fault, match="no choices"):
        streamed({"choices": [], "usage": {"prompt_tokens": 3}})


def test_a_stream_that_has_the_reason_of_its_end_needs_no_done() -> None:
    answer = streamed(chunk({"content": "Hi"}), chunk({}, "stop"), done=False)
    assert answer["message"]["content"] == "Hi"
    with pytest.raises(Fault) as cut:
        streamed(chunk({"content": "Hi"}), done=False)
    assert cut.value.kind == "network"


def piece(arguments: str, **more: Any) -> Record:
    function = {"arguments": arguments} | {k: more.pop(k) for k in ("name",) if k in more}
    return {"type": "function", "function": function, **more}


TWO = [("f", {"a": 1}), ("g", {"a": 2})]


@pytest.mark.parametrize(
    "first, second",
    [
        ({}, {}),
        ({"index": None}, {"index": None}),
        ({"index": 0}, {"index": 0}),
        ({"index": 0, "id": ""}, {"index": 0, "id": ""}),
        ({"index": 0, "id": "x"}, {"index": 0, "id": "x"}),
        ({"index": 0, "id": "x"}, {"index": 1, "id": "x"}),
        ({"index": 0, "id": "x"}, {"index": 0, "id": "y"}),
        ({"index": 1}, {"index": 2}),
    ],
)
def test_two_calls_are_two_whatever_their_ids_and_indexes(first: Record, second: Record) -> None:
    f, g = piece('{"a":1}', name="f", **first), piece('{"a":2}', name="g", **second)
    for answer in (
        completion.parse("v", body({"content": None, "tool_calls": [f, g]}, "tool_calls")),
        streamed(chunk({"tool_calls": [f]}), chunk({"tool_calls": [g]}), chunk({}, "tool_calls")),
    ):
        assert calls(answer) == TWO
        assert len({call["id"] for call in answer["message"]["tool_calls"]}) == 2


@pytest.mark.parametrize("same", [{"index": 0}, {"index": 0, "id": "x"}, {"id": "x"}, {}])
def test_the_pieces_of_a_call_are_one_also_where_each_tells_the_name(same: Record) -> None:
    answer = streamed(
        chunk({"tool_calls": [piece("", name="f", **same)]}),
        chunk({"tool_calls": [piece('{"a":', name="f", **same)]}),
        chunk({"tool_calls": [piece("1}", name="f", **same)]}, "tool_calls"),
    )
    assert calls(answer) == [("f", {"a": 1})]


def test_a_call_whose_id_changes_with_each_piece_is_one() -> None:
    answer = streamed(
        chunk({"tool_calls": [piece('{"a":', name="f", index=0, id="x")]}),
        chunk({"tool_calls": [piece("1}", index=0, id="y")]}, "tool_calls"),
    )
    assert calls(answer) == [("f", {"a": 1})]


@pytest.mark.parametrize("name", ["", None])
def test_a_call_without_a_name_is_one_of_no_tool(name: str | None) -> None:
    made = {"id": "q", "type": "function", "function": {"name": name, "arguments": "{}"}}
    assert calls(completion.parse("v", body({"tool_calls": [made]}))) == [("unnamed", {})]


def test_the_old_function_call_and_one_beside_function_are_calls() -> None:
    old = body(
        {"content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}, "function_call"
    )
    beside = body({"tool_calls": [{"id": "q", "name": "f", "arguments": {"a": 1}}]}, "tool_calls")
    assert calls(completion.parse("v", old)) == calls(completion.parse("v", beside)) == [TWO[0]]


@pytest.mark.parametrize(
    "raw",
    ['{"error":{"message":"at most 1 image"}}', "at most 1 image", '{"message":"at most 1 image"}'],
)
def test_the_cause_is_the_most_specific_that_an_error_holds(raw: str) -> None:
    error = {"message": "Provider returned error", "metadata": {"raw": raw, "provider_name": "x"}}
    assert refusal.failed(error, 400).message == "Provider returned error: at most 1 image"
    groq = {"message": "Failed to call a function", "failed_generation": "<function=f{"}
    assert "<function=f{" in refusal.failed(groq, 400).message


def test_strict_is_set_only_for_schemas_that_strict_mode_takes() -> None:
    def strict(**field: Any) -> bool:
        schema = {"type": "object", "properties": {"a": field}, "required": ["a"]}
        return chat.is_strict({**schema, "additionalProperties": False})

    assert strict(type="string") and strict(anyOf=[{"type": "string"}, {"type": "null"}])
    assert strict(type="array", items={"type": "string", "format": "date"})
    for field in (
        {"type": "string", "default": "x"},
        {"allOf": [{"type": "string"}]},
        {"oneOf": [{"type": "string"}]},
        {"type": "string", "not": {"const": "x"}},
        {},
        {"type": "string", "format": "uri"},
        {"type": "object", "properties": {}},
        {"type": "string", "minLength": 1},
    ):
        assert not strict(**field), field
    assert not chat.is_strict({"type": "array", "items": {"type": "string"}})
    assert not chat.is_strict({"anyOf": [{"type": "object"}]})


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": None}])
def test_a_tools_schema_has_its_properties(schema: Record) -> None:
    assert requests.schema_of({"inputSchema": schema}) == {"type": "object", "properties": {}}


@pytest.mark.parametrize("word", ["anyOf", "oneOf", "allOf"])
def test_forms_at_the_root_of_a_tools_schema_become_properties(word: str) -> None:
    forms = [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}, True]
    schema = {"properties": {"a": {"type": "string"}}, word: forms}
    properties = {"a": {"type": "string"}, "b": {}}
    assert requests.schema_of({"inputSchema": schema}) == {
        "type": "object",
        "properties": properties,
    }


JPEG = "/9j/4AAA"


@pytest.mark.parametrize(
    "part",
    [
        {"media_type": "image/jpg", "data": JPEG},
        {"media_type": "image/png", "data": JPEG},
        {"data": JPEG},
        {"data": f"data:image/png;base64,{JPEG}"},
        {"data": f"{JPEG[:4]}\n{JPEG[4:]}\n"},
    ],
)
def test_an_image_is_what_its_bytes_say(part: Record) -> None:
    assert requests.blob({"type": "image", **part}) == ("image/jpeg", JPEG)


@pytest.mark.parametrize("data", ["no base64 !", "", "data:image/png;base64,", "AAA"])
def test_an_image_that_is_none_is_refused_before_it_is_sent(data: str) -> None:
    with pytest.raises(Fault) as refused:
        requests.blob({"type": "image", "media_type": "image/jpeg", "data": data})
    assert refused.value.kind == "invalid_request"


def test_what_an_answer_holds_beside_text_is_kept() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    answer = completion.parse("v", body({"content": "here", "images": [image]}))
    assert answer["message"]["content"] == [
        {"type": "text", "text": "here"},
        {"type": "image", "media_type": "image/png", "data": "iVBORw0KGgo="},
    ]
    found = body({"content": "x"})
    found["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -0.125}]}
    assert completion.parse("v", found)["logprobs"] == [found["choices"][0]["logprobs"]]
    found["choices"].append({"index": 1, "message": {"content": "y"}, "finish_reason": "stop"})
    with pytest.raises(Fault, match="more than one choice"):
        completion.parse("v", found)
