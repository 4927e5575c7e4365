"""Completions for bash, zsh and fish: words from a program's --help; names of tools and the like at run time.

What is asked at run time is agent-discover, which answers from its cache, and the names of files.
"""

from __future__ import annotations

import re
import shlex

from usage import Option, Usage

FIND = """agent-discover {0} </dev/null 2>/dev/null | sed -n 's/^{{"type":"[a-z]*","name":"\\([^"]*\\)".*/\\1/p'"""
# What prints the values of a kind, one a line, in POSIX shell.
VALUES = {
    "tools": FIND.format("@tools"),
    "agents": FIND.format("--agents"),
    "providers": FIND.format("@providers"),
    "plugins": FIND.format("@plugins"),
    "formats": FIND.format("@formats"),
    "models": """agent-discover @providers </dev/null 2>/dev/null | awk -F'"models":\\\\[' '
NF > 1 { split($1, word, "\\""); sub(/\\].*/, "", $2); gsub(/"/, "", $2)
for (n = split($2, model, ","); n; n--) print word[8] "/" model[n] }'""",
    "stores": """ls "${XDG_DATA_HOME:-$HOME/.local/share}/agentutils/memory" 2>/dev/null | sed -n 's/\\.db$//p'""",
}
# The kind of an option's value; an option that is not here takes files where its value is called so.
OF_OPTION = {
    "--provider": "providers",
    "--model": "models",
    "--fallback": "models",
    "--planner": "models",
    "--memory": "stores",
    "--store": "stores",
    "--plugin": "plugins",
    "--to": "formats",
    "--allow": "tools",
    "--deny": "tools",
}
OF_FILE = re.compile("FILE|FOLDER|RESULTS|DIR")
WORDS = {"PROFILE": "read work net off".split()}
# The first operand, beside the words under Commands; and what may stand behind an operand.
OPERANDS = {
    "agent-discover": "@tools @providers @plugins @formats find".split(),
    "agent-llm": "keys local budget".split(),
    "agent-mcp": "list resources read prompts serve install login".split(),
}
BEHIND = {
    "agent-llm": {"local": "install status remove".split()},
    "agent-mcp": {"install": "claude codex cursor gemini vscode".split()},
}
BY_KIND = {
    "agent-discover": "tools",
    "agent-acp": "tools",
    "agent-mcp": "tools",
    "agent-bundle": "agents",
}


def kind(option: Option) -> str:
    """`tools` and the like, `files`, `words` (see words()), or "" for what only the user knows."""
    if words(option):
        return "words"
    found = next((OF_OPTION[flag] for flag in option.flags if flag in OF_OPTION), "")
    return found or ("files" if OF_FILE.search(option.value) else "")


def words(option: Option) -> list[str]:
    """The only values that an option takes."""
    return option.choices or WORDS.get(option.value, [])


def takes_value(option: Option) -> bool:
    return bool(option.value) and not option.value.startswith("[")


def takes_profile(option: Option) -> bool:
    """Whether a profile may stand behind its value: NAME:PROFILE."""
    return ":PROFILE" in option.value


def kinds(program: Usage) -> list[str]:
    """The kinds of names that a program's options and operands need."""
    used = {kind(one) for one in program.options()} | {BY_KIND.get(program.name, "")}
    return [name for name in VALUES if name in used]


def first_words(program: Usage) -> list[str]:
    return [*program.commands(), *OPERANDS.get(program.name, [])]


def runs_commands(program: Usage) -> bool:
    """Whether a command may stand behind --."""
    return any(re.search("-- (COMMAND|AGENT)", line) for line in program.usage)


def bash(program: Usage) -> str:
    """A file for bash-completion/completions; it needs no package of bash's."""
    function = "_" + program.name.replace("-", "_")
    flags = " ".join(flag for one in program.options() for flag in one.flags)
    cases = [
        f"    {'|'.join(one.flags)}) {BASH_LISTS.get(kind(one)) or _bash_names(one)} ;;"
        for one in program.options()
        if takes_value(one)
    ]
    lines = [f"# bash completion of {program.name}, made of its --help", f"{function}() {{"]
    lines += [BASH_BEGIN, "    case $before in", *cases, "    *)"]
    lines.append(f"        if [[ $word == -* && -z $behind ]]; then list='{flags}'")
    lines += [f"        else {_bash_operands(program)}", "        fi ;;", "    esac", BASH_END, "}"]
    return "\n".join([*lines, f"complete -F {function} {program.name}", ""])


# `=` and `:` part words in bash: so they are taken from the line, and of an answer what stands behind the last sign.
BASH_BEGIN = r"""    local line=${COMP_LINE:0:COMP_POINT} words word before list='' files='' behind='' start=''
    read -ra words <<<"$line"
    word=${line##*[[:space:]]}
    [[ -z $word ]] || unset 'words[-1]'
    before=${words[-1]-}
    [[ " ${words[*]} " != *" -- "* ]] || before='' behind=yes
    [[ $word != --*=* ]] || { before=${word%%=*} && word=${word#*=}; }"""
BASH_END = r"""    mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word"; [[ -z $files ]] || compgen -f -- "$word")
    [[ -z $files ]] || compopt -o filenames 2>/dev/null
    [[ $COMP_WORDBREAKS != *:* ]] || start=${word%"${word##*:}"}
    COMPREPLY=("${COMPREPLY[@]#"$start"}")"""
BASH_LISTS = {"files": "files=yes", "": ":"}


def _bash_names(option: Option) -> str:
    if kind(option) == "words":
        return f"list='{' '.join(words(option))}'"
    names = f"list=$({VALUES[kind(option)]})"
    if takes_profile(option):
        profiles = ",".join(WORDS["PROFILE"])
        names += f"; [[ $word != *:* ]] || list=$(printf '%s ' \"${{word%%:*}}\":{{{profiles}}})"
    return names


