"""What runs or is believed at a person's next start, and so stays as it is, whatever a tool does (docs/sandbox.md).

Names are compared without regard to case: a file system may not tell them apart.
"""

import os

from agentlib.types import Collection, Sequence

GIT = ".git"
NAMES = frozenset(
    # what agents believe, or start
    "agent.md agents.md agents.override.md claude.md claude.local.md gemini.md qwen.md warp.md copilot-instructions.md"
    " .agents .aider.conf.yml .amazonq .claude .clinerules .codex .continue .cursor .cursorrules .gemini .goosehints"
    " .junie .kiro .mcp.json .opencode .qwen .roo .roomodes .windsurf .windsurfrules opencode.json opencode.jsonc"
    # what git and other versions' keepers start
    " .githooks .gitmodules .hg .husky .jj .lefthook.yml .pre-commit-config.yaml lefthook.yml"
    # what editors, debuggers and shells start
    " .autoenv .devcontainer .devcontainer.json .dir-locals.el .envrc .exrc .fleet .gdbinit .idea .lldbinit .mise"
    " .mise.toml .nvim.lua .nvimrc .vscode .zed mise.toml".split()
)
WORKSPACE = ".code-workspace"
REPOSITORY = frozenset(("HEAD", "objects", "refs", "commondir"))
OF_GIT = frozenset("hooks config config.worktree commondir gitdir modules".split())
SHELL = frozenset(
    ".bashrc .bash_profile .bash_login .bash_logout .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .cshrc"
    " .tcshrc .login .inputrc .gitconfig .ssh .config .local .vimrc .tmux.conf .pam_environment .xprofile .xinitrc"
    " .xsession .npmrc".split()
)  # where the folder is a home


def name(one: str, home: bool) -> bool:
    """Whether a file or folder of this name is guarded. home: it lies in a home."""
    lower = one.casefold()
    return lower in NAMES or lower.endswith(WORKSPACE) or lower == GIT or (home and lower in SHELL)


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
