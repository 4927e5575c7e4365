"""Which places a sandboxed tool sees, and how: hidden, seen, writable, pinned, masked (docs/safety.md).

Found by looking at the machine, so nothing here trusts a file of the project: what a folder holds can only take away.
"""
from __future__ import annotations

import fnmatch
import functools
import os
import time
from collections import namedtuple

from agentlib import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NamedTuple

    class Find(NamedTuple):
        """What one folder holds: secrets to mask, guarded paths (absolute), whether all of it was looked at."""
        secrets: list[str]
        guarded: list[str]
        whole: bool
else:
    Find = namedtuple("Find", "secrets guarded whole")

SCRATCH = ("/tmp", "/run", "/dev/shm", "/var/tmp")      # an empty one of each for every call
SECRETS = (".env", ".env.*", ".envrc", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pgpass",
           ".pypirc", ".git-credentials", ".htpasswd", "credentials.json", "client_secret*.json",
           "service-account*.json", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "secrets.json",
           "secrets.toml", "secrets.y*ml", ".ssh", ".aws", ".azure", ".gnupg", ".kube", ".vault-token")
SECRET_INSIDE = {"*.pem": b"PRIVATE KEY", "*.key": b"PRIVATE KEY", ".npmrc": b"_auth"}
EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist")
GUARDED = ("AGENTS.md", "CLAUDE.md", "GEMINI.md", ".git", ".gitmodules", ".mcp.json", ".vscode", ".idea", ".envrc",
           ".claude", ".codex", ".cursor")               # what a person's programs run or believe at the next start
GUARDED_GIT = ("hooks", "config", "config.worktree", "commondir")
SHELL = (".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile",
         ".zlogin", ".zlogout", ".kshrc", ".cshrc", ".tcshrc", ".login", ".inputrc", ".gitconfig", ".ssh", ".config",
         ".local", ".vimrc", ".tmux.conf", ".pam_environment", ".xprofile", ".xinitrc", ".xsession", ".npmrc")
OF_THE_MACHINE = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
                  "/etc/ssl/private", "/etc/krb5.keytab", "/etc/wireguard")
PASSED_OVER = ("node_modules", ".venv", "venv", "__pycache__", ".git")
ENTRIES, DEPTH, FRESH = 4000, 6, 10.0                   # how far a folder is searched; how many seconds that holds

_seen: dict[str, tuple[float, Find]] = {}


