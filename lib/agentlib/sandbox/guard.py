"""What runs or is believed at a person's next start, and so stays as it is, whatever a tool does (docs/sandbox.md).

Names are compared without regard to case: a file system may not tell them apart.
"""

from agentlib.types import Collection

GIT = ".git"
NAMES = frozenset(
    # what agents believe, or start
    "agent.md agents.md agents.override.md claude.md claude.local.md crush.md gemini.md qwen.md skill.md warp.md"
    " copilot-instructions.md .agents .aider.conf.yml .amazonq .augment .augment-guidelines .claude .claude.json"
    " .clinerules .codex .continue .crush .crush.json crush.json .cursor .cursorrules .factory .gemini .goosehints"
    " .junie .kilocode .kilocodemodes .kiro .mcp.json mcp.json .opencode .openhands .qwen .roo .roomodes .rules"
    " .tabnine .trae .windsurf .windsurfrules opencode.json opencode.jsonc"
    # what git and other versions' keepers start
    " .git-hooks .githooks .gitmodules .hg .jj .overcommit.yml"
    # what editors, debuggers and shells start
    " .autoenv .devcontainer .devcontainer.json .dir-locals.el .dir-locals-2.el .direnvrc .envrc .exrc _exrc .fleet"
    " .gdbinit .gvimrc .helix .idea .irbrc .lldbinit .lvimrc .nova .nvim.lua .nvimrc .octaverc .pdbrc .pdbrc.py .pryrc"
    " .rprofile .theia .vimrc _vimrc .vs .vscode .zed".split()
)
BEGINNINGS = (".husky", ".lefthook", "lefthook", ".lintstagedrc", ".mise", "mise.", ".pre-commit-")
ENDINGS = tuple(
    ".code-workspace .sublime-project .instructions.md .prompt.md .chatmode.md .agent.md".split()
)
REPOSITORY = frozenset(("HEAD", "objects", "refs", "commondir"))


def name(one: str, home: bool) -> bool:
    """Whether a file or folder of this name is guarded. home: it lies in one, where shells and mail start dot files."""
    lower = one.casefold()
    listed = lower in NAMES or lower.startswith(BEGINNINGS) or lower.endswith(ENDINGS)
    return listed or lower == GIT or (home and (one[0] == "." or one == "bin"))


def repository(names: Collection[str]) -> bool:
    """Whether git takes a folder that holds these names for a repository (setup.c, is_git_directory)."""
    return "HEAD" in names and ("commondir" in names or ("objects" in names and "refs" in names))
