#!/usr/bin/env python3
"""starts - every place in the sources that starts a process, compared with tests/starts.txt

    tests/starts.py        print the places as a table (docs/safety.md holds it), and what tests/starts.txt lacks

Python is read by its syntax tree: what starts a process itself (subprocess, os.exec*, os.fork, clone …), and who uses
the parts of the suite that do (Direct, Supervised, Coprocess, run, start). In shells it is the first words of commands,
in other languages the names of their starters.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("lib", "bin", "tools", "plugins", "providers", "formats", "packaging/bundle")
MODULES = {  # what of a module starts a process; None: all of it
    "subprocess": r"Popen|run|call|check_\w+|get\w*output",
    "os": r"exec\w+|posix_spawnp?|spawn\w+|fork(pty)?|system|popen",
    "pty": r"spawn|fork",
    "_posixsubprocess": r"\w+",
    "multiprocessing": r"\w+",
    "runpy": r"\w+",
}
ASYNC = {"create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"}
# classes that start a process when they are made, and functions that do
OURS = {"Direct", "Supervised", "Coprocess", "ProcessPoolExecutor"}
RUNS = {"agentlib.process.run": ("run", "start")}
HOW = {
    "launch": "`launch.start.sandbox`: origin, policy, environment, sandbox",
    "part": "part of the library: starts what another place of this table has prepared",
    "suite": "a program of the suite, with arguments that the suite chooses",
    "system": "a program of the system, with arguments that the suite chooses",
    "user": "a command in the user's own configuration",
    "inside": "already in the sandbox of the tool, or as the tool that the user runs",
    "script": "a pipe of fixed commands; the suite's folder is first on its PATH",
}
COMMON = (ROOT / "lib/agent.bash").read_text()  # what the agents in bash share
SHELL = re.compile(r"#!.*\b(ba)?sh$")
WORD = re.compile(r"[a-z_][a-z\d_.+-]*")
KEYWORDS = set(
    "if then elif else fi while until for do done case esac in function select time ! { } [[".split()
)
BUILTIN = set(
    "echo printf read set shift local export unset exit return cd trap test [ [[ true false : . wait kill readonly"
    " declare mapfile type let break continue umask ulimit pwd".split()
)
BEFORE = {"exec", "command", "env", "xargs", "nohup"}  # the next word is a command too
OTHERS = re.compile(
    r"child_process|\bsystem\s*\(|\bexec\s*[({]|\bqx\b|\bfork\b|\| *getline|\bpopen\b"
)


def sources() -> Iterator[tuple[str, str, str]]:
    """(path, first line, text) of every source that is installed."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                text = "" if b"\0" in data else data.decode("utf-8", "replace")
                yield str(path.relative_to(ROOT)), text.partition("\n")[0], text


