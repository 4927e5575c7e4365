"""agent-mcp-connect and servers at an address that do what they should not, or what few do."""

from __future__ import annotations

import copy
import gzip
import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import installed

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
Play = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """A request that the test answers."""

    protocol_version = "HTTP/1.1"
    server: Any

    def setup(self) -> None:
        """With a connection that ends when the test does."""
        super().setup()
        self.connection.settimeout(60)

    def do_POST(self) -> None:
        """Keep it, and let the test answer."""
        size = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(size)
        self.message = json.loads(self.body) if self.body[:1] == b"{" else {}
        self.id, self.method = self.message.get("id"), self.message.get("method", self.command)
        self.server.seen.append(copy.copy(self))
        try:
            self.server.play(self)
        except OSError:
            self.close_connection = True

    do_GET = do_DELETE = do_POST

    def answer(self, result: Any = None, status: int = 200, **headers: str) -> None:
        """An answer of JSON; one to the request where there is a result."""
        body = b"" if result is None else json.dumps(reply(self.id, result)).encode()
        self.put(body, status, **{"Content_Type": "application/json", **headers})

    def put(self, body: bytes, status: int = 200, **headers: str) -> None:
        """An answer of bytes."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, *chunks: bytes) -> None:
        """The beginning of a stream of events."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(chunk)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Be silent."""


def reply(id: Any, result: Any) -> dict[str, Any]:
    """The message that answers a request."""
    return {"jsonrpc": "2.0", "id": id, "result": result}


def event(message: Any, **fields: Any) -> bytes:
    """A message as an event."""
    lines = [f"{name}: {value}\n" for name, value in fields.items()]
    return ("".join(lines) + f"data: {json.dumps(message)}\n\n").encode()


class Place:
    """A server whose every request is answered by play(), and a client of it by way of the program."""

    def __init__(self, home: Path) -> None:
        self.http: Any = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.http.daemon_threads, self.http.seen = True, []
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._clients: list[Client] = []
        self._env = {"PATH": installed.path(), "HOME": str(home), "TOKEN": "s3cret"}
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def play(self, play: Play) -> list[Request]:
        """Answer so from now on; the requests that come in."""
        self.http.play, self.http.seen = play, []
        seen: list[Request] = self.http.seen
        return seen

    def connected(self, *words: str) -> Client:
        """The program, connected to it."""
        client = Client(["agent-mcp-connect", *words, f"{self.address}/mcp"], self._env)
        self._clients.append(client)
        return client

    def end(self) -> None:
        """End it, and those who are connected."""
        for client in self._clients:
            client.process.kill()
            client.end()
        self.http.shutdown()
        self.http.server_close()


class Client:
    """What speaks with the program."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        pipe, self.messages = subprocess.PIPE, ""
        self.process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, text=True
        )

    def send(self, method: str, id: Any = None, **params: Any) -> None:
        """A request, or without id a notification."""
        about = {} if id is None else {"id": id}
        message = {"jsonrpc": "2.0", **about, "method": method, "params": params}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def ask(self, method: str = "x", **params: Any) -> dict[str, Any]:
        """The answer to a request."""
        self.send(method, "q", **params)
        return self.hear()

    def failure(self, method: str = "x", **params: Any) -> str:
        """The words of the error that a request ends with."""
        return str(self.ask(method, **params)["error"]["message"])

    def end(self) -> str:
        """The end of its input; its messages."""
        if not self.messages and self.process.stdout and not self.process.stdout.closed:
            self.messages = self.process.communicate(timeout=60)[1]
        return self.messages


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A server."""
    made = Place(tmp_path)
    yield made
    made.end()


def older(request: Request) -> None:
    """A server of the older era with sessions, of which only the newest is known."""
    number = sum(one.method == "initialize" for one in request.server.seen)
    if request.method == "initialize":
        info = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x"}}
        request.answer(info, Mcp_Session_Id=f"s{number}")
    elif "id" not in request.message:
        request.answer(status=202)
    elif request.headers["Mcp-Session-Id"] != f"s{number}" or request.method == "never":
        error = {"code": -32600, "message": "Session not found"}
        body = json.dumps({"jsonrpc": "2.0", "id": "server-error", "error": error}).encode()
        request.put(body, 404, Content_Type="application/json")
    else:
        request.answer({"session": request.headers["Mcp-Session-Id"]})


