"""agentlib.schema.schemas: reading what executables answer, and the cache of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.process.run import Outcome
from agentlib.schema import schemas, trust


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n# --agent-schema\n{text}\n")
    path.chmod(0o755)
    return str(path)


def schema_text(path: Path, name: str = "t", description: str = "Does") -> str:
    return script(path, f"""echo '{{"name":"{name}","description":"{description}"}}'""")


LEAST: dict[str, Any] = {"name": "t", "description": "Does"}


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"name": ""}, "name"),
        ({"name": "ä"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": 1}, "name"),
        ({"description": " "}, "description"),
        ({"description": None}, "description"),
        ({"inputSchema": []}, "inputSchema"),
        ({"parameters": {"type": "array"}}, "inputSchema"),
        ({"kind": "thing"}, "kind"),
        ({"invoke": "shell"}, "invoke"),
        ({"args": "x"}, "args"),
        ({"args": ["\0"]}, "args"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "9"}, "timeout"),
    ],
)
def test_a_field_that_is_wrong_is_named(more: dict[str, Any], word: str) -> None:
    assert [wrong for wrong in schemas.faults({**LEAST, **more}) if word in wrong]
    with pytest.raises(Fault, match=word):
        schemas.tool({**LEAST, **more}, "/x")


def test_the_least_schema_is_well() -> None:
    assert schemas.faults(LEAST) == []
    assert schemas.tool(LEAST, "/x/t")["inputSchema"]["properties"] == {"input": {"type": "string"}}


def test_a_record_made_of_a_record_is_the_same() -> None:
    once = schemas.tool({**LEAST, "extra": 1, "timeout": 2.5}, "/x/t")
    assert schemas.tool(once, "/x/t") == once
    assert once["extra"] == 1


def test_the_head_of_a_line_is_always_the_same(tmp_path: Path) -> None:
    file = script(
        tmp_path / "a", """echo '{"description":"\\"quoted\\"","kind":"agent","name":"a-1"}'"""
    )
    [line] = schemas.read_lines([file])[file]  # type: ignore[misc]
    assert line.startswith(b'{"type":"tool","name":"a-1","kind":"agent",')


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Fault("bad_response", "no answer within 3 s"), "no answer"),
        (Outcome(1, b"{}", err=b"first\nlast\n"), "status 1: last"),
        (Outcome(-9, b""), "ended by SIGKILL"),
        (Outcome(139, b""), "ended by SIGSEGV"),
        (Outcome(0, b""), "prints nothing"),
        (Outcome(0, b"\n \n"), "prints nothing"),
        (Outcome(0, b"usage: x"), "not print JSON"),
        (Outcome(0, b"\xff"), "not print JSON"),
    ],
)
def test_no_answer_is_a_fault_that_says_why(outcome: Outcome | Fault, word: str) -> None:
    with pytest.raises(Fault, match=word):
        schemas.answer(outcome)


def test_an_answer_may_be_one_document_over_lines_or_a_line_a_tool() -> None:
    assert schemas.answer(Outcome(0, b'{\n "a": 1\n}\n')) == [{"a": 1}]
    assert schemas.answer(Outcome(0, b'{"a":1}\n\n{"b":2}')) == [{"a": 1}, {"b": 2}]


def test_each_file_gets_its_answer_and_a_fault_is_not_raised(tmp_path: Path) -> None:
    well = schema_text(tmp_path / "a")
    broken = script(tmp_path / "b", "echo no")
    missing = str(tmp_path / "c")
    found = schemas.read([broken, well, missing])
    assert list(found) == [broken, well, missing]
    assert isinstance(found[well], list) and found[well][0]["command"] == [well]
    assert isinstance(found[broken], Fault) and isinstance(found[missing], Fault)


def test_what_failed_is_asked_again_what_answered_is_not(tmp_path: Path) -> None:
    file = script(tmp_path / "t", "exit 1")
    assert isinstance(schemas.read([file])[file], Fault)
    assert file.encode() not in schemas.cached()
    schema_text(tmp_path / "t")
    assert isinstance(schemas.read([file])[file], list)
    assert schemas.cached()[file.encode()][0] == schemas.stamp_of(os.stat(file))


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_asked_again(tmp_path: Path) -> None:
    file = schema_text(tmp_path / "t", description="Old")
    schemas.read([file])
    seen = os.stat(file)
    other = schema_text(tmp_path / "new", description="New")
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    os.replace(other, file)
    found = schemas.read([file])[file]
    assert isinstance(found, list) and found[0]["description"] == "New"


def test_files_that_are_gone_leave_the_cache(tmp_path: Path) -> None:
    gone, there = schema_text(tmp_path / "gone"), schema_text(tmp_path / "there")
    schemas.read([gone, there])
    os.unlink(gone)
    schemas.read([schema_text(tmp_path / "third")])
    assert gone.encode() not in schemas.cached() and there.encode() in schemas.cached()


@pytest.mark.parametrize("damage", [b"", b"\n", b"agentutils schemas", b"\0" * 99])
def test_a_damaged_cache_counts_as_none(damage: bytes, home: Path) -> None:
    schemas.read([schema_text(home / "t")])
    file = home / ".cache" / "agentutils" / "schemas"
    file.write_bytes(damage + file.read_bytes()[5:-1])
    assert schemas.cached() == {}


def test_the_cache_is_the_users_alone(home: Path) -> None:
    os.umask(before := os.umask(0))
    try:
        os.umask(0)
        schemas.read([schema_text(home / "t")])
    finally:
        os.umask(before)
    assert (home / ".cache" / "agentutils" / "schemas").stat().st_mode & 0o077 == 0


def test_find_looks_in_the_folders_in_order(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "x").write_text("not executable")
    schema_text(tmp_path / "b" / "x")
    assert schemas.find("x", [tmp_path / "a", str(tmp_path / "b")]) == str(tmp_path / "b" / "x")
    for name in ("y", "../b/x", "", ".."):
        with pytest.raises(Fault):
            schemas.find(name, [tmp_path / "a", tmp_path / "b"])


def test_the_mark_is_found_across_blocks_up_to_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t"
    file.write_bytes(b"x" * ((1 << 20) - 5) + trust.MARK)
    assert trust.marked(str(file))
    monkeypatch.setattr(trust, "SCAN", 1 << 20)
    file.write_bytes(b"x" * (3 << 20) + trust.MARK)
    assert not trust.marked(str(file))
