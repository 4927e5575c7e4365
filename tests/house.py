"""What lib/ is made of: files, packages, who imports whom, and how many lines a program has."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "lib"
FOLDERS = ("bin", "providers", "tools", "plugins", "formats")
GROUND = {
    "budget",
    "history",
    "records",
}  # the packages of the ground floor, beside the flat modules
PROGRAMS = {"llm", "react", "memorystore", "discover", "patterns", "localmodel"}


def module(file: Path) -> str:
    """`sandbox.prepare` of agentlib/sandbox/prepare.py, `sandbox` of its __init__.py, `` of the lib's own.

    What stands beside agentlib keeps the name of its folder: `localmodel.fetch`.
    """
    return short(".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__"))


def short(name: str) -> str:
    """The name of a module in here: without `agentlib`."""
    return name.removeprefix("agentlib").strip(".")


FILES = {module(file): file for file in sorted(LIB.rglob("*.py"))}
FOLDERS_OF_LIB = {file.relative_to(LIB).parts[0] for file in FILES.values()}
PACKAGES = {name for name, file in FILES.items() if file.name == "__init__.py" and name}


def imported(file: Path) -> set[str]:
    """The modules of the lib that a file imports: at its head, later, and for a type alike."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        top = (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else ""
        if top in FOLDERS_OF_LIB:
            base = short(node.module)
            names = [f"{base}.{alias.name}".strip(".") for alias in node.names]
            found |= {name if name in FILES else base for name in names}
    return found - {""}


@functools.cache
def imports() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imported(file) for name, file in FILES.items()}


def package(name: str) -> str:
    """The package that a module lies in, "" for one that lies flat."""
    return name if name in PACKAGES else name.rpartition(".")[0]


def top_package(name: str) -> str:
    """The outermost package of a module."""
    return package(name).split(".")[0]


def between() -> dict[str, set[str]]:
    """The packages that each package imports; the ground floor is left out, but for one that is of it itself."""
    return {
        name: {package(to) for at in FILES if package(at) == name for to in imports()[at]}
        - {name, "", *(set() if name in GROUND else GROUND)}
        for name in PACKAGES
    }


def reached(graph: dict[str, set[str]], start: set[str]) -> set[str]:
    """All nodes that can be reached from these, which are not among them unless they can be."""
    seen: set[str] = set()
    left = list(start)
    while left:
        for to in graph.get(left.pop(), set()) - seen:
            seen.add(to)
            left.append(to)
    return seen


def lines(file: Path) -> int:
    """Its lines."""
    return len(file.read_text().splitlines())


def size(name: str) -> int:
    """The lines of a package, without the packages in it; "" for the flat modules."""
    return sum(lines(file) for at, file in FILES.items() if package(at) == name)


def parts(program: Path) -> set[Path]:
    """The files that are this program: its own, and what it uses of the packages of programs."""
    if "python3" not in program.read_text().partition("\n")[0]:
        return {program}
    first = imported(program)
    every = first | reached(imports(), first)
    return {program, *(FILES[name] for name in every if top_package(name) in PROGRAMS)}


@functools.cache
def users() -> dict[str, list[Path]]:
    """The programs that reach each module."""
    files = [p for folder in FOLDERS for p in sorted((ROOT / folder).iterdir()) if p.is_file()]
    firsts = {p: imported(p) for p in files if "python3" in p.read_text().partition("\n")[0]}
    every = {p: first | reached(imports(), first) for p, first in firsts.items()}
    return {name: [p for p, names in every.items() if name in names] for name in FILES}


def floors() -> list[list[str]]:
    """The packages above the ground, those that import none first, then those that import from the floors before."""
    left = PACKAGES - GROUND
    graph = between()
    out = []
    while left:
        floor = sorted(name for name in left if not graph[name] & left)
        out.append(floor)
        left -= set(floor)
    return out


def drawing() -> str:
    """The house from the ground up, a line a floor: each package with its lines."""
    flat = " ".join(sorted(name for name in FILES if name and not package(name)))
    rows = [f"ground   {size('')} lines: {flat}"]
    for number, floor in enumerate([sorted(GROUND), *floors()]):
        names = (f"{name.replace('.', '/')} {size(name)}" for name in floor)
        rows.append(f"{f'floor {number}' if number else '':7}  {', '.join(names)}")
    return "\n".join([*rows, f"in all   {sum(map(lines, FILES.values()))} lines", ""])
