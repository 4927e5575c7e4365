"""The working folder, file by file: what was looked at and holds no secret is on a list of the kernel's.

Whoever makes a sandbox's view of the folder (kept/overlay.py) can read what is on the list and nothing else: what came
later cannot be read, by whatever name. To look again, as each call does, lets more be seen; no wall depends on it.
"""

from __future__ import annotations

import os
import stat
import threading
import time

from agentlib import secrets, stderr
from agentlib.sandbox import guard, landlock
from agentlib.sandbox.host import homes, scratch
from agentlib.types import Iterable, Iterator

PACKAGES = frozenset((guard.GIT, "node_modules", ".venv", "venv", ".tox", "__pycache__"))
LISTED = 50_000  # files: each costs the kernel an entry, and every call a moment
ENTRIES = 1_000_000  # names: a look takes about 2 s then
CALLS = 1000  # that may add to a list before it is made anew
AGAIN = 100  # times that a look begins anew
MOMENT = 50_000_000  # nanoseconds in which a folder may change and keep its time


class Again(Exception):
    """A file on the list is a secret now, and a list cannot be shortened."""


class Folder:
    """What a look at one folder found. changed: its time, in nanoseconds, or -1: look again."""

    __slots__ = ("below", "changed", "guarded", "repository", "secrets", "unread")

    def __init__(self, changed: int) -> None:
        self.changed, self.unread, self.repository = changed, 0, False
        self.below: list[str] = []
        self.secrets: list[str] = []
        self.guarded: list[str] = []


class Workspace:
    """ruleset: a descriptor of the list; version: changes with it. files, trees: the numbers of the files on it, and of
    the folders that are on it with all they hold. Of one process; from any thread."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.home = folder in homes()
        self._lock = threading.Lock()
        self._warned = False
        self._exempt: set[str] = set()
        self._linked: set[int] = set()  # the numbers of secrets, which may have other names
        self._empty = {*homes(), *scratch()} - {folder}
        self.ruleset, self.version = -1, 0
        self._forget()

    def _forget(self) -> None:
        old, self.ruleset = self.ruleset, landlock.reading()
        if old >= 0:
            os.close(old)
        self.files: set[int] = set()
        self.trees: set[int] = set()
        self._seen: dict[str, Folder] = {}
        self._calls = 0
        self.version += 1

    def look(self, exempt: Iterable[str] = ()) -> None:
        """Look at what is new since the last time: at the folders whose time has changed.

        exempt: what is to be seen although it lies in a hidden folder of a home.
        """
        with self._lock:
            self._exempt.update(exempt if self.home else ())
            self._look_again()

    def listing(self) -> tuple[int, int]:
        """(a descriptor of the list, its version), for a call, which may add to it what else it needs."""
        with self._lock:
            self._calls += 1
            if self._calls > CALLS:  # a list cannot be shortened
                self._forget()
                self._look_again()
            return os.dup(self.ruleset), self.version

    def _look_again(self) -> None:
        for _ in range(AGAIN):
            try:
                self._look()
                break
            except Again:
                self._forget()
        if self.unread and not self._warned:
            self._warned = True
            stderr.warn(
                f"sandbox: {self.unread} files of {self.folder} are too many to look at: no tool can read them"
            )

    @property
    def secrets(self) -> list[str]:
        """The paths of the secrets."""
        return sorted(path for one in list(self._seen.values()) for path in one.secrets)

    @property
    def guarded(self) -> list[str]:
        """The guarded paths that are there."""
        return sorted(path for one in list(self._seen.values()) for path in one.guarded)

    @property
    def repositories(self) -> list[str]:
        """The repositories' own folders."""
        found = [path for path, one in self._seen.items() if one.repository]
        return found + [path for path in self.guarded if os.path.basename(path) == guard.GIT]

    @property
    def unread(self) -> int:
        """How many files are not on the list for there are too many."""
        return sum(one.unread for one in list(self._seen.values()))

    def _look(self) -> None:
        left = [(path, False) for path in (self.folder, *sorted(self._exempt))]
        before, self._seen, self._left = self._seen, {}, ENTRIES
        self._device = os.stat(self.folder).st_dev
        while left:
            path, package = left.pop()
            try:
                now = os.stat(path, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(now.st_mode):
                landlock.allow(self.ruleset, path)
            if now.st_dev != self._device or not stat.S_ISDIR(now.st_mode):
                continue  # another file system is no part of the view
            known = before.get(path)
            if known is None or known.changed != now.st_mtime_ns:
                moment = time.time_ns() - now.st_mtime_ns < MOMENT
                known = Folder(-1 if moment else now.st_mtime_ns)
                self._scan(path, known, package)
            self._seen[path] = known
            left += [(one, package or os.path.basename(one) in PACKAGES) for one in known.below]

    def _scan(self, path: str, found: Folder, package: bool) -> None:
        names, top = set(), path == self.folder
        for entry in self._entries(path):
            names.add(entry.name)
            if guard.name(entry.name, top and self.home):
                found.guarded.append(entry.path)
            hidden = top and self.home and entry.name[0] == "."
            if entry.is_dir(follow_symlinks=False):
                hidden = hidden or entry.path in self._empty or entry.inode() in self._linked
                if hidden or secrets.named(entry.name, folder=True):
                    found.secrets.append(entry.path)
                elif not ((package or entry.name in PACKAGES) and self._is_whole(entry.path)):
                    found.below.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                self._file(entry, found, hidden or secrets.named(entry.name))
            elif entry.is_symlink() and secrets.named(entry.name):
                self._link(entry, found)
        if guard.repository(names):
            found.repository = True
            found.guarded.append(path)

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0:
                        return
                    yield entry
        except OSError:
            return

    def _link(self, entry: os.DirEntry[str], found: Folder) -> None:
        """A link of a secret's name: what it leads to is one."""
        found.secrets.append(entry.path)
        try:
            number = os.stat(entry.path).st_ino
        except OSError:
            return
        if number not in self._linked:
            self._linked.add(number)
            raise Again

    def _file(self, entry: os.DirEntry[str], found: Folder, secret: bool) -> None:
        number = entry.inode()
        if secret or number in self._linked:
            self._linked.add(number)
            if number in self.files:
                raise Again
            found.secrets.append(entry.path)
        elif number not in self.files:
            if len(self.files) >= LISTED:
                found.unread += 1
            else:
                self._list(entry, found)

    def _list(self, entry: os.DirEntry[str], found: Folder) -> None:
        try:
            fd = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # neither can a tool
            return
        try:
            if secrets.holds(entry.name, os.read(fd, secrets.HEAD)):
                found.secrets.append(entry.path)
            else:
                landlock.add(self.ruleset, fd)
                self.files.add(entry.inode())
                self.version += 1
        except OSError:
            pass
        finally:
            os.close(fd)

    def _is_whole(self, path: str) -> bool:
        """Put a folder of packages, or git's, on the list as one, where it holds no secret by name; whether it is."""
        left = [path]
        while left:
            for entry in self._entries(left.pop()):
                folder = entry.is_dir(follow_symlinks=False)
                if secrets.named(entry.name, folder) or secrets.doubtful(entry.name):
                    return False
                if folder:
                    left.append(entry.path)
        if self._left < 0:
            return False
        landlock.allow(self.ruleset, path)
        self.trees.add(os.stat(path).st_ino)
        self.version += 1
        return True


_known: dict[str, Workspace] = {}


def of(folder: str, exempt: Iterable[str] = ()) -> Workspace:
    """The workspace of a folder, real, looked at just now."""
    made = _known.get(folder) or _known.setdefault(folder, Workspace(folder))
    made.look(exempt)
    return made
