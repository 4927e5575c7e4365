"""Where things are: the suite's own folders, the user's XDG folders, the search paths (docs/protocol.md)."""

from __future__ import annotations

import os
import stat

from agentlib.faults import Fault

NAME = "agentutils"
# the checkout, or the installed tree
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_XDG = {
    "config": ("XDG_CONFIG_HOME", ".config"),
    "data": ("XDG_DATA_HOME", ".local/share"),
    "state": ("XDG_STATE_HOME", ".local/state"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
}


def own(path: str) -> bool:
    """Whether the file is one of the suite's own programs."""
    real = os.path.realpath(path)
    return os.path.dirname(real) in {
        os.path.join(TOP, part) for part in ("bin", "tools", "providers", "plugins")
    }


def _home() -> str:
    if there := os.environ.get("HOME"):
        return there
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def place(kind: str) -> str:
    """The user's folder for `config`, `data`, `state` or `cache`, as a string (no pathlib)."""
    variable, default = _XDG[kind]
    given = os.environ.get(variable, "")  # a relative XDG path is invalid: ignored
    return os.path.join(given if os.path.isabs(given) else os.path.join(_home(), default), NAME)


def homes() -> dict[str, str]:
    """The XDG variables with what they stand for, for a program of ours whose HOME is another (in a sandbox)."""
    return {variable: os.path.dirname(place(kind)) for kind, (variable, _) in _XDG.items()}


def expand(path: str) -> str:
    """A path that may begin with one of these variables, `$XDG_DATA_HOME/…`."""
    start, slash, rest = path.partition("/")
    return homes().get(start[1:], start) + slash + rest if start.startswith("$") else path


def runtime() -> str:
    """$XDG_RUNTIME_DIR/agentutils, else a folder of the user's own under /tmp; made 0700, owner checked."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    here = os.path.isabs(base) and os.path.isdir(base)
    made = private(os.path.join(base, NAME) if here else f"/tmp/{NAME}-{os.getuid()}")
    seen = os.lstat(made)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        why = f"{made}: not a folder of yours alone (it must be mode 0700 and your own)"
        raise Fault("invalid_input", why)
    return made


def private(folder: str) -> str:
    """The folder, made with mode 0700 where it is not there yet."""
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
    except OSError as bad:
        raise Fault("invalid_input", f"{folder}: cannot make this folder: {bad.strerror}") from None
    return folder


def folders(variable: str, kind: str) -> list[str]:
    """The folders to look in for `kind` (`tools`, `providers`): the variable's, else the user's and the suite's."""
    if given := os.environ.get(variable):
        return [p for p in given.split(os.pathsep) if p]
    return [os.path.join(place("data"), kind), os.path.join(TOP, kind)]
