"""SKILL.md folders: a catalogue for the model and a tool that reads one (https://agentskills.io/specification)."""

from __future__ import annotations

import os
import sys

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.paths import TOP
from agentlib.types import Iterator, Record

CAP = 256 * 1024  # bytes of one SKILL.md
Skill = tuple[str, str, str, str]  # name, description, folder, instructions


def offer(folders: list[str]) -> Iterator[Record]:
    """The catalogue as one `context` record, and the `tool` record that reads a skill; nothing for no folders."""
    found = find(folders)
    if not found:
        return
    listed = "".join(f"- {name}: {description}\n" for name, description, _, _ in found)
    text = f"Skills that can be read by the tool `skill`, each before its task is begun:\n{listed}"
    yield {"type": "context", "source": "skills", "text": text}
    command = [os.path.join(TOP, "bin", "agent-context"), "--read-skill"]
    for folder in folders:
        command += ["--skills", os.path.abspath(folder)]
    places = sorted({os.path.realpath(one) for one in (*folders, *(skill[2] for skill in found))})
    names = {"type": "string", "enum": [name for name, *_ in found]}
    yield {
        "type": "tool",
        "name": "skill",
        "description": "Read the instructions of a skill",
        "inputSchema": {"type": "object", "properties": {"name": names}, "required": ["name"]},
        "annotations": {"readOnlyHint": True},
        "command": command,
        "invoke": "json",
        "kind": "tool",
        "sandbox": {"profile": "read", "read": places},
    }


def read(folders: list[str]) -> int:
    """Answer a call of the tool: the skill's instructions, and the files that lie beside them."""
    asked = records.loads(sys.stdin.buffer.read(CAP))
    name = asked.get("name") if isinstance(asked, dict) else None
    for known, _, folder, text in find(folders):
        if known == name:
            beside = sorted(
                os.path.join(base, file) for base, _, files in os.walk(folder) for file in files
            )
            listed = "".join(f"- {file}\n" for file in beside if not file.endswith("SKILL.md"))
            records.put(
                (
                    text.strip() + "\n" + (f"\nFiles of this skill:\n{listed}" if listed else "")
                ).encode()
            )
            return 0
    raise Fault("invalid_arguments", f"no skill named {name!r}")


def find(folders: list[str]) -> list[Skill]:
    """The skills in the folders, by name: each a folder with a SKILL.md whose head says name and description."""
    found: dict[str, Skill] = {}
    for folder in folders:
        if not os.path.isdir(folder):
            raise Fault("invalid_input", f"--skills {folder}: no such folder")
        for entry in sorted(os.listdir(folder)):
            file = os.path.join(folder, entry, "SKILL.md")
            if not os.path.isfile(file):
                continue
            try:
                skill = parse(file)
            except Fault as fault:  # it does not hide the others
                stderr.warn(f"left out: {fault.message}")
                continue
            found.setdefault(skill[0], skill)
    return sorted(found.values())


def parse(file: str) -> Skill:
    """The skill of one file: front matter between lines `---`, of which `name` and `description` are read."""
    with open(file, encoding="utf-8-sig", errors="replace") as opened:
        lines = opened.read(CAP).splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        raise Fault("invalid_input", f"{file}: line 1: front matter between lines --- is due")
    end = next(i for i, line in enumerate(lines[1:], 1) if line.strip() == "---")
    head = _head(lines[1:end])
    if not head.get("name") or not head.get("description"):
        raise Fault("invalid_input", f"{file}: the front matter needs `name` and `description`")
    return (
        head["name"],
        head["description"],
        os.path.dirname(os.path.abspath(file)),
        "\n".join(lines[end + 1 :]),
    )


def _head(lines: list[str]) -> dict[str, str]:
    """`key: value` lines of the front matter; indented lines go on with the value before (YAML's plain scalars)."""
    head: dict[str, str] = {}
    key = ""
    for line in lines:
        if line[:1].isspace() and key:
            head[key] = (head[key] + " " + line.strip()).strip()
        elif ":" in line and not line.startswith("#"):
            key, _, value = line.partition(":")
            key, value = key.strip(), value.strip()
            head[key] = "" if value in (">", "|", ">-", "|-") else value.strip("\"'")
    return head