def inside(path: str, folder: str) -> bool:
    """Whether the path is the folder or lies below it; both real and absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def home() -> str:
    """The user's home, real."""
    import pwd
    try:
        return os.path.realpath(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return "/"


@functools.cache
def homes() -> tuple[str, ...]:
    """The real folders that hold people's own things: HOME, the user's entry in passwd, /home, /root."""
    import pwd
    found = [home(), "/home", "/root"]
    try:
        found.append(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pass
    return tuple(sorted({os.path.realpath(one) for one in found if os.path.isdir(one)} - {"/"}))


def shared() -> tuple[str, ...]:
    """The folders that a working folder must not hold: one that does is more than a project."""
    return (*(one for one in homes() if one in ("/home", "/root")), *scratch())


@functools.cache
def scratch() -> tuple[str, ...]:
    """The real folders that are empty, and the tool's own, in every call."""
    return tuple(sorted({os.path.realpath(one) for one in SCRATCH if os.path.isdir(one)}))


@functools.cache
def machine_secrets() -> tuple[str, ...]:
    """Secret files of the machine that this user could read."""
    import glob
    found = [*OF_THE_MACHINE, *glob.glob("/etc/ssh/ssh_host_*_key")]
    return tuple(one for one in found if os.access(one, os.R_OK))


@functools.cache
def suite() -> tuple[str, ...]:
    """The suite's own programs."""
    names = ("bin", "lib", "providers", "tools", "plugins", ".venv", "share")
    parts = [os.path.join(paths.TOP, name) for name in names]
    return tuple(part for part in parts if os.path.isdir(part))


def program(argv: list[str], search: str) -> list[str]:
    """The folders (or files) that a program needs to be seen in order to start: its own and its interpreter's."""
    file = argv[0]
    interpreter = _interpreter(file, search)
    found = [_own(os.path.abspath(file)), _own(os.path.realpath(file))]
    for one in (interpreter, os.path.realpath(interpreter)) if interpreter else ():
        found.append(_prefix(one))
    return [*found, *_installed(search)]


@functools.cache
def _installed(search: str) -> tuple[str, ...]:
    folders = [folder for folder in search.split(os.pathsep) if os.path.isabs(folder) and os.path.isdir(folder)]
    return tuple(_prefix(os.path.join(folder, "any")) for folder in folders if not _wide(folder))


def _own(file: str) -> str:
    """The file's folder, or the file alone where the folder holds more than programs (a home, /tmp)."""
    folder = os.path.dirname(file)
    return file if _wide(folder) else folder


def _wide(folder: str) -> bool:
    return any(inside(area, os.path.realpath(folder)) for area in (*homes(), *scratch()))


def _prefix(file: str) -> str:
    """The tree that a program in .../bin belongs to (an environment, a language's installation), else its folder."""
    folder = os.path.dirname(file)
    above = os.path.dirname(folder)
    tree = any(os.path.isdir(os.path.join(above, part)) for part in ("lib", "libexec"))     # .cargo has none, but keys
    if tree and os.path.basename(folder) in ("bin", "sbin", "shims") and above != os.path.join(home(), ".local"):
        return above if not _wide(above) else folder
    return _own(file)


def _interpreter(file: str, search: str) -> str:
    """The program named by the file's #! line, looked up where it comes by way of env; '' for none."""
    try:
        with open(file, "rb") as opened:
            line = opened.readline(256)
    except OSError:
        return ""
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [w for w in words[1:] if not w.startswith("-") and "=" not in w]
    return which(words[0], search) if words else ""


def which(name: str, search: str) -> str:
    """The executable of this name on a search path, whose relative folders do not count; '' for none.

    A name with a slash is one already.
    """
    tried = [name] if "/" in name else [f"{folder}/{name}" for folder in search.split(os.pathsep) if folder[:1] == "/"]
    return next((one for one in tried if os.path.isfile(one) and os.access(one, os.X_OK)), "")


def look(folder: str) -> Find:
    """What the folder holds, breadth first, to DEPTH and ENTRIES; remembered for FRESH seconds."""
    now = time.monotonic()
    known = _seen.get(folder)
    if known and now - known[0] < FRESH:
        return known[1]
    secrets: list[str] = []
    guarded: list[str] = []
    left = ENTRIES
    level = [folder]
    for _ in range(DEPTH):
        below: list[str] = []
        for entry in _entries(level):
            left -= 1
            if _guarded(entry.name):
                guarded += _parts(entry.path)
            if _secret(entry):
                secrets.append(entry.path)
            elif entry.is_dir(follow_symlinks=False) and entry.name not in PASSED_OVER:
                below.append(entry.path)
            if left <= 0:
                break
        level = below if left > 0 else []
        if not level:
            break
    found = Find(secrets, guarded, left > 0 and not level)
    _seen[folder] = (now, found)
    return found


def _entries(folders: Iterable[str]) -> Iterator[os.DirEntry[str]]:
    for folder in folders:
        try:
            with os.scandir(folder) as found:
                yield from found
        except OSError:
            continue


def _guarded(name: str) -> bool:
    return name in GUARDED


def _parts(path: str) -> list[str]:
    """A guarded path; of a .git folder only what makes git run things, so that commits stay possible."""
    if os.path.basename(path) != ".git" or os.path.islink(path) or not os.path.isdir(path):
        return [path]
    parts = [os.path.join(path, name) for name in GUARDED_GIT]
    modules = os.path.join(path, "modules")
    return [part for part in [*parts, modules] if os.path.lexists(part)]


def _secret(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    if any(fnmatch.fnmatchcase(name, mark) for mark in EXAMPLES):
        return False
    if any(fnmatch.fnmatchcase(name, mark) for mark in SECRETS):
        return True
    word = next((word for mark, word in SECRET_INSIDE.items() if fnmatch.fnmatchcase(name, mark)), None)
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
    return [path for path in whole if os.path.isdir(os.path.dirname(path))
            and (os.path.islink(path) or not os.path.lexists(path))]


def above(folder: str) -> list[str]:
    """Secrets that lie beside the folder's parents (the .env of a project, seen from a part of it)."""
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