def test_a_session_that_the_server_has_ended_is_opened_again_once(place: Place) -> None:
    seen = place.play(older)
    client = place.connected()
    client.ask("initialize")
    assert client.ask()["result"] == {"session": "s1"}
    seen.append(seen[0])  # as if another had begun one: the first is not known any more
    assert client.ask()["result"] == {"session": "s3"}
    posts = [one.method for one in seen if one.command == "POST"]
    assert posts[-3:] == ["initialize", "notifications/initialized", "x"]
    assert "HTTP 404" in client.failure("never")
    assert client.ask()["result"] == {"session": "s4"}
    client.end()
    assert seen[-1].command == "DELETE"


def test_a_redirect_is_followed_to_another_path_and_never_to_another_place(
    place: Place, tmp_path: Path
) -> None:
    elsewhere = Place(tmp_path)
    stolen = elsewhere.play(lambda request: request.answer({}))
    client = place.connected("--header", "Authorization: Bearer ${TOKEN}")
    for status in (301, 302, 303, 307, 308):
        target = f"{elsewhere.address}/mcp"
        place.play(lambda one, status=status, to=target: one.answer(status=status, Location=to))
        assert f"HTTP {status}" in (why := client.failure()) or "not followed" in why
    assert stolen == []

    def moved(request: Request) -> None:
        if request.path == "/mcp":
            request.answer(status=307, Location="/mcp/")
        else:
            request.answer({"token": request.headers["Authorization"]})

    place.play(moved)
    assert client.ask()["result"] == {"token": "Bearer s3cret"}
    place.play(lambda request: request.answer(status=308, Location=request.path + "x"))
    assert "not followed" in client.failure()
    elsewhere.end()


def test_a_stream_that_breaks_off_is_read_on_when_the_server_wants_it(place: Place) -> None:
    times: list[float] = []

    def play(request: Request) -> None:
        times.append(time.monotonic())
        if request.command == "POST":
            return request.stream(b"id: 1\nretry: 700\ndata: \n\n")
        if len(times) == 2:
            return request.stream(b"id: 2\nretry: 1\ndata: \n\n")
        request.stream(event(reply("q", {"after": request.headers["Last-Event-ID"]})))
        time.sleep(1)  # the answer is there, though the stream goes on

    place.play(play)
    client = place.connected()
    assert client.ask()["result"] == {"after": "2"}
    assert times[1] - times[0] >= 0.7
    place.play(lambda request: request.stream(b"data: x\n\n"))
    assert "broke off" in client.failure()


def test_a_server_of_the_older_era_is_listened_to_beside_its_answers(place: Place) -> None:
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    question = {"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {}}
    over, gets = threading.Event(), list[Request]()

    def play(request: Request) -> None:
        if request.command != "GET":
            return older(request)
        gets.append(request)
        if len(gets) > 2:
            return request.answer(status=405)
        message, stray = [changed, question][len(gets) - 1], reply("q", "no answer comes here")
        request.stream(b": alive\n\n", event(message, id=len(gets)), event(stray))
        if len(gets) > 1:
            over.wait(20)

    seen = place.play(play)
    client = place.connected()
    client.ask("initialize")
    client.send("notifications/initialized")
    assert [client.hear(), client.hear()] == [
        changed,
        question,
    ]  # the second in a stream of its own
    assert [one.headers["Last-Event-ID"] for one in gets] == [None, "1"]
    assert all(one.headers["Mcp-Session-Id"] == "s1" for one in gets)
    assert client.ask()["result"] == {"session": "s1"}
    over.set()
    client.end()
    assert seen[-1].command == "DELETE" and len(gets) <= 3


def test_a_stream_without_end_ends_with_its_request(place: Place) -> None:
    over = threading.Event()

    def play(request: Request) -> None:
        try:
            request.stream()
            while True:
                request.wfile.write(b": nothing\n\n")
        finally:
            over.set()

    seen = place.play(play)
    client = place.connected()
    client.send("x", 1)
    while not seen:
        time.sleep(0.02)
    client.send("notifications/cancelled", requestId=1)
    assert over.wait(20)
    place.play(lambda request: request.answer({}))
    assert "error" in client.hear()
    assert client.ask()["result"] == {}


def test_at_the_end_of_its_input_what_is_asked_is_still_answered(place: Place) -> None:
    def play(request: Request) -> None:
        time.sleep(0.5)
        request.answer({})

    place.play(play)
    client = place.connected()
    client.send("x", 1)
    out, _ = client.process.communicate(timeout=60)
    assert json.loads(out) == reply(1, {})


def test_what_is_too_large_is_an_error_and_no_memory(place: Place) -> None:
    step = b"x" * (1 << 20)
    bomb = gzip.compress(bytes(1 << 28), 1) * 4
    client = place.connected()
    place.play(lambda request: request.stream(b"data: ", *[step] * 200))
    assert "64 MiB" in client.failure()
    place.play(lambda request: request.stream(*[b"data: " + step + b"\n"] * 200))
    assert "64 MiB" in client.failure()
    for kind in ("application/json", "text/event-stream"):
        headers = {"Content_Encoding": "gzip", "Content_Type": kind}
        place.play(lambda request, headers=headers: request.put(bomb, **headers))
        assert "64 MiB" in client.failure()
    place.play(lambda request: request.answer({}))
    assert client.ask()["result"] == {}
    client.end()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 700_000


def test_ten_megabytes_come_through_as_json_and_as_an_event(place: Place) -> None:
    text = "x" * 10_000_000
    client = place.connected()
    place.play(lambda request: request.answer({"text": text}))
    assert client.ask()["result"]["text"] == text
    place.play(lambda request: request.stream(event(reply("q", {"text": text}))))
    assert client.ask()["result"]["text"] == text


def test_answers_that_are_none_are_errors_that_say_what_came(place: Place) -> None:
    client = place.connected()
    plays: dict[str, Play] = {
        "HTTP 202": lambda request: request.answer(status=202),
        "HTTP 200: Welcome": lambda request: request.put(
            b"<h1>Welcome</h1>", Content_Type="text/html"
        ),
        "HTTP 500: out": lambda request: request.put(b"out of order", 500),
        "HTTP 200": lambda request: request.put(b"[1, 2]", Content_Type="application/json"),
        "wants a token": lambda request: request.answer({"of": "nobody"}, 401),
        "damaged": lambda request: request.put(b"\x1f\x8bjunk", Content_Encoding="gzip"),
        "broke off": lambda request: request.stream(b"data: no json\n\n: x\n\ndata: {}"),
    }
    for words, play in plays.items():
        place.play(play)
        assert words in client.failure()


SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
        "x-mcp-header": {"type": "string"},
        "plain": {"type": "string", "default": {"x-mcp-header": "Z"}},
    },
}


