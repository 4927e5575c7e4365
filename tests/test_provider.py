"""The runtime of a provider: one final record a request, whatever happens, many at once, and no key anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentlib.messages import transcript
from agentlib.provider import answer as provider_answer
from installed import suite
from raw_server import DONE, STREAM, Server, ask, completion, event, http, serving

KEY = "key-5ecre7-5ecre7"


def request(id: Any = "1", **fields: Any) -> str:
    wanted = {
        "type": "request",
        "id": id,
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }
    return json.dumps({k: v for k, v in wanted.items() if v is not ...}) + "\n"


def test_many_are_in_flight_at_once() -> None:
    barrier = threading.Barrier(50, timeout=60)

    def play(connection: socket.socket) -> None:
        barrier.wait()  # no answer before all requests are there
        connection.sendall(http(completion()))

    with serving(play) as server:
        reply = ask(server.address, lines="".join(request(str(n)) for n in range(50)))
    assert sorted(r["id"] for r in reply.records) == sorted(map(str, range(50)))
    assert {r["type"] for r in reply.records} == {"response"} and reply.status == 0


def test_a_request_without_id_gets_its_lines_number_and_twins_are_both_answered() -> None:
    lines = "\n" + request(...) + request("x") + request("x") + request(7) + request(None)
    with serving(http(completion())) as server:
        reply = ask(server.address, lines=lines)
    assert sorted(str(r["id"]) for r in reply.records) == ["2", "6", "7", "x", "x"]


def test_other_records_pass_byte_for_byte() -> None:
    odd = '{"type":"other",  "n": 1.0, "big": 12345678901234567890123}\n'
    with serving(http(completion())) as server:
        reply = ask(server.address, lines=odd + request())
    assert odd in reply.stdout and reply.final["type"] == "response"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[1]",
        '{"no":"type"}',
        '{"type":"request","max_tokens":1e999}',
        '{"type":"request","temperature":NaN}',
        '{"type":"x","a":1,"a":2}',
        "[" * 100_000,
    ],
)
def test_a_malformed_line_ends_the_reading_after_what_came_before(line: str) -> None:
    with serving(http(completion())) as server:
        reply = ask(server.address, lines=request() + line + "\n" + request("never"))
    assert reply.final["id"] == "1" and reply.final["type"] == "response"
    assert reply.status == 2 and "line 2" in reply.stderr and reply.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": "5"},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"max_tokens": 10**30},
        {"temperature": "hot"},
        {"temperature": 1e300},
        {"temperature": True},
        {"stop": "x"},
        {"stop": [1]},
        {"schema": "x"},
        {"tools": {}},
        {"tools": [{}]},
        {"tool_choice": "maybe"},
        {"tool_choice": "required"},
        {"tool_choice": {"name": "nowhere"}},
        {"reasoning": "much"},
        {"api": "other"},
        {"options": []},
        {"stream": 1},
        {"model": ""},
        {"model": 5},
        {"messages": "hi"},
        {"messages": [5]},
        {"messages": [{"role": "robot"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "sound"}]}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]},
        {"messages": []},
        {"messages": ...},
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_sent(wrong: dict[str, Any]) -> None:
    with serving(http(completion())) as server:
        reply = ask(server.address, lines=request(**wrong))
    assert reply.final["kind"] in ("invalid_input", "invalid_request") and not server.requests
    assert next(iter(wrong)) in reply.final["message"] and reply.final["retryable"] is False


def test_no_key_is_reported_with_the_variable_before_anything_slow_is_loaded() -> None:
    done = subprocess.run(
        ["python3", "-X", "importtime", "-IS", suite() / "providers/openai"],
        input=request(),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    reply = json.loads(done.stdout)
    assert reply["kind"] == "auth" and "OPENAI_API_KEY" in reply["message"]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "json" in loaded and not loaded & {
        "httpx",
        "http.client",
        "ssl",
        "urllib.request",
        "asyncio",
        "typing",
        "pathlib",
    }


@pytest.mark.parametrize("key", ["key with\nnewline", "schl\u00fcssel", "tab\tkey"])
def test_a_key_that_no_header_can_carry_is_reported(key: str) -> None:
    reply = ask("http://127.0.0.1:1", env={"OPENAI_API_KEY": key}).final
    assert (
        reply["kind"] == "auth"
        and "OPENAI_API_KEY" in reply["message"]
        and key not in reply["message"]
    )


@pytest.mark.parametrize(
    "answer",
    [
        http(json.dumps({"error": {"message": f"bad key {KEY}"}}), "401 No"),
        http(f"<p>{KEY}</p>", "502 Bad", "text/html"),
        http(f"{KEY} is not JSON"),
        STREAM + f"data: {KEY}\n\n".encode(),
        http("", "302 Found", location=f"http://x/?{KEY}"),
    ],
)
def test_the_key_is_in_no_record_and_no_message(answer: bytes) -> None:
    with serving(answer) as server:
        reply = ask(server.address, stream=True, env={"AGENT_DEBUG": "1"})
    assert KEY in server.requests[0][0] and KEY.encode() not in server.requests[0][1]
    assert KEY not in reply.stdout + reply.stderr and "***" in reply.final["message"]


def test_the_key_is_never_in_argv() -> None:
    for file in (suite() / "providers").iterdir():
        seen: list[str] = []

        def play(connection: socket.socket, seen: list[str] = seen) -> None:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(process.read_text(errors="replace"))
                except OSError:
                    pass
            connection.sendall(http(completion()))

        if file.name not in ("openai", "openai-sh"):
            continue  # the others are of the same cloth
        with serving(play) as server:
            ask(
                server.address,
                file.name,
                env={"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.address},
            )
        assert seen and not any(KEY in line for line in seen)


def started(server: Server, **env: str) -> subprocess.Popen[str]:
    known = {**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY, **env}
    return subprocess.Popen(
        [suite() / "providers" / "openai"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=known,
    )


def test_a_signal_ends_what_is_in_flight_with_a_record_each() -> None:
    came = threading.Semaphore(0)

    def play(connection: socket.socket) -> None:
        came.release()
        time.sleep(30)

    with serving(play) as server, started(server) as process:
        assert process.stdin and process.stdout
        process.stdin.write(request("a") + request("b"))
        process.stdin.flush()
        came.acquire()
        came.acquire()
        process.send_signal(signal.SIGTERM)
        records = [json.loads(line) for line in process.stdout]
    assert sorted((r["id"], r["kind"]) for r in records) == [
        ("a", "interrupted"),
        ("b", "interrupted"),
    ]
    assert process.returncode == 143


def test_an_answer_is_written_while_the_input_stays_open() -> None:
    with serving(http(completion())) as server, started(server) as process:
        assert process.stdin and process.stdout
        for _ in range(3):
            process.stdin.write(request())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["type"] == "response"
        process.stdin.close()
    assert process.returncode == 0


def test_a_delta_is_written_on_the_moment_it_arrives() -> None:
    gate = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + event({"content": "first"}))
        assert gate.wait(20)
        connection.sendall(event({}, "stop") + DONE)

    with serving(play) as server, started(server) as process:
        assert process.stdin and process.stdout
        process.stdin.write(request(stream=True))
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {
            "type": "delta",
            "id": "1",
            "text": "first",
        }
        gate.set()
        process.stdin.close()


def test_a_connection_is_used_again_after_a_stream() -> None:
    data = event({"content": "a"}, "stop") + DONE
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    answer = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)

    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        while connection.recv(65536):
            connection.sendall(answer)

    with serving(play) as server, started(server) as process:
        assert process.stdin and process.stdout
        for _ in range(5):
            process.stdin.write(request(stream=True))
            process.stdin.flush()
            assert [json.loads(process.stdout.readline())["type"] for _ in range(2)] == [
                "delta",
                "response",
            ]
            time.sleep(
                0.2
            )  # as any agent would need; the end of the body is read after the answer is out
        process.stdin.close()
    assert (
        len(server.requests) < 5
    )  # connections: later requests came by an earlier one's (by one, on an idle machine)


def test_a_connection_used_again_is_cut_when_time_is_up() -> None:
    closed = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(http(completion()).replace(b"connection: close\r\n", b""))
        connection.recv(65536)  # the second request, which gets no answer
        connection.recv(65536)
        closed.set()

    with serving(play) as server, started(server, AGENT_TIMEOUT="4") as process:
        assert process.stdin and process.stdout
        for kind in ("response", "error"):
            process.stdin.write(request())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["type"] == kind
            time.sleep(0.2)
        assert closed.wait(60)
        process.stdin.close()
    assert len(server.requests) == 1


def test_a_vendor_that_never_hangs_up_does_not_keep_the_provider() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM + event({"content": "a"}, "stop") + DONE)
        time.sleep(100)

    with serving(play) as server:
        reply = ask(server.address, stream=True)
    assert reply.final["type"] == "response" and reply.seconds < 40


def test_a_signal_ends_a_provider_that_nobody_reads() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM)
        while True:
            connection.sendall(event({"content": "x" * 1000}))

    with serving(play) as server, started(server) as process:
        assert process.stdin and process.stdout
        process.stdin.write(request(stream=True))
        process.stdin.flush()
        assert process.stdout.readline()
        time.sleep(0.5)  # the pipe is full by now
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143


def test_few_files_may_be_open_and_all_are_answered() -> None:
    code = "ulimit -n 20; exec providers/openai"
    with serving(http(completion())) as server:
        done = subprocess.run(
            ["bash", "-c", code],
            cwd=suite(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            input="".join(request(str(n)) for n in range(50)),
            env={**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY},
        )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 50 and {r["type"] for r in records} == {"response"}


def test_little_memory_is_enough() -> None:
    with serving(http(completion())) as server:
        done = subprocess.run(
            ["bash", "-c", "ulimit -v 300000; exec providers/openai"],
            cwd=suite(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            input=request(),
            env={**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY},
        )
    assert json.loads(done.stdout)["type"] == "response"


def test_json_nested_as_deep_as_the_decoder_allows_ends_no_thread() -> None:
    for depth in (900, 100_000):
        deep = "[" * depth + "]" * depth
        function = {"name": "f", "arguments": '{"x":' + deep + "}"}
        with serving(
            http(completion("", tool_calls=[{"id": "c", "function": function}]))
        ) as server:
            call = ask(server.address).final["message"]["tool_calls"][0]
        assert (call["arguments"] is None) is (depth > 1000)
        with serving(http(deep)) as server:
            assert ask(server.address).final["kind"] == "bad_response"


def test_the_vendor_is_asked_for_its_models() -> None:
    with serving(http('{"data":[{"id":"a","owned_by":"x"},{"id":"b"},{"odd":1}]}')) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY}
        done = subprocess.run(
            [suite() / "providers/openai", "--list-models"],
            capture_output=True,
            text=True,
            check=True,
            env=env,
        )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"type": "model", "id": "a", "owned_by": "x"},
        {"type": "model", "id": "b"},
    ]
    assert server.requests[0][0].startswith("GET /models ")


def test_models_that_cannot_be_listed_are_a_failure() -> None:
    with serving(http('{"error":{"message":"no"}}', "401 No")) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY}
        done = subprocess.run(
            [suite() / "providers/openai", "--list-models"],
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )
    assert (done.returncode, done.stdout, done.stderr) == (100, "", "openai: no\n")


def test_a_message_is_text_or_parts() -> None:
    assert provider_answer.message("t") == {"role": "assistant", "content": "t"}
    reply = provider_answer.message("t", [{"id": "1"}], "hm", {"raw": 1}, "x")
    assert reply["content"] == [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "t"},
    ]
    assert (
        provider_answer.kept(reply, "x") == {"raw": 1} and provider_answer.kept(reply, "y") is None
    )
    assert transcript.text(reply) == "t" and transcript.text(reply, "thinking") == "hm"


def test_usage_leaves_out_what_was_not_counted() -> None:
    assert provider_answer.usage(3, 2, None, "x") == {"input_tokens": 3, "output_tokens": 2}


def test_a_time_with_a_unit_that_only_agent_llm_reads_is_no_fault() -> None:
    env = {**os.environ, "AGENT_WARM": "60s", "OPENAI_API_KEY": KEY}
    program = suite() / "providers/openai"
    done = subprocess.run([program], input=b"", capture_output=True, env=env, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_no_request_is_lost_to_a_connection_that_is_old() -> None:
    code = (
        "import sys; sys.path.insert(0, 'lib')\n"
        "from importlib.machinery import SourceFileLoader\n"
        "from agentlib.provider import http\n"
        "http.IDLE = 0.001\n"
        "sys.argv = ['providers/openai']\n"
        "SourceFileLoader('__main__', 'providers/openai').load_module()\n"
    )
    with serving(http(completion())) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.address, "OPENAI_API_KEY": KEY}
        with subprocess.Popen(
            ["python3", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=suite(),
        ) as process:
            assert process.stdin and process.stdout
            for number in range(300):
                process.stdin.write(request(str(number)))
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["id"] == str(number)
                time.sleep(number % 5 * 0.0005)  # more or less than a connection waits
            process.stdin.close()
    assert len(server.requests) == 300


@pytest.mark.parametrize(("count", "loaded"), [(1, False), (2, True)])
def test_orjson_is_loaded_at_the_second_request(count: int, loaded: bool) -> None:
    argv = [sys.executable, "-X", "importtime", "-IS", suite() / "providers/openai"]
    lines = "".join(request(str(n)) for n in range(count))
    with serving(http(completion())) as server:
        env = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.address}
        done = subprocess.run(
            argv, input=lines, env=env, capture_output=True, text=True, timeout=60
        )
    assert done.stdout.count('"type":"response"') == count
    found = re.search(r"\| +orjson\n", done.stderr)  # within another import, perhaps
    assert bool(found) == loaded