def python(text: str) -> Iterator[tuple[str, str]]:
    """(function, what it uses) of each place in a Python source that starts a process."""
    tree = ast.parse(text)
    runs, types = dict(runners(tree)), set(annotations(tree))

    def walk(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
        if node in types:
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            where = node.name if where == "(module)" else f"{where}.{node.name}"
        if what := starter(node, runs):
            yield where, what
        for child in ast.iter_child_nodes(node):
            yield from walk(child, where)

    yield from walk(tree, "(module)")


def annotations(tree: ast.AST) -> Iterator[ast.AST]:
    """What in a source only says a type."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if isinstance(kind := getattr(node, field, None), ast.AST):
                yield kind


def runners(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, functions) by which the runners of the suite are known in a source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for one in node.names:
                module = f"{node.module}.{one.name}"
                if module in RUNS:
                    yield one.asname or one.name, RUNS[module]
                if one.name in RUNS.get(str(node.module), ()):
                    yield one.asname or one.name, ("",)


def starter(node: ast.AST, runs: dict[str, tuple[str, ...]]) -> str:
    """What a node of a syntax tree starts a process with, '' for nothing."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        base = node.value.id
        if base in MODULES and re.fullmatch(MODULES[base], node.attr):
            return f"{base}.{node.attr}"
        if node.attr in runs.get(base, ()):
            return f"{base}.{node.attr}"
    if isinstance(node, (ast.Attribute, ast.Name)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in ASYNC or name == "CLONE" and isinstance(node.ctx, ast.Load):
            return name
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and "" in runs.get(node.func.id, ()):
            return node.func.id
        return called(node)
    if isinstance(node, ast.ImportFrom) and node.module in MODULES:
        names = [one.name for one in node.names if re.fullmatch(MODULES[node.module], one.name)]
        return f"from {node.module}" if names else ""
    if isinstance(node, ast.Import):
        renamed = [one.name for one in node.names if one.name in MODULES and one.asname]
        return f"import {renamed[0]} as" if renamed else ""
    return ""


def called(node: ast.Call) -> str:
    """The same of a call: a class of ours, getattr() on a module of theirs, an import by name."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in OURS:
        return str(name)
    first = node.args[0] if node.args else None
    if name == "getattr" and isinstance(first, ast.Name) and first.id in MODULES:
        return f"getattr({first.id})"
    if name in ("__import__", "import_module", "partial"):
        words = {
            getattr(one, "value", getattr(one, "id", getattr(one, "attr", ""))) for one in node.args
        }
        found = words & (MODULES.keys() | OURS) - {"os"}
        return f"{name}({found.pop()})" if found else ""
    return ""


def shell(text: str) -> set[str]:
    """The programs that a shell script runs by name: the first words of its commands."""
    text = re.sub(r"<<-?\s*'?(\w+)'?.*?^\t*\1$", "", text, flags=re.M | re.S)  # here-documents
    functions = set(re.findall(r"^\s*([\w-]+)\s*\(\)", text + COMMON, re.M))
    text = re.sub(r"\$\{[^{}]*\}", "V", unquoted(text))
    found: set[str] = set()
    for piece in re.split(r"[\n;|&(){}`]|\$\(", text):
        words = [w for w in piece.split() if not re.match(r"\w+\+?=|[<>\d]", w)]
        while words and (words[0] in KEYWORDS or words[0] in BEFORE):
            del words[: 2 if words[0] in ("for", "case", "select") else 1]
        if words and WORD.fullmatch(words[0]) and words[0] not in BUILTIN | functions:
            found.add(words[0])
    return found


def unquoted(text: str) -> str:
    """A script without its comments and quoted texts, but with the commands inside of "$( )"."""
    out = []
    quotes = [""]
    at = 0
    while at < len(text):
        c, quote = text[at], quotes[-1]
        if c == "\\" and quote != "'":
            at += 2
            continue
        if quote == "'":
            quotes.pop() if c == "'" else None
        elif quote == '"':
            if c == '"':
                quotes.pop()
            elif text.startswith("$(", at):
                quotes.append(")")
                out.append("\n")
        elif c == "#" and (at == 0 or text[at - 1].isspace()):
            at = (text + "\n").index("\n", at)
            continue
        elif c in "'\"":
            quotes.append(c)
            out.append("%")
        elif c == ")" and quote == ")":
            quotes.pop()
            out.append("\n")
        else:
            quotes.append(")") if text.startswith("$(", at) and quote == ")" else None
            out.append(c)
        at += 1
    return "".join(out)


def found() -> dict[tuple[str, str], str]:
    """{(file, function): what starts the process} of all sources; of a shell script, all programs that it names."""
    places: dict[tuple[str, str], str] = {}
    for path, first, text in sources():
        if path.endswith(".py") or first.startswith("#!") and "python3" in first:
            for where, what in python(text):
                places.setdefault((path, where), what)
        elif SHELL.match(first) or path.endswith(".bash"):
            places[path, "(script)"] = " ".join(sorted(shell(text)))
        elif first.startswith("#!"):
            code = re.sub(r"(?m)^\s*(#|//|\*).*$", "", text)
            if hit := OTHERS.search(code):
                places[path, hit[0]] = hit[0]
    return places


def rows() -> dict[tuple[str, str], tuple[str, str]]:
    """tests/starts.txt: {(file, function): (how, what is started)}; a line is these four, the first three words."""
    lines = (ROOT / "tests" / "starts.txt").read_text().splitlines()
    fields = [line.split(None, 3) for line in lines if line and line[0] != "#"]
    return {(file, where): (how, what) for file, where, how, what in fields}


def table() -> str:
    """The rows as the table of docs/safety.md."""
    out = ["| where | what is started | by what |", "|---|---|---|"]
    for (file, where), (how, what) in sorted(rows().items()):
        place = f"`{file.removeprefix('lib/agentlib/')}` {where}"
        out.append(f"| {place} | {what} | {HOW[how]} |")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    print(table(), end="")
    for place in sorted(found().keys() - rows().keys()):
        print("not in tests/starts.txt:", *place, found()[place], file=sys.stderr)