def _bash_operands(program: Usage) -> str:
    parts = []
    if first := " ".join(first_words(program)):
        parts.append(f"((${{#words[@]}} > 1)) || list='{first}'")
    if name := BY_KIND.get(program.name):
        parts.append(f'list+=" $({VALUES[name]})"')
    if not program.commands():
        parts.append("files=yes")
    for word, more in BEHIND.get(program.name, {}).items():
        parts.append(f"[[ ${{words[-1]}} != {word} ]] || {{ list='{' '.join(more)}'; files=; }}")
    if runs_commands(program):
        parts.append('[[ ${words[-1]} != -- ]] || list=$(compgen -c -- "$word")')
    return "; ".join(parts)


def zsh(program: Usage) -> str:
    """A file for zsh/site-functions, a folder of $fpath."""
    lines = [f"#compdef {program.name}", f"# zsh completion of {program.name}, made of its --help"]
    for name in kinds(program):
        lines.append(f'_agentutils_{name}() {{ local -a found; found=(${{(f)"$({VALUES[name]})"}})')
        lines.append("    compadd -a found }")
    if any(map(takes_profile, program.options())):
        lines.append(f"_agentutils_profiles() {{ {ZSH_PROFILES} }}")
    lines += ["_agentutils_operands() {", *_zsh_operands(program), "}", "_arguments -s -S \\"]
    lines += [f"    {_zsh_option(one)} \\" for one in program.options()]
    return "\n".join([*lines, "    '*::operand:_agentutils_operands'", ""])


ZSH_PROFILES = (
    f"if compset -P '*:'; then compadd -- {' '.join(WORDS['PROFILE'])}; else _agentutils_tools; fi"
)


def _zsh_option(option: Option) -> str:
    about = f"[{_zsh_text(option.help)}]"
    if not takes_value(option):
        return f"'({' '.join(option.flags)})'{_either(option.flags)}{shlex.quote(about)}"
    name = kind(option)
    actions = {"words": f"({' '.join(words(option))})", "files": "_files", "": " "}
    name = "profiles" if takes_profile(option) else name
    action = actions.get(name, f"_agentutils_{name}")
    flags = [flag + ("=" if flag.startswith("--") else "+") for flag in option.flags]
    return f"'*'{_either(flags)}{shlex.quote(f'{about}:{_zsh_text(option.value)}:{action}')}"


def _either(flags: list[str]) -> str:
    return f"{{{','.join(flags)}}}" if len(flags) > 1 else flags[0]


def _zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def _zsh_operands(program: Usage) -> list[str]:
    lines = []
    if first := " ".join(first_words(program)):
        lines.append(f"    ((CURRENT > 1)) || compadd -- {first}")
    for word, more in BEHIND.get(program.name, {}).items():
        words = f"{{ compadd -- {' '.join(more)}; return }}"
        lines.append(f"    [[ ${{words[CURRENT-1]}} != {word} ]] || {words}")
    if name := BY_KIND.get(program.name):
        lines.append(f"    _agentutils_{name}")
    if runs_commands(program):
        lines.append("    [[ $CURRENT != 1 && ${words[CURRENT-1]} != -- ]] || _command_names -e")
    return lines if program.commands() else [*lines, "    _files"]


def fish(program: Usage) -> str:
    """A file for fish/vendor_completions.d."""
    begin = f"complete -c {program.name}"
    lines = [f"# fish completion of {program.name}, made of its --help"]
    lines += [f"{begin} {_fish_option(one)}" for one in program.options()]
    if program.commands():
        lines.append(f"{begin} -f")
    if first := " ".join(first_words(program)):
        lines.append(f"{begin} -n 'test (count (commandline -opc)) -eq 1' -a {_fish_text(first)}")
    behind = BEHIND.get(program.name, {})
    for word, more in behind.items():
        condition = f"-n 'test (commandline -opc)[-1] = {word}'"
        lines.append(f"{begin} {condition} -f -a {_fish_text(' '.join(more))}")
    if name := BY_KIND.get(program.name):
        condition = f"-n 'not contains -- (commandline -opc)[-1] {' '.join(behind)}'"
        lines.append(f"{begin} {condition} -a {_fish_text(_fish_values(VALUES[name]))}")
    if runs_commands(program):
        condition = "contains -- -- (commandline -opc)"
        lines.append(f"{begin} -n {_fish_text(condition)} -a '(__fish_complete_command)'")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    flags = [f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.flags]
    value = ""
    if takes_value(option):
        name = kind(option)
        known = {"": "-x", "files": "-r -F", "words": f"-x -a '{' '.join(words(option))}'"}
        value = known.get(name) or f"-x -a {_fish_text(_fish_names(option))}"
    return " ".join([*flags, value, "-d", _fish_text(option.help)]).replace("  ", " ")


FISH_PROFILES = """case $1 in
*:*) tool=${{1#--*=}}; for name in {profiles}; do echo "${{tool%%:*}}:$name"; done ;;
*) {tools} ;; esac"""


def _fish_names(option: Option) -> str:
    if not takes_profile(option):
        return _fish_values(VALUES[kind(option)])
    profiles = " ".join(WORDS["PROFILE"])
    script = FISH_PROFILES.format(profiles=profiles, tools=VALUES["tools"])
    return _fish_values(script, " sh (commandline -ct)")


def _fish_values(script: str, words: str = "") -> str:
    return f"(sh -c {_fish_text(script)}{words})"


def _fish_text(text: str) -> str:
    """Between single quotes, in which fish knows only these two signs."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
