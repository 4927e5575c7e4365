"""What programs of the suite may see and write of the user's data, where their schemas ask for it (`sandbox`)."""

import os

from agentlib import paths
from agentlib.sandbox.host import inside
from agentlib.types import Any, Record

DATA = {
    "agent-memory": ["$XDG_DATA_HOME/agentutils/memory"],
    "agent-mcp-connect": ["$XDG_STATE_HOME/agentutils/mcp-login"],
    "find_agent": ["$XDG_DATA_HOME/agentutils/AGENTS.md"],
    # where pip, pipx, uv and rustup put linters
    "run_linter": ["$HOME/.local/bin", "$HOME/.local/share/pipx", "$HOME/.local/pipx/venvs"]
    + ["$HOME/.local/share/uv", "$HOME/.local/lib", "$HOME/.cargo/bin", "$HOME/.rustup"],
}


def of(tool: Record) -> tuple[list[str], list[str]]:
    """(read, write): the paths that a `tool` record gets. Folders to be written are made, for the tool to see."""
    wish, command = tool["sandbox"], tool.get("command") or [""]
    write = [path for path in _data(command, wish.get("write")) if not path.endswith(".md")]
    for path in write:
        os.makedirs(path, mode=0o700, exist_ok=True)
    read = [path for path in _data(command, wish.get("read")) if os.path.exists(path)]
    return [*read, *_skills(command)], write


def _data(command: list[str], wanted: Any) -> list[str]:
    """Those of the paths that are this program's own data; they may begin with a variable, `$XDG_DATA_HOME/…`."""
    program = os.path.realpath(command[0])
    name = os.path.basename(program)
    runs_another = name == "agent-mcp-connect" and "--" in command
    if name not in DATA or runs_another or not paths.of_suite(program):
        return []
    folders = [os.path.realpath(paths.expand(path)) for path in DATA[name]]
    expanded = [paths.expand(str(path)) for path in wanted or ()]
    real = {path: os.path.realpath(path) for path in expanded}
    return [path for path in expanded if any(inside(real[path], folder) for folder in folders)]


def _skills(command: list[str]) -> list[str]:
    """What the suite's own tool `skill` (agent-context) reads: the folders that it names, where each is a skill."""
    program, mode, names = command[0], command[1:2], command[2::2]
    is_tool = os.path.basename(program) == "agent-context" and mode == ["--read-skill"]
    if not is_tool or not paths.of_suite(program) or set(names) != {"--skills"}:
        return []
    skills = [folder for folder in command[3::2] if os.path.isfile(f"{folder}/SKILL.md")]
    return [*skills, *(os.path.realpath(f"{folder}/SKILL.md") for folder in skills)]
