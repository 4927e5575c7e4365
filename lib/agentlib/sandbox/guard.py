"""What runs or is believed at a person's next start, and so stays as it is, whatever a tool does (docs/sandbox.md).

Names are compared without regard to case: a file system may not tell them apart.
"""

import os
import re

from agentlib.sandbox.host import homes, inside
from agentlib.types import Collection, Iterable, Sequence

GIT = ".git"
NAMES = frozenset(
    "agents.md agents.override.md claude.md gemini.md .gitmodules .mcp.json .vscode .idea .envrc .claude .codex .cursor"
    " .gemini .githooks .husky".split()
)
REPOSITORY = frozenset(("HEAD", "objects", "refs", "commondir"))
OF_GIT = frozenset("hooks config config.worktree commondir gitdir modules".split())
SHELL = frozenset(
    ".bashrc .bash_profile .bash_login .bash_logout .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .cshrc"
    " .tcshrc .login .inputrc .gitconfig .ssh .config .local .vimrc .tmux.conf .pam_environment .xprofile .xinitrc"
    " .xsession .npmrc".split()
)  # where the folder is a home
# a line of git's settings, whose value may be or hold a path: a program to run, a folder of hooks, more settings
SETTING = re.compile(r"^\s*([\w.-]+)\s*=\s*(\S.*)$", re.M)
NO_PATH = frozenset("worktree url merge remote fetch push name email signingkey".split())
SETTINGS = 1 << 20  # bytes of them that are read


def name(one: str, home: bool) -> bool:
    """Whether a file or folder of this name is guarded. home: it lies in a home."""
    lower = one.casefold()
    return lower in NAMES or lower == GIT or (home and lower in SHELL)


def of_git(parts: Sequence[str]) -> bool:
    """Whether a path below a repository's own folder is guarded."""
    first, *more = [part.casefold() for part in parts]
    return first in OF_GIT or (first == "worktrees" and not OF_GIT.isdisjoint(more[1:2]))


def repository(names: Collection[str]) -> bool:
    """Whether git takes a folder that holds these names for a repository (setup.c, is_git_directory)."""
    return "HEAD" in names and ("commondir" in names or ("objects" in names and "refs" in names))


def parts(paths: Collection[str]) -> list[str]:
    """These paths, and for a repository's own folder what of it is guarded."""
    inside = [f"{one}/{part}" for one in paths for part in sorted(OF_GIT)]
    there = [path for path in inside if os.path.lexists(path)]
    return there + [one for one in paths if not any(path.startswith(f"{one}/") for path in there)]


def programs(folder: str, repositories: Iterable[str]) -> set[str]:
    """The paths in the folder, as written and real, that settings of git name: hooks, programs, more settings."""
    files = [f"{one}/{file}" for one in repositories for file in ("config", "config.worktree")]
    files += [f"{home}/{file}" for home in homes() for file in (".gitconfig", ".config/git/config")]
    found: set[str] = set()
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="replace") as opened:
                settings = SETTING.findall(opened.read(SETTINGS))
        except OSError:
            continue
        bases = (folder, os.path.dirname(file), os.path.dirname(os.path.dirname(file)))
        for key, value in settings:
            hooks = key.casefold() == "hookspath"
            for base in bases if key.casefold() not in NO_PATH else ():
                for number, named in enumerate(_paths(value)):
                    path = os.path.normpath(os.path.join(base, os.path.expanduser(named)))
                    sure = "/" in named or hooks and number == 0  # it may yet be made
                    if number > 1 and os.path.isdir(path):
                        continue  # where a command works
                    for one in {path, os.path.realpath(path)}:
                        if one != folder and inside(one, folder) and (sure or os.path.exists(one)):
                            found.add(one)
    return found


def _paths(value: str) -> list[str]:
    """What of a value may be a path: all of it, and its words, for it may be a command."""
    value = re.sub(r'(?<!\\)"', "", value).replace("\\", "").lstrip("!").strip()
    words = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s;&|()'\"])+", value)
    found = [re.sub("[\"']", "", one) for one in (value, *words)]
    return [one for one in found if one.strip("./")]
