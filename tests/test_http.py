"""HTTP between a provider and its vendor: what goes wrong there is told by kind, in time and in bounded memory."""

from __future__ import annotations

import gzip
import socket
import struct
import time
import zlib

import pytest

from agentlib.faults import Fault
from agentlib.provider import http_call as transport
from agentlib.provider import refusal
from raw_server import DONE, STREAM, ask, ask_and_measure, completion, event, http, serving


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        ("400 Bad Request", "invalid_request", False),
        ("401 Unauthorized", "auth", False),
        ("403 Forbidden", "auth", False),
        ("404 Not Found", "not_found", False),
        ("408 Timeout", "timeout", True),
        ("418 Teapot", "invalid_request", False),
        ("429 Too Many", "rate_limit", True),
        ("500 Oops", "server", True),
        ("503 Unavailable", "server", True),
        ("529 Overloaded", "overloaded", True),
    ],
)
def test_a_status_has_its_kind(status: str, kind: str, retryable: bool) -> None:
    with serving(http('{"error":{"message":"The vendor\'s words."}}', status)) as server:
        reply = ask(server.address)
    assert (reply.final["kind"], reply.final["retryable"], reply.final["status"]) == (
        kind,
        retryable,
        int(status[:3]),
    )
    assert reply.final["message"] == "The vendor's words."
    assert (reply.status, len(server.requests), reply.final["partial"]) == (0, 1, False)


@pytest.mark.parametrize(
    ("found", "status", "retryable"),
    [("true", "400 Bad", True), ("false", "503 Unavailable", False)],
)
def test_a_vendor_says_whether_to_try_again(found: str, status: str, retryable: bool) -> None:
    with serving(http('{"error":{"message":"m"}}', status, x_should_retry=found)) as server:
        assert ask(server.address).final["retryable"] is retryable


def test_the_wait_is_given_in_seconds() -> None:
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert refusal.retry_after({"retry-after": "19", "retry-after-ms": "18642"}) == 18.642
    assert refusal.retry_after({"retry-after": "1", "retry-after-ms": "0"}) == 1
    assert 25 < (refusal.retry_after({"retry-after": later}) or 0) <= 30
    for nonsense in ("Fri, 01 Jan 1999 00:00:00 GMT", "soon", "-5", "nan", "inf", "0", ""):
        assert refusal.retry_after({"retry-after": nonsense}) is None


def test_a_web_page_is_cut_to_its_words() -> None:
    page = (
        "<html><style>body {color: red}</style><h1>Proxy</h1>" + "<p>denied</p>" * 5000 + "</html>"
    )
    with serving(http(page, "403 Forbidden", "text/html")) as server:
        reply = ask(server.address).final
    assert (
        reply["kind"] == "auth"
        and "Proxy denied" in reply["message"]
        and len(reply["message"]) < 500
    )
    assert "<" not in reply["message"] and "color" not in reply["message"]
    with serving(http(page, "200 OK", "text/html")) as server:
        reply = ask(server.address, stream=True).final
    assert (
        reply["kind"] == "bad_response"
        and "Proxy denied" in reply["message"]
        and len(reply["message"]) < 500
    )


def test_no_answer_ends_at_the_bound_for_the_whole() -> None:
    with serving(lambda connection: time.sleep(100)) as server:
        reply = ask(server.address, env={"AGENT_TIMEOUT": "1"})
    assert (
        reply.final["kind"] == "timeout"
        and "AGENT_TIMEOUT" in reply.final["message"]
        and 1 <= reply.seconds < 40
    )


def test_a_body_that_trickles_ends_at_the_bound_for_the_whole() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
        )
        while True:
            connection.sendall(b" ")
            time.sleep(0.1)

    with serving(play) as server:
        reply = ask(server.address, env={"AGENT_TIMEOUT": "1"})
    assert reply.final["kind"] == "timeout" and 1 <= reply.seconds < 40


def test_headers_that_trickle_end_too() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    with serving(play) as server:
        assert ask(server.address, env={"AGENT_TIMEOUT": "1"}).final["kind"] == "timeout"


def test_comments_break_the_silence_of_a_server_that_keeps_a_queue() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM)
        for _ in range(50):
            connection.sendall(b": keep-alive\n\n")
            time.sleep(0.1)
        connection.sendall(event({"content": "a"}) + event({}, "stop") + b"data: [DONE]\n\n")

    with serving(play) as server:
        reply = ask(server.address, stream=True, env={"AGENT_SILENCE_TIMEOUT": "4"})
    assert reply.final["type"] == "response" and reply.text == "a"


def test_bytes_without_a_line_do_not_break_the_silence() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + event({"content": "a"}))
        while True:
            connection.sendall(b" ")
            time.sleep(0.1)

    with serving(play) as server:
        reply = ask(server.address, stream=True, env={"AGENT_SILENCE_TIMEOUT": "1"})
    assert (reply.final["kind"], reply.final["partial"], reply.text) == ("timeout", True, "a")
    assert 1 <= reply.seconds < 40


def test_an_answer_that_has_ended_does_not_wait_for_the_connection() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + event({"content": "a"}) + event({}, "stop"))
        time.sleep(100)

    with serving(play) as server:
        reply = ask(server.address, stream=True)
    assert reply.final["type"] == "response" and reply.seconds < 40


