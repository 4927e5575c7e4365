"""Write a first version of a tool, in a language of the author's choice, that passes `agent-discover --check`."""

from __future__ import annotations

import os

from agentlib import records
from agentlib.faults import Fault
from agentlib.schema import schemas

TEMPLATES = os.path.join(os.path.dirname(os.path.realpath(__file__)), "templates")
LANGUAGES = ("sh", "python", "js", "perl")


def write(path: str, language: str) -> None:
    """Make the executable file; a Fault where there is one, or where its name is none for a tool."""
    name = os.path.basename(path)
    for wrong in schemas.faults({"name": name, "description": "x"}):
        raise Fault("invalid_input", f"{path}: {wrong}")
    with open(os.path.join(TEMPLATES, f"tool.{language}"), encoding="utf-8") as template:
        text = template.read().replace("NAME", name)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o755)
    except OSError as bad:
        raise Fault("invalid_input", f"{path}: {bad.strerror}") from None
    name_of_file = path if os.sep in path else f"./{path}"
    records.put(
        f"{name_of_file}: made; change what it says and does, then: agent-discover --check {name_of_file}\n".encode()
    )
