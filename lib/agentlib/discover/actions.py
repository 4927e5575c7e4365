"""What agent-discover does beside listing files: the registry, help, new tools. None of it is a stage."""

from __future__ import annotations

import os

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.schema import origin, registry, schemas
from agentlib.types import Any, Callable


def act(action: str, operands: list[str], chosen: Any) -> int:
    """Do what the option --ACTION says with the operands; the exit status. chosen: lang, user, timeout."""
    if action == "agents":
        return agents(operands)
    words = operands[1:] if action == "find" else operands
    if not words:
        needs = {"find": "words", "register": "a file", "new-tool": "a file"}
        what = needs.get(action, "a name")
        raise Fault("invalid_input", f"{action}: give {what}; see 'agent-discover --help'")
    if action == "find":
        from agentlib.discover import find

        return find.report(" ".join(words), getattr(chosen, "semantic", None))
    if action == "help-probe":
        from agentlib.discover import helpprobe

        return helpprobe.report(words, chosen.timeout)
    if action == "new-tool":
        from agentlib.discover import scaffold

        for path in words:
            scaffold.write(path, chosen.lang)
        return 0
    change = register if action == "register" else unregister
    return change(words, registry.users() if chosen.user else _nearest())


def agents(names: list[str]) -> int:
    """Print the agents of the registries, all or those named; 1 where there is none, or one is missing."""
    found = {one["name"]: one for one in origin.agents(warn=True)}
    for name in names:
        if name not in found:
            stderr.warn(f"{name}: not in {os.pathsep.join(registry.sources()) or 'any AGENTS.md'}")
    listed = [found[name] for name in (names or found) if name in found]
    for one in listed:
        records.put(schemas.line(one) + b"\n")
    return int(not listed or len(listed) < len(names))


def register(files: list[str], file: str) -> int:
    """Enter each executable, which is asked for its name, in the registry."""
    answers = schemas.ask([os.path.abspath(one) for one in files])
    for path, answer in answers.items():
        if isinstance(answer, Fault):
            raise Fault(answer.kind, f"{path}: {answer.message}")
        name, description = answer[0]["name"], answer[0]["description"]
        inside = os.path.relpath(path, os.path.dirname(os.path.abspath(file)))
        if inside.startswith(os.pardir) and file != registry.users():
            why = f"{path}: not beneath the folder of {file}; --user enters it in your own"
            raise Fault("invalid_input", why)
        binary = path if inside.startswith(os.pardir) else inside
        _change(file, registry.add, name, description, binary)
        stderr.warn(f"{name}: entered in {file}")
    return 0


def unregister(names: list[str], file: str) -> int:
    """Take each entry out of the registry; everything else in it stays as it is, byte for byte."""
    for name in names:
        _change(file, registry.remove, name)
        stderr.warn(f"{name}: taken out of {file}")
    return 0


def _change(file: str, change: Callable[..., str], *about: str) -> None:
    """Read, change and write under a lock on the folder, so that two at once both count."""
    import fcntl

    folder = os.path.dirname(os.path.abspath(file))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        registry.write(file, change(file, *about))
    finally:
        os.close(fd)


def _nearest() -> str:
    """The AGENTS.md that a change goes to: the nearest one upward, else one in this folder; never the suite's."""
    first = next(iter(registry.sources()), "")
    usual = (registry.users(), os.path.join(paths.TOP, registry.FILE))
    here = os.path.join(os.getcwd(), registry.FILE)
    return (
        first if first and (first not in usual or os.path.dirname(first) == os.getcwd()) else here
    )
