"""A login to an MCP server: who gets the token, and what becomes of it. The exchange itself: tests/mcp-parts.bats."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

import installed
from test_mcp_connect import Place, Request

SDK = installed.CHECKOUT / "build/mcp/python/bin"


def answered(request: Request) -> None:
    """A server of the newer era with one tool, for who has the token of now."""
    if request.headers["Authorization"] != f"Bearer {request.server.token}":
        return request.answer({}, 401)
    tools = [{"name": "t", "inputSchema": {"type": "object"}}]
    found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "tools": tools}
    request.answer({**found, "content": [{"type": "text", "text": "fine"}]})


class Home:
    """A user of the server who is logged in."""

    def __init__(self, home: Path, place: Place) -> None:
        self.url, self._env = f"{place.address}/mcp", {"PATH": installed.path(), "HOME": str(home)}
        name = f"127.0.0.1_{place.address.rpartition(':')[2]}_mcp"
        self.folder = home / ".local/state/agentutils/mcp-login" / name
        self.file = self.folder / "login"
        self.home, place.http.token = home, "first"

    def save(self, **fields: Any) -> None:
        """A login as agent-mcp-login keeps it."""
        tokens = {"access_token": "first", "token_type": "Bearer", "refresh_token": "again"}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"url": self.url, "tokens": tokens, **fields}))

    def run(self, *argv: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """A program of the suite."""
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, **more}
        options.setdefault("stdin", None if "input" in more else subprocess.DEVNULL)
        if "input" in more:
            del options["stdin"]
        (here := self.home.parent / "here").mkdir(exist_ok=True)
        return subprocess.run(argv, env=self._env, cwd=here, **options)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The server."""
    made = Place(tmp_path)
    made.play(answered)
    yield made
    made.end()


@pytest.fixture
def home(tmp_path: Path, place: Place) -> Home:
    """The user."""
    return Home(tmp_path / "home", place)


def test_without_a_login_the_error_says_how_and_without_the_extra_what_to_install(
    home: Home,
) -> None:
    assert "agent-mcp login" in home.run("agent-mcp", "list", home.url).stderr
    ran = home.run("agent-mcp", "login", home.url)
    assert ran.returncode == 100
    assert "install.sh --with mcp" in ran.stderr and ran.stderr.count("\n") == 1


def test_the_token_goes_to_its_server_and_into_no_record(home: Home) -> None:
    home.save()
    listed = home.run("agent-mcp", "list", f"s={home.url}")
    record = json.loads(listed.stdout)
    assert "first" not in listed.stdout + listed.stderr
    assert record["sandbox"]["profile"] == "net"
    step = {"type": "step", "id": "1", "task": "x", "needs": [], "status": "open", "tool": "t"}
    lines = listed.stdout + json.dumps({**step, "arguments": {}}) + "\n"
    ran = home.run("agent-execute", "--allow", "s__*:net", "--json", input=lines)
    assert "fine" in ran.stdout and "first" not in ran.stdout


def test_a_request_that_wants_a_wider_login_says_which(home: Home, place: Place) -> None:
    home.save(tokens={"access_token": "first", "token_type": "Bearer", "scope": "read list"})
    challenge = 'Bearer error="insufficient_scope", scope="write list", error_description="no"'
    place.play(lambda request: request.answer({}, 403, WWW_Authenticate=challenge))
    message = home.run("agent-mcp", "list", home.url).stderr
    assert f"agent-mcp login --scope 'read list write' {home.url}" in message


def test_a_login_for_another_address_is_no_login(home: Home, place: Place) -> None:
    home.save(url="https://other.example/mcp")
    seen = place.play(answered)
    assert "there is no login" in home.run("agent-mcp", "list", home.url).stderr
    assert seen == []


def test_a_command_behind_agent_mcp_connect_does_not_see_the_logins(home: Home) -> None:
    home.save()
    wish = {"profile": "net", "write": ["$XDG_STATE_HOME/agentutils/mcp-login"]}
    program = f"{installed.suite()}/bin/agent-mcp-connect"
    tool = {"type": "tool", "name": "x", "description": "x", "invoke": "argv", "sandbox": wish}
    tool |= {"command": [program, "--", "cat", str(home.file)]}
    step = {"type": "step", "id": "1", "task": "x", "needs": [], "status": "open", "tool": "x"}
    lines = f"{json.dumps(tool)}\n{json.dumps({**step, 'arguments': {}})}\n"
    ran = home.run("agent-execute", "--allow", "x:net", "--json", input=lines)
    assert '"first"' not in ran.stdout and "No such file" in ran.stdout


def test_a_token_that_has_run_out_wants_the_extra_or_a_new_login(home: Home) -> None:
    home.save(until=time.time() - 1)
    assert "install.sh --with mcp" in home.run("agent-mcp", "list", home.url).stderr


def test_a_login_can_be_forgotten(home: Home) -> None:
    home.save()
    assert home.run("agent-mcp", "login", "--logout", home.url).returncode == 0
    assert not home.folder.exists()
    assert home.run("agent-mcp", "login", "--logout", home.url).returncode == 1


@pytest.mark.skipif(not (SDK / "mcp").exists(), reason="tests/mcp-parts has not had the SDK")
def test_a_token_is_renewed_by_the_server_that_issued_it(home: Home, place: Place) -> None:
    issuer = place.address
    endpoints = {"authorization_endpoint": f"{issuer}/a", "token_endpoint": f"{issuer}/t"}
    metadata = {"issuer": issuer, "response_types_supported": ["code"], **endpoints}
    client = {"client_id": "me", "redirect_uris": ["http://127.0.0.1/x"]}
    home.save(oauth_metadata=metadata, client=client, until=1)
    wanted: list[dict[str, list[str]]] = []

    def play(request: Request) -> None:
        wanted.append(parse_qs(request.body.decode()))
        tokens = {"access_token": "second", "token_type": "Bearer", "expires_in": 3600}
        request.put(json.dumps(tokens).encode(), Content_Type="application/json")

    place.play(play)
    argv = [SDK / "python", f"{installed.suite()}/bin/agent-mcp-login", "--refresh", home.url]
    ran = home.run(*argv)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert wanted[0]["refresh_token"] == ["again"] and wanted[0]["resource"] == [home.url]
    saved = json.loads(home.file.read_text())
    assert (
        saved["tokens"]["access_token"] == "second" and saved["tokens"]["refresh_token"] == "again"
    )
    assert saved["until"] > time.time() + 3000
    assert os.stat(home.file).st_mode & 0o777 == 0o600
    place.http.token = "second"
    place.play(answered)
    assert home.run("agent-mcp", "list", home.url).returncode == 0
    place.play(lambda request: request.put(b"{}", 400))
    assert "agent-mcp login" in home.run(*argv).stderr
