"""Server-sent events: the standard's rules at every cut, the streams that vendors send, and those that break off."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.faults import Fault
from agentlib.provider import http_call
from installed import suite
from raw_server import DONE, STREAM, Reply, Server, ask, completion, event, http, serving
from vendors import shared

END = event({}, "stop") + event(usage={"prompt_tokens": 3, "completion_tokens": 2}) + DONE


def parsed(chunks: list[bytes]) -> list[tuple[str, str, str]]:
    return [tuple(e) for e in http_call.events(chunks)]


def test_the_vectors_hold_wherever_the_stream_is_cut() -> None:
    vectors = [
        json.loads(line) for line in shared("vectors/sse/vectors.jsonl").read_text().splitlines()
    ]
    assert len(vectors) == 89
    for vector in vectors:
        data = base64.b64decode(vector["input_b64"])
        wanted = [(e["event"], e["data"], e["id"]) for e in vector["events"]]
        cuts = range(len(data)) if len(data) < 5000 else (0,)
        for chunks in (
            [data],
            [data[i : i + 1] for i in range(len(data))],
            *([data[:i], data[i:]] for i in cuts),
        ):
            assert parsed(chunks) == wanted, vector["id"]


@given(
    st.lists(st.text(alphabet="ab:\u00e9\U0001f600\ufeff\u2028 ", max_size=8), max_size=6),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.data(),
)
def test_any_data_comes_through_any_cut(texts: list[str], end: str, data: st.DataObject) -> None:
    raw = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    at = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    chunks = [raw[a:b] for a, b in zip([0, *at], [*at, len(raw)], strict=True)]
    assert [e[1] for e in parsed(chunks)] == texts


def test_a_line_and_an_event_have_a_cap() -> None:
    long = b"data: " + b"x" * (1 << 20)
    with pytest.raises(Fault, match="line of more than"):
        parsed([long[:6], *[long[6:]] * 9])
    with pytest.raises(Fault, match="event of more than"):
        parsed([long + b"\n"] * 9)


def streamed(*pieces: bytes) -> Reply:
    """What the provider says to this stream."""
    with serving(STREAM + b"".join(pieces)) as server:
        return ask(server.address, stream=True)


def test_deltas_are_the_text_and_the_usage_is_counted() -> None:
    reply = streamed(
        event({"role": "assistant", "content": ""}),
        event({"content": "a"}),
        b": ping\n\n",
        event({"content": ""}),
        b"event: ping\ndata: {}\n\n",
        event({"content": "b"}),
        END,
    )
    deltas = [r for r in reply.records if r["type"] == "delta"]
    assert [d["text"] for d in deltas] == ["a", "b"] and reply.final["message"]["content"] == "ab"
    assert (
        reply.final["usage"] == {"input_tokens": 3, "output_tokens": 2}
        and reply.final["stop_reason"] == "end_turn"
    )


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\0", "\U0001f600", "\r\n", "\\"])
def test_odd_characters_stay_on_one_line(odd: str) -> None:
    reply = streamed(event({"content": f"a{odd}b"}), END)
    assert reply.text == reply.final["message"]["content"] == f"a{odd}b"
    assert reply.stdout.count("\n") == 2


def test_a_character_split_over_two_deltas_is_joined() -> None:
    reply = streamed(event({"content": "x\ud83d"}), event({"content": "\ude00y"}), END)
    assert reply.text == reply.final["message"]["content"] == "x\U0001f600y"


def test_half_a_character_is_replaced() -> None:
    reply = streamed(event({"content": "x\ud83d"}), event({"content": "y"}), END)
    assert reply.text == reply.final["message"]["content"] == "x\ufffdy"
    assert streamed(event({"content": "x\ud83d"}), END).text == "x\ufffd"


def test_interleaved_calls_are_put_together_by_index() -> None:
    def piece(index: int, arguments: str, **more: object) -> bytes:
        name = {"name": more.pop("name")} if "name" in more else {}
        return event(
            {"tool_calls": [{"index": index, **more, "function": {**name, "arguments": arguments}}]}
        )

    reply = streamed(
        piece(0, "", id="a", name="one"),
        piece(1, "", id="b", name="two"),
        piece(1, '{"y"'),
        piece(0, '{"x"'),
        piece(0, ":1}"),
        piece(1, ":2}"),
        event({}, "tool_calls"),
        DONE,
    ).final
    assert reply["message"]["tool_calls"] == [
        {"id": "a", "name": "one", "arguments": {"x": 1}},
        {"id": "b", "name": "two", "arguments": {"y": 2}},
    ]
    assert reply["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "rate_limit_error", "message": "slow"}, "rate_limit"),
        ({"code": 502, "message": "bad gateway"}, "server"),
        ({"code": "context_length_exceeded", "message": "too long"}, "context_length"),
        ({"message": "Overloaded"}, "overloaded"),
        ("plain words", "server"),
        ({"type": "insufficient_quota", "message": "pay"}, "rate_limit"),
    ],
)
def test_an_error_in_the_stream_keeps_the_text_before_it(error: object, kind: str) -> None:
    reply = streamed(
        event({"content": "a"}), b"data: " + json.dumps({"error": error}).encode() + b"\n\n", DONE
    )
    assert (reply.text, reply.final["kind"], reply.final["partial"]) == ("a", kind, True)
    assert reply.final["retryable"] is (kind != "context_length" and "quota" not in str(error))


def test_an_event_that_is_not_json_is_never_skipped() -> None:
    reply = streamed(event({"content": "a"}), b"data: {nonsense\n\n", event({"content": "b"}), END)
    assert (reply.text, reply.final["kind"]) == (
        "a",
        "bad_response",
    ) and "{nonsense" in reply.final["message"]


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ((), "bad_response"),
        ((b": only a comment\n\n",), "bad_response"),
        ((event({"content": "a"}),), "network"),
        ((event({"content": "a"}), b'data: {"cho'), "network"),
        ((event({"content": "a"}), event({}, None)), "network"),
    ],
)
def test_a_stream_that_ends_early_is_an_error(pieces: tuple[bytes, ...], kind: str) -> None:
    assert streamed(*pieces).final["kind"] == kind


def test_a_whole_answer_to_a_request_for_a_stream_is_taken() -> None:
    with serving(http(completion("all at once"))) as server:
        reply = ask(server.address, stream=True)
    assert reply.text == reply.final["message"]["content"] == "all at once"


def test_no_bytes_at_all_are_no_answer() -> None:
    for media in ("application/json", "text/event-stream"):
        with serving(http("", media=media)) as server:
            assert ask(server.address, stream=True).final["kind"] == "bad_response"


REQUEST = b'{"type":"request","id":"1","stream":true,"messages":[{"role":"user","content":"hi"}]}\n'


def started(server: Server) -> subprocess.Popen[bytes]:
    """A provider that has got a request; its standard output is for the test to read."""
    env = {**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": "key"}
    provider = subprocess.Popen(
        [suite() / "providers" / "openai"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert provider.stdin
    provider.stdin.write(REQUEST)
    provider.stdin.flush()
    return provider


def test_many_small_deltas_take_no_memory() -> None:
    count = 100_000
    with serving(STREAM + event({"content": "ab"}) * count + END) as server:
        with started(server) as provider:
            assert provider.stdin and provider.stdout
            for _ in range(count + 1):
                last = provider.stdout.readline()
            peak = (
                (Path("/proc") / str(provider.pid) / "status")
                .read_text()
                .partition("VmHWM:")[2]
                .split()[0]
            )
            provider.stdin.close()
    assert json.loads(last)["type"] == "response" and int(peak) < 60 * 1024  # kB


def test_a_slow_reader_holds_the_socket_back() -> None:
    sent = 0

    def play(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(STREAM)
        piece = event({"content": "x" * 1000})
        for _ in range(100_000):
            connection.sendall(piece)
            sent += len(piece)

    with serving(play) as server:
        provider = started(server)
        assert provider.stdin and provider.stdout and provider.stdout.readline()
        before = -1
        while before != sent:  # until the server, too, is at rest
            before = sent
            time.sleep(0.3)
        assert sent < 20_000_000  # of 100 MB: what the buffers of the system hold
        provider.stdout.close()  # nobody reads any more: the provider ends in silence
        provider.stdin.close()
        assert provider.wait(60) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "end",
    [
        "data: [DONE]",
        "data: [DONE]\n",
        'data: {"a":1}',
        'data: {"a":1}\n',
        'error: {"a":1}\n\n',
        '{"a":1}',
    ],
)
def test_answers_do_not_lose_what_a_server_ends_otherwise(end: str) -> None:
    found = list(http_call.answers([b'data: {"b":2}\n\n', end.encode()]))
    assert [event.data for event in found] == ['{"b":2}', end.partition(": ")[2].strip() or end]


def test_answers_do_not_make_an_event_of_half_of_one() -> None:
    assert [event.data for event in http_call.answers([b'data: {"b":2}\n\ndata: {"a":'])] == [
        '{"b":2}'
    ]
