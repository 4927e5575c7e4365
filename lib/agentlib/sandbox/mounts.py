"""The view a sandboxed tool has of the files: one action for each path, parents first (docs/safety.md)."""

import functools
import os
import time
from contextlib import suppress

from agentlib import history, secrets
from agentlib.faults import Fault
from agentlib.sandbox import host
from agentlib.sandbox.overlay import EMPTY, OVERLAY
from agentlib.types import Any, Iterable

Argv = list[str]
Paths = Iterable[str]
READ, WRITE, MASK = "read", "write", "mask"
MOMENT = 50_000_000  # nanoseconds in which a folder may change and keep its time


class View:
    """actions: what becomes of each path; all else is seen as it is, and cannot change. folder: where the tool works;
    visible: whether it sees it; writable: whether it may write there; cannot: why it may not, where that was asked for;
    kept: what of it stays as it is whatever is written there (the tool, the suite)."""

    def __init__(
        self, argv: Paths, path: str, folder: str, profile: str, read: Paths = (), write: Paths = ()
    ) -> None:
        """argv: the programs of the tool. path: its PATH. profile: see prepare.py. read, write: grants of the user."""
        self.folder = os.path.realpath(folder)
        self.visible, self.writable = profile != "probe", profile in ("work", "net")
        self.cannot, self.kept = "", list[str]()
        self.actions: dict[str, str] = {place: EMPTY for place in (*host.homes(), *host.scratch())}
        self.write = [self._granted(one) for one in write]
        if self.visible:
            self._work()
        self._mask([*host.machine_secrets(), os.path.realpath(history.folder())])
        seen = [part for one in argv for part in host.program(one, path)]
        self._show([*host.suite(), *seen, *map(self._granted, read)])
        beside = [part for one in argv for part in host.beside(one) if self.hidden(part)]
        self.actions |= {**dict.fromkeys(beside, READ), **dict.fromkeys(self.write, WRITE)}

    def ordered(self) -> list[tuple[str, str]]:
        """(path, action), each after the folders that it lies in."""
        return sorted(self.actions.items(), key=lambda pair: pair[0].split("/"))

    def hidden(self, path: str) -> bool:
        """Whether the path lies in a place that is empty inside."""
        while path not in self.actions and path != "/":
            path = path.rpartition("/")[0] or "/"
        return self.actions.get(path) in (EMPTY, MASK)

    @property
    def listed(self) -> bool:
        """Whether of the working folder only what is on its list can be read."""
        return self.actions.get(self.folder) == OVERLAY

    def _work(self) -> None:
        """The working folder; a folder that holds a home is never handed over as a whole."""
        shared = {*host.scratch(), *(one for one in host.homes() if one in ("/home", "/root"))}
        if any(host.inside(area, self.folder) for area in shared - {self.folder}):
            why = "holds more than a project: nothing can be written; start in a project's folder"
            self.cannot, self.writable = f"{self.folder} {why}", False
            return
        self.actions[self.folder] = OVERLAY
        parent = os.path.dirname(self.folder)
        while parent != "/":  # the .env of a project, seen from a part of it
            self._mask([] if self.hidden(parent) else _secrets(parent))
            parent = os.path.dirname(parent)

    def _show(self, paths: list[str]) -> None:
        for path in sorted(set(paths), key=len):
            if self.listed and host.inside(path, self.folder):
                self.kept += [path] if path != self.folder and path not in self.write else []
            elif self.hidden(path):
                self.actions[path] = READ

    def _mask(self, paths: Iterable[str]) -> None:
        for real in paths:
            if real not in self.write and os.path.exists(real) and not self.hidden(real):
                self.actions[real] = MASK

    @staticmethod
    def _granted(path: str) -> str:
        real = os.path.realpath(os.path.expanduser(path))
        if not os.path.exists(real):
            raise Fault("tool_denied", f"{path}: granted to the tool, but not there")
        return real


def view(argv: Argv, path: str, folder: str, *more: Any) -> View:
    """A View, made anew each second, and where a file came or went beside the folder's parents."""
    parents = [folder[:n] for n, letter in enumerate(folder) if n and letter == "/"]
    programs = tuple(host.programs(argv))
    stamps = tuple(map(stamp, (*programs, *parents)))
    return _view(int(time.monotonic()), stamps, programs, path, folder, *more)


@functools.lru_cache(64)
def _view(_second: int, _stamps: object, *how: Any) -> View:
    return View(*how)


def stamp(path: str) -> tuple[int, ...]:
    """Which file it is, and when an entry of it came or went; what is too new for its time is never the same again."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    new = time.time_ns() - found.st_mtime_ns < MOMENT
    return found.st_dev, found.st_ino, time.time_ns() if new else found.st_mtime_ns


def _secrets(folder: str) -> list[str]:
    found = []
    with suppress(OSError):
        for entry in os.scandir(folder):
            doubtful = secrets.doubtful(entry.name) and secrets.secret(entry.path)
            if doubtful or secrets.named(entry.name, entry.is_dir()):
                found.append(os.path.realpath(entry.path))
    return found
