"""A view in the words of Landlock, which knows only trees to allow: everything but what is hidden, listed."""

import os
import struct

from agentlib.faults import Fault
from agentlib.sandbox import host, landlock
from agentlib.sandbox.landlock import EXECUTE, IOCTL_DEVICE, READ_DIR, READ_FILE, Descriptor
from agentlib.sandbox.mounts import MASK, READ, WRITE, View, stamp
from agentlib.sandbox.overlay import EMPTY, OVERLAY
from agentlib.sandbox.workspace import Workspace
from agentlib.types import Any, Iterable

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# no process of /proc, not even one's own: through them root could read everyone's environment
OF_PROC = [f"/proc/{name}" for name in "cpuinfo meminfo stat uptime loadavg version".split()]
LOOK = EXECUTE | READ_FILE | READ_DIR
FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
CALLS = 1000  # that may add to a ruleset before it is made anew

_known: "dict[Any, Trees]" = {}  # by the view and the network


class Trees:
    """What a call may read, and write, but for the working folder and its scratch folder, when they were looked for."""

    def __init__(self, view: View, writable: list[str], network: bool) -> None:
        closed = {path for path, do in view.actions.items() if do in (EMPTY, MASK, OVERLAY)}
        visible = [path for path, action in view.actions.items() if action in (READ, WRITE)]
        self._seen = {path: stamp(path)[:2] for path in (*visible, *writable)}
        around = [self._around(path, closed | {"/proc", "/dev"}) for path in ("/", *visible)]
        self.readable = [*(path for paths in around for path in paths), *OF_PROC]
        self.writable = [*writable, *DEVICES]
        self._folder = [view.folder] if OVERLAY in view.actions.values() else []
        self._network, self._calls = network, 0
        self.free: list[Descriptor] = []  # rulesets for other calls

    def fresh(self) -> bool:
        """Whether they are still what a look would find."""
        seen = self._seen.items()
        return self._calls < CALLS and all(stamp(path)[: len(at)] == at for path, at in seen)

    def take(self, scratch: str) -> Descriptor:
        """A ruleset for one call with this scratch folder, to be given back when that folder is no more."""
        self._calls += 1
        try:
            made = self.free.pop()
        except IndexError:
            readable = [*self.readable, *self._folder]
            made = Descriptor(ruleset(readable, self.writable, self._network))
        allow_writing(made, scratch)
        return made

    def _around(self, tree: str, closed: set[str]) -> list[str]:
        """The largest trees of this one that hold nothing closed; links are left out, for they lead elsewhere."""
        if tree in closed:
            return []
        if not any(path.startswith(f"{tree.rstrip('/')}/") for path in closed):
            return [tree]
        self._seen[tree] = stamp(tree)
        try:
            with os.scandir(tree) as found:
                below = [entry.path for entry in found if not entry.is_symlink()]
        except OSError:
            return []
        return [one for path in below for one in self._around(path, closed)]


def of(view: View, space: Workspace | None, network: bool = False) -> Trees:
    """The trees of a view. Fault tool_denied for what Landlock cannot do."""
    writable = [path for path, action in view.actions.items() if action == WRITE]
    if space and view.writable:
        writable.append(view.folder)
    shut = [path for path, action in view.actions.items() if action not in (WRITE, OVERLAY)]
    holes = [path for path in shut if any(path.startswith(f"{tree}/") for tree in writable)]
    if space and view.writable:
        found = space.found
        holes += [*view.kept, *found.secrets, *found.guarded]
        from agentlib.sandbox import references

        holes += [one for one in references.settings() if host.inside(one, view.folder)]
        # what nobody has looked at may be what a tool must not read or change
        holes += [f"what cannot be looked at ({path}: {why})" for path, why in found.unknown]
        if found.unread:
            holes.append(f"a secret in {found.unread} files that are too many to look at,")
    if holes:
        why = f"without bubblewrap {holes[0]} cannot be protected in a folder that may be written"
        cure = "install bubblewrap, or use --sandbox read"
        raise Fault("tool_denied", f"sandbox unavailable: {why} ({cure})")
    key = (*view.ordered(), *writable, network)
    if key not in _known or not _known[key].fresh():
        _known[key] = Trees(view, writable, network)
    return _known[key]


def handled(version: int) -> int:
    """The bits of file access that this version can refuse."""
    return FILES[max(v for v in FILES if v <= version)]


def ruleset(readable: Iterable[str], writable: Iterable[str], network: bool) -> int:
    """A new ruleset: what lies under `readable` can be read and run, under `writable` written too; the rest neither.

    network False refuses TCP too where the kernel can (seccomp refuses all sockets anyway). Paths that are gone are
    left out. Fault tool_denied where the kernel refuses.
    """
    version = landlock.abi()
    if version < 1:
        raise Fault("tool_denied", "sandbox unavailable: this kernel has no Landlock")
    tcp = 0 if network else 0b11
    scope = 0b11  # no signals, no abstract sockets, out of here
    words = 1 + (version >= 4) + (version >= 6)  # how many this version knows
    made = landlock.create(struct.pack("=QQQ", handled(version), tcp, scope)[: 8 * words])
    if made < 0:
        raise Fault("tool_denied", f"sandbox unavailable: {landlock.error().strerror}")
    for path in readable:
        landlock.allow(made, path, handled(version) & LOOK)
    for path in writable:
        allow_writing(made, path)
    return made


def allow_writing(ruleset: int, path: str) -> None:
    """Let what lies under this path be written too."""
    landlock.allow(ruleset, path, handled(landlock.abi()) & ~IOCTL_DEVICE)
