"""The house of lib/agentlib: packages on floors, each importing only from below (AGENTS.md, "The house")."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from house import (
    FILES,
    GROUND,
    PACKAGES,
    PROGRAMS,
    ROOT,
    between,
    drawing,
    imports,
    lines,
    package,
    reached,
    top_package,
    users,
)

MOST = 15  # files in a package, its __init__.py among them
LONGEST = 500  # lines of a file


SIZE = 18_143  # lines of lib/ at most, whatever is added: a feature pays with a cut
AGENTLIB = 16_013  # lines of lib/agentlib/ at most; the goal was 16,500
SOURCES = {".py", ".pyi", ".bash", ".awk"}


def may_import(name: str) -> set[str]:
    """The packages that a package's docstring names after `May import:`."""
    doc = ast.get_docstring(ast.parse(FILES[name].read_text())) or ""
    assert "May import: " in doc, f"{name}/__init__.py does not say what it may import"
    words = doc.partition("May import: ")[2].rstrip(".").split(", ")
    return set(words) - {"the flat modules" if name in GROUND else "the ground floor"}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_imports_what_its_docstring_allows(name: str) -> None:
    used = between()[name]
    assert used - may_import(name) == set()
    assert may_import(name) - used == set(), "named, but not imported"


def test_the_ground_floor_imports_only_itself() -> None:
    """It is the flat modules and the packages of GROUND: what any program may need, whatever it does."""
    ground = {at for at in FILES if package(at) in {"", *GROUND}}
    assert len(GROUND) < 4 and len([at for at in ground if not package(at)]) <= 14
    assert {(at, to) for at in ground for to in imports()[at] if to not in ground} == set()


def test_programs_meet_in_pipes() -> None:
    wrong = [
        (at, to)
        for at in FILES
        for to in imports()[at]
        if top_package(at) != top_package(to) and {top_package(at), top_package(to)} <= PROGRAMS
    ]
    assert wrong == []


def test_llm_and_provider_do_not_import_each_other() -> None:
    pairs = ({"llm", "provider"}, {"provider", "sandbox"}, {"provider", "schema"})
    assert [
        (at, to)
        for at in FILES
        for to in imports()[at]
        if {top_package(at), top_package(to)} in pairs
    ] == []


def test_only_the_launcher_and_its_users_know_of_sandboxes() -> None:
    may_know = {"sandbox", "launch", "invoke", "schema"}
    assert [
        at for at in FILES if "sandbox.prepare" in imports()[at] and top_package(at) not in may_know
    ] == []


def test_what_stands_beside_agentlib_is_used_by_programs_alone() -> None:
    """agentlib knows neither the models of this machine nor the store of agent-memory."""
    beside = {at for at in FILES if top_package(at) in {"localmodel", "memorystore"}}
    assert len(beside) > 2
    assert [at for at in FILES for to in imports()[at] if to in beside and at not in beside] == []


def test_no_circle() -> None:
    """Neither between files (lazily and for a type too) nor between packages."""
    assert circles(imports()) == []
    assert circles(between()) == []


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The nodes that reach themselves."""
    return sorted(node for node in graph if node in reached(graph, {node}))


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_can_be_taken_in_at_a_glance(name: str) -> None:
    assert len([file for file in FILES.values() if file.parent == FILES[name].parent]) <= MOST


def test_every_folder_is_a_package() -> None:
    assert {package(name) for name in FILES} - {""} == PACKAGES


def test_the_drawing_shows_every_package() -> None:
    print(drawing())
    assert all(f" {name.replace('.', '/')} " in drawing() for name in PACKAGES)


def test_what_one_program_alone_uses_is_in_its_own_file() -> None:
    """A module of the library has two users, or would make the file of its only one too long."""
    alone = {at: users()[at][0] for at in FILES if at not in PACKAGES and len(users()[at]) == 1}
    assert "memorystore.sqlite" in alone
    assert [at for at, user in alone.items() if lines(user) + lines(FILES[at]) <= LONGEST] == []


def test_the_lib_only_shrinks() -> None:
    files = [file for file in sorted((ROOT / "lib").rglob("*")) if file.suffix in SOURCES]
    house = [file for file in files if "agentlib" in file.parts]
    assert len(files) >= len(FILES)
    assert sum(map(lines, files)) <= SIZE, "write less, or take something out"
    assert sum(map(lines, house)) <= AGENTLIB, "write less, or take something out"


# Lines of the library that agent-react loads for a run with one tool: what a reader of its path reads; may only
# shrink.
READ = 4_988


def test_the_path_of_agent_react_can_be_read(tmp_path: Path) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text(
        "def reply(body):\n    last = body['messages'][-1]\n"
        "    call = {'name': 'wordcount', 'arguments': {'text': 'a b'}}\n"
        "    return 'done' if last['role'] == 'tool' else {'tool_calls': [call]}\n"
    )
    words = [sys.executable, ROOT / "tests/model_server.py", rules, "--with-parent"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    env = {"PATH": f"{ROOT}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"}
    env |= {"HOME": str(tmp_path), "AGENT_PROVIDER": "openai"}
    env |= {"OPENAI_BASE_URL": server.stdout.readline().strip(), "OPENAI_API_KEY": "k"}
    argv = [str(ROOT / "bin/agent-discover"), "wordcount"]
    tools = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True).stdout
    argv = ["python3", "-ISX", "importtime", str(ROOT / "bin/agent-react"), "How many words?"]
    ran = subprocess.run(argv, input=tools, env=env, capture_output=True, cwd=tmp_path, timeout=120)
    server.kill()
    server.communicate()
    assert ran.stdout == b"done\n", ran.stderr[-500:]
    loaded = set(re.findall(rb"\| +agentlib\.?([\w.]*)$", ran.stderr, re.M))
    size = sum(FILES[name.decode()].read_text().count("\n") for name in loaded)
    assert "react.loop" in {name.decode() for name in loaded}
    assert size <= READ, f"{size} lines"
