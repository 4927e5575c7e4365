"""Which files of a folder are worth reading: not what git ignores, nothing hidden, links not followed out of it."""

import glob
import os
import re
import stat
import subprocess

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Iterator

GIT_SECONDS = 30
# A repository of others must not run its programs through our questions to git (git-config(1): core.fsmonitor).
UNREADABLE = re.compile(
    r"warning: could not open directory '((?!\.|.*/\.).+?)/?': Permission denied"
)
GIT = "git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.quotePath=false".split()


def git(*args: str, folder: str = ".", errors: list[str] | None = None) -> bytes | None:
    """What git prints, None where it fails or is not there; why goes to `errors`, and what it could not read."""
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        with open(os.devnull, "rb") as null:
            place: dict[str, Any] = {"cwd": folder, "env": env, "stdin": null}
            done = subprocess.run([*GIT, *args], capture_output=True, timeout=GIT_SECONDS, **place)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if errors is not None:
        errors += done.stderr.decode("utf-8", "replace").removeprefix("fatal: ").splitlines()
    return done.stdout if done.returncode == 0 else None


def expand(operand: str, tell: Callable[[str], None] = stderr.warn) -> list[str]:
    """The files that an operand names: itself, all of a folder, or what a glob matches. Fault where none.

    tell: gets a line for each folder that cannot be read."""
    if os.path.isdir(operand):
        return list(folder(operand, tell))
    if os.path.lexists(operand):
        return [operand]
    found = sorted(glob.glob(operand, recursive=True)) if glob.has_magic(operand) else []
    if not found:
        raise Fault("invalid_input", f"{operand}: {missing(operand)}")
    return [file for file in found if not os.path.isdir(file)]


def missing(path: str) -> str:
    """Why there is nothing of this name: there is not, or one may not look."""
    try:
        os.lstat(path)
    except PermissionError:
        return "Permission denied"
    except (OSError, ValueError):
        pass
    return "no such file or folder"


def folder(path: str, tell: Callable[[str], None] = stderr.warn) -> Iterator[str]:
    """The files of a folder, by name, less what is hidden or ignored. Says what cannot be read."""
    errors: list[str] = []
    options = ("-z", "--cached", "--others", "--exclude-standard")
    listed = git("ls-files", *options, folder=path, errors=errors)
    if listed is None and errors and "not a git repository" not in errors[0]:
        tell(f"{path}: git: {errors[0]}; .gitignore files are heeded without it")
    names = _walk(path, tell)
    closed: set[str] = set()  # folders that may not be read
    if listed is not None:
        names = iter(sorted(set(os.fsdecode(listed).split("\0")) - {""}))
        found = filter(None, map(UNREADABLE.match, errors))
        closed = {os.path.normpath(os.path.join(path, one[1])) for one in found}
    top = os.path.realpath(path) + os.sep
    for name in names:
        full = os.path.normpath(os.path.join(path, name))
        if any(part.startswith(".") for part in name.split("/")):
            continue
        try:
            is_file = stat.S_ISREG(os.stat(full).st_mode)
        except PermissionError:
            closed.add(os.path.dirname(full))
            continue
        except OSError:  # git still knows of it
            continue
        # a link that points outside of the folder is left out
        if is_file and (not os.path.islink(full) or os.path.realpath(full).startswith(top)):
            yield full
    for name in sorted(closed):
        tell(f"{name}: Permission denied: left out")


def _walk(path: str, tell: Callable[[str], None]) -> Iterator[str]:
    """The files below a folder that is no repository, by name, less what its .gitignore files name."""
    from agentlib import packages

    packages.need("pathspec")
    import pathspec

    rules: dict[str, pathspec.GitIgnoreSpec] = {}

    def unreadable(bad: OSError) -> None:
        tell(f"{os.path.normpath(bad.filename)}: {bad.strerror}: left out")

    for base, folders, files in os.walk(path, onerror=unreadable):
        inside = os.path.relpath(base, path)
        if ".gitignore" in files:
            gitignore = os.path.join(base, ".gitignore")
            with open(gitignore, encoding="utf-8-sig", errors="replace") as file:
                rules[inside] = pathspec.GitIgnoreSpec.from_lines(file)

        def kept(name: str, inside: str = inside) -> bool:
            """By the nearest .gitignore with a rule for it, as git decides."""
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
