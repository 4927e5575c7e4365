"""A view in the words of Landlock, which knows only trees to allow: everything but what is hidden, listed."""

from __future__ import annotations

import os

from agentlib.faults import Fault
from agentlib.sandbox.mounts import MASK, READ, WRITE, View
from agentlib.sandbox.overlay import EMPTY, OVERLAY
from agentlib.types import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlib.sandbox.workspace import Workspace

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# no process of /proc, not even one's own: through them root could read everyone's environment
OF_PROC = [f"/proc/{name}" for name in "cpuinfo meminfo stat uptime loadavg version".split()]


def of(view: View, space: Workspace | None) -> tuple[list[str], list[str]]:
    """(readable, writable) trees, but for the working folder. Fault tool_denied for what Landlock cannot do."""
    writable = [path for path, action in view.actions.items() if action == WRITE]
    if space and view.writable:
        writable.append(view.folder)
    shut = [path for path, action in view.actions.items() if action not in (WRITE, OVERLAY)]
    holes = [path for path in shut if any(path.startswith(f"{tree}/") for tree in writable)]
    if space and view.writable:
        holes += [*view.kept, *space.found.secrets, *space.found.guarded, *_unknown(space)]
    if holes:
        why = f"without bubblewrap {holes[0]} cannot be protected in a folder that may be written"
        cure = "install bubblewrap, or use --sandbox read"
        raise Fault("tool_denied", f"sandbox unavailable: {why} ({cure})")
    closed = {path for path, action in view.actions.items() if action in (EMPTY, MASK, OVERLAY)}
    closed |= {"/proc", "/dev"}
    visible = [path for path, action in view.actions.items() if action in (READ, WRITE)]
    readable = [one for path in ("/", *visible) for one in _around(path, closed)]
    return [*readable, *OF_PROC], [*writable, *DEVICES]


def _unknown(space: Workspace) -> list[str]:
    """What nobody has looked at, and so may be what a tool must not read or change."""
    found, many = space.found, space.found.unread
    unread = [f"a secret in {many} files that are too many to look at,"] if many else []
    return [f"what cannot be looked at ({path}: {why})" for path, why in found.unknown] + unread


def _around(tree: str, closed: set[str]) -> list[str]:
    """The largest trees of this one that hold nothing closed; links are left out, for they lead elsewhere."""
    if tree in closed:
        return []
    if not any(path.startswith(f"{tree.rstrip('/')}/") for path in closed):
        return [tree]
    try:
        with os.scandir(tree) as found:
            below = [entry.path for entry in found if not entry.is_symlink()]
    except OSError:
        return []
    return [one for path in below for one in _around(path, closed)]
