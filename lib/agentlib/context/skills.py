"""SKILL.md folders: a catalogue for the model and a tool that reads a skill (https://agentskills.io/specification)."""

import os
import sys

from agentlib import paths, records, stderr
from agentlib.context import load
from agentlib.faults import Fault, os_errors
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
    folders = [os.path.realpath(skill.folder) for skill in found]
    named = [word for folder in folders for word in ("--skills", folder)]
    file = {"type": "string", "description": "one of its other files; none: its instructions"}
    properties = {"name": {"type": "string", "enum": [skill.name for skill in found]}, "file": file}
    tool: Record = {"type": "tool", "name": "skill", "kind": "tool", "invoke": "json"}
    tool["description"] = "Read the instructions of a skill"
    tool["inputSchema"] = {"type": "object", "properties": properties, "required": ["name"]}
    tool |= {"annotations": {"readOnlyHint": True}, "sandbox": {"profile": "read", "read": folders}}
    program = os.path.join(paths.TOP, "bin", "agent-context")
    yield {**tool, "command": [program, "--read-skill", *named]}


def read(folders: list[str]) -> int:
    """Answer a call of the tool: the skill's text, and the names of the other files in its folder."""
    arguments = records.loads(sys.stdin.buffer.read(CAP))
    name = arguments.get("name") if isinstance(arguments, dict) else None
    there = [folder for folder in folders if os.path.isdir(folder)]
    skill = next((skill for skill in find(there) if skill.name == name), None)
    if skill is None:
        raise Fault("invalid_arguments", f"no skill named {name!r}")
    if file := arguments.get("file"):
        path = os.path.realpath(os.path.join(skill.folder, str(file)))
        if not path.startswith(os.path.realpath(skill.folder) + os.sep):
            raise Fault("invalid_arguments", f"{file}: not a file of the skill {skill.name}")
        records.put(load.load(path).get("text", "").encode("utf-8", "replace"))
        return 0
    files = [os.path.join(base, file) for base, _, names in os.walk(skill.folder) for file in names]
    names = sorted({os.path.relpath(file, skill.folder) for file in files} - {"SKILL.md"})
    head = "\nFiles of this skill (the argument `file` reads one):\n" if names else ""
    listing = "".join(f"- {name}\n" for name in names)
    records.put(f"{skill.text.strip()}\n{head}{listing}".encode())
    return 0


def find(folders: list[str]) -> list[Skill]:
    """The skills in the folders, by name. One that cannot be read is left out with a warning."""
    found: dict[str, Skill] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise Fault("invalid_input", f"--skills {folder}: no such folder")
        entries = ["", *sorted(os.listdir(folder))]  # the folder may be a skill itself
        files = [os.path.join(folder, entry, "SKILL.md") for entry in entries]
        for file in filter(os.path.isfile, files):
            try:
                skill = parse(file)
                found.setdefault(skill.name, skill)
            except Fault as fault:
                stderr.warn(f"left out: {fault.message}")
    return sorted(found.values())


def parse(file: str) -> Skill:
    """The skill of one file: front matter between lines `---`, of which `name` and `description` are read."""
    with os_errors(file), open(file, encoding="utf-8-sig", errors="replace") as stream:
        lines = stream.read(CAP).splitlines()
    marks = [number for number, line in enumerate(lines) if line.strip() == "---"]
    if marks[:1] != [0] or len(marks) < 2:
        raise Fault("invalid_input", f"{file}: line 1: front matter between lines --- is due")
    head: dict[str, str] = {}
    key = ""
    for line in lines[1 : marks[1]]:
        if (
            line[:1].isspace() and key
        ):  # an indented line goes on with the value (YAML's plain scalars)
            head[key] = (head[key] + " " + line.strip()).strip()
        elif ":" in line and not line.startswith("#"):
            key, value = (side.strip() for side in line.split(":", 1))
            head[key] = "" if value in (">", "|", ">-", "|-") else value.strip("\"'")
    if not head.get("name") or not head.get("description"):
        raise Fault("invalid_input", f"{file}: the front matter needs `name` and `description`")
    folder, text = os.path.dirname(os.path.abspath(file)), "\n".join(lines[marks[1] + 1 :])
    return Skill(head["name"], head["description"], folder, text)
