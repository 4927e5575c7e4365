"""agent-mcp serve, told from the side of a client: a process on pipes, in both eras of the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import installed

MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
SLOW = """#!/bin/sh
# slow - a tool of the tests
[ "$1" = --agent-schema ] && {
    echo '{"name":"slow","description":"Take long","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}'
    exit
}
exec sleep SECONDS
"""
TELL = """#!/bin/sh
# tell - a tool of the tests
[ "$1" = --agent-schema ] && {
    echo '{"name":"tell","description":"Tell","inputSchema":{"type":"object"},"outputSchema":{"type":"object"}}'
    exit
}
echo here >file
echo '{"key":"'"$SOME_API_KEY"'"}'
"""


class Client:
    """A client of `agent-mcp serve WORD...`, of one era."""

    def __init__(self, folder: Path, modern: bool, *words: str) -> None:
        env = {"PATH": installed.path(), "HOME": str(folder / "home"), "SOME_API_KEY": "secret"}
        (folder / "home").mkdir(exist_ok=True)
        self.seconds = f"300.{os.getpid()}{id(self) % 100_000}"  # no other test's sleep is so long
        for name, text in (("slow", SLOW.replace("SECONDS", self.seconds)), ("tell", TELL)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.modern, pipe = modern, subprocess.PIPE
        argv = ["agent-mcp", "serve", *words]
        self.process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=env, text=True
        )
        if not modern:
            info = {"name": "test", "version": "1"}
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
            self.result("initialize", **params)
            self.send({"method": "notifications/initialized"})

    def end(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def send(self, message: dict[str, Any]) -> None:
        """One message, as it is."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert message.pop("jsonrpc") == "2.0"
        return message

    def ask(self, method: str, id: Any = 1, meta: Any = (), **params: Any) -> None:
        """A request."""
        about = {**(META if self.modern else {}), **dict(meta)}
        self.send({"id": id, "method": method, "params": {**params, "_meta": about}})

    def result(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request."""
        self.ask(method, **params)
        message = self.hear()
        assert message["id"] == 1
        result: dict[str, Any] = message["result"]
        return result

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The result of a call."""
        return self.result("tools/call", name=name, arguments=arguments)


@pytest.fixture(params=[True, False], ids=[MODERN, "2025-11-25"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of a server with four tools."""
    words = ["--allow", "tell", "./slow", "./tell", "wordcount", "write_file"]
    made = Client(tmp_path, request.param, *words)
    yield made
    made.end()


def test_tools_are_listed_and_called(client: Client) -> None:
    listed = client.result("tools/list")
    names = [tool["name"] for tool in listed["tools"]]
    assert names == ["slow", "tell", "wordcount", "write_file"]
    assert listed.get("resultType") == ("complete" if client.modern else None)
    answer = client.call("wordcount", text="a b")
    assert json.loads(answer["content"][0]["text"]) == {"lines": 0, "words": 2, "bytes": 3}
    assert answer["isError"] is False


def test_what_a_tool_returns_as_json_is_structured_where_it_says_so(client: Client) -> None:
    answer = client.call("tell")
    assert answer["structuredContent"] == json.loads(answer["content"][0]["text"])


def test_calls_go_through_consent_and_sandbox(client: Client, tmp_path: Path) -> None:
    answer = client.call("write_file", path="x", content="y")
    assert answer["isError"] and "--allow write_file" in answer["content"][0]["text"]
    assert not (tmp_path / "x").exists()
    assert client.call("tell")["structuredContent"] == {"key": ""}
    assert (tmp_path / "file").read_text() == "here\n"


def test_wrong_arguments_are_reported_to_the_model_and_unknown_tools_to_the_client(
    client: Client,
) -> None:
    answer = client.call("wordcount", text=7)
    assert answer["isError"] and "do not fit" in answer["content"][0]["text"]
    client.ask("tools/call", name="nobody", arguments={})
    assert client.hear()["error"]["code"] == -32602
    client.ask("tools/call", name="wordcount", arguments=[])
    assert client.hear()["error"]["code"] == -32602
    client.ask("resources/list")
    assert client.hear()["error"]["code"] == -32601


def children(client: Client) -> set[str]:
    """Who runs the program of the slow tool."""
    found, command = set(), f"sleep\0{client.seconds}\0".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == command:
                found.add(pid)
        except OSError:
            continue
    return found


def until(condition: Any, seconds: float = 60) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_cancelled_call_is_killed_and_never_answered(client: Client) -> None:
    client.ask("tools/call", id="long", name="slow", arguments={})
    assert until(lambda: children(client))
    client.send({"method": "notifications/cancelled", "params": {"requestId": "long"}})
    assert until(lambda: not children(client))
    client.ask("tools/list", id="next")
    assert client.hear()["id"] == "next"


def test_a_long_call_reports_progress_and_the_end_of_input_ends_everything(client: Client) -> None:
    client.ask("tools/call", id=5, meta={"progressToken": "t"}, name="slow", arguments={})
    first, second = client.hear(), client.hear()
    assert first["method"] == second["method"] == "notifications/progress"
    assert first["params"]["progressToken"] == "t"
    assert first["params"]["progress"] < second["params"]["progress"]
    assert client.process.stdin
    client.process.stdin.close()
    assert client.process.wait(timeout=60) == 0
    assert until(lambda: not children(client))


def test_calls_run_beside_each_other(client: Client) -> None:
    client.ask("tools/call", id=1, name="slow", arguments={})
    client.ask("tools/call", id=2, name="wordcount", arguments={"text": "a"})
    assert client.hear()["id"] == 2


def test_junk_is_answered_with_errors_and_the_server_goes_on(client: Client) -> None:
    assert client.process.stdin
    for junk in ("no json", "[]", "7", '{"jsonrpc":"2.0","id":3,"method":7}', '{"id":4}'):
        client.process.stdin.write(junk + "\n")
    client.process.stdin.flush()
    codes = [client.hear()["error"]["code"] for _ in range(5)]
    assert codes == [-32700, -32600, -32600, -32600, -32600]
    assert client.result("tools/list")["tools"]


def test_a_version_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    client = Client(tmp_path, True, "wordcount")
    client.ask("tools/list", meta={"io.modelcontextprotocol/protocolVersion": "2099-01-01"})
    error = client.hear()["error"]
    assert error["code"] == -32022
    assert error["data"] == {"supported": [MODERN], "requested": "2099-01-01"}
    client.send({"id": 2, "method": "tools/list", "params": {}})
    assert client.hear()["error"]["code"] == -32602
    assert client.result("server/discover")["supportedVersions"] == [MODERN]
    client.end()


def test_one_call_through_a_pipe_is_answered(tmp_path: Path) -> None:
    client = Client(tmp_path, True, "wordcount")
    client.ask("tools/call", name="wordcount", arguments={"text": "a b c"})
    out, _ = client.process.communicate(timeout=20)
    assert '\\"words\\":3' in out and client.process.returncode == 0


def test_without_names_tools_agents_and_memory_are_served(tmp_path: Path) -> None:
    client = Client(tmp_path, True)
    names = {tool["name"] for tool in client.result("tools/list")["tools"]}
    assert {"read_file", "remember", "recall", "code-reviewer", "text-processor"} <= names
    client.end()
