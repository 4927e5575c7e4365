"""agent-mcp serve --http, from the side of clients: who gets in, both eras, sessions, and what clients do wrong."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import installed
from test_mcp_serve import META, MODERN, SLOW, children, until

BODY = 4 << 20  # bytes that a request may have


class Served:
    """`agent-mcp serve --http 0 WORD...`."""

    def __init__(self, folder: Path, *words: str) -> None:
        (folder / "home").mkdir(exist_ok=True)
        self.seconds = f"301.{id(self) % 1_000_000}"  # no other test's sleep is so long
        (folder / "slow").write_text(SLOW.replace("SECONDS", self.seconds))
        (folder / "slow").chmod(0o755)
        env = {"PATH": installed.path(), "HOME": str(folder / "home")}
        argv, pipe = ["agent-mcp", "serve", "--http", "0", *words], subprocess.PIPE
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=folder, env=env, text=True
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        self.token_file = folder / "home/.local/state/agentutils/mcp-token"
        self.token = self.token_file.read_text().strip()
        self.port = int(self.address.rsplit(":", 1)[1].partition("/")[0])

    def end(self, signum: int = signal.SIGINT) -> int:
        """End it; its exit status."""
        self.process.send_signal(signum)
        status = self.process.wait(20)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        return status

    def request(
        self, method: str = "POST", body: Any = b"", path: str = "/mcp", **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """(status, the message of the answer or None, headers); `_` in a header's name stands for `-`."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | str) else json.dumps({"jsonrpc": "2.0", **body})
        client.request(method, path, data, sent)
        answer = client.getresponse()
        text = answer.read().rpartition(b"data: ")[2]  # of a call that takes long: events
        client.close()
        return answer.status, json.loads(text) if text[:1] == b"{" else None, answer.headers

    def initialize(self) -> str:
        """A session of the older era."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}}
        _, answer, headers = self.request(body={"id": 1, "method": "initialize", "params": params})
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        return str(headers["Mcp-Session-Id"])

    def ask(self, session: str, method: str, id: Any = 1, **params: Any) -> tuple[int, Any, Any]:
        """A request of the era: of the older in a session, of the newer without."""
        return self.request(
            body=body(session, method, id, **params), **about(session, method, params)
        )

    def begun(self, session: str, method: str, id: Any = 1, **params: Any) -> socket.socket:
        """A connection on which a request was sent whose answer is still to come."""
        data = json.dumps(body(session, method, id, **params)).encode()
        lines = ["POST /mcp HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.token}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        lines += [
            f"{name.replace('_', '-')}: {v}" for name, v in about(session, method, params).items()
        ]
        connection = self.connected()
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)
        return connection

    def connected(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def body(session: str, method: str, id: Any, meta: Any = (), **params: Any) -> dict[str, Any]:
    """A request of the era."""
    fields = {**params, "_meta": {**({} if session else META), **dict(meta)}}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": fields}


def about(session: str, method: str, params: dict[str, Any]) -> dict[str, str]:
    """The headers of the era."""
    if session:
        return {"Mcp_Session_Id": session, "MCP_Protocol_Version": "2025-11-25"}
    named = {"Mcp_Name": params["name"]} if "name" in params else {}
    return {"MCP_Protocol_Version": MODERN, "Mcp_Method": method, **named}


def events(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """The messages of a stream of events."""
    with connection.makefile("rb") as lines:
        for line in lines:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of three tools."""
    made = Served(tmp_path_factory.mktemp("http"), "wordcount", "write_file", "./slow")
    yield made
    assert made.end() == 130


@pytest.fixture(params=[False, True], ids=[MODERN, "2025-11-25"])
def session(request: pytest.FixtureRequest, served: Served) -> str:
    """A session of the older era; "" for the newer."""
    return served.initialize() if request.param else ""


def test_tools_are_listed_and_called_with_the_same_consent(served: Served, session: str) -> None:
    status, answer, _ = served.ask(session, "tools/list")
    names = [tool["name"] for tool in answer["result"]["tools"]]
    assert (status, names) == (200, ["wordcount", "write_file", "slow"])
    called = served.ask(session, "tools/call", name="wordcount", arguments={"text": "a b"})[1]
    assert '"words":2' in called["result"]["content"][0]["text"]
    denied = served.ask(session, "tools/call", name="write_file", arguments={"path": "x"})[1]
    assert denied["result"]["isError"]


