"""What agent-discover does beside listing files: the registry, new tools, and the ways to the other modules."""

import os

from agentlib import paths, records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.schema import origin, registry, schemas
from agentlib.types import Any, Callable, Sequence

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
        inside = os.path.relpath(path, registry.folder_of(file))
        outside = inside.startswith(os.pardir)
        if outside and file != registry.users():
            why = f"{path}: not beneath the folder of {file}; --user enters it in your own"
            raise Fault("invalid_input", why)
        name, purpose = answer[0]["name"], " ".join(answer[0]["description"].split())
        binary = f"- **Binary**: {path if outside else inside}"
        _change(file, name, [f"## {name}", "", purpose, "", binary])
        stderr.warn(f"{name}: entered in {file}")
    return 0


def _unregister(names: list[str], file: str) -> int:
    for name in names:
        _change(file, name)
        stderr.warn(f"{name}: taken out of {file}")
    return 0


def _change(file: str, name: str, entry: Sequence[str] = ()) -> None:
    """Add the lines of an entry to the registry, or take out the one of this name where there are none. All else stays
    byte for byte; a lock on the folder makes two at once both count, and a link stays one."""
    from agentlib.lock import locked, replace

    folder, real = registry.folder_of(file), os.path.realpath(file)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with locked(folder, os.O_RDONLY | os.O_DIRECTORY):
        text = registry.text_of(file) if os.path.lexists(file) else ""
        ends = "\r\n" if "\r\n" in text else "\n"
        last = ends if not text or text.endswith("\n") else ""  # the end of its last line
        there = next((one for one in registry.parsed(text, file) if one.name == name), None)
        if entry and there:
            raise Fault("invalid_input", f"{file}: has an entry {name} already")
        if entry:
            gap = ends * bool(text) if last else ends * 2
            text += gap + ends.join(entry) + last
        elif there is None:
            raise Fault("not_found", f"{file}: has no entry {name}")
        elif text[there.end :]:
            text = text[: there.start] + text[there.end :]
        else:  # the last one: the gap before it goes too
            text = text[: there.start].removesuffix(ends if last else ends * 2)
        with os_errors(file):
            mode = os.stat(real).st_mode & 0o7777 if os.path.exists(real) else 0o644
            replace(real, text.encode("utf-8", "surrogateescape"), mode)


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
