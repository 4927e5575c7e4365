"""SKILL.md folders: a catalogue for the model and a tool that reads a skill (https://agentskills.io/specification)."""

from __future__ import annotations

import os
import sys

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.types import Iterator, NamedTuple, Record

CAP = 256 * 1024  # bytes of one SKILL.md


class Skill(NamedTuple):
    """A SKILL.md: name and description from its front matter, its folder, the text after the front matter."""

    name: str
    description: str
    folder: str
    text: str


def offer(folders: list[str]) -> Iterator[Record]:
    """The catalogue as one `context` record, and the `tool` record that reads a skill; nothing without skills."""
    found = find(folders)
    if not found:
        return
    catalogue = "".join(f"- {skill.name}: {skill.description}\n" for skill in found)
    head = "Skills that can be read by the tool `skill`, each before its task is begun:\n"
    yield {"type": "context", "source": "skills", "text": head + catalogue}
    command = [os.path.join(paths.TOP, "bin", "agent-context"), "--read-skill"]
    for folder in folders:
        command += ["--skills", os.path.abspath(folder)]
    readable = {os.path.realpath(folder) for folder in (*folders, *(s.folder for s in found))}
    names = {"type": "string", "enum": [skill.name for skill in found]}
    yield {
        "type": "tool",
        "name": "skill",
        "description": "Read the instructions of a skill",
        "inputSchema": {"type": "object", "properties": {"name": names}, "required": ["name"]},
        "annotations": {"readOnlyHint": True},
        "command": command,
        "invoke": "json",
        "kind": "tool",
        "sandbox": {"profile": "read", "read": sorted(readable)},
    }


def read(folders: list[str]) -> int:
    """Answer a call of the tool: the skill's text, and the names of the other files in its folder."""
    arguments = records.loads(sys.stdin.buffer.read(CAP))
    name = arguments.get("name") if isinstance(arguments, dict) else None
    skill = next((skill for skill in find(folders) if skill.name == name), None)
    if skill is None:
        raise Fault("invalid_arguments", f"no skill named {name!r}")
    files = [os.path.join(base, file) for base, _, names in os.walk(skill.folder) for file in names]
    others = [f"- {file}\n" for file in sorted(files) if not file.endswith("SKILL.md")]
    listing = "".join(["\nFiles of this skill:\n", *others]) if others else ""
    records.put(f"{skill.text.strip()}\n{listing}".encode())
    return 0


def find(folders: list[str]) -> list[Skill]:
    """The skills in the folders, by name. One that cannot be read is left out with a warning."""
    found: dict[str, Skill] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise Fault("invalid_input", f"--skills {folder}: no such folder")
        files = [os.path.join(folder, entry, "SKILL.md") for entry in sorted(os.listdir(folder))]
        for file in filter(os.path.isfile, files):
            try:
                skill = parse(file)
                found.setdefault(skill.name, skill)
            except Fault as fault:
                stderr.warn(f"left out: {fault.message}")
    return sorted(found.values())


def parse(file: str) -> Skill:
    """The skill of one file: front matter between lines `---`, of which `name` and `description` are read."""
    with open(file, encoding="utf-8-sig", errors="replace") as stream:
        lines = stream.read(CAP).splitlines()
    marks = [number for number, line in enumerate(lines) if line.strip() == "---"]
    if marks[:1] != [0] or len(marks) < 2:
        raise Fault("invalid_input", f"{file}: line 1: front matter between lines --- is due")
    head = _front_matter(lines[1 : marks[1]])
    if not head.get("name") or not head.get("description"):
        raise Fault("invalid_input", f"{file}: the front matter needs `name` and `description`")
    folder, text = os.path.dirname(os.path.abspath(file)), "\n".join(lines[marks[1] + 1 :])
    return Skill(head["name"], head["description"], folder, text)


def _front_matter(lines: list[str]) -> dict[str, str]:
    """`key: value` lines; an indented line continues the value before it (YAML's plain scalars)."""
    head: dict[str, str] = {}
    key = ""
    for line in lines:
        if line[:1].isspace() and key:
            head[key] = (head[key] + " " + line.strip()).strip()
        elif ":" in line and not line.startswith("#"):
            key, value = (side.strip() for side in line.split(":", 1))
            head[key] = "" if value in (">", "|", ">-", "|-") else value.strip("\"'")
    return head
