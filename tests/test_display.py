"""What a terminal is shown: units of display.py, and every program of the suite run at a terminal with hostile text."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import installed
from agentlib import display
from installed import suite
from vendors import ROOT

READABLE = "café e\u0301 👩🏽‍💻 می‌خواهم क्‍ष 🏴󠁧󠁢󠁳󠁣󠁴󠁿 中文"
HOSTILE = (
    "\u202egnp\x1b]0;title\x07\x1b[2J\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1bP1$q\x1b\\\x9b31m\x85\x9d\u2028\u2029"
    "\x08over\rwritten\x7f\u202egnp\u202c\u2066\u2069\u200e\u200f\u061c\u200b\ufeffa\u200db\u200cc\xad\U000e0041"
    " end"
)
TEXT = f"{READABLE}\t{HOSTILE}"

RULES = '''
TEXT = {text!r}

def value(schema, name=""):
    """Something that fits the schema, hostile wherever it may be."""
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {{key: value(inner, key) for key, inner in schema["properties"].items()}}
    if kind == "array":
        return [] if name == "needs" else [value(schema["items"])]
    return {{"integer": 1, "number": 1, "boolean": True}}.get(kind) or ("s1" if name == "id" else TEXT)

def reply(body):
    import json
    said = json.dumps(body["messages"][1:])
    if "FAIL" in said:
        return {{"status": 400, "body": {{"error": {{"message": TEXT}}}}}}
    if "CALL" in said and body.get("tools") and body["messages"][-1]["role"] != "tool":
        call = {{"name": body["tools"][0]["function"]["name"], "arguments": {{"path": "evil.txt", TEXT: TEXT}}}}
        return {{"text": TEXT, "tool_calls": [call, {{**call, "arguments": {{"path": "evil.txt"}}}}]}}
    if "response_format" in body:
        return json.dumps(value(body["response_format"]["json_schema"]["schema"]))
    if "REVIEW" in said:
        return json.dumps({{"issues": [TEXT], "suggestions": [], "score": 1}})
    if "software architect" in json.dumps(body) and "PATTERNS" in said:
        return json.dumps({{"advice": TEXT, "patterns": TEXT}})
    return TEXT
'''

# Each program at least once with a text that somebody else wrote, in its output, its messages, or both.
EVIL = '"$(cat evil.txt)"'
RUNS: dict[str, list[str]] = {
    "agent-bundle": [f"agent-bundle ./{EVIL}", f"agent-bundle --all --tool {EVIL}"],
    "agent-context": [
        "agent-context .",
        "agent-context gone$(cat name.txt)",
        "agent-context evil.txt",
    ],
    "agent-demo": ["agent-demo"],
    "agent-discover": [
        "agent-discover ./described",
        "agent-discover -v ./broken ./described",
        "agent-discover --check ./described ./broken",
        'agent-discover find "$(cat name.txt)"',
        "agent-discover --agents",
        f"agent-discover --register {EVIL}",
    ],
    "agent-discover-check": ["agent-discover-check ./described ./broken"],
    "agent-acp": ['agent-acp --allow "x:$(cat evil.txt)"'],
    "agent-acp-prompt": [f"agent-acp-prompt --session {EVIL}"],
    "agent-eval": [
        "agent-eval cases.jsonl -- agent-llm hi",
        "agent-eval cases.jsonl --json -- agent-llm FAIL",
        f"agent-eval {EVIL} -- cat",
    ],
    "agent-every": [
        "agent-every 1s --count 1 -- agent-llm hi",
        f"agent-every 1s --count 1 -- {EVIL}",
    ],
    "agent-execute": [
        "agent-execute <plan.jsonl",
        "agent-execute --synthesize <plan.jsonl",
        "agent-execute --retry 0 -- agent-llm FAIL <plan.jsonl",
    ],
    "agent-llm": [
        "agent-llm hi",
        "agent-llm --json hi",
        "agent-llm FAIL",
        f"agent-llm --model {EVIL} hi",
    ],
    "agent-mcp": ['agent-mcp list "./$(cat name.txt)"', f"agent-mcp list --config {EVIL} x"],
    "agent-mcp-connect": [f"agent-mcp-connect -- {EVIL}"],
    "agent-mcp-hold": ['agent-mcp-hold --allow "x:$(cat evil.txt)" </dev/null'],
    "agent-mcp-http": [f"agent-mcp-http {EVIL}"],
    "agent-mcp-login": [f"agent-mcp-login {EVIL}"],
    "agent-mcp-serve": [f"agent-mcp-serve -- {EVIL}"],
    "agent-memory": [
        "agent-memory recall evil",
        "agent-memory recall --json evil",
        "agent-memory search gnp",
        "agent-memory list",
        "agent-memory export --flat",
        'agent-memory --store "./$(cat name.txt).md" recall evil',
    ],
    "agent-new": [f"agent-new {EVIL}", f"agent-new -{EVIL}"],
    "agent-parallel": [
        f"""echo '{{"type":"task","id":"1","input":"hi"}}' | agent-parallel --hosts {EVIL}""",
        f"agent-parallel --local 1 --journal {EVIL}/x",
    ],
    "agent-parallel-ray": [f"agent-parallel-ray --connect {EVIL} --ray auto"],
    "agent-parallel-ssh": [f"agent-parallel-ssh --connect {EVIL} --become ssh x"],
    "agent-parallel-worker": [f"agent-parallel-worker {EVIL}"],
    "agent-plan": ["agent-plan hi", "agent-plan FAIL"],
    "agent-react": [
        "agent-react hi",
        "agent-react --json hi",
        "agent-react --events CALL <tools.jsonl",
        "agent-react CALL <tools.jsonl",
        "agent-react FAIL",
        "agent-react --plugin ./chatty hi",
        'jq -nc \'{type:"task",id:"1",input:"FAIL"}\' | agent-react',
    ],
    "agent-reflect": [
        "agent-reflect --tries 1 --check 'cat evil.txt; false' -- agent-llm hi",
        "agent-reflect --tries 1 --critic good -- agent-llm hi",
    ],
    "agent-schedule": ["agent-schedule list"],
    "agent-trace": [
        'export XDG_STATE_HOME=$PWD/new; agent-llm "$(cat name.txt)" >/dev/null; agent-trace',
        "agent-llm FAIL; agent-trace --to tree",
        "agent-react CALL <tools.jsonl >/dev/null; agent-trace --json",
        f"agent-trace {EVIL}",
    ],
    "agent-vote": [
        "agent-vote -n 2 -- agent-llm hi",
        "agent-vote -n 2 --json -- agent-llm hi",
        'agent-vote -n 2 -- cat "gone$(cat name.txt)"',
    ],
    "architect": ["architect hi", "architect FAIL", "architect --update-patterns PATTERNS"],
    "assistant": ["assistant hi", "assistant CALL"],
    "code-reviewer": ["code-reviewer hi", "code-reviewer --json REVIEW", "code-reviewer CALL"],
    "commit-message": ["commit-message hi", "commit-message <evil.txt"],
    "coordinator": ["coordinator hi", f"coordinator --{EVIL}"],
    "monitor-agent": ["monitor-agent", "monitor-agent FAIL"],
    "security-scanner": ["security-scanner hi", "security-scanner CALL"],
    "text-processor": ["text-processor hi", "text-processor FAIL"],
}
# What a person would run by hand: the tool's arguments on standard input.
BY_HAND = {
    "column_stats": {"text": "1", HOSTILE: 1},
    "current_time": {"zone": HOSTILE},
    "fetch_url": {"url": f"http://{HOSTILE}"},
    "json_query": {"query": ".", "text": json.dumps(TEXT)},
    "list_files": {"path": HOSTILE},
    "read_file": {"path": "evil.txt"},
    "reverse": {"text": HOSTILE[::-1]},
    "run_command": {"command": "cat evil.txt"},
    "search_files": {"text": "gnp"},
    "uppercase": {"text": HOSTILE.upper()},
    "wordcount": {"path": HOSTILE},
}


def programs(folder: str) -> list[str]:
    """The executables of a folder of the suite."""
    return sorted(
        name for name in os.listdir(suite() / folder) if os.access(suite() / folder / name, os.X_OK)
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a person with a hostile model, and a working folder (PWD) full of hostile text."""
    top = tmp_path_factory.mktemp("home")
    (top / "rules.py").write_text(RULES.format(text=TEXT))
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests/model_server.py", top / "rules.py", "--with-parent"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    env = {
        "PATH": f"{installed.path('curl', 'jq', 'node')}:{suite()}/tools",
        "HOME": str(top),
        "PWD": str(top / "work"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
    }
    env |= {"OPENAI_BASE_URL": server.stdout.readline().strip(), "OPENAI_API_KEY": "test-key"}
    env |= {"AGENT_PROVIDER": "openai", "AGENT_MODEL": "test-model"}
    try:
        furnish(top / "work", env)
        yield env
    finally:
        server.kill()
        server.communicate()


