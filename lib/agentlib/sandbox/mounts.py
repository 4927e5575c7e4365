"""The view a sandboxed tool has of the files: one action for each path, parents first (docs/safety.md)."""

from __future__ import annotations

import os

from agentlib.faults import Fault
from agentlib.sandbox import host, workspace
from agentlib.types import Iterable

EMPTY, READ, WRITE, MASK = "empty", "read", "write", "mask"


class View:
    """actions: what becomes of each path, by path. Everything else is seen as it is, and cannot be changed.

    folder: where the tool works; visible: whether it sees it; writable: whether it may write there; cannot: why it may
    not, where that was asked for.
    """

    def __init__(
        self,
        argv: list[str],
        search: str,
        folder: str,
        *,
        writable: bool,
        visible: bool,
        read: Iterable[str],
        write: Iterable[str],
    ) -> None:
        """search: the tool's PATH. visible: whether it sees the folder at all. read, write: grants of the user."""
        self.folder, self.visible, self.writable, self.cannot = (
            os.path.realpath(folder),
            visible,
            writable,
            "",
        )
        self.actions: dict[str, str] = {place: EMPTY for place in (*host.homes(), *host.scratch())}
        self.masks: list[str] = []
        self.write = [self._granted(one) for one in write]
        if visible:
            self._work()
        for path in (*host.machine_secrets(), *map(os.path.realpath, self.masks)):
            self._mask(path)
        own = [os.path.realpath(argv[0]), argv[0]]
        self._show([*host.suite(), *host.program(argv, search), *own, *map(self._granted, read)])
        for path in host.beside(
            argv[0]
        ):  # to be seen; what is written there is not the tool's affair
            if self.hidden(path):
                self.actions[path] = READ
        for path in self.write:
            self.actions[path] = WRITE

    def ordered(self) -> list[tuple[str, str]]:
        """(path, action), each after the folders that it lies in."""
        return sorted(self.actions.items(), key=lambda pair: pair[0].split("/"))

    def hidden(self, path: str) -> bool:
        """Whether the path lies in a place that is empty inside."""
        above = path
        while above not in self.actions and above != "/":
            above = os.path.dirname(above)
        return self.actions.get(above) in (EMPTY, MASK)

    def _work(self) -> None:
        """The working folder; a folder that holds a home is never handed over as a whole."""
        folder = self.folder
        if any(host.inside(area, folder) and area != folder for area in host.shared()):
            self.cannot = f"{folder} holds more than a project: nothing can be written; start in a project's folder"
            self.writable = False
            return
        found = workspace.look(folder)
        self.actions[folder] = WRITE if self.writable else READ
        self.masks += [*found.secrets, *workspace.above(folder)]
        if folder in host.homes():
            self.masks += workspace.dotted(folder)
        if self.writable:
            for path in found.guarded:
                self._guard(path)
            for home in host.homes():
                if host.inside(home, folder) and home != folder:
                    self._pin(home)

    def _guard(self, path: str) -> None:
        """Read-only inside the writable folder."""
        if (
            path == self.folder
            or path in self.write
            or os.path.islink(path)
            or not os.path.exists(path)
        ):
            return
        self.actions[path] = READ
        self._pin(path)

    def _pin(self, path: str) -> None:
        """The folders between the working folder and a path cannot be renamed, being mounts themselves."""
        between = os.path.dirname(path)
        while host.inside(between, self.folder) and between != self.folder:
            self.actions.setdefault(between, WRITE)
            between = os.path.dirname(between)

    def _show(self, shown: list[str]) -> None:
        """Visible and read-only, wherever it lies."""
        for path in sorted(set(shown), key=len):
            if self.hidden(path):
                self.actions[path] = READ
            elif self.writable and host.inside(path, self.folder):
                self._guard(path)

    def _mask(self, real: str) -> None:
        if real not in self.write and os.path.exists(real) and not self.hidden(real):
            self.actions[real] = MASK

    @staticmethod
    def _granted(path: str) -> str:
        real = os.path.realpath(os.path.expanduser(path))
        if not os.path.exists(real):
            raise Fault("tool_denied", f"{path}: granted to the tool, but not there")
        return real
