"""What a working folder holds that a tool must not read (secrets) or not change (guarded paths) (docs/sandbox.md).

Whatever the folder holds, it can only take away: nothing in it grants anything.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time

from agentlib.sandbox.host import homes, inside, scratch
from agentlib.types import Iterable, Iterator, NamedTuple


class Found(NamedTuple):
    """What a folder holds, in absolute paths; whole: whether all of it was looked at."""

    secrets: list[str]
    guarded: list[str]
    whole: bool


SECRETS = (
    ".env",
    ".env.*",
    ".envrc",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "secrets.json",
    "secrets.toml",
    "secrets.y*ml",
    ".ssh",
    ".aws",
    ".azure",
    ".gnupg",
    ".kube",
    ".vault-token",
)
SECRET_INSIDE = {"*.pem": b"PRIVATE KEY", "*.key": b"PRIVATE KEY", ".npmrc": b"_auth"}
EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist")
GUARDED = (
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".git",
    ".gitmodules",
    ".mcp.json",
    ".vscode",
    ".idea",
    ".envrc",
    ".claude",
    ".codex",
    ".cursor",
)  # what a person's programs run or believe at the next start
GUARDED_GIT = ("hooks", "config", "config.worktree", "commondir")
SHELL = (
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".inputrc",
    ".gitconfig",
    ".ssh",
    ".config",
    ".local",
    ".vimrc",
    ".tmux.conf",
    ".pam_environment",
    ".xprofile",
    ".xinitrc",
    ".xsession",
    ".npmrc",
)
PASSED_OVER = ("node_modules", ".venv", "venv", "__pycache__", ".git")
ENTRIES, DEPTH, FRESH = 4000, 6, 10.0  # how far a folder is searched; how many seconds that holds

_known: dict[str, tuple[float, Found]] = {}
_known_above: dict[str, tuple[float, list[str]]] = {}


def _any(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


_IS_SECRET, _IS_EXAMPLE = _any(SECRETS), _any(EXAMPLES)
_MAY_BE = [(_any([glob]), word) for glob, word in SECRET_INSIDE.items()]


def look(folder: str) -> Found:
    """What the folder holds, to DEPTH and ENTRIES; remembered for FRESH seconds."""
    now = time.monotonic()
    if folder not in _known or now - _known[folder][0] > FRESH:
        _known[folder] = now, _look(folder)
    return _known[folder][1]


def _look(folder: str) -> Found:
    found = Found([], [], True)
    level, left = [folder], ENTRIES
    for _ in range(DEPTH):
        below: list[str] = []
        for entry in _entries(level):
            left -= 1
            if left < 0:
                return found._replace(whole=False)
            if entry.name in GUARDED:
                found.guarded.extend(_parts(entry.path))
            if _secret(entry):
                found.secrets.append(entry.path)
            elif entry.is_dir(follow_symlinks=False) and entry.name not in PASSED_OVER:
                below.append(entry.path)
        level = below
    return found._replace(whole=not level)


def _entries(folders: Iterable[str]) -> Iterator[os.DirEntry[str]]:
    for folder in folders:
        try:
            with os.scandir(folder) as found:
                yield from found
        except OSError:
            continue


def _parts(path: str) -> list[str]:
    """A guarded path; of a .git folder only what makes git run things, so that commits stay possible."""
    if os.path.basename(path) != ".git" or os.path.islink(path) or not os.path.isdir(path):
        return [path]
    parts = [os.path.join(path, name) for name in (*GUARDED_GIT, "modules")]
    return [part for part in parts if os.path.lexists(part)]


def _secret(entry: os.DirEntry[str]) -> bool:
    if _IS_SECRET.match(entry.name):
        return not _IS_EXAMPLE.match(entry.name)
    word = next((word for mark, word in _MAY_BE if mark.match(entry.name)), None)
    return word is not None and word in _head(entry.path)


def _head(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, 65536)
        finally:
            os.close(fd)
    except OSError:
        return b""


def absent(folder: str) -> list[str]:
    """Guarded paths that are not there yet (or are links): they cannot be mounted, only be looked after."""
    names = [*GUARDED, *(f".git/{name}" for name in GUARDED_GIT)]
    if folder in homes():
        names += SHELL
    whole = [os.path.join(folder, name) for name in names]
    return [
        path
        for path in whole
        if os.path.isdir(os.path.dirname(path))
        and (os.path.islink(path) or not os.path.lexists(path))
    ]


def above(folder: str) -> list[str]:
    """Secrets that lie beside the folder's parents (the .env of a project, seen from a part of it).

    Remembered for FRESH seconds too.
    """
    now = time.monotonic()
    if folder not in _known_above or now - _known_above[folder][0] > FRESH:
        _known_above[folder] = now, _above(folder)
    return _known_above[folder][1]


def _above(folder: str) -> list[str]:
    found: list[str] = []
    parent = os.path.dirname(folder)
    while parent != "/":
        if not any(inside(parent, area) for area in (*homes(), *scratch())):
            found += [entry.path for entry in _entries([parent]) if _secret(entry)]
        parent = os.path.dirname(parent)
    return found


def dotted(folder: str) -> list[str]:
    """Everything in a home whose name begins with a dot: settings, histories, keys."""
    return [entry.path for entry in _entries([folder]) if entry.name.startswith(".")]
