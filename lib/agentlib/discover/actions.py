"""What agent-discover does beside listing files: the registry, new tools, and the ways to the other modules."""

import os
from functools import partial

from agentlib import paths, records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.schema import origin, registry, schemas
from agentlib.schema.registry import Entry
from agentlib.types import Any, Callable

TEMPLATES = os.path.join(os.path.dirname(os.path.realpath(__file__)), "templates")
MISSING = {"find": "words", "unregister": "a name", "help-probe": "a name"}  # else a file


def act(action: str, operands: list[str], chosen: Any) -> int:
    """Do what the option --ACTION says with the operands; the exit status. chosen: lang, user, timeout."""
    from agentlib.discover import check, find, manpages

    words = operands[1:] if action == "find" else operands
    if not words and action not in ("agents", "check"):
        what = MISSING.get(action, "a file")
        raise Fault("invalid_input", f"{action}: give {what}; see 'agent-discover --help'")
    actions: dict[str, Callable[[], int]] = {
        "agents": lambda: _agents(words),
        "check": lambda: check.report(words, chosen.timeout),
        "find": lambda: find.report(" ".join(words), chosen.semantic),
        "help-probe": lambda: manpages.help_probe(words, chosen.timeout),
        "new-tool": lambda: _new_tools(words, chosen.lang),
        "register": lambda: _register(words, _registry(chosen.user)),
        "unregister": lambda: _unregister(words, _registry(chosen.user)),
    }
    return actions[action]()


def _agents(names: list[str]) -> int:
    """Print the agents of the registries, all or those named; 1 where there is none, or one is missing."""
    found = {one["name"]: one for one in origin.agents(warn=True)}
    for name in names:
        if name not in found:
            stderr.warn(f"{name}: not in {os.pathsep.join(registry.sources()) or 'any AGENTS.md'}")
    listed = [found[name] for name in (names or found) if name in found]
    for one in listed:
        records.put(schemas.line(one) + b"\n")
    return int(not listed or len(listed) < len(names))


def _register(files: list[str], file: str) -> int:
    """Enter each executable, by the name in its schema, in the registry."""
    for path, answer in schemas.ask([os.path.abspath(one) for one in files]).items():
        if isinstance(answer, Fault):
            raise Fault(answer.kind, f"{path}: {answer.message}")
        inside = os.path.relpath(path, os.path.dirname(os.path.abspath(file)))
        outside = inside.startswith(os.pardir)
        if outside and file != registry.users():
            why = f"{path}: not beneath the folder of {file}; --user enters it in your own"
            raise Fault("invalid_input", why)
        name, purpose = answer[0]["name"], " ".join(answer[0]["description"].split())
        lines = [f"## {name}", "", purpose, "", f"- **Binary**: {path if outside else inside}"]
        _change(file, partial(_added, name, lines))
        stderr.warn(f"{name}: entered in {file}")
    return 0


def _unregister(names: list[str], file: str) -> int:
    """Take each entry out of the registry; everything else in it stays as it is, byte for byte."""
    for name in names:
        _change(file, partial(_removed, name))
        stderr.warn(f"{name}: taken out of {file}")
    return 0


def _change(file: str, edit: Callable[[str, list[Entry]], str]) -> None:
    """Read, change and write under a lock on the folder, so that two at once both count; a link stays one.

    edit: gets the text and its entries, and gives the new text; a Fault where that cannot be.
    """
    from agentlib.lock import locked, replace

    folder, real = os.path.dirname(os.path.abspath(file)), os.path.realpath(file)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with locked(folder, os.O_RDONLY | os.O_DIRECTORY):
        text = registry.text_of(file) if os.path.lexists(file) else ""
        try:
            new = edit(text, list(registry.parsed(text, file)))
        except Fault as fault:
            raise Fault(fault.kind, f"{file}: {fault.message}") from None
        with os_errors(file):
            mode = os.stat(real).st_mode & 0o7777 if os.path.exists(real) else 0o644
            replace(real, new.encode("utf-8", "surrogateescape"), mode)


def _added(name: str, lines: list[str], text: str, entries: list[Entry]) -> str:
    if any(entry.name == name for entry in entries):
        raise Fault("invalid_input", f"has an entry {name} already")
    ends = "\r\n" if "\r\n" in text else "\n"
    block = ends.join(lines)
    if not text or text.endswith("\n"):
        return text + ends * bool(text) + block + ends
    # as the text: without a line end, so that _removed() gives it back
    return text + ends * 2 + block


def _removed(name: str, text: str, entries: list[Entry]) -> str:
    entry = next((one for one in entries if one.name == name), None)
    if entry is None:
        raise Fault("not_found", f"has no entry {name}")
    before, after = text[: entry.start], text[entry.end :]
    if not after:  # the last one: what _added() put before it goes too
        ends = "\r\n" if "\r\n" in text else "\n"
        before = before.removesuffix(ends if text.endswith("\n") else ends * 2)
    return before + after


def _registry(user: bool) -> str:
    """The AGENTS.md to change: the user's own, else the nearest one upward or one in this folder; never the suite's."""
    if user:
        return registry.users()
    here = os.path.join(os.getcwd(), registry.FILE)
    nearest = next(iter(registry.sources()), here)
    others = (registry.users(), os.path.join(paths.TOP, registry.FILE))
    return here if nearest in others else nearest


def _new_tools(files: list[str], language: str) -> int:
    """Write a first version of each tool, which passes --check. A Fault: the file is there, or its name is none."""
    with open(os.path.join(TEMPLATES, f"tool.{language}"), encoding="utf-8") as template:
        text = template.read()
    for path in files:
        name = os.path.basename(path)
        for wrong in schemas.faults({"name": name, "description": "x"}):
            raise Fault("invalid_input", f"{path}: {wrong}")
        with os_errors(path), open(path, "x", encoding="utf-8") as file:
            file.write(text.replace("NAME", name))
            os.fchmod(file.fileno(), 0o755)
        file_name = path if os.sep in path else f"./{path}"
        cure = f"change what it says and does, then: agent-discover --check {file_name}"
        records.put(f"{file_name}: made; {cure}\n".encode())
    return 0