def test_only_who_has_the_token_gets_in(served: Served) -> None:
    message = body("", "tools/list", 1)
    for wrong in ("", "Bearer", "Bearer x", f"Basic {served.token}", f"Bearer {served.token}x"):
        status, answer, headers = served.request(body=message, Authorization=wrong)
        assert status == 401 and "result" not in answer
        assert headers["WWW-Authenticate"] == "Bearer"
    assert served.token_file.stat().st_mode & 0o777 == 0o600
    assert len(served.token) >= 32


def test_a_name_that_is_not_of_this_machine_is_refused_before_all_else(served: Served) -> None:
    for header in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""}):
        assert served.request(body={}, **header)[0] == 403
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "file://"):
        assert served.request(body={}, Origin=origin, Authorization="")[0] == 403
    for origin in ("http://localhost:6274", "http://127.0.0.1", "http://[::1]:80"):
        headers = about("", "tools/list", {})
        assert served.request(body=body("", "tools/list", 1), Origin=origin, **headers)[0] == 200


def test_what_is_no_message_is_refused_and_the_server_goes_on(served: Served) -> None:
    for junk in (b"no json", b"[]", b"7", b'{"jsonrpc":"2.0","id":[],"method":"ping"}', b"\xff"):
        assert served.request(body=junk)[0] == 400
    assert served.request(body={"id": 1, "method": "tools/list"})[1]["error"]["code"] == -32602
    assert served.request(body=b"{}", Content_Type="text/plain")[0] == 415
    assert served.request(body=b"{}", Content_Encoding="gzip")[0] == 415
    assert served.request(body=b"{}", path="/")[0] == 404
    assert served.request("GET")[0] == 405
    assert served.request("PUT")[0] == 501
    assert served.request(body=b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked")[0] == 411


def test_headers_that_say_another_thing_than_the_message_are_refused(served: Served) -> None:
    message = body("", "tools/call", 1, name="wordcount", arguments={"text": "a"})
    good = about("", "tools/call", {"name": "wordcount"})
    assert served.request(body=message, **good)[0] == 200
    assert served.request(body=message, **{**good, "Mcp_Name": "=?base64?d29yZGNvdW50?="})[0] == 200
    for wrong in ({"Mcp_Name": "slow"}, {"Mcp_Method": "tools/list"}, {"Mcp_Name": "=?base64?!?="}):
        status, answer, _ = served.request(body=message, **{**good, **wrong})
        assert (status, answer["error"]["code"]) == (400, -32020)
    status, answer, _ = served.ask("", "no/such")
    assert (status, answer["error"]["code"]) == (404, -32601)


def test_a_large_body_is_never_read_and_one_without_a_token_neither(served: Served) -> None:
    for token, status in ((served.token, b"413"), ("x", b"401")):
        head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {BODY + 1}\r\n\r\n"
        with served.connected() as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).split()[1] == status
            while connection.recv(65536):
                pass  # it is closed: what follows could be taken for a request
    big = {"text": "a " * (BODY // 2 - 500)}
    assert served.ask("", "tools/call", name="wordcount", arguments=big)[0] == 200


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(served: Served) -> None:
    began = time.monotonic()
    with served.connected() as connection, pytest.raises(OSError):
        connection.settimeout(0.5)
        while time.monotonic() < began + 60:
            connection.sendall(b"P" if time.monotonic() - began < 0.1 else b"O")
            try:
                if not connection.recv(100):
                    raise ConnectionError
            except TimeoutError:
                continue
    assert 5 < time.monotonic() - began < 55


def test_a_session_ends_when_its_client_says_so_and_one_that_is_none_is_not_found(
    served: Served,
) -> None:
    session = served.initialize()
    assert served.ask("no-such-session", "tools/list")[0] == 404
    assert served.request("DELETE", Mcp_Session_Id=session)[0] == 200
    assert served.ask(session, "tools/list")[0] == 404
    assert served.request("DELETE", Mcp_Session_Id=session)[0] == 404


def test_of_many_sessions_the_oldest_ends(served: Served) -> None:
    first = served.initialize()
    second = served.initialize()
    for _ in range(127):
        served.initialize()
    assert served.ask(first, "tools/list")[0] == 404
    assert served.ask(second, "tools/list")[0] == 200


def test_a_long_call_reports_progress_and_two_clients_are_never_mixed_up(served: Served) -> None:
    meta = {"progressToken": "t"}
    calls = [
        served.begun(session, "tools/call", 7, meta=meta, name="slow", arguments={})
        for session in ("", served.initialize())
    ]
    streams = [events(connection) for connection in calls]
    for stream in streams:
        first, second = next(stream), next(stream)
        assert first["params"]["progressToken"] == second["params"]["progressToken"] == "t"
        assert first["params"]["progress"] < second["params"]["progress"]
    assert len(children(served)) == 2
    for stream, connection in zip(streams, calls, strict=True):
        stream.close()  # type: ignore[attr-defined]
        connection.close()
    assert until(lambda: len(children(served)) == 1)  # in the older era that is no cancellation


def test_a_call_is_cancelled_by_a_closed_stream_a_notification_or_the_end_of_its_session(
    served: Served,
) -> None:
    before = len(children(served))
    connection = served.begun("", "tools/call", name="slow", arguments={})
    assert until(lambda: len(children(served)) == before + 1)
    connection.close()
    assert until(lambda: len(children(served)) == before)
    session = served.initialize()
    connection = served.begun(session, "tools/call", "a", name="slow", arguments={})
    assert until(lambda: len(children(served)) == before + 1)
    other = {"method": "notifications/cancelled", "params": {"requestId": "a"}}
    assert served.request(body=other, **about(served.initialize(), "", {}))[0] == 202
    time.sleep(0.5)
    assert len(children(served)) == before + 1  # not by another client's word
    assert served.request(body=other, **about(session, "", {}))[0] == 202
    assert until(lambda: len(children(served)) == before)
    connection.close()
    connection = served.begun(session, "tools/call", 1, name="slow", arguments={})
    assert until(lambda: len(children(served)) == before + 1)
    served.request("DELETE", Mcp_Session_Id=session)
    assert until(lambda: len(children(served)) == before)
    connection.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_with_all_that_it_runs(tmp_path: Path, signum: int) -> None:
    served = Served(tmp_path, "./slow")
    token = served.token
    connection = served.begun("", "tools/call", name="slow", arguments={})
    assert until(lambda: children(served))
    assert served.end(signum) == 128 + signum
    assert until(lambda: not children(served))
    connection.close()
    again = Served(tmp_path, "./slow")
    assert again.token == token
    again.end()


def refused(folder: Path, *words: str) -> tuple[int, str]:
    """(exit status, message) of a server that does not begin."""
    env = {"PATH": installed.path(), "HOME": str(folder)}
    argv = ["agent-mcp", "serve", *words]
    ran = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


def test_other_addresses_than_of_this_machine_and_bad_tokens_are_refused(tmp_path: Path) -> None:
    for place in ("0.0.0.0:0", "example.com:80", "127.0.0.1", "localhost:99999", ":x", "[::]:0"):
        status, why = refused(tmp_path, "--http", place, "wordcount")
        assert status == 2 and "[HOST:]PORT" in why
    (tmp_path / "open").write_text("x" * 32)
    (tmp_path / "open").chmod(0o644)
    assert "chmod 600" in refused(tmp_path, "--http=0", "--token=open", "wordcount")[1]
    (tmp_path / "short").write_text("secret")
    (tmp_path / "short").chmod(0o600)
    assert "16 to 512" in refused(tmp_path, "--token", "short", "--http", "0", "wordcount")[1]


def test_a_server_that_cannot_begin_says_why(tmp_path: Path) -> None:
    status, why = refused(tmp_path, "--http", "0", "no-such-tool")
    assert status and "no-such-tool: no file here" in why and "Traceback" not in why
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "in use" in refused(tmp_path, "--http", place, "wordcount")[1]
