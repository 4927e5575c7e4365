"""docs/write-a-provider.md: each provider on it, put into an empty folder, can be used with no other change."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import installed
from raw_server import ROOT, Server, completion, http, serving

FILES = dict(
    re.findall(
        r"<!-- file: (\w+) -->\n```python\n(.*?)```\n",
        (ROOT / "docs/write-a-provider.md").read_text(),
        re.DOTALL,
    )
)
NDJSON = '{"word":"Well"}\n{"word":", well"}\n{"words":[3,2]}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the page's providers in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def llm(folder: Path, server: Server, *args: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": installed.path("jq"),
        "HOME": str(folder),
        "AGENT_PROVIDER_PATH": str(folder),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
    }
    for name in FILES:
        env |= {
            f"{name.upper()}_API_KEY": "key-5ecre7-5ecre7",
            f"{name.upper()}_BASE_URL": server.address,
        }
    return subprocess.run(
        ["agent-llm", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
        stdin=subprocess.DEVNULL,
    )


def test_both_are_short() -> None:
    assert sorted(FILES) == ["acme", "corner"]
    assert FILES["corner"].count("\n") <= 20 and FILES["acme"].count("\n") < 40


def test_a_vendor_of_openais_dialect_is_used(folder: Path) -> None:
    with serving(http(completion("Well, well"))) as server:
        done = llm(folder, server, "--provider", "corner", "hi")
    assert (done.stdout, done.returncode) == ("Well, well\n", 0), done.stderr
    assert (
        "Bearer key-5ecre7" in server.requests[0][0]
        and json.loads(server.requests[0][1])["model"] == "corner-1"
    )


def test_a_vendor_with_a_dialect_of_its_own_is_used_whole_and_streamed(folder: Path) -> None:
    with serving(http(NDJSON, media="application/x-ndjson")) as server:
        done = llm(folder, server, "--provider", "acme", "hi")
        assert (done.stdout, done.returncode) == ("Well, well\n", 0), done.stderr
    with serving(http('{"said":"Well, well","words":[3,2]}')) as server:
        done = llm(folder, server, "--provider", "acme", "--json", "hi")
    assert json.loads(done.stdout.splitlines()[-1])["usage"] == {
        "input_tokens": 3,
        "output_tokens": 2,
    }, done.stdout


def test_its_errors_are_reported(folder: Path) -> None:
    with serving(http("closed on Sundays", "403 No", "text/plain")) as server:
        done = llm(folder, server, "--provider", "acme", "hi")
    assert (done.returncode, done.stdout) == (100, "") and "closed on Sundays" in done.stderr


def test_it_is_found_and_keeps_the_rules(folder: Path) -> None:
    with serving(b"") as server:
        listed = llm(folder, server, "--list-providers").stdout
    assert "acme" in listed and "corner" in listed and "openai" not in listed
    for name in FILES:
        done = subprocess.run(
            [installed.suite() / "bin/agent-discover", "--check", folder / name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": installed.path("jq")},
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
