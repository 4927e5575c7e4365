"""What anthropic, bedrock, gemini and ollama have in common, told from outside with a vendor on loopback."""

from __future__ import annotations

import json

import pytest

from vendors import Record, replies, run, vendor

KEY = "key-5ecre7-5ecre7"
ANSWERS = {
    "anthropic": {
        "content": [{"type": "text", "text": "yo"}],
        "stop_reason": "end_turn",
        "usage": {"output_tokens": 1},
    },
    "bedrock": {
        "output": {"message": {"content": [{"text": "yo"}]}},
        "stopReason": "end_turn",
        "usage": {"outputTokens": 1},
    },
    "gemini": {"candidates": [{"content": {"parts": [{"text": "yo"}]}, "finishReason": "STOP"}]},
    "ollama": {"message": {"content": "yo"}, "done": True, "done_reason": "stop", "eval_count": 1},
}
VARIABLES = {
    "anthropic": ("ANTHROPIC_BASE_URL", {"ANTHROPIC_API_KEY": KEY}),
    "bedrock": (
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "us-east-1"},
    ),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", {"GEMINI_API_KEY": KEY}),
    "ollama": ("OLLAMA_HOST", {"OLLAMA_API_KEY": KEY}),
}
FOUR = pytest.mark.parametrize("name", VARIABLES)


def env(name: str, url: str) -> dict[str, str]:
    variable, more = VARIABLES[name]
    return {variable: url, **more}


def questions(count: int, **fields: object) -> list[Record]:
    """That many requests."""
    return [
        {
            "type": "request",
            "id": f"r{n}",
            "messages": [{"role": "user", "content": "hi"}],
            **fields,
        }
        for n in range(count)
    ]


def found(
    name: str, status: int, data: bytes, headers: dict[str, str] | None = None, **fields: object
) -> list[Record]:
    """The records that a provider gives to one request that its vendor answers so."""
    with vendor((status, headers or {}, data)) as (url, _):
        return replies(name, env(name, url), **fields)


@FOUR
def test_a_key_that_the_vendor_says_back_is_in_no_record(name: str) -> None:
    reply = {"error": f"the key {KEY} is bad", "message": f"bad {KEY}"}
    with vendor((401, {}, json.dumps(reply).encode()), (500, {}, f"<p>{KEY}</p>".encode())) as (
        url,
        _,
    ):
        out = run(name, env(name, url), questions(2))
    assert [record["type"] for record in out] == ["error", "error"] and KEY not in json.dumps(out)


@FOUR
def test_the_address_may_end_in_a_slash_and_have_a_path(name: str) -> None:
    with vendor((200, {}, json.dumps(ANSWERS[name]).encode())) as (url, seen):
        for end in ("/", "/some/prefix/"):
            assert replies(name, env(name, url + end))[0]["type"] == "response"
    (plain, _, _), (prefixed, _, _) = seen
    assert prefixed == f"/some/prefix{plain}" and "//" not in prefixed


@FOUR
def test_a_redirect_is_not_followed_so_that_the_key_stays(name: str) -> None:
    with vendor((200, {}, b"{}")) as (elsewhere, seen):
        (out,) = found(name, 302, b"", {"location": elsewhere})
    assert out["kind"] == "bad_response" and seen == []


@FOUR
def test_what_is_no_answer_is_a_bad_response(name: str) -> None:
    bodies = (
        b"",
        b"{}",
        b"[]",
        b"3",
        b'{"content":3,"message":3,"output":3,"candidates":3}',
        b"<html>log in</html>",
    )
    answers = [
        (200, {"content-type": "text/html" if b"<" in data else "application/json"}, data)
        for data in bodies
    ]
    for stream in (False, True):
        with vendor(*answers) as (url, _):
            out = run(name, env(name, url), questions(len(bodies), stream=stream))
        assert [(r["type"], r.get("kind")) for r in out] == [("error", "bad_response")] * len(
            bodies
        ), out


@FOUR
def test_a_vendor_that_does_not_stream_is_understood_all_the_same(name: str) -> None:
    out = found(name, 200, json.dumps(ANSWERS[name]).encode(), stream=True)
    assert [(r["type"], r.get("text")) for r in out] == [("delta", "yo"), ("response", None)]
    assert out[1]["message"] == {"role": "assistant", "content": "yo"}


@FOUR
def test_many_requests_are_answered_at_once_each_by_its_id(name: str) -> None:
    records = questions(50)
    with vendor((200, {}, json.dumps(ANSWERS[name]).encode())) as (url, seen):
        out = run(name, env(name, url), records)
    assert sorted(r["id"] for r in out) == sorted(r["id"] for r in records) and len(seen) == 50
    assert {r["type"] for r in out} == {"response"} and {r["provider"] for r in out} == {name}
