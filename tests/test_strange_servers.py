"""What servers really send, in every vendor's dialect alike: codings, waits, thinking in the text, errors, pictures."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.net import client
from agentlib.provider import answer, refusal
from agentlib.provider.eventstream import Frame
from agentlib.provider.http_call import Event
from agentlib.provider.openai import completion, embeddings, responses
from raw_server import STREAM, ask, http, serving
from raw_server import completion as completed
from raw_server import event as chunk
from vendors import provider

Record = dict[str, Any]
TEXT = completed("well").encode()
ENV = {
    "openai": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "gemini": "GOOGLE_GEMINI_BASE_URL",
    "ollama": "OLLAMA_HOST",
    "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "openai-sh": "OPENAI_BASE_URL",
}


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    return {name: provider(name) for name in ("anthropic", "bedrock", "gemini", "ollama")}


def call(name: str, address: str, **request: Any) -> Record:
    """The final record of a provider that is called at this address."""
    env = {ENV[name]: address, "AWS_BEARER_TOKEN_BEDROCK": "key-5ecre7-5ecre7", "AWS_REGION": "x"}
    env |= {"OPENAI_API_KEY": "key-5ecre7-5ecre7"}
    return ask(address, name, env=env, **request).final


# Content codings.


def packed(*texts: bytes) -> bytes:
    return b"".join(map(gzip.compress, texts))


def raw_deflate(text: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(text) + pack.flush()


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", packed(TEXT[:9], TEXT[9:20], TEXT[20:])),
        ("gzip", packed(TEXT) + b"\0" * 20),
        ("x-gzip", packed(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity, gzip", packed(TEXT)),
        ("gzip, gzip", packed(packed(TEXT))),
        ("deflate, gzip", packed(zlib.compress(TEXT))),
    ],
)
def test_a_packed_body_is_unpacked_to_its_end(coding: str, data: bytes, size: int) -> None:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    assert b"".join(client.unpacked(pieces, coding)) == TEXT


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
def test_a_coding_that_nobody_asked_for_is_refused_by_name(coding: str) -> None:
    with pytest.raises(Fault, match=coding):
        list(client.unpacked(iter([b"x"]), coding))


@pytest.mark.parametrize("count", [6, 1000, 15_000])
def test_a_body_packed_over_and_over_is_refused_before_it_is_unpacked(count: int) -> None:
    with pytest.raises(Fault, match="unwanted encoding"):
        list(client.unpacked(iter([packed(b"")]), ",".join(["gzip"] * count)))


@pytest.mark.parametrize(
    "inner",
    [packed(b"") * 1000, packed(TEXT) + bytes(20_000), b"\x1f\x8b\x08\x08" + b"n" * 20_000],
)
def test_a_bomb_that_holds_nearly_nothing_ends_early(inner: bytes) -> None:
    pack, read = zlib.compressobj(wbits=31), 0

    def bomb() -> Iterator[bytes]:
        nonlocal read
        while True:
            data = pack.compress(inner)
            read += len(inner)
            yield data

    with pytest.raises(Fault, match="nearly nothing|damaged"):
        list(client.unpacked(bomb(), "gzip, gzip"))
    assert read < 64 << 20


def test_a_stream_of_several_packed_members_is_read_to_its_end() -> None:
    events = [chunk({"content": "Hel"}), chunk({"content": "lo"}, "stop"), b"data: [DONE]\n\n"]
    head = STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    with serving(head + packed(*events)) as server:
        reply = ask(server.address, stream=True)
    assert reply.text == "Hello" and reply.final["type"] == "response"


# How long to wait.


def soon(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


WAITS: list[tuple[dict[str, str], Any, float]] = [
    ({"retry-after": "7"}, {}, 7),
    ({"retry-after": "7s"}, {}, 7),
    ({"retry-after": "DATE"}, {}, 30),
    ({"retry-after-ms": "1500"}, {}, 1.5),
    ({"x-ratelimit-reset-requests": "1.5s"}, {}, 1.5),
    ({"x-ratelimit-reset-tokens": "6m0s"}, {}, 360),
    ({"x-ratelimit-reset-tokens": "320ms"}, {}, 0.32),
    ({"x-ratelimit-reset": "12"}, {}, 12),
    ({"x-ratelimit-reset": "EPOCH"}, {}, 40),
    ({"x-ratelimit-reset": "EPOCH_MS"}, {}, 40),
    ({"anthropic-ratelimit-tokens-reset": "2999-01-01T00:00:00Z"}, {}, 3e10),
    (
        {
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-requests": "5",
            "x-ratelimit-reset-tokens": "20s",
            "x-ratelimit-remaining-tokens": "0",
        },
        {},
        20,
    ),
    ({"retry-after": "3", "x-ratelimit-reset-tokens": "20s"}, {}, 3),
    ({}, {"message": "Rate limit reached. Please try again in 7.2s. See the page."}, 7.2),
    ({}, {"message": "Please try again in 2m59.56s."}, 179.56),
    ({}, {"message": "please retry after 10 seconds"}, 10),
    ({}, {"message": "Please try again in 120ms"}, 0.12),
    ({}, {"message": "Please retry in 34.074s."}, 34.074),
    ({}, {"message": "slow", "details": [{"@type": "x/RetryInfo", "retryDelay": "33.5s"}]}, 33.5),
    ({}, {"message": "slow", "retry_after": 4.5}, 4.5),
    ({}, {"message": "slow", "retry_after_ms": 450}, 0.45),
    ({}, {"message": "slow", "parameters": {"retry_after": "9"}}, 9),
    ({}, {"message": "loading", "estimated_time": 20.0}, 20),
    ({}, {"message": "slow", "metadata": {"headers": {"X-RateLimit-Reset": "8"}}}, 8),
]


@pytest.mark.parametrize(("headers", "error", "seconds"), WAITS)
def test_the_wait_that_a_server_asks_for_is_reported(
    headers: dict[str, str], error: Any, seconds: float
) -> None:
    moments = {"DATE": soon(30), "EPOCH": str(int(time.time()) + 40)}
    moments["EPOCH_MS"] = moments["EPOCH"] + "000"
    headers = {name: moments.get(value, value) for name, value in headers.items()}
    body = json.dumps({"error": {"message": "slow", **error}}).encode()
    fault = refusal.explain(429, headers, body)
    assert fault.fields["retry_after"] == pytest.approx(seconds, abs=1.6, rel=0.05)
    stays = refusal.explain(400, headers, b'{"error":{"message":"wrong field"}}')
    assert ("retry_after" in stays.fields) == any("retry-after" in name for name in headers)


@pytest.mark.parametrize("text", ["", "soon", "-3", "0s", "7 apples", "2001-01-01T00:00:00Z"])
def test_nonsense_is_no_wait(text: str) -> None:
    assert refusal.moment(text) is None
    assert refusal.wait({"x-ratelimit-reset": text}, f"try again in {text}") is None


def test_a_limit_of_tokens_a_minute_is_no_context_that_is_too_long() -> None:
    words = (
        "This request would exceed your organization's rate limit of 30,000 input tokens a minute"
    )
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": words}}
    assert refusal.explain(429, {}, json.dumps(error).encode()).kind == "rate_limit"


@pytest.mark.parametrize("name", ENV)
def test_each_provider_tells_the_wait_of_a_body_and_of_a_header(name: str) -> None:
    error = {
        "error": {"message": "Please try again in 7.2s", "code": 429},
        "message": "again in 7.2s",
    }
    with serving(http(json.dumps(error), "429 Slow")) as server:
        assert call(name, server.address)["retry_after"] == 7.2
    error = {"error": {"message": "slow", "code": 429}, "message": "slow"}
    with serving(http(json.dumps(error), "429 Slow", x_ratelimit_reset_tokens="1m30s")) as server:
        assert call(name, server.address)["retry_after"] == 90


# Thinking that stands in the text.

THOUGHTS = [
    ("<think>\nhm\n</think>\n\nYes", "hm", "Yes"),
    ("  \n<think>hm</think>Yes", "hm", "Yes"),
    ("<think>hm", "hm", ""),
    ("<think>\n\n</think>\n\nYes", "", "Yes"),
    ("<think>a</think>\n<think>b</think>Yes", "ab", "Yes"),
    ("Use `<think>` in code", "", "Use `<think>` in code"),
    ("```\n<think>x</think>\n```", "", "```\n<think>x</think>\n```"),
    ("<thinker>Yes", "", "<thinker>Yes"),
    ("<thin", "", "<thin"),
    (" plain ", "", " plain "),
    ("<think>a </thin </think>Yes", "a </thin", "Yes"),
]


@pytest.mark.parametrize(("text", "thinking", "rest"), THOUGHTS)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_thinking_at_the_beginning_of_a_text_is_taken_apart(
    text: str, thinking: str, rest: str, size: int
) -> None:
    split, pieces = answer.Thoughts(), []
    for at in range(0, len(text), size):
        pieces += split.parted(text[at : at + size])
    pieces += split.parted("", last=True)
    for kind, want in (("thinking", thinking), ("text", rest)):
        assert "".join(piece for name, piece in pieces if name == kind).strip() == want.strip()
    made = answer.thoughts_apart({"role": "assistant", "content": text})["content"]
    parts = [{"type": "text", "text": made}] if isinstance(made, str) else made
    for kind, want in (("thinking", thinking), ("text", rest)):
        assert "".join(part[kind] for part in parts if part["type"] == kind) == want


def bodies(text: str) -> dict[str, Record]:
    return {
        "openai": json.loads(completed(text)),
        "openai-sh": json.loads(completed(text)),
        "anthropic": {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"},
        "bedrock": {"output": {"message": {"content": [{"text": text}]}}, "stopReason": "end_turn"},
        "gemini": {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]
        },
        "ollama": {"message": {"content": text}, "done": True, "done_reason": "stop"},
    }


@pytest.mark.parametrize("name", ENV)
def test_each_provider_takes_thinking_out_of_the_text(name: str) -> None:
    with serving(http(json.dumps(bodies("<think>hm</think>\nYes")[name]))) as server:
        content = call(name, server.address)["message"]["content"]
    assert content == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes"}]


def test_thinking_in_the_text_of_a_stream_comes_as_thinking() -> None:
    pieces = ["<th", "ink>h", "m</thi", "nk>\n", "\nYes"]
    events = [chunk({"content": piece}) for piece in pieces] + [chunk({}, "stop")]
    with serving(STREAM + b"".join(events)) as server:
        reply = ask(server.address, stream=True)
    assert reply.text == "Yes"
    assert "".join(r.get("thinking", "") for r in reply.records) == "hm"


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    ],
)
def test_each_field_of_thinking_is_thinking(message: Record) -> None:
    body = {"choices": [{"message": {"content": "Yes", **message}, "finish_reason": "stop"}]}
    made = completion.parse("v", body)["message"]["content"]
    assert made == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes"}]


# Errors in an answer that began well, and answers that end too early.

ERRORS = (
    {"error": {"message": "the engine is dead"}},
    {"error": "the engine is dead"},
    {"detail": "the engine is dead"},
    {"message": "the engine is dead"},
    {"object": "error", "message": "the engine is dead", "code": 500},
)


def readers(modules: dict[str, ModuleType], piece: Record) -> Iterator[Any]:
    """What reads this piece as a stream, and as a whole answer, in each dialect."""
    event = Event("message", json.dumps(piece), "")
    frame = Frame({":event-type": "x", ":exception-type": "x"}, json.dumps(piece).encode())
    yield lambda: list(completion.stream("v", iter([event])))
    yield lambda: completion.parse("v", piece)
    yield lambda: list(responses.stream("v", iter([event])))
    yield lambda: responses.parse("v", piece)
    for name in ("anthropic", "gemini"):
        yield lambda name=name: list(modules[name].stream({}, iter([event])))
    yield lambda: list(modules["ollama"].stream({}, iter([piece])))
    for module in modules.values():
        yield lambda module=module: module.parse({}, piece)
    frame = Frame({":message-type": "exception", ":exception-type": "x"}, frame.payload)
    if "message" in piece:
        yield lambda: list(modules["bedrock"].stream({}, iter([frame])))


@pytest.mark.parametrize("piece", ERRORS)
def test_an_error_in_any_form_is_one_in_every_dialect(
    modules: dict[str, ModuleType], piece: Record
) -> None:
    for read in readers(modules, piece):
        with pytest.raises(Fault, match="the engine is dead"):
            read()


@pytest.mark.parametrize("name", ENV)
@pytest.mark.parametrize("body", ["", " \n"])
def test_an_empty_body_may_be_tried_again(name: str, body: str) -> None:
    with serving(http(body)) as server:
        final = call(name, server.address)
    assert (final["type"], final["retryable"]) == ("error", True)


@pytest.mark.parametrize("name", [name for name in ENV if name != "openai-sh"])
def test_a_stream_that_is_empty_or_cut_before_any_text_may_be_tried_again(name: str) -> None:
    media = "application/vnd.amazon.eventstream" if name == "bedrock" else "text/event-stream"
    cut = {"bedrock": "\0\0", "ollama": "\n"}.get(name, ": hello\n\n")
    for body in ("", cut):
        with serving(http(body, media=media)) as server:
            final = call(name, server.address, stream=True)
        assert (final["type"], final["retryable"], final["partial"]) == ("error", True, False)


@pytest.mark.parametrize("name", ENV)
@pytest.mark.parametrize("body", ["Not Found", "404 page not found", '{"detail":"Not Found"}', ""])
def test_a_bare_not_found_tells_the_address(name: str, body: str) -> None:
    with serving(http(body, "404 Not Found", "text/plain")) as server:
        final = call(name, server.address)
    assert final["kind"] == "not_found" and server.address in final["message"]


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_what_a_proxy_answers_itself_is_the_proxys(status: str) -> None:
    with serving(http("<h1>Squid</h1>", status, "text/html")) as proxy:
        env = {"http_proxy": proxy.address.replace("//", "//me:secretpw@"), "no_proxy": ""}
        final = ask("http://vendor.example", env=env).final
    assert f"the proxy {proxy.address.replace('//', '//***@')} says" in final["message"]
    assert "secretpw" not in final["message"]


# What an answer holds beside text.


def test_pictures_and_logprobs_are_kept_in_every_dialect(modules: dict[str, ModuleType]) -> None:
    data = b64encode(b"\x89PNG....").decode()
    picture = {"type": "image", "media_type": "image/png", "data": data}
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    found = [
        completion.parse(
            "v", {"choices": [{"message": {"content": [url]}, "finish_reason": "stop"}]}
        ),
        responses.parse("v", {"output": [{"type": "image_generation_call", "result": data}]}),
        modules["gemini"].parse(
            {},
            {
                "candidates": [
                    {
                        "content": {
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]
                        },
                        "finishReason": "STOP",
                        "logprobsResult": {"x": 1},
                    }
                ]
            },
        ),
        modules["bedrock"].parse(
            {},
            {
                "output": {
                    "message": {
                        "content": [{"image": {"format": "png", "source": {"bytes": data}}}]
                    }
                },
                "stopReason": "end_turn",
            },
        ),
        modules["ollama"].parse({}, {"message": {"images": [data]}, "logprobs": [{"x": 1}]}),
    ]
    for made in found:
        assert picture in made["message"]["content"]
    assert found[2]["logprobs"] == found[4]["logprobs"] == [{"x": 1}]
    logprobs = {"type": "output_text", "text": "x", "logprobs": [{"x": 1}]}
    body = {"output": [{"type": "message", "content": [logprobs]}]}
    assert responses.parse("v", body)["logprobs"] == [[{"x": 1}]]


def test_more_than_one_candidate_is_refused_by_name(modules: dict[str, ModuleType]) -> None:
    one = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
    with pytest.raises(Fault, match="candidateCount"):
        modules["gemini"].parse({}, {"candidates": [one, one]})


# Embeddings.

VECTORS = [[0.5, -1.0], [0.25, 2.0]]


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"embedding": vector} for vector in VECTORS]},
        {"data": [{"embedding": b64encode(struct.pack("<2f", *v)).decode()} for v in VECTORS]},
        {"data": [{"embedding": [vector]} for vector in VECTORS]},
        {"data": [{"embedding": [str(x) for x in vector]} for vector in VECTORS]},
        {"embeddings": VECTORS},
        VECTORS,
        [{"embedding": [vector], "index": n} for n, vector in enumerate(VECTORS)],
    ],
)
def test_embeddings_are_read_in_each_form(body: Any) -> None:
    assert embeddings.read({"texts": ["a", "b"]}, body)["vectors"] == VECTORS


def test_one_vector_alone_is_read() -> None:
    assert embeddings.read({"texts": ["a"]}, {"embedding": VECTORS[0]})["vectors"] == VECTORS[:1]


# Where an answer ends, and by what it is called.

OLLAMA = [
    json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": done})
    for text, done in (("Hel", False), ("lo", True))
]


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/x-ndjson", "\n".join(OLLAMA)),
        ("application/x-ndjson", "\r\n\r\n".join([*OLLAMA, ""])),
        ("application/json", "\n".join(OLLAMA)),
        ("text/event-stream", "".join(f"data: {line}\n\n" for line in OLLAMA)),
        ("text/plain", json.dumps(json.loads(OLLAMA[1].replace("lo", "Hello")), indent=2)),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_lines_of_json_are_read_in_every_framing(media: str, body: str, stream: bool) -> None:
    with serving(http(body, media=media)) as server:
        final = call("ollama", server.address, stream=stream)
    assert final["message"]["content"] == "Hello", final


@pytest.mark.parametrize("body", ["\n".join(OLLAMA)[:-9], OLLAMA[0]])
def test_lines_of_json_that_break_off_are_no_answer(body: str) -> None:
    with serving(http(body, media="application/x-ndjson")) as server:
        final = call("ollama", server.address, stream=True)
    assert (final["kind"], final["retryable"]) == ("network", True)


def test_json_that_is_called_a_web_page_is_read_and_a_web_page_is_not() -> None:
    for body, kind in ((TEXT.decode(), "response"), ("<p>Log in", "error"), ("Down", "error")):
        with serving(http(body, media="text/html; charset=utf-8")) as server:
            final = call("openai", server.address)
        assert final["type"] == kind and ("Log in" in str(final)) == ("Log" in body)


def test_a_call_of_the_old_kind_is_read_by_the_script_too() -> None:
    message = {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "function_call"}]})
    with serving(http(body)) as server:
        final = call("openai-sh", server.address)
    assert final["stop_reason"] == "tool_use"
    assert [made["name"] for made in final["message"]["tool_calls"]] == ["look"]
