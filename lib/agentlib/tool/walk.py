"""Which files of a folder are worth reading: not what git ignores, nothing hidden, links not followed out of it."""

from __future__ import annotations

import glob
import os
import subprocess

from agentlib import secrets, stderr
from agentlib.faults import Fault
from agentlib.types import Any, Iterator

GIT_SECONDS = 30
# A repository of others must not run its programs through our questions to git (git-config(1): core.fsmonitor).
GIT = "git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.quotePath=false".split()


def git(*args: str, folder: str = ".", errors: list[str] | None = None) -> bytes | None:
    """What git prints, None where it fails or is not there; why goes to `errors`."""
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        with open(os.devnull, "rb") as null:
            place: dict[str, Any] = {"cwd": folder, "env": env, "stdin": null}
            done = subprocess.run([*GIT, *args], capture_output=True, timeout=GIT_SECONDS, **place)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and errors is not None:
        errors += done.stderr.decode("utf-8", "replace").removeprefix("fatal: ").splitlines()[:1]
    return done.stdout if done.returncode == 0 else None


def diff(revision: str, secrets_too: bool = False) -> str:
    """The change of the working tree since a revision, as git shows it without programs of the repository, less that
    of files whose names are those of secrets."""
    if revision.startswith("-"):
        raise Fault("invalid_input", f"--diff {revision}: not a revision")
    errors: list[str] = []
    if git("rev-parse", "--git-dir", errors=errors) is None:
        raise Fault("invalid_input", f"--diff: {''.join(errors) or 'git does not answer'}")
    less = [] if secrets_too else [f":(top,exclude,glob,icase)**/{name}" for name in secrets.NAMES]
    text = git("diff", "--no-ext-diff", "--no-textconv", "--no-color", revision, "--", ":/", *less)
    if text is None:
        raise Fault("invalid_input", f"--diff {revision}: git knows no such revision here")
    return text.decode("utf-8", "replace")


def expand(operand: str) -> list[str]:
    """The files that an operand names: itself, all of a folder, or what a glob matches. Fault where none."""
    if os.path.isdir(operand):
        return list(folder(operand))
    if os.path.lexists(operand):
        return [operand]
    found = sorted(glob.glob(operand, recursive=True)) if glob.has_magic(operand) else []
    if not found:
        raise Fault("invalid_input", f"{operand}: no such file or folder")
    return [file for file in found if not os.path.isdir(file)]


def folder(path: str) -> Iterator[str]:
    """The files of a folder, by name, less what is hidden or ignored."""
    errors: list[str] = []
    options = ("-z", "--cached", "--others", "--exclude-standard")
    listed = git("ls-files", *options, folder=path, errors=errors)
    if errors and "not a git repository" not in errors[0]:
        stderr.warn(f"{path}: git: {errors[0]}; .gitignore files are heeded without it")
    names = _walk(path) if listed is None else sorted(set(os.fsdecode(listed).split("\0")) - {""})
    top = os.path.realpath(path) + os.sep
    for name in names:
        full = os.path.normpath(os.path.join(path, name))
        hidden = any(part.startswith(".") for part in name.split("/"))
        if hidden or not os.path.isfile(full):
            continue
        # a link that points outside of the folder is left out
        if not os.path.islink(full) or os.path.realpath(full).startswith(top):
            yield full


def _walk(path: str) -> Iterator[str]:
    """The files below a folder that is no repository, by name, less what its .gitignore files name."""
    from agentlib import packages

    packages.need("pathspec")
    import pathspec

    rules: dict[str, pathspec.GitIgnoreSpec] = {}

    def unreadable(bad: OSError) -> None:
        stderr.warn(f"{bad.filename}: {bad.strerror}: left out")

    for base, folders, files in os.walk(path, onerror=unreadable):
        inside = os.path.relpath(base, path)
        if ".gitignore" in files:
            gitignore = os.path.join(base, ".gitignore")
            with open(gitignore, encoding="utf-8-sig", errors="replace") as file:
                rules[inside] = pathspec.GitIgnoreSpec.from_lines(file)

        def kept(name: str, inside: str = inside) -> bool:
            """By the nearest .gitignore that speaks of it, as git decides."""
            full = os.path.normpath(os.path.join(inside, name))
            for top in sorted(rules, key=len, reverse=True):
                if top == "." or full.startswith(top + "/"):
                    there = os.path.relpath(full, top) + ("/" if name.endswith("/") else "")
                    ignored = rules[top].check_file(there).include
                    if ignored is not None:
                        return not ignored
            return True

        folders[:] = sorted(f for f in folders if not f.startswith(".") and kept(f + "/"))
        yield from (os.path.normpath(os.path.join(inside, f)) for f in sorted(files) if kept(f))
