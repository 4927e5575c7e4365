"""The registry of agents, AGENTS.md: a second-level heading with a bullet `- **Binary**: PATH` below it is an entry
(docs/agent-discover.md). The nearest one upward comes first, then the user's in the data folder, then the suite's.

Such a file comes with any clone: reading it runs nothing, nothing in it is expanded, and a program outside of the
file's folder is left out unless the user's configuration allows it (`[discover] allow = ["/path"]`).
"""

import os
import re
import stat

from agentlib import paths
from agentlib.faults import Fault, os_errors
from agentlib.schema import trust
from agentlib.types import Any, Iterator, NamedTuple


class Entry(NamedTuple):
    """An agent of a registry. binary: as it is written; start, end: where its section stands in the text."""

    name: str
    description: str
    binary: str
    tags: list[str]
    file: str
    start: int
    end: int

    @property
    def path(self) -> str:
        """Where its program should be."""
        return os.path.normpath(os.path.join(folder_of(self.file), self.binary))


FILE = "AGENTS.md"
SIZE = 1 << 20  # bytes of a registry
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_COMMENT = "<!--"
_OPENING = re.compile(rf" {{0,3}}({_COMMENT}|`{{3,}}(?=[^`]*$)|~{{3,}})")
_HEADING = re.compile(r" {0,3}(#{1,2})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_BULLET = re.compile(r" {0,3}[-*+][ \t]+\*\*([^*:]+):?\*\*:?[ \t]*(.*)$")


def sources() -> list[str]:
    """The registries that count, the first one first."""
    folder = os.getcwd()
    while not os.path.lexists(os.path.join(folder, FILE)) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    places = (os.path.join(folder, FILE), users(), os.path.join(paths.TOP, FILE))
    return [file for file in dict.fromkeys(places) if os.path.lexists(file)]


def users() -> str:
    """The user's own registry."""
    return os.path.join(paths.place("data"), FILE)


def entries(file: str) -> list[Entry]:
    """The agents of a registry, in its order; a Fault where the file may not be read, or names an agent wrongly."""
    return list(parsed(text_of(file), file))


def record(entry: Entry) -> dict[str, Any]:
    """The `tool` record of an agent; a Fault where its program is missing, or lies outside without permission."""
    from agentlib.schema import schemas

    found, folder = entry.path, folder_of(entry.file)
    outside = not _beneath(found, folder) and entry.file != users() and found not in allowed()
    if "\0" in found or outside:
        why = "left out (the configuration can allow it: [discover] allow)"
        raise Fault("tool_denied", f"{entry.name}: {entry.binary} lies outside of {folder}; {why}")
    try:
        trust.checked(found, {})
    except Fault as fault:
        raise Fault(fault.kind, f"{entry.name}: {entry.binary}: {fault.message}") from None
    schema = {"name": entry.name, "description": entry.description, "kind": "agent"}
    return schemas.tool({**schema, **({"tags": entry.tags} if entry.tags else {})}, found)


def folder_of(file: str) -> str:
    return os.path.dirname(os.path.abspath(file))


def text_of(file: str) -> str:
    """The text of a registry, with its own line ends; a Fault unless it is a plain file of a user to be trusted."""
    if not _beneath(file, folder_of(file)):
        raise Fault("tool_denied", f"{file}: a link that leads outside of its folder; not read")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    with os_errors(file), open(os.open(file, flags), "rb") as stream:
        seen = os.fstat(stream.fileno())
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > SIZE:
            why = f"{file}: not a plain file of at most {SIZE >> 20} MiB"
            raise Fault("invalid_input", why)
        trusted = (0, os.getuid(), os.stat(os.getcwd()).st_uid)
        if seen.st_mode & stat.S_IWOTH or seen.st_uid not in trusted:
            why = f"{file}: anyone may write to it, or it is another user's; not read"
            raise Fault("tool_denied", why)
        return stream.read(SIZE + 1).decode("utf-8", "surrogateescape")


def parsed(text: str, file: str) -> Iterator[Entry]:
    """The agents of the text of a registry, in its order."""
    title, start, lines = "", 0, list[str]()
    for at, line in [*_visible(text), (len(text), "# the end")]:
        if not (heading := _HEADING.match(line)):
            lines.append(line)
            continue
        bullets = [found for bullet in lines if (found := _BULLET.match(bullet))]
        fields = {one[1].strip().lower(): one[2].strip().strip("`") for one in bullets}
        if title and fields.get("binary"):
            prose = ["" if _BULLET.match(other) else other.strip() for other in lines]
            first = " ".join("\n".join(prose).strip().partition("\n\n")[0].splitlines())
            name = title.strip("` ")
            purpose = fields.get("description") or fields.get("purpose") or first or name
            tags = [tag.strip() for tag in re.split(r"[,;]", fields.get("tags", ""))]
            yield Entry(name, purpose, fields["binary"], [*filter(None, tags)], file, start, at)
        title, start, lines = (heading[2] if heading[1] == "##" else ""), at, []


def _visible(text: str) -> Iterator[tuple[int, str]]:
    """(offset, line) of the lines that are no fenced code and no comment, as CommonMark reads them; but what is never
    closed hides nothing. A byte order mark is no part of the first line."""
    lines, unclosed = _LINE.findall(text), set[str]()
    visible_lines = [line.rstrip("\r\n").removeprefix("\ufeff") for line in lines]
    at = hidden = 0  # offset of the line; number of the first one that is seen again
    for number, bare in enumerate(visible_lines):
        if number >= hidden and (mark := _OPENING.match(bare)) and mark[1] not in unclosed:
            rest = range(number + (mark[1] != _COMMENT), len(lines))
            end = next((n for n in rest if _closes(visible_lines[n], mark[1])), -1)
            hidden = end + 1
            if end < 0:
                unclosed.add(mark[1])
        if number >= hidden:
            yield at, bare
        at += len(lines[number])


def _closes(line: str, mark: str) -> bool:
    """Whether a line ends the comment or the fenced code that began with this mark."""
    if mark == _COMMENT:
        return "-->" in line
    bare = line.strip(" \t")
    return bare.startswith(mark) and not bare.strip(mark[0]) and line[:4] != "    "


def _beneath(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))


def allowed() -> list[str]:
    """The programs elsewhere that the user's configuration lets a registry name."""
    from agentlib import config

    allow = config.load().get("discover", {}).get("allow", [])
    return [os.path.normpath(path) for path in allow if isinstance(path, str)]
