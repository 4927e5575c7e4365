#!/usr/bin/env python3
"""docs - run what the pages show, and fill in what a machine should write

    tests/docs.py [PAGE...]            run the console blocks; print where a page differs from what happens
    tests/docs.py --write [PAGE...]    fill the blocks between `<!-- help: NAME -->` and `<!-- /help -->` with NAME's
                                       --help, and those between `<!-- programs: FOLDER -->` (bin if none is said)
                                       and `<!-- /programs -->` with a table of the programs; `<!-- file: PATH -->`
                                       to `<!-- /file -->` with a file, `<!-- house -->` with what lib/ is made of,
                                       `<!-- starts -->` with what starts a process; and lib/agent.help
    tests/docs.py --accept [PAGE...]   put what the commands print into the pages; read the diff afterwards

A ```console block holds commands (`$ `, continued by `> `) and below each its whole output, standard error included;
`[N]` as the last line is an exit status other than 0. The blocks of a page are one bash session of a new user: an empty
folder in a new home, the suite installed in ~/.local (tests/prefix), and the programs of the system. The reader has
jq and bats; what the suite or a script of the page may find too is named by `<!-- needs: jq node -->`. A code block
headed ```LANGUAGE file=NAME is a file that the reader saves, and may run. In the output the home is called /home/you.
A page may hold the rules of tests/model_server.py, which then answers, in a comment:

    <!-- model
    def reply(body): ...
    -->
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import house
import installed
import starts

ROOT = Path(__file__).resolve().parent.parent
# said on a busy machine alone, where what comes before takes seconds
WAITING = re.compile(r"^[\w-]+: waiting for records on standard input; .*\n", re.M)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
STEP = re.compile(r"^```(?:console|\w+ file=(\S+))\n(.*?)^```$", re.M | re.S)
NEEDS = re.compile(r"^<!-- needs: (.+) -->$", re.M)
HELP = re.compile(r"(<!-- help: (.+?) -->\n)(.*?)(<!-- /help -->)", re.S)
PROGRAMS = re.compile(r"(<!-- programs(?:: (\w+))? -->\n)(.*?)(<!-- /programs -->)", re.S)
FILE = re.compile(r"(<!-- file: (\S+/\S+) -->\n)(.*?)(<!-- /file -->)", re.S)
HOUSE = re.compile(r"(<!-- house -->\n)(.*?)(<!-- /house -->)", re.S)
STARTS = re.compile(r"(<!-- starts -->\n)(.*?)(<!-- /starts -->)", re.S)
MODEL = re.compile(r"^<!-- model\n(.*?)^-->$", re.M | re.S)
STARTED = re.compile(r'started_by="([^"]+)"')
AGENT_HELP = ROOT / "lib" / "agent.help"
DEADLINE = 120  # seconds for all commands of a page


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").glob("*.md"))]


def executables(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).iterdir() if p.is_file() and os.access(p, os.X_OK))


def commands(block: str) -> list[tuple[list[str], str]]:
    """The commands of a console block: (their lines as they stand, the output that is shown below)."""
    out: list[tuple[list[str], str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            out.append(([line], ""))
        elif line.startswith("> ") and out and not out[-1][1]:
            out[-1][0].append(line)
        elif out:
            out[-1] = (out[-1][0], out[-1][1] + line)
        else:
            raise ValueError(f"a console block begins with output: {line!r}")
    return out


def environment(scratch: Path, needs: str = "") -> dict[str, str]:
    """Nothing of the caller's: a private home, the installed programs, no way to the network but loopback."""
    return {
        "HOME": str(scratch / "home"),
        "PATH": f"{scratch}/home/.local/bin:{installed.system(*needs.split())}",
        "LANG": "C.UTF-8",
        "TMPDIR": str(scratch / "tmp"),
        "TERM": "dumb",
        "TZ": "UTC",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1,localhost",
    }


