"""providers/gemini: what it says to the Gemini API, and how it reads what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider import refusal
from vendors import HI, Record, checked, failures, heard, listed, provider, replies, vendor

M20 = "gemini-2.0-flash"
M25 = "gemini-2.5-flash"
M3 = "gemini-3-flash-preview"
SCHEMA = {
    "$schema": "x",
    "type": "object",
    "additionalProperties": False,
    "properties": {"at": {"type": "string"}},
}
TOOL = {"name": "look", "description": "Look", "inputSchema": SCHEMA}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "a", "name": "look", "arguments": {"at": "x"}},
        {"id": "b", "name": "look", "arguments": {}},
    ],
}

gemini = provider("gemini")


def body(*messages: Record, model: str = M25, **fields: Any) -> Record:
    made: Record = gemini.body_of(checked(model, *messages, **fields))
    return made


def result(content: Any, **more: Any) -> Record:
    return {"role": "tool", "tool_call_id": "a", "name": "look", "content": content, **more}


def reply(*parts: Record, reason: str | None = "STOP", **more: Any) -> Record:
    candidate = {
        "content": {"role": "model", "parts": list(parts)},
        **({"finishReason": reason} if reason else {}),
    }
    return {"candidates": [candidate], **more}


def events(*pieces: Record) -> Any:
    return iter([gemini.http_call.Event("message", json.dumps(piece), "") for piece in pieces])


def test_every_recorded_answer_is_read_as_it_was_meant() -> None:
    assert failures("wire", "gemini") == {}


def test_every_recorded_request_is_sent_as_it_was_meant() -> None:
    assert failures("wire-requests", "gemini") == {}


@pytest.mark.parametrize(
    "base, path",
    [
        ("", "/v1beta/"),
        ("/", "/v1beta/"),
        ("/proxy", "/proxy/v1beta/"),
        ("/v1", "/v1/"),
        ("/v1beta/", "/v1beta/"),
    ],
)
def test_the_address_has_one_version_however_it_is_given(
    base: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "https://h" + base)
    for model in (M25, f"models/{M25}"):
        assert gemini.prepare(checked(model)).url == f"https://h{path}models/{M25}:generateContent"
    streamed = gemini.prepare(checked("tunedModels/mine", stream=True))
    assert streamed.url == f"https://h{path}tunedModels/mine:streamGenerateContent?alt=sse"
    assert streamed.headers == {"x-goog-api-key": "k"}


@pytest.mark.parametrize(
    "content, error, response",
    [
        ('{"roll": 1}', False, {"roll": 1}),
        ("plain", False, {"result": "plain"}),
        ("[1, 2]", False, {"result": "[1, 2]"}),
        ("", False, {"result": ""}),
        ("{broken", False, {"result": "{broken"}),
        ("no file", True, {"error": "no file"}),
        ('{"code": 2}', True, {"error": {"code": 2}}),
        ("{}", False, {}),
        ("{}", True, {"error": "{}"}),
    ],
)
def test_a_result_is_the_object_itself_else_under_result_or_error(
    content: str, error: bool, response: Record
) -> None:
    made = body(HI, CALL, result(content, is_error=error))["contents"][2]["parts"]
    assert made == [{"functionResponse": {"id": "a", "name": "look", "response": response}}]


def test_all_results_of_one_round_stand_in_one_turn_and_the_users_text_in_the_next() -> None:
    made = body(HI, CALL, result("1"), {**result("2"), "tool_call_id": "b"}, HI)["contents"]
    assert [(turn["role"], len(turn["parts"])) for turn in made] == [
        ("user", 1),
        ("model", 2),
        ("user", 2),
        ("user", 1),
    ]


def test_a_result_without_a_name_has_its_calls_name_and_without_a_call_is_refused() -> None:
    nameless = {name: value for name, value in result("1").items() if name != "name"}
    assert body(HI, CALL, nameless)["contents"][2]["parts"][0]["functionResponse"]["name"] == "look"
    with pytest.raises(Fault, match="name"):
        body(HI, nameless)


def test_a_result_may_hold_an_image() -> None:
    made = body(
        HI,
        CALL,
        result(
            [
                {"type": "text", "text": "see"},
                {"type": "image", "media_type": "image/png", "data": "aGk="},
            ]
        ),
    )
    found = made["contents"][2]["parts"][0]["functionResponse"]
    assert found["response"] == {"result": "see"} and found["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    ]


def test_signatures_come_back_on_the_parts_that_had_them() -> None:
    parts = [
        {"text": "hm", "thought": True},
        {"text": "yes"},
        {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "s"},
        {"functionCall": {"name": "look", "id": "b"}},
        {"text": "", "thoughtSignature": "t"},
    ]
    turn = gemini.parse({}, reply(*parts))["message"]
    assert turn["content"] == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "yes"},
    ]
    sent = body(HI, turn, model=M3)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in sent] == [None, "s", None, "t"]
    assert (
        sent[1]["functionCall"]["id"] == turn["tool_calls"][0]["id"]
        and sent[2]["functionCall"]["id"] == "b"
    )


def test_calls_of_another_model_pass_where_a_signature_is_asked_for() -> None:
    signatures = [
        [p.get("thoughtSignature") for p in body(HI, CALL, model=m)["contents"][1]["parts"]]
        for m in (M25, M3)
    ]
    assert signatures == [[None, None], ["skip_thought_signature_validator", None]]


def test_a_schema_goes_as_json_schema_or_to_old_models_as_the_subset_they_know() -> None:
    new = body(HI, tools=[TOOL], schema=SCHEMA)
    assert new["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == SCHEMA
    assert new["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    old = body(HI, tools=[TOOL], schema=SCHEMA, model=M20)
    plain = {"type": "object", "properties": {"at": {"type": "string"}}}
    assert (
        old["tools"][0]["functionDeclarations"][0]["parameters"]
        == plain
        == old["generationConfig"]["responseSchema"]
    )
    assert (
        "responseJsonSchema"
        in body(HI, schema={"$ref": "#/$defs/x", "$defs": {"x": {}}}, model=M20)["generationConfig"]
    )


def test_thinking_is_asked_for_by_level_and_of_older_models_by_budget() -> None:
    asked_for = [
        body(reasoning="low", model=m)["generationConfig"]["thinkingConfig"] for m in (M25, M3)
    ]
    assert asked_for == [
        {"thinkingBudget": 1024, "includeThoughts": True},
        {"thinkingLevel": "low", "includeThoughts": True},
    ]


def test_the_choice_of_tools_has_googles_words() -> None:
    modes = [
        body(tools=[TOOL], tool_choice=c)["toolConfig"]["functionCallingConfig"]
        for c in ("auto", "none", "required", {"name": "look"})
    ]
    assert modes == [
        {"mode": "AUTO"},
        {"mode": "NONE"},
        {"mode": "ANY"},
        {"mode": "ANY", "allowedFunctionNames": ["look"]},
    ]


def test_an_address_goes_as_file_data() -> None:
    parts = [
        {"type": "image", "url": "https://x/y.png", "media_type": "image/png"},
        {"type": "document", "url": "gs://b/c"},
    ]
    assert body({"role": "user", "content": parts})["contents"][0]["parts"] == [
        {"fileData": {"mimeType": "image/png", "fileUri": "https://x/y.png"}},
        {"fileData": {"fileUri": "gs://b/c"}},
    ]


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"api": "chat"}, "api"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{**HI, "name": "bob"}]}, "name"),
    ],
)
def test_what_it_cannot_carry_is_refused_by_name(fields: Record, named: str) -> None:
    with pytest.raises(Fault, match=named) as caught:
        gemini.prepare(checked(M25, **fields))
    assert caught.value.kind == "invalid_request"


def test_a_stream_gives_the_message_that_would_have_come_whole() -> None:
    usage = {
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 2,
        }
    }
    call = {"functionCall": {"name": "look", "args": {"at": "x"}, "id": "a"}}
    pieces = [
        reply({"text": "h", "thought": True}, reason=None),
        reply({"text": "m", "thought": True}, reason=None),
        reply({"text": "ye"}, reason=None),
        reply({"text": "s"}, reason=None),
        reply({"text": "", "thoughtSignature": "t"}, reason=None),
        reply(call, **usage),
    ]
    deltas, answer = heard(gemini.stream({}, events(*pieces)))
    assert deltas == [{"thinking": "h"}, {"thinking": "m"}, {"text": "ye"}, {"text": "s"}]
    parts = [
        {"text": "hm", "thought": True},
        {"text": "yes"},
        {"text": "", "thoughtSignature": "t"},
        call,
    ]
    assert answer == gemini.parse({}, reply(*parts, **usage)) == gemini.parse({}, pieces)
    assert answer["usage"] == {
        "input_tokens": 9,
        "output_tokens": 7,
        "cached_input_tokens": 2,
        "reasoning_tokens": 3,
    }
    assert answer["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    "reason, stop",
    [
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
    ],
)
def test_each_reason_to_stop_has_its_word(reason: str, stop: str) -> None:
    assert gemini.parse({}, reply({"text": "x"}, reason=reason))["stop_reason"] == stop


def test_a_reason_to_stop_that_is_not_known_is_an_answer_that_was_broken_off() -> None:
    with pytest.raises(Fault, match="broke off the answer: its stop reason is 'OTHER'"):
        gemini.parse({}, reply({"text": "x"}, reason="OTHER"))


def test_a_blocked_prompt_is_an_answer_that_was_filtered() -> None:
    answer = gemini.parse(
        {}, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    )
    assert (answer["stop_reason"], answer["message"]["content"]) == ("content_filter", "")


def test_a_call_that_the_model_broke_and_an_answer_without_end_are_errors() -> None:
    broken = {
        "candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "look(at=)"}]
    }
    for pieces, words in (
        ([broken], "look"),
        ([reply({"text": "x"}, reason=None)], "broke off"),
        ([], "is empty"),
    ):
        with pytest.raises(Fault, match=words) as caught:
            heard(gemini.stream({}, events(*pieces)))
        assert caught.value.kind in ("bad_response", "network")


@pytest.mark.parametrize(
    "status, word, message, want",
    [
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "auth"),
        (403, "PERMISSION_DENIED", "no", "auth"),
        (404, "NOT_FOUND", "models/x is not found", "not_found"),
        (429, "RESOURCE_EXHAUSTED", "slow", "rate_limit"),
        (503, "UNAVAILABLE", "The model is overloaded.", "overloaded"),
        (504, "DEADLINE_EXCEEDED", "late", "timeout"),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (5) exceeds the maximum number of tokens allowed (4).",
            "context_length",
        ),
        (400, "INVALID_ARGUMENT", "bad field", "invalid_request"),
        (500, "INTERNAL", "x", "server"),
        (0, "UNAVAILABLE", "x", "overloaded"),
    ],
)
def test_each_error_has_its_kind_and_googles_words(
    status: int, word: str, message: str, want: str
) -> None:
    error = {"error": {"code": status, "status": word, "message": message}}
    for form in (error, [error]):  # a list, where a stream was asked for
        fault = refusal.explain(status, {}, json.dumps(form).encode())
        assert (fault.kind, fault.message) == (want, message)


def test_the_wait_that_google_asks_for_is_reported() -> None:
    error = {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "slow",
        "details": [{"@type": "RetryInfo", "retryDelay": "33.5s"}],
    }
    assert (
        refusal.explain(429, {}, json.dumps({"error": error}).encode()).fields["retry_after"]
        == 33.5
    )


def test_an_error_in_the_stream_comes_after_the_partial_text() -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}
    data = "".join(
        f"data: {json.dumps(piece)}\r\n\r\n"
        for piece in (reply({"text": "ye"}, reason=None), error)
    ).encode()
    with vendor((200, {"content-type": "text/event-stream"}, data)) as (url, _):
        out = replies("gemini", {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "k"}, stream=True)
    assert [(r["type"], r.get("text"), r.get("kind")) for r in out] == [
        ("delta", "ye", None),
        ("error", None, "overloaded"),
    ]


def test_the_models_that_answer_are_listed_with_either_key() -> None:
    models = [
        {"name": "models/a", "supportedGenerationMethods": ["generateContent"]},
        {"name": "models/b", "supportedGenerationMethods": ["embed"]},
    ]
    with vendor((200, {}, json.dumps({"models": models}).encode())) as (url, seen):
        for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
            assert listed("gemini", {"GOOGLE_GEMINI_BASE_URL": url, variable: "k"}) == ["a"]
    assert [headers["x-goog-api-key"] for _, headers, _ in seen] == ["k", "k"]
    assert all("k" not in path.partition("?")[2].partition("key=")[2] for path, _, _ in seen)
