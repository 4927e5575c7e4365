"""providers/ollama: what it says to an Ollama server, and how it reads what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from vendors import (
    HI,
    Record,
    checked,
    failures,
    heard,
    listed,
    provider,
    recorded,
    replies,
    shared,
    vendor,
)

TOOL = {
    "name": "look",
    "description": "Look",
    "inputSchema": {"type": "object", "properties": {"at": {"type": "string"}}},
}

ollama = provider("ollama")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OLLAMA_CONTEXT_LENGTH"):
        monkeypatch.delenv(name, raising=False)


def body(*messages: Record, **fields: Any) -> Record:
    made: Record = ollama.body_of(checked("qwen3:4b", *messages, **fields))
    return made


def user(text: str) -> Record:
    return {"role": "user", "content": text}


def test_every_recorded_answer_is_read_as_it_was_meant() -> None:
    assert failures("wire", "ollama") == {}


def test_every_recorded_request_is_sent_as_it_was_meant() -> None:
    assert failures("wire-requests", "ollama") == {}


def test_its_bodies_hold_against_the_vendors_own_types() -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    spec = json.loads(shared("specs/ollama/openapi.json").read_text())
    valid = jsonschema_rs.validator_for(
        {"$ref": "#/components/schemas/ChatRequest", "components": spec["components"]}
    )
    call = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "name": "look", "arguments": {}}],
    }
    picture = {
        "role": "user",
        "content": [
            {"type": "text", "text": "see"},
            {"type": "image", "media_type": "image/png", "data": "aGk="},
        ],
    }
    for case, request in recorded("ollama"):
        assert list(valid.iter_errors(ollama.body_of(request))) == [], case
    for made in (
        body(),
        body(
            HI,
            call,
            {"role": "tool", "tool_call_id": "a", "name": "look", "content": "x"},
            tools=[TOOL],
        ),
        body(picture, stream=True, reasoning="high"),
        body(schema={"type": "object"}, stop=["x"], temperature=0, max_tokens=3),
    ):
        assert list(valid.iter_errors(made)) == []


@pytest.mark.parametrize(
    "setting, address",
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:80", "http://box:80"),
        (":99", "http://127.0.0.1:99"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://box", "http://box"),
        ("https://ollama.com/", "https://ollama.com"),
        ("http://0.0.0.0:1/p/", "http://127.0.0.1:1/p"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:5", "http://[::1]:5"),
        ("[::]:5", "http://[::1]:5"),
        ('"box"', "http://box:11434"),
    ],
)
def test_every_form_of_the_hosts_variable_is_understood(
    setting: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting is not None:
        monkeypatch.setenv("OLLAMA_HOST", setting)
    assert ollama.host() == address


@pytest.mark.parametrize("setting", ["ftp://box", "a b"])
def test_a_host_that_is_none_is_refused_by_the_variables_name(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", setting)
    with pytest.raises(Fault, match="OLLAMA_HOST"):
        ollama.host()


def test_the_context_grows_with_the_prompt_by_powers_of_two() -> None:
    assert "num_ctx" not in body(user("x" * 3000))["options"]
    sizes = [body(user("x" * size))["options"]["num_ctx"] for size in (9_000, 30_000, 60_000)]
    assert sizes == [8192, 16384, 32768]
    assert body(user("x"), max_tokens=5000)["options"]["num_ctx"] == 8192, (
        "the answer needs room too"
    )
    assert (
        body(user("ü" * 9_000))["options"]["num_ctx"] == 8192
        and "num_ctx" in body(HI, tools=[{**TOOL, "description": "x" * 9000}])["options"]
    )


def test_a_context_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        body(user("x" * 30_000), options={"options": {"num_ctx": 9999}})["options"]["num_ctx"]
        == 9999
    )
    monkeypatch.setenv("OLLAMA_CONTEXT_LENGTH", "65536")
    assert "num_ctx" not in body(user("x" * 60_000))["options"]


def test_what_does_not_fit_is_never_cut_in_silence() -> None:
    assert body()["truncate"] is False and body()["shift"] is False


def test_streaming_is_set_either_way_as_the_server_would_stream_by_default() -> None:
    assert body()["stream"] is False and body(stream=True)["stream"] is True


def test_a_result_names_its_tool_and_says_its_error_unchanged() -> None:
    call = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}],
        "tool_calls": [{"id": "a", "name": "look", "arguments": {}}],
    }
    result = {
        "role": "tool",
        "tool_call_id": "a",
        "name": "look",
        "content": "no such file",
        "is_error": True,
    }
    _, called, found = body(HI, call, result)["messages"]
    assert called == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
        "tool_calls": [{"id": "a", "function": {"name": "look", "arguments": {}}}],
    }
    assert found == {
        "role": "tool",
        "content": "no such file",
        "tool_call_id": "a",
        "tool_name": "look",
    }


def test_images_are_bare_base64() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image", "media_type": "image/png", "data": "aGk="},
        {"type": "image", "url": "data:image/png;base64,aG8="},
    ]
    assert body({"role": "user", "content": parts})["messages"][0] == {
        "role": "user",
        "content": "see",
        "images": ["aGk=", "aG8="],
    }


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"name": "look"}}, "tool_choice"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "url": "https://x/y.png"}]}
                ]
            },
            "url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "media_type": "application/pdf", "data": "aGk="}
                        ],
                    }
                ]
            },
            "document",
        ),
        ({"messages": [{**HI, "name": "bob"}]}, "name"),
        ({"api": "chat"}, "api"),
    ],
)
def test_what_it_cannot_carry_is_refused_by_name(fields: Record, named: str) -> None:
    with pytest.raises(Fault, match=named) as caught:
        ollama.prepare(checked("m", **fields))
    assert caught.value.kind == "invalid_request"


def test_no_tools_are_offered_where_none_may_be_called() -> None:
    assert "tools" not in body(HI, tools=[TOOL], tool_choice="none")
    assert "tools" in body(HI, tools=[TOOL], tool_choice="auto")


def test_a_stream_gives_the_message_that_would_have_come_whole() -> None:
    call = {"function": {"name": "look", "arguments": {"at": "x"}}, "id": "a"}
    done = {
        "done": True,
        "done_reason": "stop",
        "eval_count": 4,
        "prompt_eval_count": 9,
        "model": "m",
    }
    pieces = [
        {"message": {"thinking": "h", "content": ""}},
        {"message": {"thinking": "m"}},
        {"message": {"content": "ye"}},
        {"message": {"tool_calls": [call]}},
        {"message": {"content": "s", "tool_calls": [call]}},
        {**done, "message": {"content": ""}},
    ]
    deltas, answer = heard(ollama.stream({}, iter(pieces)))
    assert deltas == [{"thinking": "h"}, {"thinking": "m"}, {"text": "ye"}, {"text": "s"}]
    assert answer == ollama.parse(
        {}, {**done, "message": {"content": "yes", "thinking": "hm", "tool_calls": [call, call]}}
    )
    assert answer["stop_reason"] == "tool_use" and answer["usage"] == {
        "input_tokens": 9,
        "output_tokens": 4,
    }


def test_calls_without_ids_get_ids_of_their_own() -> None:
    calls = [{"function": {"name": "look", "arguments": {}}}] * 2
    made = ollama.parse(
        {}, {"message": {"content": "", "tool_calls": calls}, "done_reason": "stop"}
    )["message"]["tool_calls"]
    assert made[0]["id"] and made[1]["id"] and made[0]["id"] != made[1]["id"]


def test_counts_that_the_server_left_out_are_not_made_up() -> None:
    assert ollama.parse({}, {"message": {"content": "x"}})["usage"] == {}
    counted = ollama.parse({}, {"message": {"content": "x"}, "prompt_eval_count": 3})
    assert counted["usage"] == {"input_tokens": 3, "output_tokens": 0}


def test_a_reason_to_stop_that_is_not_known_is_no_success() -> None:
    with pytest.raises(Fault, match="'abort'"):
        ollama.parse({}, {"message": {"content": "x"}, "done_reason": "abort"})


def test_a_stream_without_its_end_is_an_error_and_so_is_an_error_line() -> None:
    for pieces, kind in (
        ([{"message": {"content": "x"}}], "network"),
        ([{"error": "it broke"}], "server"),
        ([{"error": "input length exceeds the context length"}], "context_length"),
    ):
        with pytest.raises(Fault) as caught:
            heard(ollama.stream({"stream": True}, iter(pieces)))
        assert caught.value.kind == kind


def test_a_whole_answer_without_done_is_one_and_a_first_piece_is_none() -> None:
    complete = {"message": {"content": "x"}}
    assert heard(ollama.stream({}, iter([complete])))[1]["message"]["content"] == "x"
    with pytest.raises(Fault, match="broke off"):
        heard(ollama.stream({}, iter([{**complete, "done": False}])))


@pytest.mark.parametrize(
    "status, reply, want",
    [
        (404, {"error": "model 'm' not found"}, "not_found"),
        (400, {"error": "m does not support tools"}, "invalid_request"),
        (
            400,
            {"error": "prompt too long; exceeded max context length by 3 tokens"},
            "context_length",
        ),
        (500, {"error": "x"}, "server"),
        (401, {"error": {"message": "Unauthorized"}}, "auth"),
        (503, {"error": "server busy"}, "server"),
    ],
)
def test_each_error_has_its_kind(status: int, reply: Record, want: str) -> None:
    fault = ollama.explain(status, {}, json.dumps(reply).encode())
    assert fault.kind == want and fault.message.partition(" (ollama pull")[0] in json.dumps(reply)


def test_the_servers_models_are_listed_and_a_key_is_sent_where_one_is_set() -> None:
    reply = json.dumps({"models": [{"name": "qwen3:4b"}, {"name": "gemma3:4b"}]}).encode()
    with vendor((200, {}, reply)) as (url, seen):
        assert listed("ollama", {"OLLAMA_HOST": url.removeprefix("http://")}) == [
            "qwen3:4b",
            "gemma3:4b",
        ]
        listed("ollama", {"OLLAMA_HOST": url, "OLLAMA_API_KEY": "k"})
    assert [path for path, _, _ in seen] == ["/api/tags"] * 2
    assert [headers["authorization"] for _, headers, _ in seen] == [None, "Bearer k"]


def test_a_server_that_is_not_there_is_a_network_error_that_says_where() -> None:
    (reply,) = replies("ollama", {"OLLAMA_HOST": "127.0.0.1:1"})
    assert reply["kind"] == "network" and "127.0.0.1:1" in reply["message"]


def test_an_unknown_model_costs_null() -> None:
    reply = {"message": {"content": "yo"}, "done": True, "done_reason": "stop", "eval_count": 1}
    with vendor((200, {}, json.dumps(reply).encode())) as (url, _):
        (out,) = replies("ollama", {"OLLAMA_HOST": url})
    assert out["type"] == "response" and out["cost_usd"] is None and out["model"] == "qwen3:4b"
