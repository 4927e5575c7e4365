"""What a provider takes for an answer of HTTP/1.1, and what it does not; when a connection carries another request."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider.http import Connection, Reply, Watch
from agentlib.provider.http_call import Call
from raw_server import DONE, ROOT, Server, ask, completion, event, http, serving
from test_provider import request, started

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BODY = completion().encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"a name: x\r\n\r\n",
        OK + b": x\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        OK + b"content-length: -2\r\n\r\n{}",
        OK + b"content-length: 0x2\r\n\r\n{}",
        OK + b"content-length:\r\n\r\n{}",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        *(
            CHUNKED + size + b"\r\n{}\r\n0\r\n\r\n"
            for size in (b"-2", b"+2", b"0x2", b"0_2", b" 2", b"", b"two")
        ),
        CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n",
        CHUNKED + b"2;" + b"x" * 200_000,
    ],
)
def test_what_is_not_http_is_reported_at_once(answer: bytes) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.recv(1)  # until the provider leaves

    with serving(play) as server:
        message = ask(server.address, env={"AGENT_TIMEOUT": "10"})
    assert (message.final["kind"], message.final["retryable"], len(server.requests)) == (
        "network",
        True,
        1,
    )
    assert f"127.0.0.1:{server.port}" in message.final["message"] and message.seconds < 40


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        OK,
        OK + b"content-length: %d\r\n\r\n%s" % (len(BODY) + 1, BODY),
        CHUNKED,
        CHUNKED + b"%x\r\n%s" % (len(BODY) + 1, BODY),
        CHUNKED + b"%x\r\n%s" % (len(BODY), BODY),
        CHUNKED + b"%x\r\n%s\r\n" % (len(BODY), BODY),
        CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY),
    ],
)
def test_an_answer_that_ends_early_is_none(answer: bytes) -> None:
    with serving(answer) as server:
        message = ask(server.address).final
    assert (message["kind"], len(server.requests)) == (
        "network",
        1,
    ) and "broke off the connection" in message["message"]


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, b"x" * 100_000])
def test_a_head_without_end_meets_the_cap(part: bytes) -> None:
    def play(connection: socket.socket) -> None:
        while True:
            connection.sendall(part)

    with serving(play) as server:
        message = ask(server.address)
    assert (
        message.final["kind"] == "network"
        and "too long" in message.final["message"]
        and message.seconds < 40
    )


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"%x;name=value\r\n%s\r\n00\r\nx-trailer: y\r\n\r\n" % (len(BODY), BODY),
        b"HTTP/1.1 200\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(BODY), BODY),
        OK + b"content-length: %d\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), len(BODY), BODY),
        b"HTTP/1.0 200 OK\nContent-Type: application/json\n\n" + BODY,
        OK + b"x-folded: one\r\n two\r\n\r\n" + BODY,
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" * 8
        + http(BODY),
    ],
)
def test_what_http_allows_is_read(answer: bytes) -> None:
    with serving(answer) as server:
        assert ask(server.address).final["message"]["content"] == "well"


def test_interim_answers_are_skipped_within_a_bound() -> None:
    def play(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    with serving(play) as server:
        message = ask(server.address).final
    assert message["kind"] == "network" and "no head within" in message["message"]


def whole_body(reply: Reply) -> bytes:
    return b"".join(reply.chunks())


def body_of(server: Server, connection: Connection) -> bytes:
    """What a call gets for an answer."""
    data: bytes = connection.send(Call(server.address, {}, {}), Watch(False), whole_body)
    return data


def test_an_answer_is_the_same_wherever_it_was_cut() -> None:
    complete = (
        b"HTTP/1.1 103 x\r\n\r\n"
        + CHUNKED
        + b"3;a=b\r\nabc\r\n1\r\n\n\r\n000a\r\n0123456789\r\n0\r\nx: y\r\n\r\n"
    )
    cuts = iter(at for at in range(1, len(complete)) for _ in range(2))
    broken = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = next(cuts)
        connection.sendall(complete[:at])
        if not broken.is_set():
            time.sleep(0.002)
            connection.sendall(complete[at:])

    with serving(play) as server:
        for _ in range(1, len(complete)):
            broken.clear()
            with closing(Connection()) as connection:
                assert body_of(server, connection) == b"abc\n0123456789"
            broken.set()
            with closing(Connection()) as connection, pytest.raises(Fault) as caught:
                body_of(server, connection)
            assert caught.value.kind == "network"


@pytest.mark.parametrize(
    "answer", [OK + b"content-length: 2\r\n\r\n{}", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("late", [False, True])
def test_what_comes_after_an_answer_is_never_taken_for_the_next(answer: bytes, late: bool) -> None:
    sent = threading.Semaphore(0)

    def play(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        extra = answer.replace(b"{}", b"[]")
        connection.sendall(answer if late else answer + extra)
        if late:
            time.sleep(0.05)
            connection.sendall(extra)
        sent.release()
        connection.recv(65536)

    with serving(play) as server, closing(Connection()) as connection:
        for _ in range(3):
            try:
                assert body_of(server, connection) == b"{}"
                assert sent.acquire(timeout=60)
            except Fault as fault:
                assert "before it was asked" in fault.message
        assert len(server.requests) > 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 2\r\nConnection: Close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_a_connection_that_its_server_will_close_is_not_used_again(answer: bytes) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.recv(65536)

    with serving(play) as server, closing(Connection()) as connection:
        for _ in range(2):
            assert body_of(server, connection) == b"{}"
    assert len(server.requests) == 2


def two(server: Server, pause: float = 0) -> Iterator[dict[str, Any]]:
    """The answers to two requests, one after the other; without a pause, once the vendor has hung up."""
    with started(server) as process:
        assert process.stdin and process.stdout
        for _ in range(2):
            process.stdin.write(request())
            process.stdin.flush()
            yield json.loads(process.stdout.readline())
            assert pause or server.ends.acquire(timeout=60)
            time.sleep(pause)
        process.stdin.close()


def test_a_connection_that_the_vendor_has_closed_is_opened_again() -> None:
    with serving(http(BODY).replace(b"connection: close\r\n", b"")) as server:
        assert [message["type"] for message in two(server)] == ["response", "response"]
    assert len(server.requests) == 2


def test_a_request_that_may_have_arrived_is_not_sent_again() -> None:
    came: list[bytes] = []

    def play(connection: socket.socket) -> None:
        connection.sendall(http(BODY).replace(b"connection: close\r\n", b""))
        came.append(connection.recv(65536))

    for pause in (0.2, 1, 5):  # when the connection is free again cannot be seen
        came.clear()
        with serving(play) as server:
            first, second = two(server, pause)
        if len(server.requests) == 1:
            break
    assert (first["type"], second["kind"], len(server.requests), len(came)) == (
        "response",
        "network",
        1,
        1,
    )
    assert b"POST" in came[0]


def test_a_refusal_before_the_request_has_come_whole_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(http('{"error":{"message":"Too much."}}', "413 Too Large"))
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.5)

        threading.Thread(target=refuse, daemon=True).start()
        long = [{"role": "user", "content": "x" * (16 << 20)}]
        message = ask(f"http://127.0.0.1:{listener.getsockname()[1]}", messages=long).final
    assert (message["kind"], message["status"], message["message"]) == (
        "invalid_request",
        413,
        "Too much.",
    )


def status(reply: Reply) -> int:
    return len(b"".join(reply.chunks())) and reply.status


@pytest.mark.parametrize(
    "header", [{"x-key": "5ecre7\r\nx: y"}, {"x-key": "5ecre7\u00fc"}, {"x\r\nkey": "5ecre7"}]
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(header: dict[str, str]) -> None:
    with serving(http(BODY)) as server, pytest.raises(Fault) as caught:
        Connection().send(Call(server.address, header, {}), Watch(False), status)
    assert (
        caught.value.kind == "invalid_request"
        and "5ecre7" not in caught.value.message
        and not server.requests
    )


def test_what_is_written_leaves_at_once() -> None:
    watch = Watch(False)

    def read(reply: Reply) -> int:
        assert watch.socket
        return watch.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    with serving(http(BODY)) as server:
        assert Connection().send(Call(server.address, {}, {}), watch, read)


def test_the_addresses_of_a_name_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    found = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]  # nobody listens, nobody accepts, the server

    def name(host: Any, port: int, *rest: Any, **options: Any) -> Any:
        if host != b"name.example":
            return look_up(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    with (
        serving(http(BODY)) as server,
        socket.create_server(("127.0.0.3", server.port), backlog=0) as full,
    ):
        waiting = []
        for _ in range(3):  # more than it takes: the next one gets no answer
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", name)
        monkeypatch.setenv("AGENT_CONNECT_TIMEOUT", "2")
        call = Call(f"http://name.example:{server.port}", {}, {})
        assert Connection().send(call, Watch(False), status) == 200
        found.pop()
        with pytest.raises(Fault, match="AGENT_CONNECT_TIMEOUT") as caught:
            Connection().send(call, Watch(False), status)
    assert caught.value.kind == "timeout"
    for one in waiting:
        one.close()


def test_a_name_whose_look_up_hangs_ends_at_the_bound_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def hang(host: Any, port: int, flags: int = 0, **options: Any) -> Any:
        if flags:
            raise socket.gaierror("no number")
        over.wait(100)
        raise socket.gaierror("no name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("AGENT_CONNECT_TIMEOUT", "0.3")
    begun = time.monotonic()
    with pytest.raises(Fault, match="no connection to name.example in 0.3 s") as caught:
        Connection().send(Call("http://name.example", {}, {}), Watch(False), status)
    over.set()
    assert caught.value.kind == "timeout" and time.monotonic() - begun < 40


def test_an_answer_that_drips_ends_without_anyone_who_watches() -> None:
    def play(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"H")
            time.sleep(0.1)

    watch = Watch(False)
    watch.until = watch.started + 1
    with serving(play) as server, pytest.raises(Fault) as caught:
        Connection().send(Call(server.address, {}, {}), watch, status)
    assert caught.value.kind == "timeout" and time.monotonic() - watch.started < 40


def test_deltas_of_a_chunk_that_has_not_come_whole_are_written() -> None:
    gate = threading.Event()

    def play(connection: socket.socket) -> None:
        data = event({"content": "first"}) + event({}, "stop") + DONE
        connection.sendall(
            CHUNKED.replace(b"application/json", b"text/event-stream") + b"%x\r\n" % len(data)
        )
        connection.sendall(data[: data.index(b"\n\n") + 2])
        assert gate.wait(20)
        connection.sendall(data[data.index(b"\n\n") + 2 :] + b"\r\n0\r\n\r\n")

    with serving(play) as server, started(server) as process:
        assert process.stdin and process.stdout
        process.stdin.write(request(stream=True))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == "first"
        gate.set()
        assert json.loads(process.stdout.readline())["type"] == "response"
        process.stdin.close()


def test_a_thousand_are_in_flight_at_once() -> None:
    vendor = subprocess.Popen(
        ["python3", ROOT / "tests/bench/fast_vendor.py", "1", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert vendor.stdin and vendor.stdout
    with vendor:
        message = ask(
            vendor.stdout.readline().strip(), lines="".join(request(str(n)) for n in range(1000))
        )
        vendor.stdin.close()
    assert (
        sorted(int(r["id"]) for r in message.records) == list(range(1000)) and message.seconds < 20
    )
    assert {r["type"] for r in message.records} == {"response"}
