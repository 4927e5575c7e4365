"""share - write the manual pages and completions of all programs

usage: share.py TREE SHARE

TREE has bin/ and lib/, SHARE gets man/man1, bash-completion/completions, zsh/site-functions, fish/vendor_completions.d.
A program that another one starts (agent-mcp-hold) gets a page, and no completions.
The date of the pages is SOURCE_DATE_EPOCH's, else that of lib/agentlib/__init__.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import completion
import manual
import usage


def described(program: Path) -> usage.Usage:
    """What a program says of itself; one in Python by this interpreter."""
    with program.open("rb") as file:
        python = b"python3" in file.readline()
    argv = [sys.executable, "-ISB", str(program)] if python else [str(program)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [*argv, "--help"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
        encoding="utf-8",
    )
    return usage.parse(done.stdout)


def read(file: Path) -> str:
    """The text of a file of the sources, whatever the locale."""
    return file.read_text(encoding="utf-8")


def helper(name: str, names: list[str]) -> bool:
    """Whether another program starts this one: NAME-PART, of the program NAME."""
    return any(name.startswith(f"{other}-") for other in names)


def write(tree: Path, share: Path, date: str) -> None:
    """All files of `share`, of the programs in `tree`/bin."""
    version = re.search(r'__version__ = "(.+)"', read(tree / "lib/agentlib/__init__.py"))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        programs = list(threads.map(described, sorted((tree / "bin").iterdir())))
    typed = [
        one.name for one in programs if not helper(one.name, [other.name for other in programs])
    ]
    others = [name for name in typed if name.startswith("agent-")]
    for one in programs:
        page = manual.page(one, version[1] if version else "", date, others)
        texts = {f"man/man1/{one.name}.1": page}
        if one.name in typed:
            texts |= {
                f"bash-completion/completions/{one.name}": completion.bash(one),
                f"zsh/site-functions/_{one.name}": completion.zsh(one),
                f"fish/vendor_completions.d/{one.name}.fish": completion.fish(one),
            }
        for name, text in texts.items():
            file = share / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def main() -> None:
    tree, share = map(Path, sys.argv[1:])
    made = (
        os.environ.get("SOURCE_DATE_EPOCH") or (tree / "lib/agentlib/__init__.py").stat().st_mtime
    )
    write(tree, share, time.strftime("%Y-%m-%d", time.gmtime(float(made))))


if __name__ == "__main__":
    main()
