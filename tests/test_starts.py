"""What starts a process: each place in the sources is known, and other programs than the suite's go through launch."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

import starts
from agentlib.launch import command, start
from agentlib.schema import origin

ROOT = Path(__file__).resolve().parent.parent
FOUND, ROWS = starts.found(), starts.rows()


def test_every_place_that_starts_a_process_is_in_the_table() -> None:
    assert sorted(FOUND.keys() - ROWS.keys()) == [], "see the head of tests/starts.txt"
    assert sorted(ROWS.keys() - FOUND.keys()) == [], "gone: take it out of tests/starts.txt"


def test_the_table_is_sorted_and_says_how_and_what() -> None:
    assert list(ROWS) == sorted(ROWS)
    assert {how for how, _ in ROWS.values()} <= starts.HOW.keys()


@pytest.mark.parametrize("place", [p for p in FOUND if p[1] == "(script)"], ids=lambda p: p[0])
def test_a_script_runs_the_programs_that_the_table_says(place: tuple[str, str]) -> None:
    assert ROWS[place][1] == FOUND[place]


def test_only_the_launcher_opens_a_sandbox() -> None:
    sandboxes = [
        name
        for name, _, text in starts.sources()
        if name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Sandbox"
    ]
    trial = "lib/agentlib/sandbox/kept/status.py"  # of --sandbox-status, with `true`
    assert sandboxes == ["lib/agentlib/launch/start.py", trial]


def test_a_place_that_the_table_calls_launch_uses_the_launcher() -> None:
    for (file, _), (how, _) in ROWS.items():
        text = (ROOT / file).read_text()
        assert how != "launch" or "start.sandbox(" in text, file


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import subprocess\nsubprocess.run(['x'])", "subprocess.run"),
        ("import subprocess\ndef f(p: subprocess.Popen) -> subprocess.Popen: ...", ""),
        ("import subprocess\nf = subprocess.Popen", "subprocess.Popen"),
        ("import subprocess as s\ns.run(['x'])", "import subprocess as"),
        ("from subprocess import DEVNULL, run", "from subprocess"),
        ("from subprocess import DEVNULL", ""),
        ("import os\nos.posix_spawn('x', ['x'], {})", "os.posix_spawn"),
        ("import os\nos.execve('x', ['x'], {})", "os.execve"),
        ("import os\nos.fork()", "os.fork"),
        ("import os\ngetattr(os, 'system')('x')", "getattr(os)"),
        ("import pty\npty.spawn('x')", "pty.spawn"),
        ("import asyncio\nasyncio.create_subprocess_exec('x')", "create_subprocess_exec"),
        ("__import__('subprocess')", "__import__(subprocess)"),
        ("from agentlib.process import run as go\ngo.run({}, b'', 1, 1, None)", "go.run"),
        ("from agentlib.process.coprocess import Coprocess\nCoprocess('x', {})", "Coprocess"),
        ("libc.syscall(CLONE, 0)", "CLONE"),
    ],
)
def test_what_starts_a_process_is_seen(code: str, what: str) -> None:
    assert [one for _, one in starts.python(code)] == ([what] if what else [])


def test_the_programs_of_a_script_are_seen() -> None:
    script = """
    # not-me
    agent=(agent-react --name x "$(inner one)" 'no "$(not me)"')
    for option; do case $option in --json | text) exec a-b "$1" ;; esac; done
    x=$(first | second) && third <<<"$y" || { fourth; }
    if [[ -f z ]]; then fifth; fi
    cat <<'END'
    neither
END
    """
    wanted = "a-b agent-react cat fifth first fourth inner second third"
    assert starts.shell(script) - {"text"} == set(wanted.split())


def test_the_launcher_starts_nothing_without_an_allow(tmp_path: Path) -> None:
    for verdict in ("deny", "ask", ""):
        with pytest.raises(Exception, match="was not started"):
            start.sandbox(["/bin/true"], start.OTHER, start.Decision(verdict, "off", "x"), env={})


def test_the_suites_program_is_started_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/bin/true")
    argv = [str(tmp_path / "link")]
    assert start.sandbox(argv, start.SUITE, start.TYPED, env={}).argv[0] != argv[0]
    assert start.sandbox(argv, start.USER, start.TYPED, env={}).argv == argv


def test_plugins_lose_every_variable_that_a_provider_reads_a_key_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argv = [str(ROOT / "bin" / "agent-discover"), "--kind", "provider"]
    listed = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    keys = [
        one["name"]
        for line in listed.stdout.splitlines()
        for one in json.loads(line).get("env", [])
        if isinstance(one, dict) and one.get("key")
    ]
    assert len(keys) >= 9
    for name in keys:
        monkeypatch.setenv(name, "x")
    assert not set(keys) & command.keyless().keys()
    assert keys[0] in command.keyless([keys[0]])


def test_every_name_that_the_suite_has_is_known_by_its_program() -> None:
    """Also of tools whose names are not those of their files."""
    argv = [str(ROOT / "bin" / "agent-discover"), str(ROOT / "tools"), str(ROOT / "bin")]
    listed = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    found = [one for one in map(json.loads, listed.stdout.splitlines()) if one["type"] == "tool"]
    assert len(found) > 30
    for one in found:
        assert origin.shadows(one["name"], one["command"][0]) == ""
        assert "is another program" in origin.shadows(one["name"], "/bin/true"), one["name"]
