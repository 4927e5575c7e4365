"""Where things are: the suite's own folders, the user's XDG folders, the search paths (docs/protocol.md)."""
from __future__ import annotations

import os
import stat
from pathlib import Path

from agentlib.faults import Fault

NAME = "agentutils"
ROOT = Path(os.path.realpath(__file__)).parent.parent.parent     # the checkout, or the installed tree


def home() -> Path:
    """The user's home, also where HOME is not set."""
    if there := os.environ.get("HOME"):
        return Path(there)
    import pwd
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/")


def _xdg(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    return (Path(given) if os.path.isabs(given) else home() / default) / NAME   # a relative XDG path is invalid: ignored


def config() -> Path:
    """$XDG_CONFIG_HOME/agentutils; the user's word, never the project's."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def data() -> Path:
    """$XDG_DATA_HOME/agentutils"""
    return _xdg("XDG_DATA_HOME", ".local/share")


def state() -> Path:
    """$XDG_STATE_HOME/agentutils"""
    return _xdg("XDG_STATE_HOME", ".local/state")


def cache() -> Path:
    """$XDG_CACHE_HOME/agentutils"""
    return _xdg("XDG_CACHE_HOME", ".cache")


def runtime() -> Path:
    """$XDG_RUNTIME_DIR/agentutils, else a folder of the user's own under /tmp; made 0700, owner checked."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(given) / NAME if os.path.isabs(given) and os.path.isdir(given) else Path(f"/tmp/{NAME}-{os.getuid()}")
    made = private(base)
    seen = os.lstat(made)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise Fault("invalid_input", f"{made}: not a folder of yours alone (it must be mode 0700 and your own)")
    return made


def private(folder: Path) -> Path:
    """The folder, made with mode 0700 where it is not there yet."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as bad:
        raise Fault("invalid_input", f"{folder}: cannot make this folder: {bad.strerror}") from None
    return folder


def search(variable: str, kind: str) -> list[Path]:
    """The folders to look in for `kind` (`tools`, `providers`): the variable's, else the user's and the suite's."""
    if given := os.environ.get(variable):
        return [Path(p) for p in given.split(os.pathsep) if p]
    return [data() / kind, ROOT / kind]


def tools() -> list[Path]:
    """AGENT_TOOL_PATH, or its default."""
    return search("AGENT_TOOL_PATH", "tools")


def providers() -> list[Path]:
    """AGENT_PROVIDER_PATH, or its default."""
    return search("AGENT_PROVIDER_PATH", "providers")
