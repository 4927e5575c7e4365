"""What hatchling asks when it builds a wheel: the packages that the suite needs, and the tree.

A wheel can hold no links, and no installer keeps the `-IS` of a script that it gives its interpreter to. So the suite
lies whole in ENVIRONMENT/lib/agentutils, as install.sh lays it, its first lines lead to ENVIRONMENT/bin/python3, and
ENVIRONMENT/bin has a starter for each program. `share` has the manual pages and the completions.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.utils import get_reproducible_timestamp
from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "packaging"), str(ROOT / "lib")]

PYTHON = b"#!/usr/bin/env -S python3 -IS\n"
# The interpreter beside the starters, else (an installation for one user) the one on PATH. Under 127 bytes, which is
# what some kernels take.
FIND = b"""p=${0%/*}/../../../bin/python3; [ -x "$p" ] || p=python3; exec "$p" -IS "$0" "$@\""""
LINE = b"#!/usr/bin/env -S sh -c '" + FIND + b"'\n"
STARTER = """#!/bin/sh
# {name} - starts the program of this name in ../lib/agentutils/bin
case $0 in */*) here=$0 ;; *) here=./$0 ;; esac
[ ! -L "$here" ] || here=$(readlink -f "$here") || exit
here=${{here%/*}}
program=$here/../lib/agentutils/bin/{name}
"""
DIRECTLY = """[ ! -x "$here/python3" ] || exec "$here/python3" -IS "$program" "$@"\n"""


def pinned(file: str) -> Iterator[tuple[str, list[str]]]:
    """(requirement, the extras it is for) of each line of a file of requirements."""
    for line in (ROOT / file).read_text("utf-8").splitlines():
        requirement, _, names = line.partition("#")
        if requirement.strip():
            yield requirement.strip(), names.split()


def extras() -> dict[str, list[str]]:
    """The packages of each extra; the local models' runtimes as lib/ pins them, with pip, which fetches the models."""
    from localmodel import models

    found: dict[str, list[str]] = {}
    for requirement, names in pinned("requirements-extra.txt"):
        for name in names:
            found.setdefault(name, []).append(requirement)
    found["local"] = [models.RUNTIME, "pip"]
    found["embeddings"] = [*models.EMBEDDER_RUNTIME, "pip"]
    return found


def parts() -> list[str]:
    """The files and folders of the sources that an installation has."""
    lines = [line.split() for line in (ROOT / "packaging/tree.txt").read_text("utf-8").splitlines()]
    names = [words[0] for words in lines if words[0] != "#" and len(words) == 1]
    return [name for name in names if (ROOT / name).exists()]


class Requirements(MetadataHookInterface):
    """The dependencies, from the files that install.sh reads too."""

    def update(self, metadata: dict[str, Any]) -> None:
        metadata["dependencies"] = [requirement for requirement, _ in pinned("requirements.txt")]
        metadata["optional-dependencies"] = extras()


class Tree(BuildHookInterface[Any]):
    """What a wheel holds, made in a folder that is deleted afterwards."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        self.stage = Path(tempfile.mkdtemp(prefix="agentutils-"))
        tree, scripts = self.stage / "tree", self.stage / "scripts"
        for name in parts():
            copy(ROOT / name, tree / name)
        scripts.mkdir()
        for program in sorted((tree / "bin").iterdir()):
            start(program, scripts / program.name)
        for program in tree.glob("*/*"):
            if program.is_file():
                found_from_here(program)
        import share

        date = time.strftime("%Y-%m-%d", time.gmtime(get_reproducible_timestamp()))
        share.write(tree, self.stage / "share", date)
        build_data["shared_data"] = {
            **files(tree, "lib/agentutils"),
            **files(self.stage / "share", "share"),
        }
        build_data["shared_scripts"] = files(scripts, "")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name == "wheel":
            shutil.rmtree(self.stage)


def files(folder: Path, place: str) -> dict[str, str]:
    """Each file of a folder, and where it goes (of whole folders hatchling leaves out what git ignores)."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): os.path.join(place, path.relative_to(folder)) for path in found}


def copy(source: Path, target: Path) -> None:
    """A file or folder, without what Python and editors leave in it."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        return
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    shutil.copytree(source, target, copy_function=shutil.copy, ignore=left_out)


def start(program: Path, starter: Path) -> None:
    """Write the starter of a program, which runs the interpreter itself where it can: one process less."""
    text = STARTER.format(name=program.name)
    if program.read_bytes().startswith(PYTHON):
        text += DIRECTLY
    starter.write_text(f'{text}exec "$program" "$@"\n')
    starter.chmod(0o755)


def found_from_here(program: Path) -> None:
    """Let the first line of a program lead to the interpreter of the environment."""
    text = program.read_bytes()
    if text.startswith(PYTHON):
        program.write_bytes(LINE + text.removeprefix(PYTHON))
