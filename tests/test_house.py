"""The house of lib/agentlib: packages on floors, each importing only from below (AGENTS.md, "The house")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent.parent / "lib" / "agentlib"
PROGRAMS = {"llm", "react", "memory", "discover", "context", "patterns", "schedule", "local"}
MOST = 16  # files in a package, its __init__.py among them


def module(file: Path) -> str:
    """`sandbox.cell` of sandbox/cell.py, `sandbox` of its __init__.py, `` of the lib's own."""
    return ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix("__init__").strip(".")


FILES = {module(file): file for file in sorted(LIB.rglob("*.py"))}
PACKAGES = {name for name, file in FILES.items() if file.name == "__init__.py" and name}


def imported(file: Path) -> set[str]:
    """The modules of the lib that a file imports: at its head, later, and for a type alike."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "agentlib":
            base = ".".join((node.module or "").split(".")[1:])
            names = [f"{base}.{alias.name}".strip(".") for alias in node.names]
            found |= {name if name in FILES else base for name in names}
    return found - {""}


IMPORTS = {name: imported(file) for name, file in FILES.items()}


def package(name: str) -> str:
    """The package that a module lies in, "" for one that lies flat."""
    return name if name in PACKAGES else name.rpartition(".")[0]


def room(name: str) -> str:
    return package(name).split(".")[0]


def may_import(name: str) -> set[str]:
    """The packages that a package's docstring names after `May import:`."""
    doc = ast.get_docstring(ast.parse(FILES[name].read_text())) or ""
    assert "May import: " in doc, f"{name}/__init__.py does not say what it may import"
    words = doc.partition("May import: ")[2].rstrip(".").split(", ")
    return set(words) - {"the flat modules"}


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_imports_what_its_docstring_allows(name: str) -> None:
    used = {package(to) for at in FILES if package(at) == name for to in IMPORTS[at]} - {"", name}
    assert used - may_import(name) == set()
    assert may_import(name) - used == set(), "named, but not imported"


def test_the_flat_modules_import_no_package() -> None:
    assert {
        (at, to) for at in FILES if not package(at) for to in IMPORTS[at] if package(to)
    } == set()


def test_programs_meet_in_pipes() -> None:
    wrong = [
        (at, to)
        for at in FILES
        for to in IMPORTS[at]
        if room(at) != room(to) and {room(at), room(to)} <= PROGRAMS
    ]
    assert wrong == []


def test_llm_and_provider_do_not_import_each_other() -> None:
    pairs = ({"llm", "provider"}, {"provider", "sandbox"}, {"provider", "schema"})
    assert [(at, to) for at in FILES for to in IMPORTS[at] if {room(at), room(to)} in pairs] == []


def test_only_who_invokes_and_who_asks_schemas_opens_a_sandbox() -> None:
    doors = {"sandbox", "invoke", "schema"}
    assert [at for at in FILES if "sandbox.cell" in IMPORTS[at] and room(at) not in doors] == []


def test_no_circle() -> None:
    """Neither between files (lazily and for a type too) nor between packages."""
    between = {
        p: {package(to) for at in FILES if package(at) == p for to in IMPORTS[at]} - {p, ""}
        for p in PACKAGES
    }
    assert circles(IMPORTS) == []
    assert circles(between) == []


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The nodes that reach themselves."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        left = [start]
        while left:
            for to in graph.get(left.pop(), set()) - seen:
                seen.add(to)
                left.append(to)
        return seen

    return sorted(node for node in graph if node in reach(node))


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_can_be_taken_in_at_a_glance(name: str) -> None:
    assert len([file for file in FILES.values() if file.parent == FILES[name].parent]) <= MOST


def test_every_folder_is_a_package() -> None:
    assert {module(file.parent / "__init__.py") for file in FILES.values()} - {""} == PACKAGES