def test_a_slow_stream_is_not_silent() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM)
        for _ in range(6):
            time.sleep(0.5)
            connection.sendall(event({"content": "a"}))
        connection.sendall(event({}, "stop") + DONE)

    with serving(play) as server:
        reply = ask(server.address, stream=True, env={"AGENT_SILENCE_TIMEOUT": "2.5"})
    assert reply.final["type"] == "response" and reply.text == "aaaaaa"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reply = ask(f"http://127.0.0.1:{port}/v1").final
    assert (reply["kind"], reply["retryable"]) == (
        "network",
        True,
    ) and f"127.0.0.1:{port}" in reply["message"]


def test_a_name_that_is_none() -> None:
    reply = ask("http://nowhere.invalid/v1", env={"AGENT_TIMEOUT": "8"}).final
    assert reply["kind"] in ("network", "timeout")  # timeout: where the resolver itself hangs
    assert "nowhere.invalid" in reply["message"] or "AGENT_TIMEOUT" in reply["message"]


def test_half_a_body_is_no_answer() -> None:
    complete = http(completion("forty-two"))
    for size in (len(complete) // 2, len(complete) - 2):
        with serving(complete[:size]) as server:
            reply = ask(server.address)
        assert reply.final["kind"] == "network" and "forty" not in reply.stdout


def test_a_redirect_is_not_followed_so_the_key_stays() -> None:
    with serving(http(completion())) as other:
        with serving(
            http("", "302 Found", location=f"{other.address}/v1/chat/completions")
        ) as server:
            reply = ask(server.address).final
        assert (
            reply["kind"] == "bad_response"
            and other.address in reply["message"]
            and not other.requests
        )


def test_gzip_is_unpacked_in_steps() -> None:
    packed = gzip.compress(completion("small").encode())
    with serving(http(packed, content_encoding="gzip")) as server:
        assert ask(server.address).final["message"]["content"] == "small"
    with serving(http(packed[:-12], content_encoding="gzip")) as server:
        assert ask(server.address).final["kind"] == "bad_response"
    with serving(http(b"no gzip at all", content_encoding="gzip")) as server:
        assert ask(server.address).final["kind"] == "bad_response"
    with serving(http(b"x", content_encoding="br")) as server:
        assert "br" in ask(server.address).final["message"]


def test_a_gzip_bomb_meets_the_cap() -> None:
    pack = zlib.compressobj(9, wbits=31)
    bomb = b"".join(pack.compress(bytes(1 << 20)) for _ in range(1024)) + pack.flush()
    for status in ("200 OK", "500 Oops"):
        with serving(http(bomb, status, content_encoding="gzip")) as server:
            reply, peak = ask_and_measure(server.address)
        assert reply.final["kind"] == ("limit_exceeded" if status == "200 OK" else "server")
        assert peak < 200


def test_deltas_of_a_packed_stream_appear_as_they_arrive() -> None:
    def play(connection: socket.socket) -> None:
        pack = zlib.compressobj(wbits=31)
        connection.sendall(STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"))
        connection.sendall(
            pack.compress(event({"content": "first"})) + pack.flush(zlib.Z_SYNC_FLUSH)
        )
        time.sleep(30)

    with serving(play) as server:
        reply = ask(server.address, stream=True, env={"AGENT_SILENCE_TIMEOUT": "2"})
    assert (reply.text, reply.final["kind"]) == ("first", "timeout")


def test_a_dead_proxy_is_named_without_its_password() -> None:
    proxy = {"HTTP_PROXY": "http://me:pa55word@127.0.0.1:1"}
    with serving(http(completion())) as server:
        reply = ask(server.address, env=proxy).final
        assert (
            reply["kind"] == "network"
            and "proxy" in reply["message"]
            and "127.0.0.1:1" in reply["message"]
        )
        assert "pa55word" not in reply["message"]
        assert (
            ask(server.address, env={**proxy, "NO_PROXY": "127.0.0.1"}).final["type"] == "response"
        )


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/a/prefix"])
def test_the_path_is_right_however_the_address_is_written(end: str) -> None:
    with serving(http(completion())) as server:
        assert ask(server.address + end).final["type"] == "response"
    assert server.requests[0][0].split(" ")[1] == f"{end.rstrip('/')}/chat/completions"


def test_ipv6_works() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with serving(http(completion()), socket.AF_INET6) as server:
        assert ask(f"{server.address}/v1").final["type"] == "response"


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1",
        "file:///etc/passwd",
        "gopher://host",
        "host:80",
        "//host",
        "http://",
        "http://host:port/v1",
        "http://[::1",
        "http://a b/",
        "http://host/v1?x=1",
        "none",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Fault) as caught:
        transport.base(address, "X_BASE_URL")
    assert caught.value.kind == "invalid_request" and "X_BASE_URL" in caught.value.message


def test_a_reset_in_the_stream_keeps_what_came() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + event({"content": "a"}) * 3)
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(play) as server:
        reply = ask(server.address, stream=True)
    assert (reply.final["kind"], reply.final["partial"], reply.text, len(server.requests)) == (
        "network",
        True,
        "aaa",
        1,
    )


def test_a_line_without_end_meets_the_cap() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + b"data: ")
        while True:
            connection.sendall(b"x" * (1 << 20))

    with serving(play) as server:
        reply, peak = ask_and_measure(server.address, stream=True)
    assert reply.final["kind"] == "limit_exceeded"
    assert peak < 200


def test_an_answer_too_large_meets_the_cap() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        )
        while True:
            connection.sendall(b" " * (1 << 20))

    with serving(play) as server:
        assert ask(server.address).final["kind"] == "limit_exceeded"