@contextmanager
def model(rules: str | None, scratch: Path, env: dict[str, str]) -> Iterator[None]:
    """The scripted model of a page while its commands run, and the variables that lead to it."""
    if rules is None:
        yield
        return
    (scratch / "rules.py").write_text(rules)
    argv = [
        sys.executable,
        str(ROOT / "tests/model_server.py"),
        str(scratch / "rules.py"),
        "--with-parent",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        env.update(
            OPENAI_BASE_URL=server.stdout.readline().strip(),
            OPENAI_API_KEY="test-key",
            AGENT_PROVIDER="openai",
            AGENT_MODEL="test-model",
        )
        try:
            yield
        finally:
            server.terminate()


def first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None


def script(text: str) -> str:
    """The page as a reader follows it: files are saved, commands typed; after each, its status between two \\036."""
    reader = {"jq": installed.alone("jq"), "bats": ROOT / ".venv/bin/bats"}
    lines = ["set -o pipefail", *(f'{name}() {{ {file} "$@"; }}' for name, file in reader.items())]
    lines.append("exec 2>&1; printf '\\036'")
    for name, block in STEP.findall(text):
        if name:
            lines.append(
                f"mkdir -p \"$(dirname {name})\"; cat >{name} <<'END OF FILE'; chmod +x {name}"
            )
            lines.append(f"{block}END OF FILE")
        for typed, _ in commands(block) if not name else ():
            lines.append("".join(line[2:] for line in typed) + "printf '\\036%d\\036' $?")
    return "\n".join(lines) + "\n"


SHARED = (
    "man",
    "bash-completion",
    "fish",
    "zsh",
)  # what install.sh puts in share/; the rest is the reader's


@contextmanager
def new_home() -> Iterator[Path]:
    """A folder with an empty tmp/, and home/ with the suite installed and an empty try/."""
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        scratch = Path(folder).resolve()
        for name in ("tmp", "home/try", "home/.local/share"):
            (scratch / name).mkdir(parents=True)
        for name in ("bin", "lib", *(f"share/{name}" for name in SHARED)):
            (scratch / "home/.local" / name).symlink_to(installed.prefix() / name)
        yield scratch


def as_at_home(text: str, scratch: Path) -> str:
    """Output of a session, with the paths that a user in /home/you has."""
    home, suite = f"{scratch}/home", str(installed.suite())
    text = text.replace(str(installed.suite().resolve()), suite)
    text = text.replace(f"{suite}/share/system", "/usr/bin")
    text = WAITING.sub("", text)
    return text.replace(str(installed.prefix()), f"{home}/.local").replace(home, "/home/you")


def session(text: str) -> list[str]:
    """What each command of a page prints, in order, with `[N]` where the status is not 0."""
    wanted = [c for block in BLOCK.findall(text) for c in commands(block)]
    with new_home() as scratch:
        env = environment(scratch, first(NEEDS, text) or "")
        with model(first(MODEL, text), scratch, env):
            ran = subprocess.run(
                ["bash", "-c", script(text), "docs"],
                cwd=scratch / "home/try",
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE,
                text=True,
                errors="replace",
            )
        printed = as_at_home(ran.stdout, scratch)
    start, *parts = printed.split("\036")
    if not parts:
        raise ValueError(f"no session: {start}{ran.stderr}")
    outputs = [
        ended(reply) + (f"[{status}]\n" if status != "0" else "")
        for reply, status in zip(parts[0::2], parts[1::2], strict=False)
    ]
    if len(outputs) < len(wanted):
        outputs.append(f"(the session ended here) {ran.stderr}\n")
    return outputs


def ended(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"


def replayed(text: str) -> str:
    """The page with what its commands print now."""
    printed = iter(session(text))

    def block(found: re.Match[str]) -> str:
        result = [
            "".join(lines) + next(printed, "(not reached)\n") for lines, _ in commands(found[1])
        ]
        return "```console\n" + "".join(result) + "```"

    return BLOCK.sub(block, text)


def help_of(name: str) -> str:
    """The --help of a program of the project, found by its name."""
    argv = name.split()
    for folder in ("bin", "providers", "tools", "plugins"):
        if (ROOT / folder / argv[0]).exists():
            ran = subprocess.run(
                [str(ROOT / folder / argv[0]), *argv[1:], "--help"],
                check=True,
                timeout=60,
                text=True,
                env={"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
            return ran.stdout
    raise ValueError(f"help: there is no program {name}")


def agents_help() -> str:
    """The help of an agent, with @name@ and @purpose@ in their places: what the agents in bash print."""
    return help_of("agent-react --name @name@ --description @purpose@")


def line_two(program: Path) -> tuple[str, str]:
    """(name, purpose) by the second line of a program, whatever its language."""
    line = program.read_text().splitlines()[1].strip().strip('"').lstrip("#/* ")
    name, _, purpose = line.partition(" - ")
    return name, purpose


def manual(name: str, page: Path) -> str:
    """The name of a program, linked from `page` to its own page where it has one."""
    for file in (ROOT / "docs" / f"{name}.md", ROOT / "docs" / f"provider-{name}.md"):
        if file.exists():
            return f"[`{name}`]({os.path.relpath(file, page.resolve().parent)})"
    return f"`{name}`"


def table(folder: str, page: Path) -> str:
    """The programs of a folder: name linked to its page, purpose, lines with its parts in lib; the sum below, and the
    programs that another one starts (`started_by` in their schemas)."""
    rows = ["| program | what it does | lines |", "|---|---|---:|"]
    inner: list[str] = []
    every: set[Path] = set()
    for program in executables(folder):
        name, purpose = line_two(program)
        parts = house.parts(program)
        every |= parts
        lines = sum(map(house.lines, parts))
        if by := first(STARTED, program.read_text()):
            inner.append(f"{manual(name, page)} (by `{by}`, {lines} lines)")
        else:
            rows.append(f"| {manual(name, page)} | {purpose} | {lines} |")
    total = sum(map(house.lines, every))
    rows.append(f"| {len(rows) - 2 + len(inner)} programs | | {total} |")
    below = (
        ["", f"Some of them are started by other programs alone: {', '.join(inner)}."]
        if inner
        else []
    )
    return "\n".join([*rows, *below, ""])


def written(page: Path) -> str:
    """The page with all that a machine writes brought up to date."""
    text = HELP.sub(lambda m: f"{m[1]}```text\n{ended(help_of(m[2]))}```\n{m[4]}", page.read_text())
    text = STARTS.sub(lambda m: m[1] + starts.table() + m[3], text)
    text = PROGRAMS.sub(lambda m: m[1] + table(m[2] or "bin", page) + m[4], text)
    text = FILE.sub(lambda m: f"{m[1]}{fenced(ROOT / m[2])}{m[4]}", text)
    return HOUSE.sub(lambda m: f"{m[1]}```text\n{house.drawing()}```\n{m[3]}", text)


def fenced(file: Path) -> str:
    """A file of the repository as a block of code."""
    text = file.read_text()
    language = next(
        (word for word in ("python", "bash", "sh") if word in text.partition("\n")[0]), "text"
    )
    return f"```{language}\n{text}```\n"


def difference(page: Path, old: str, new: str) -> str:
    name = page.name
    return "".join(
        difflib.unified_diff(
            old.splitlines(True), new.splitlines(True), name, f"{name}, as it happens"
        )
    )


def main() -> int:
    about = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about[0], epilog=about[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--accept", action="store_true")
    args = parser.parse_args()
    different = 0
    if args.write:
        AGENT_HELP.write_text(agents_help())
    for page in args.pages or pages():
        old = page.read_text()
        try:
            new = written(page) if args.write else replayed(old)
        except ValueError as bad:
            sys.exit(f"docs: {page}: {bad}")
        if args.write or args.accept:
            page.write_text(new) if new != old else None
        elif new != old:
            different += 1
            print(difference(page, old, new))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
