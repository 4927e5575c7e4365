"""providers/anthropic: what it says to the Messages API, and how it reads what comes back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider import refusal
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

NEW, OLD = "claude-sonnet-4-6", "claude-sonnet-4-5"
TOOL = {
    "name": "look",
    "description": "Look",
    "inputSchema": {"type": "object", "properties": {"at": {"type": "string"}}},
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "a", "name": "look", "arguments": {"at": "x"}}],
}
LONG = "word " * 2000

anthropic = provider("anthropic")


def body(*messages: Record, model: str = NEW, **fields: Any) -> Record:
    made: Record = anthropic.body_of(checked(model, *messages, **fields))
    return made


def events(*reply: Record) -> list[Any]:
    return [anthropic.http_call.Event(event["type"], json.dumps(event), "") for event in reply]


def streamed(*reply: Record) -> tuple[list[Record], Record]:
    return heard(
        anthropic.stream(
            {},
            iter(
                events({"type": "message_start", "message": {"usage": {"input_tokens": 3}}}, *reply)
            ),
        )
    )


def start(index: int, **block: Any) -> Record:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **more: Any) -> Record:
    return {"type": "content_block_delta", "index": index, "delta": more}


def end(reason: str, output: int = 7) -> list[Record]:
    return [
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason},
            "usage": {"output_tokens": output},
        },
        {"type": "message_stop"},
    ]


def test_every_recorded_answer_is_read_as_it_was_meant() -> None:
    assert failures("wire", "anthropic") == {}


def test_every_recorded_request_is_sent_as_it_was_meant() -> None:
    assert failures("wire-requests", "anthropic") == {}


def test_its_bodies_hold_against_the_vendors_own_types() -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    spec = jsonschema_rs.validator_for(
        json.loads(shared("specs/anthropic/messages-request.schema.json").read_text())
    )
    picture = {"type": "image", "media_type": "image/png", "data": "aGk="}
    results = [
        {
            "role": "tool",
            "tool_call_id": "a",
            "name": "look",
            "content": [{"type": "text", "text": "no"}, picture],
            "is_error": True,
        }
    ]
    for case, request in recorded("anthropic"):
        assert list(spec.iter_errors(anthropic.body_of(request))) == [], case
    for made in (
        body(),
        body(
            {"role": "system", "content": LONG},
            HI,
            CALL,
            *results,
            tools=[TOOL],
            stop=["x"],
            temperature=0,
        ),
        body(reasoning="high", schema={"type": "object"}),
        body(model=OLD, reasoning="low", stream=True),
        body(
            {
                "role": "user",
                "content": [{"type": "document", "url": "https://x/y.pdf", "name": "y"}],
            }
        ),
        *(
            body(tools=[TOOL], tool_choice=choice)
            for choice in ("auto", "none", "required", {"name": "look"})
        ),
    ):
        assert list(spec.iter_errors(made)) == []


def test_results_of_one_round_stand_in_one_turn_before_the_users_text() -> None:
    results = [
        {
            "role": "tool",
            "tool_call_id": i,
            "content": i,
            **({"is_error": True} if i == "b" else {}),
        }
        for i in "ab"
    ]
    turn = body(HI, CALL, results[0], {"role": "user", "content": "and now?"}, results[1])[
        "messages"
    ][2]
    assert turn["role"] == "user"
    assert [block["type"] for block in turn["content"]] == ["tool_result", "tool_result", "text"]
    assert [block.get("is_error") for block in turn["content"][:2]] == [None, True]


def test_system_text_is_taken_out_of_the_conversation_and_empty_text_left_out() -> None:
    made = body(
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": " \n"},
        HI,
        {"role": "system", "content": ""},
    )
    assert made["system"] == [{"type": "text", "text": "be kind"}]
    assert made["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_a_request_without_limit_gets_the_one_its_model_takes() -> None:
    limits = [
        body(model=m)["max_tokens"]
        for m in ("claude-3-opus-20240229", "claude-3-5-haiku-latest", OLD, "claude-unheard-of")
    ]
    assert limits == [4096, 8192, 16384, 16384]
    assert body(max_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    "model", ["claude-sonnet-4-6", "claude-opus-4-8", "claude-sonnet-5", "claude-unheard-of"]
)
def test_models_since_4_6_think_by_effort(model: str) -> None:
    made = body(model=model, reasoning="medium", schema={"type": "object"})
    assert made["thinking"] == {"type": "adaptive"}
    assert made["output_config"]["effort"] == "medium" and "format" in made["output_config"]


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-7-sonnet-20250219",
        "claude-sonnet-4-20250514",
        "claude-opus-4-1",
        "claude-haiku-4-5-20251001",
    ],
)
def test_older_models_think_by_a_budget_inside_the_limit(model: str) -> None:
    assert body(model=model, reasoning="low")["thinking"] == {
        "type": "enabled",
        "budget_tokens": 1024,
    }
    tight = body(model=model, reasoning="high", max_tokens=3000)
    assert tight["thinking"]["budget_tokens"] == 3000 - 1024
    with pytest.raises(Fault, match="reasoning.*max_tokens") as caught:
        body(model=model, reasoning="low", max_tokens=1500)
    assert caught.value.kind == "invalid_request"


def test_a_schema_is_closed_where_it_does_not_say_and_left_where_it_does() -> None:
    inner = {
        "type": "object",
        "additionalProperties": True,
        "properties": {"default": {"type": "object"}},
    }
    form = body(
        schema={"type": "object", "properties": {"a": inner}, "default": {"type": "object"}}
    )["output_config"]["format"]
    assert form["schema"]["additionalProperties"] is False
    assert form["schema"]["properties"]["a"]["additionalProperties"] is True
    assert form["schema"]["default"] == {"type": "object"}


def marks(made: Record) -> int:
    return json.dumps(made).count("cache_control")


def test_the_cache_is_used_for_a_long_series_and_not_for_a_single_question() -> None:
    series = [{"role": "system", "content": LONG}, HI, {"role": "assistant", "content": "yes"}, HI]
    made = body(*series)
    assert (
        made["system"][-1]["cache_control"]
        == made["messages"][-1]["content"][-1]["cache_control"]
        == {"type": "ephemeral"}
    )
    assert marks(made) == 2
    assert marks(body(*series[:2], tools=[TOOL])) == 2
    assert marks(body(*series[:2])) == 0, "a single question is never read again"
    assert marks(body({"role": "system", "content": "short"}, *series[1:])) == 0, (
        "too short to be cached"
    )
    assert (
        marks(body(*series, options={"cache_control": {"type": "ephemeral", "ttl": "1h"}})) == 1
    ), "the user's own goes alone"


def test_signed_thinking_comes_back_unchanged_and_in_its_place_though_the_text_was_edited() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    hidden = {"type": "thinking", "thinking": "", "signature": "t"}
    use = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    blocks = [
        signed,
        {"type": "text", "text": "secret 123"},
        hidden,
        use,
        {"type": "redacted_thinking", "data": "x"},
    ]
    reply = anthropic.parse({}, {"content": blocks, "stop_reason": "tool_use"})["message"]
    assert reply["content"] == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "secret 123"},
    ]
    reply["content"][1]["text"] = "secret ***"
    sent = body(HI, reply)["messages"][1]["content"]
    assert sent == [signed, {"type": "text", "text": "secret ***"}, hidden, use, blocks[4]]


def test_another_vendors_reasoning_is_not_sent() -> None:
    reply = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}],
        "provider_data": {"openai": [["own", {"encrypted": "x"}]]},
    }
    assert body(HI, reply, HI)["messages"][1]["content"] == [{"type": "text", "text": "yes"}]


def test_text_files_go_as_text_and_pdf_as_it_is() -> None:
    note = base64.b64encode("Grüße".encode()).decode()
    parts = [
        {"type": "document", "media_type": "text/markdown", "data": note, "name": "n"},
        {"type": "document", "url": "data:application/pdf;base64,aGk="},
    ]
    first, second = body({"role": "user", "content": parts})["messages"][0]["content"]
    assert first == {
        "type": "document",
        "title": "n",
        "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
    }
    assert second["source"] == {"type": "base64", "media_type": "application/pdf", "data": "aGk="}


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"api": "chat"}, "api"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{**HI, "name": "bob"}]}, r"messages\[0\].name"),
        (
            {"messages": [{"role": "system", "content": [{"type": "image", "data": "aGk="}]}, HI]},
            "system message",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "image", "data": "aGk="}]}]},
            "assistant message",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "document", "media_type": "application/zip", "data": "aGk="}
                        ],
                    }
                ]
            },
            "document",
        ),
    ],
)
def test_what_it_cannot_carry_is_refused_by_name(
    fields: Record, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    with pytest.raises(Fault, match=named) as caught:
        anthropic.prepare(checked(NEW, **fields))
    assert caught.value.kind == "invalid_request"


def test_options_win_over_what_was_built() -> None:
    made = body(
        reasoning="low",
        options={
            "output_config": {"effort": "max"},
            "metadata": {"user_id": "u"},
            "thinking": None,
        },
    )
    assert (
        made["output_config"]["effort"] == "max"
        and made["metadata"] == {"user_id": "u"}
        and "thinking" not in made
    )


def test_a_stream_gives_the_message_that_would_have_come_whole() -> None:
    reply = [
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="s"),
        {"type": "ping"},
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="ye"),
        delta(1, type="text_delta", text="s"),
        {"type": "new_thing"},
        start(2, type="tool_use", id="a", name="look", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        *end("tool_use"),
    ]
    deltas, answer = streamed(*reply)
    assert deltas == [{"thinking": "hm"}, {"text": "ye"}, {"text": "s"}]
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "yes"},
        {"type": "tool_use", "id": "a", "name": "look", "input": {}},
    ]
    usage = {"input_tokens": 3, "output_tokens": 7}
    assert answer == anthropic.parse(
        {}, {"content": blocks, "stop_reason": "tool_use", "usage": usage}
    )


def test_arguments_that_the_limit_cut_are_kept_raw_and_never_guessed() -> None:
    _, answer = streamed(
        start(0, type="tool_use", id="a", name="look", input={}),
        delta(0, type="input_json_delta", partial_json='{"at":"x'),
        *end("max_tokens"),
    )
    assert answer["stop_reason"] == "max_tokens"
    assert answer["message"]["tool_calls"] == [
        {"id": "a", "name": "look", "arguments": None, "arguments_raw": '{"at":"x'}
    ]
    again = body(HI, answer["message"])["messages"][1]["content"][0]
    assert again["input"] == {"arguments_raw": '{"at":"x'}


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(Fault, match="broke off") as caught:
        streamed(start(0, type="text", text="ye"))
    assert caught.value.kind == "network"


def test_usage_counts_the_cache_in_and_keeps_what_was_written() -> None:
    found = {
        "input_tokens": 1,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 300,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    assert anthropic.usage_of(found) == {
        "input_tokens": 321,
        "output_tokens": 4,
        "cached_input_tokens": 20,
        "reasoning_tokens": 2,
        "cache_write_input_tokens": 300,
    }


@pytest.mark.parametrize(
    "status, kind, message, want",
    [
        (401, "authentication_error", "bad key", "auth"),
        (403, "permission_error", "no", "auth"),
        (404, "not_found_error", "model: x", "not_found"),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 3 tokens > 2 maximum",
            "context_length",
        ),
        (413, "request_too_large", "big", "invalid_request"),
        (429, "rate_limit_error", "slow", "rate_limit"),
        (529, "overloaded_error", "Overloaded", "overloaded"),
        (500, "api_error", "x", "server"),
        (0, "overloaded_error", "Overloaded", "overloaded"),
        (0, "unheard_of", "x", "server"),
    ],
)
def test_each_error_has_its_kind_and_the_vendors_words(
    status: int, kind: str, message: str, want: str
) -> None:
    reply = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    fault = refusal.explain(status, {"retry-after": "7"}, reply)
    assert (fault.kind, fault.message, fault.fields["retry_after"]) == (want, message, 7.0)


def test_an_error_that_is_no_json_keeps_its_status_and_an_excerpt() -> None:
    assert refusal.explain(502, {}, b"<h1>bad gateway</h1>").kind == "server"
    assert "bad gateway" in refusal.explain(502, {}, b"<h1>bad gateway</h1>").message


def test_partial_text_goes_out_before_an_error_in_the_stream() -> None:
    reply = events(
        {"type": "message_start", "message": {}},
        start(0, type="text", text=""),
        delta(0, type="text_delta", text="ye"),
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    )
    data = "".join(f"event: {e.event}\ndata: {e.data}\n\n" for e in reply).encode()
    with vendor((200, {"content-type": "text/event-stream"}, data)) as (url, _):
        out = replies(
            "anthropic", {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"}, stream=True
        )
    assert [r["type"] for r in out] == ["delta", "error"]
    assert (out[0]["text"], out[1]["kind"], out[1]["partial"]) == ("ye", "overloaded", True)
    assert "status" not in out[1], "the status said that all was well"


def test_all_pages_of_models_are_listed() -> None:
    def page(path: str) -> tuple[int, dict[str, str], bytes]:
        last = "after_id=a" in path
        return (
            200,
            {},
            json.dumps(
                {"data": [{"id": "b" if last else "a"}], "has_more": not last, "last_id": "a"}
            ).encode(),
        )

    with vendor(page) as (url, seen):
        assert listed("anthropic", {"ANTHROPIC_BASE_URL": url + "/", "ANTHROPIC_API_KEY": "k"}) == [
            "a",
            "b",
        ]
    assert {headers["x-api-key"] for _, headers, _ in seen} == {"k"}


def test_a_base_address_may_have_a_path_and_a_version() -> None:
    answer = (
        200,
        {},
        json.dumps(
            {"content": [{"type": "text", "text": "yo"}], "stop_reason": "end_turn"}
        ).encode(),
    )
    with vendor(answer) as (url, seen):
        for end in ("/proxy", "/proxy/v1/"):
            out = replies("anthropic", {"ANTHROPIC_BASE_URL": url + end, "ANTHROPIC_API_KEY": "k"})
            assert out[0]["message"]["content"] == "yo"
    assert [path for path, _, _ in seen] == ["/proxy/v1/messages"] * 2


def test_a_known_model_has_its_cost() -> None:
    reply = {
        "content": [],
        "stop_reason": "end_turn",
        "model": NEW,
        "usage": {"input_tokens": 1000, "output_tokens": 1000},
    }
    with vendor((200, {}, json.dumps(reply).encode())) as (url, _):
        out = replies("anthropic", {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"})
    assert out[0]["cost_usd"] == pytest.approx(0.018)
