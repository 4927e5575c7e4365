"""Where things are: the suite's own folders, the user's XDG folders, the search paths (docs/protocol.md)."""

import os
import stat
import sys

from agentlib.faults import Fault

NAME = "agentutils"
REAL = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_LINK = os.path.join(os.path.dirname(REAL), NAME)
# the checkout, or the installed tree by its link, which stays true when an upgrade removes the folder behind it
TOP = _LINK if os.path.realpath(_LINK) == REAL else REAL
PYTHON = os.path.abspath(sys.executable or "/usr/bin/python3")  # for what we start ourselves
_LEFT_OUT: set[tuple[str, str]] = set()  # of search paths: what was warned of
_XDG = {
    "config": ("XDG_CONFIG_HOME", ".config"),
    "data": ("XDG_DATA_HOME", ".local/share"),
    "state": ("XDG_STATE_HOME", ".local/state"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
}


def of_suite(path: str) -> bool:
    """Whether the file is one of the suite's own programs."""
    top, part = os.path.split(os.path.dirname(os.path.realpath(path)))
    return top == REAL and part in ("bin", "tools", "providers", "plugins", "formats")


def home() -> str:
    """The user's home: HOME, else by the user's entry in passwd."""
    return os.environ.get("HOME") or passwd_home()


def passwd_home() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def place(kind: str) -> str:
    """The user's folder for `config`, `data`, `state` or `cache`, as a string (no pathlib)."""
    variable, default = _XDG[kind]
    folder = os.environ.get(variable, "")  # a relative XDG path is invalid: ignored
    return os.path.join(folder if os.path.isabs(folder) else os.path.join(home(), default), NAME)


def homes() -> dict[str, str]:
    """The XDG variables with what they stand for, for a program of ours whose HOME is another (in a sandbox)."""
    return {variable: os.path.dirname(place(kind)) for kind, (variable, _) in _XDG.items()}


def expand(path: str) -> str:
    """The path, with a variable of homes() or `$HOME` at its beginning replaced, as in `$XDG_DATA_HOME/…`."""
    start, slash, rest = path.partition("/")
    if not start.startswith("$"):
        return path
    return {**homes(), "HOME": home()}.get(start[1:], start) + slash + rest


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
    search = os.environ.get(variable)
    default = os.pathsep.join((os.path.join(place("data"), kind), os.path.join(TOP, kind)))
    return sound(variable if search else kind, search or default)


def sound(name: str, search: str) -> list[str]:
    """The folders of a search path. Relative ones and those that anyone may change are left out, with a warning."""
    kept = []
    for folder in search.split(os.pathsep):
        if not os.path.isabs(folder):
            what = f"{folder or 'an empty entry'!r} is not an absolute folder"
        elif open_to_all := exposed(folder):
            what = f"anyone may write to {open_to_all}"
        else:
            kept.append(folder)
            continue
        if (name, what) not in _LEFT_OUT:
            _LEFT_OUT.add((name, what))
            from agentlib import stderr

            stderr.warn(f"{name}: {what}; left out")
    return kept


def exposed(folder: str) -> str:
    """The folder, or one above it, by which anyone may put files there; '' where there is none.

    Above it a sticky one, like /tmp, is none: what is in it can be moved by its owner alone."""
    for path in dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder))):
        safe = 0
        while True:
            try:
                mode = os.stat(path).st_mode
            except OSError:
                mode = 0
            if mode & stat.S_IWOTH and not mode & safe:
                return path
            if path == os.path.dirname(path):
                break
            path, safe = os.path.dirname(path), stat.S_ISVTX
    return ""