def furnish(work: Path, env: dict[str, str]) -> None:
    """Files, names, tools, a plan, a memory, a unit of systemd: hostile wherever they can be."""
    work.mkdir()
    (work / "evil.txt").write_text(TEXT + "\n")
    name = HOSTILE.replace("/", "")
    (work / "name.txt").write_text(name)
    (work / f"{name}.md").write_text(TEXT)
    (work / "AGENTS.md").write_text(f"## evil\n\n{TEXT}\n\n- **Binary**: ./described\n")
    schema = {"name": "described", "description": TEXT, "inputSchema": {"type": "object"}}
    schema["annotations"] = {"readOnlyHint": True}
    answer = f"cat <<'END'\n{json.dumps(schema, ensure_ascii=False)}\nEND\nexit"
    body = f'#!/bin/sh\n# agent-schema\nif [ "${{1-}}" = --agent-schema ]; then {answer}\nfi\n'
    body += "cat evil.txt; cat evil.txt >&2; exit 1\n"
    program(work / "described", body)
    program(work / "broken", f"#!/bin/sh\n# agent-schema\ncat >&2 <<'END'\n{TEXT}\nEND\nexit 3\n")
    hello = '{"name":"chatty","description":"-","kind":"plugin","hooks":["after_run"]}'
    program(
        work / "chatty",
        f"#!/bin/sh\n# agent-schema\n[ \"${{1-}}\" = --agent-schema ] && echo '{hello}' && exit\n"
        "cat evil.txt >&2\nexec jq -c --unbuffered '{id,record}'\n",
    )
    tool = {"type": "tool", "name": "described", "command": [str(work / "described")], **schema}
    (work / "tools.jsonl").write_text(json.dumps(tool) + "\n")
    step = {"type": "step", "id": "s1", "task": TEXT, "needs": []}
    (work / "plan.jsonl").write_text(json.dumps(step) + "\n")
    case = {"id": TEXT, "kind": TEXT, "input": TEXT, "checks": [{"command": "cat; exit 1"}]}
    (work / "cases.jsonl").write_text(
        json.dumps(case) + '\n{"input":"x","checks":[{"regex":""}]}\n'
    )
    units = work.parent / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / f"agentutils-x{name}.timer").write_text(f"OnCalendar={TEXT}\n")
    subprocess.run(["agent-memory", "remember", "evil", TEXT], cwd=work, env=env, check=True)


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def at_terminal(command: str, env: dict[str, str]) -> bytes:
    """What a terminal gets, on which the command has its standard output and its messages."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        ["bash", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env=env,
        cwd=env["PWD"],
        start_new_session=True,
    )
    os.close(slave)
    out, until = b"", time.monotonic() + 60
    try:
        while time.monotonic() < until and (data := os.read(master, 65536)):
            out += data
    except OSError:  # the last one that had it is gone
        pass
    finally:
        os.close(master)
        child.kill()
        child.wait()
    return out


def piped(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """The same at pipes."""
    return subprocess.run(
        ["bash", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=env,
        cwd=env["PWD"],
        timeout=60,
        check=False,
    )


def assert_only_text(data: bytes) -> str:
    """What is on the terminal, which was told nothing but text, tabs and line ends."""
    # our line that is redrawn in place is taken away
    text = re.sub("\r *\r(?!\n)", "", data.decode())
    for piece in (READABLE, *READABLE.split()):  # in deltas it stands in pieces
        text = text.replace(piece, "")
    left = [
        c for c in text.replace("\r\n", "\n") if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")
    ]
    assert not set(left) - {"\n", "\t"}, data
    return data.decode()


@pytest.mark.parametrize("name", programs("bin"))
def test_no_program_lets_foreign_text_command_a_terminal(name: str, home: dict[str, str]) -> None:
    for command in RUNS[name]:
        screen = assert_only_text(at_terminal(command, home))
        assert "\\u202egnp" in screen, (command, screen)
        ran = piped(command, home)
        cleaned = (
            b"\\u202egnp" if name == "agent-discover" else b"\0"
        )  # of schemas, in the record itself
        found = ran.stdout + ran.stderr
        assert "\u202egnp".encode() in found or cleaned in found, (command, ran)


@pytest.mark.parametrize("name", BY_HAND)
def test_no_tool_run_by_hand_does(name: str, home: dict[str, str]) -> None:
    command = f"{name} <<<{shlex.quote(json.dumps(BY_HAND[name]))}"
    screen = assert_only_text(at_terminal(command, home))
    assert "\\u001b" in screen or "\\x1b" in screen, screen


@pytest.mark.parametrize("folder", ["bin", "tools", "providers", "plugins", "formats"])
def test_no_executable_quotes_its_command_line_raw(folder: str, home: dict[str, str]) -> None:
    for name in programs(folder):
        assert_only_text(at_terminal(f"{suite()}/{folder}/{name} --no{EVIL}", home))


@pytest.mark.parametrize("command", ["agent-llm hi", "agent-react hi", "agent-memory recall evil"])
def test_a_pipe_gets_every_byte(command: str, home: dict[str, str]) -> None:
    ran = piped(command, home)
    assert (ran.stdout, ran.stderr) == (f"{TEXT}\n".encode(), b"")


def test_what_a_person_reads_stays_as_it_is(home: dict[str, str]) -> None:
    assert READABLE in at_terminal("agent-llm hi", home).decode()


def test_only_messages_go_to_a_terminal_where_the_output_does_not(home: dict[str, str]) -> None:
    screen = at_terminal("agent-llm hi >out; agent-llm FAIL", home)
    assert "\\u202egnp" in assert_only_text(screen)
    assert Path(home["PWD"], "out").read_bytes() == f"{TEXT}\n".encode()


def test_characters_are_judged_where_they_stand() -> None:
    assert display.visible("a\u200db 中\u200d문") == "a\\u200db 中\\u200d문"
    assert display.visible("葛\U000e0100 a\U000e0101") == "葛\U000e0100 a\\U000e0101"
    assert display.visible("a\u034fb \u1780\u17b4") == "a\\u034fb \u1780\\u17b4"
    assert display.visible("❤\ufe0f 1\ufe0f\u20e3 a\ufe0f") == "❤\ufe0f 1\ufe0f\u20e3 a\\ufe0f"
    assert display.visible("\u2764\ufe0f\ufe01\ufe02") == "\u2764\ufe0f\\ufe01\\ufe02"
    assert display.visible("one\r\ntwo\rthree\udc9b") == "one\ntwo\\u000dthree\\x9b"


def test_a_terminal_takes_text_in_pieces_cut_anywhere() -> None:
    reading, writing = os.pipe()
    terminal = display.Terminal(writing)
    for byte in f"{READABLE}\x1b\u202e".encode() + b"\x9b\xe2\x80":
        terminal.write(bytes([byte]))
    terminal.end()
    os.close(writing)
    wanted = display.visible(READABLE.split("🏴")[0])
    with open(reading, encoding="utf-8") as screen:
        text = screen.read()
    assert text.startswith(wanted) and text.endswith(" 中文\\u001b\\u202e\\x9b\\xe2\\x80")


def test_what_is_consented_to_shows_fillers_blanks_and_accents_as_code_points() -> None:
    assert (
        display.exact("rm\u3164a\u2800b\u00a0c e\u0301 é\n")
        == "rm\\u3164a\\u2800b\\u00a0c e\\u0301 é\\n"
    )
    for blank in "\u115f\u1160\uffa0\u2003\u3000\u034f\ufe0f\u180b":
        assert display.exact(blank) == display.code(blank)


def test_a_command_that_is_not_python_keeps_its_status(home: dict[str, str]) -> None:
    show = f"python3 -IS {suite()}/lib/agentlib/display.py"
    screen = at_terminal(
        f"{show} sh -c 'cat evil.txt; kill $$'; echo $?; {show} gone; echo $?", home
    )
    assert "\r\n143\r\ngone: No such file or directory\r\n127\r\n" in assert_only_text(screen)