def test_arguments_go_into_the_headers_that_the_schema_names(place: Place) -> None:
    def play(request: Request) -> None:
        pages = [{"name": "other", "inputSchema": {}}], [{"name": "t", "inputSchema": SCHEMA}]
        if request.method == "tools/list":
            at = int(request.message["params"].get("cursor", 0))
            more = {"nextCursor": "1"} if at == 0 else {}
            return request.answer({"tools": pages[at], **more})
        request.answer({name: value for name, value in request.headers.items() if "Param" in name})

    seen = place.play(play)
    client = place.connected()

    def called(**arguments: Any) -> Any:
        return client.ask("tools/call", name="t", arguments=arguments, _meta=META)["result"]

    assert called(region="a b", count=-7, deep={"flag": True}, plain="x") == {
        "Mcp-Param-Region": "a b",
        "Mcp-Param-Count": "-7",
        "Mcp-Param-Flag": "true",
    }
    assert [one.method for one in seen] == ["tools/list", "tools/list", "tools/call"]
    for text in ("日本", " a", "a\r\nX: y", "=?base64?x?=", "\x7f"):
        assert called(region=text)["Mcp-Param-Region"].startswith("=?base64?")
    assert called(region=None, deep=7) == {}
    assert called(region="") == {"Mcp-Param-Region": ""}


def test_a_tool_whose_headers_cannot_be_sent_is_left_out(place: Place) -> None:
    def tool(name: str, properties: Any) -> dict[str, Any]:
        return {"name": name, "inputSchema": {"type": "object", "properties": properties}}

    def of(header: Any, kind: str = "string") -> dict[str, Any]:
        return {"type": kind, "x-mcp-header": header}

    tools = [
        tool("good", {"a": of("A"), "b": of("B", "boolean")}),
        tool("empty", {"a": of("")}),
        tool("blank", {"a": of("a b")}),
        tool("colon", {"a": of("a:b")}),
        tool("line", {"a": of("a\r\nb")}),
        tool("other", {"a": of("é")}),
        tool("number", {"a": of("A", "number")}),
        tool("object", {"a": of("A", "object")}),
        tool("twice", {"a": of("A"), "b": of("a")}),
        tool("items", {"a": {"type": "array", "items": of("A")}}),
        tool("either", {"a": {"anyOf": [of("A")]}}),
        tool("no_name", {"a": of(7)}),
        "text",
    ]
    place.play(lambda request: request.answer({"tools": tools}))
    client = place.connected()
    listed = client.ask("tools/list", _meta=META)["result"]["tools"]
    assert [one["name"] for one in listed] == ["good"]
    assert "number" in client.end()
