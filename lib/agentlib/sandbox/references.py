"""What stays as it is because something guarded refers to it: settings of git name it, or links lead there."""

import os
import re

from agentlib import paths as places
from agentlib.sandbox import guard
from agentlib.sandbox.host import homes, inside
from agentlib.sandbox.workspace import Found
from agentlib.types import Iterable, Sequence

# a line of git's settings, perhaps behind its section; its value may be or hold a path: a program, hooks, settings
SETTING = re.compile(r"^\s*(?:\[(?:\"[^\"\n]*\"|[^]\"\n])*\]\s*)?([\w.-]+)\s*=\s*(\S.*)$", re.M)
NO_PATH = frozenset("worktree url merge remote fetch push name email signingkey".split())
SETTINGS = 1 << 20  # bytes of a file of them that are read
MANY = 10_000  # files of settings, and links and folders, that are followed
OF_GIT = frozenset("hooks config config.worktree commondir gitdir modules".split())
HOOKS = ("hooks", "config", "config.worktree")


def paths(folder: str, found: Found) -> set[str]:
    """Such paths in the working folder, as written and real. found: by the last look."""
    above = [folder[:n] for n, letter in enumerate(f"{folder}/") if n and letter == "/"]
    enclosing = [git for git in (f"{one}/{guard.GIT}" for one in above) if os.path.lexists(git)]
    repositories = list(dict.fromkeys([*found.repositories, *enclosing]))
    folders = {git: _places(git) for git in repositories}
    named = _settings(folder, folders)
    starts = [path for path in found.guarded if os.path.basename(path) != guard.GIT]
    every = [place for both in folders.values() for place in both]
    starts += [f"{place}/{part}" for place in every for part in HOOKS]
    named |= _links(folder, [*named, *starts])
    return {one for one in named if one != folder and inside(one, folder)}


def _places(git: str) -> list[str]:
    """The folder of a repository's own, and the one that it shares with its work trees: `.git` may name it."""
    gitdir = _line(git).removeprefix("gitdir:").strip()
    real = os.path.join(os.path.dirname(git), gitdir) if gitdir else git
    both = (real, os.path.join(real, _line(f"{real}/commondir")))
    return list(dict.fromkeys(map(os.path.normpath, both)))


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            return opened.readline(4096).strip()
    except OSError:
        return ""


def _settings(folder: str, repositories: dict[str, list[str]]) -> set[str]:
    """The paths, as written and real, that settings of git name: hooks, programs, more settings."""
    found, files = set[str](), _files(folder, repositories)
    for file, bases in files:  # which grows meanwhile
        for key, number, word in _words(file):
            for base in (*bases, os.path.dirname(file)):
                path = os.path.normpath(os.path.join(base, os.path.expanduser(word)))
                if number > 1 and os.path.isdir(path):
                    continue  # where a command works
                if key == "path" and len(files) < MANY and (path, bases) not in files:
                    files.append((path, bases))
                sure = "/" in word or key == "hookspath" and number == 0  # it may yet be made
                both = (path, os.path.realpath(path))
                found |= {one for one in both if sure or os.path.exists(one)}
    return found


def _files(folder: str, repositories: dict[str, list[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """The files of settings that count here, and the folders from which git goes on by them."""
    found, tops = [], {folder: None}
    for git, both in repositories.items():
        bases = (folder, os.path.dirname(git), git)
        tops |= dict.fromkeys(bases)
        found += [(f"{place}/{name}", bases) for place in both for name in HOOKS[1:]]
    users = [f"{home}/{file}" for home in homes() for file in (".gitconfig", ".config/git/config")]
    users += [os.environ.get(f"GIT_CONFIG_{kind}", "") for kind in ("GLOBAL", "SYSTEM")]
    users += [f"{os.environ.get('XDG_CONFIG_HOME')}/git/config", "/etc/gitconfig"]
    return found + [(file, tuple(tops)) for file in users]


def _words(file: str) -> Iterable[tuple[str, int, str]]:
    """(key, number, word) of a file of settings: a value may be a path, each of its words in a command too."""
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            text = opened.read(SETTINGS).replace("\\\n", "")
    except (OSError, ValueError):
        return
    for key, value in SETTING.findall(text):
        key = key.casefold()
        if key in NO_PATH and not value.lstrip('"').startswith("!"):  # an alias may have any name
            continue
        value = re.sub(r'(?<!\\)"', "", value).replace("\\", "").lstrip("!").strip()
        words = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s;&|()'\"])+", value)
        words = [re.sub("[\"']", "", one) for one in (value, *words)]
        yield from ((key, *pair) for pair in enumerate(one for one in words if one.strip("./")))


def _links(folder: str, starts: list[str]) -> set[str]:
    """Where the links among these paths, and in these folders, lead, each step of the way and as a real path."""
    found = set[str]()
    for path in starts:  # which grows meanwhile
        try:
            if os.path.islink(path):
                above = os.path.realpath(os.path.dirname(path))
                to = os.path.normpath(os.path.join(above, os.readlink(path)))
                if to in found or inside(folder, to):
                    continue
                found |= {to, os.path.realpath(to)}
                more = [to]
            else:
                with os.scandir(path) as entries:
                    more = [one.path for one in entries if one.is_symlink() or one.is_dir()]
        except OSError:  # a file, or nothing
            continue
        starts += more[: max(0, MANY - len(starts))]
    return found


def settings() -> tuple[str, ...]:
    """The real folders that say what the suite does, and where its providers and formats are, there or not."""
    found = [places.place(kind) for kind in ("config", "data", "state", "cache")]
    for kind in ("PROVIDER", "FORMAT"):
        found += os.environ.get(f"AGENT_{kind}_PATH", "").split(os.pathsep)
    return tuple(os.path.realpath(one) for one in found if one)


def of_git(parts: Sequence[str]) -> bool:
    """Whether a path below a repository's own folder is guarded."""
    first, *more = [part.casefold() for part in parts]
    return first in OF_GIT or (first == "worktrees" and not OF_GIT.isdisjoint(more[1:2]))
