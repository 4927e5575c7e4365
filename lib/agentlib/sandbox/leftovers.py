"""After a tool has ended: guarded paths that were not there before it ran are moved aside.

What does not exist cannot be mounted read-only, and a link can be replaced; so these are looked at before and after.
"""

from __future__ import annotations

import os

from agentlib.sandbox import workspace
from agentlib.types import Mapping

THERE = ""  # neither missing (None) nor a link (its target)


def state(folder: str) -> dict[str, str | None]:
    """The guarded paths of a working folder that bubblewrap cannot guard, each with what it is now."""
    return {path: _what(path) for path in workspace.absent(folder)}


def restore(before: Mapping[str, str | None]) -> list[str]:
    """Undo what has changed since; one sentence for each."""
    for folder in {os.path.dirname(path) for path in before}:
        _enter(folder)
    return [_aside(path, was) for path, was in before.items() if _what(path) != was]


def _enter(folder: str) -> None:
    """A tool may have locked the folder behind itself."""
    if not os.access(folder, os.W_OK | os.X_OK):
        try:
            os.chmod(folder, os.stat(folder).st_mode | 0o700)
        except OSError:
            pass


def _what(path: str) -> str | None:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return THERE


def _aside(path: str, was: str | None) -> str:
    folder, name = os.path.split(path)
    new = os.path.join(folder, f"refused-{name}")
    while os.path.lexists(new):
        new += "~"
    try:
        if os.path.lexists(path):
            os.rename(path, new)
        if was:
            os.symlink(was, path)
    except OSError as bad:
        return f"{path}: a tool may not make this, and it cannot be moved aside: {bad.strerror}"
    return f"{path}: a tool may not make this: moved to {os.path.basename(new)}"
