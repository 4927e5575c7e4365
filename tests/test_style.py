"""What the rules of AGENTS.md can be held to by a machine; tests/exceptions.txt lists what is not there yet."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlib import __version__

ROOT = Path(__file__).resolve().parent.parent
INSERT = (
    'sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))'
)
SHEBANG = "#!/usr/bin/env -S python3 -IS"


def listed() -> list[Path]:
    """The files of the project: those git has or would add."""
    argv = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ran = subprocess.run(argv, capture_output=True)
    if ran.returncode == 0:
        found = [ROOT / os.fsdecode(name) for name in ran.stdout.split(b"\0") if name]
    else:
        left_out = {".venv", ".git", "build", "dist", "__pycache__"}  # as .gitignore has it
        found = [p for p in ROOT.rglob("*") if not left_out & set(p.relative_to(ROOT).parts)]
    return sorted(p for p in found if p.is_file() and not p.is_symlink())


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", "replace")


def names(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths]


FILES = {name: text_of(path) for name, path in zip(names(listed()), listed(), strict=True)}
FOLDERS = ("bin", "providers", "tools", "plugins", "formats")
PROGRAMS = [
    name for name in FILES if name.split("/")[0] in FOLDERS and FILES[name].startswith("#!")
]
PYTHON = [n for n in FILES if n.endswith(".py") or "python3" in FILES[n].partition("\n")[0]]
SOURCES = [
    n
    for n in FILES
    if n in PYTHON or FILES[n].startswith("#!") or n.endswith((".bats", ".bash", ".sh"))
]


def exceptions() -> dict[str, str]:
    """tests/exceptions.txt: `RULE FILE [NAME]`, two spaces, the reason; sorted; the list may only shrink."""
    rows = [
        line
        for line in FILES.get("tests/exceptions.txt", "").splitlines()
        if line and line[0] != "#"
    ]
    assert rows == sorted(rows)
    return {key.strip(): reason.strip() for key, _, reason in (row.partition("  ") for row in rows)}


def against(rule: str, broken: list[str]) -> None:
    """Fails where a rule is broken beyond the exceptions, or an exception is no longer needed."""
    excused = {key.removeprefix(rule + " ") for key in exceptions() if key.startswith(rule + " ")}
    assert sorted(set(broken) - excused) == []
    assert sorted(excused - set(broken)) == [], "no longer needed in tests/exceptions.txt"


@pytest.mark.parametrize("program", PROGRAMS)
def test_line_two_is_the_name_and_the_purpose(program: str) -> None:
    line = FILES[program].splitlines()[1].strip().strip('"').lstrip("#/* ")
    name, dash, purpose = line.partition(" - ")
    assert (name, dash) == (program.rpartition("/")[2], " - ")
    assert len(line) < 72
    assert purpose[0].islower() or purpose.split()[0].isupper()
    assert purpose[-1] not in ".:"


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p in PYTHON])
def test_every_python_program_starts_and_ends_alike(program: str) -> None:
    text = FILES[program]
    assert text.startswith(SHEBANG + '\n"""')
    assert text.count(INSERT) == 1
    assert text.index(INSERT) < text.index("\nfrom agentlib")
    last = ast.unparse(ast.parse(text).body[-1])
    assert re.search(r"\w+\.(start|serve)\(", last) and "__doc__" in last


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p in PYTHON])
def test_main_comes_first_and_then_what_it_calls(program: str) -> None:
    """Only the reading of the options, and what the schema needs, may stand before it."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [n.name for n in ast.parse(FILES[program]).body if isinstance(n, kinds)]
    if "main" in defined:
        assert set(defined[: defined.index("main")]) <= {"arguments", "tool_schema"}


@pytest.mark.parametrize("name", SOURCES)
def test_what_has_a_shebang_can_be_run_and_nothing_else(name: str) -> None:
    runs = bool((ROOT / name).stat().st_mode & 0o111)
    assert runs == (FILES[name].startswith("#!") and not name.endswith(".bats"))


def test_no_source_file_is_longer_than_500_lines() -> None:
    against("long-file", [n for n in SOURCES if FILES[n].count("\n") > 500])


def test_no_function_is_longer_than_50_lines() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    against(
        "long-function",
        [
            f"{name} {node.name}"
            for name in PYTHON
            for node in ast.walk(ast.parse(FILES[name]))
            if isinstance(node, kinds) and node.end_lineno and node.end_lineno - node.lineno >= 50
        ],
    )


def test_no_conditional_expression_is_nested() -> None:
    """`x if y else z if …`, also with brackets: a name or an if in its place."""
    for name in PYTHON:
        for node in ast.walk(ast.parse(FILES[name])):
            if isinstance(node, ast.IfExp):
                parts = (node.test, node.body, node.orelse)
                assert not any(isinstance(part, ast.IfExp) for part in parts), (
                    f"{name}:{node.lineno}"
                )


def test_a_statement_sets_one_value_or_two_that_belong_together() -> None:
    """`a, b, c = 1, "", {}` is three statements in a line. (In lib/ the bound on its lines comes first.)"""
    packed = {
        name
        for name in PYTHON
        if not name.startswith("lib/")
        for node in ast.walk(ast.parse(FILES[name]))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and isinstance(node.targets[0], ast.Tuple)
        and len(node.targets[0].elts) == len(node.value.elts) > 2
    }
    against("packed-line", sorted(packed))


def test_no_text_or_list_is_multiplied_by_a_condition() -> None:
    """`"s" * (count > 1)`: an if says it."""
    for name in [n for n in PYTHON if not n.startswith("lib/")]:
        for node in ast.walk(ast.parse(FILES[name])):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                for side in (node.left, node.right):
                    is_bool = isinstance(side, ast.Call) and ast.unparse(side.func) == "bool"
                    is_not = isinstance(side, ast.UnaryOp) and isinstance(side.op, ast.Not)
                    wrong = is_bool or is_not or isinstance(side, ast.Compare)
                    assert not wrong, f"{name}:{node.lineno}"


def test_no_code_is_built_from_data() -> None:
    """No shell=True, os.system, eval, exec; in shells no eval."""
    found = []
    for name in [n for n in SOURCES if not n.startswith("tests/")]:
        if name in PYTHON:
            for node in ast.walk(ast.parse(FILES[name])):
                if (
                    isinstance(node, ast.keyword)
                    and node.arg == "shell"
                    or isinstance(node, ast.Call)
                    and ast.unparse(node.func) in ("eval", "exec", "os.system", "os.popen")
                ):
                    found.append(name)
        elif re.search(r"^\s*eval\b|[;&|(]\s*eval\b", FILES[name], re.M):
            found.append(name)
    against("builds-code", found)


def test_the_version_is_that_of_the_changelog() -> None:
    tops = re.findall(r"^## \[?([^\]\s]+)\]?", FILES["CHANGELOG.md"], re.M)
    assert tops[0] in (__version__, "Unreleased")
    assert tops[0] == __version__ or len(tops) == 1 or tops[1] == __version__


def test_no_file_names_a_machine() -> None:
    """Paths and hosts of one machine, which mean nothing on another."""
    words = [
        r"(?<![\w.])/wo" + r"rk/",
        "/ro" + "ot/",
        "bash_" + "jobs",
        "pypi" + "-more",
        r"/home/(?!you\b|user\b)\w",
    ]
    assert [n for n, text in FILES.items() if re.search("|".join(words), text)] == []


def test_every_package_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-test.txt"):
        rows = [r for r in FILES[name].splitlines() if r and r[0] != "#"]
        assert rows == sorted(rows, key=lambda row: row.partition("==")[0].lower())
        assert [r for r in rows if not re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+( *; .*)?", r)] == []


def test_the_registry_names_every_agent_and_its_binary() -> None:
    registered = set(re.findall(r"^- \*\*Binary\*\*: `?([\w./-]+)`?", FILES["AGENTS.md"], re.M))
    assert {Path(t).name for t in registered} == {
        n.removeprefix("bin/")
        for n in PROGRAMS
        if n.startswith("bin/") and not n.startswith("bin/agent-")
    }


# words that say how a thing came, not what it is: they name no value, parameter or function
HOW_IT_CAME = {"told", "said", "given", "held", "shown", "asked", "own", "whole"}


def named(tree: ast.AST) -> Iterator[str]:
    """Every name that a source gives to a value, a parameter or a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name.strip("_")


@pytest.mark.parametrize("name", PYTHON)
def test_names_say_what_a_thing_is(name: str) -> None:
    assert HOW_IT_CAME & set(named(ast.parse(FILES[name]))) == set()
