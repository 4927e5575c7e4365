"""The working folder, file by file: what was looked at and holds no secret is on a list of the kernel's.

Whoever makes a sandbox's view of the folder (overlay.py) can read what is on the list and nothing else: what came
later cannot be read, by whatever name. To look again, as each call does, lets more be seen; no wall depends on it.
"""

import ctypes
import errno
import os
import stat
import threading
import time
from contextlib import suppress

from agentlib import secrets, stderr
from agentlib.faults import Fault
from agentlib.sandbox import guard, landlock
from agentlib.sandbox.host import homes, scratch
from agentlib.sandbox.landlock import Descriptor
from agentlib.sandbox.mounts import MOMENT
from agentlib.types import Any, Iterable, Iterator

PACKAGES = frozenset((guard.GIT, "node_modules", ".venv", "venv", ".tox", "__pycache__"))
LISTED = 50_000  # files: each costs the kernel an entry, and every call a moment
ENTRIES = 1_000_000  # names: a look takes about 2 s then
CALLS = 1000  # that may add to a list before it is made anew
AGAIN = 10  # times that a look begins anew
SURE = 1.0  # seconds for which the kernel's silence counts: it does not see what another machine changes
# inotify(7): an entry was made, removed, moved or got another mode, or the folder did; of a folder alone, no link
EVENTS = 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x01000000 | 0x02000000

_libc = ctypes.CDLL(None, use_errno=True)


class Folder:
    """What a look at one folder found. changed: its time, in nanoseconds, or -1: look again."""

    __slots__ = ("below", "changed", "guarded", "repositories", "secrets", "unknown", "unread")

    def __init__(self, changed: int = -1) -> None:
        self.changed, self.unread = changed, 0
        self.below, self.secrets = list[str](), list[str]()
        self.guarded, self.repositories = list[str](), list[str]()
        self.unknown: list[tuple[str, str]] = []

    def blind(self, path: str, why: str | None) -> None:
        """This could not be looked at; what it holds may come to light without a change of the folder's time."""
        self.unknown.append((path, why or "it cannot be read"))
        self.changed = -1


class Found:
    """What a finished look found. The next look makes another, so that no thread ever sees half of one.

    files, trees: the numbers of the files on the list, and of the folders that are on it with all they hold. unread:
    how many files are not on it for there are too many. unknown: (path, why) of what could not be looked at.
    """

    def __init__(self, folders: Iterable[Folder], files: set[int], trees: set[int]) -> None:
        self._folders = list(folders)
        self.files, self.trees = files, trees
        self.unread = sum(one.unread for one in self._folders)

    def _every(self, field: str) -> list[Any]:
        return [value for one in self._folders for value in getattr(one, field)]

    secrets = property(lambda self: sorted(self._every("secrets")))
    guarded = property(lambda self: sorted(self._every("guarded")))
    unknown = property(lambda self: self._every("unknown"))

    @property
    def repositories(self) -> list[str]:
        of_git = [path for path in self.guarded if os.path.basename(path) == guard.GIT]
        return self._every("repositories") + of_git


class Workspace:
    """ruleset: the list's descriptor; version: changes with it. found: by the last look. Of one process, any thread."""

    found: Found

    def __init__(self, folder: str) -> None:
        self.folder, self.home = folder, folder in homes()
        self._lock, self._warned = threading.Lock(), False
        self._exempt: set[str] = set()
        self._linked: set[int] = set()  # the numbers of secrets, which may have other names
        self._empty = {*homes(), *scratch()} - {folder}
        self.version = 0
        # tells of changes, -1 where it cannot; until when its silence means that there was none
        self._events = Descriptor(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._sure = 0.0
        self._forget()

    def _forget(self) -> None:
        """Begin another list: nothing can be taken off one."""
        self.ruleset = Descriptor(landlock.reading())
        self._files, self._trees, self._inner = set[int](), set[int](), set[int]()
        self._more = list[object]()
        self._seen: dict[str, Folder] = {}
        self._calls, self.version = 0, self.version + 1

    def look(self, exempt: Iterable[str] = ()) -> None:
        """Look at the folders that have changed since the last time. exempt: what is to be seen although it lies in a
        hidden folder of a home. Fault tool_denied where the folder changes faster than it can be looked at."""
        with self._lock:
            new = set(exempt if self.home else ()) - self._exempt
            if new or not self._unchanged():
                self._exempt |= new
                self._look()

    def _unchanged(self) -> bool:
        try:
            return time.monotonic() < self._sure and not os.read(self._events, 1 << 16)
        except BlockingIOError:
            return True

    def listing(self, grows: bool, more: tuple[object, list[str]] = (None, [])) -> tuple[int, int]:
        """(its descriptor, its version). grows: the call adds to it. more: (owner, paths) that are added once."""
        with self._lock:
            self._calls += grows
            if self._calls > CALLS:
                self._forget()
                self._look()
            if more[0] not in self._more:
                self._more.append(more[0])
                for path in more[1]:
                    landlock.allow(self.ruleset, path)
            return os.dup(self.ruleset), self.version

    def _look(self) -> None:
        self._sure = 0.0
        for _ in range(AGAIN):
            self._again = False  # whether a file on the list is a secret now
            self._walk()
            if not self._again:
                break
            self._forget()
        else:
            raise Fault("tool_denied", f"sandbox unavailable: {self.folder} changes all the time")
        self.found = Found(self._seen.values(), self._files, self._trees)
        self._sure = time.monotonic() + SURE if self._events >= 0 else 0.0
        if self.found.unread and not self._warned:
            self._warned = True
            many = f"{self.found.unread} files of {self.folder} are too many to look at"
            stderr.warn(f"sandbox: {many}: no tool can read them")

    def _walk(self) -> None:
        left = [(path, False) for path in (self.folder, *sorted(self._exempt))]
        before, self._seen, self._left = self._seen, {}, ENTRIES
        self._device = os.stat(self.folder).st_dev
        while left:
            path, package = left.pop()
            if known := self._folder(path, before.get(path), package):
                self._seen[path], below = known, known.below
                left += [(one, package or os.path.basename(one) in PACKAGES) for one in below]

    def _folder(self, path: str, known: Folder | None, package: bool) -> Folder | None:
        """What is in a folder, looked at where it has changed since it was known; None where there is none."""
        watch = _libc.inotify_add_watch(self._events, os.fsencode(path), EVENTS)
        if watch < 0 <= self._events:
            if ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR):
                self._events = Descriptor(-1)  # no more for us: other programs want some too
        try:
            now = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as bad:
            known = Folder()
            known.blind(path, bad.strerror)
            return known
        if stat.S_ISREG(now.st_mode):
            landlock.allow(self.ruleset, path)
        if not stat.S_ISDIR(now.st_mode):
            return None
        if known and known.changed == now.st_mtime_ns and now.st_dev == self._device:
            return known
        known = Folder(-1 if time.time_ns() - now.st_mtime_ns < MOMENT else now.st_mtime_ns)
        if now.st_dev == self._device:
            self._scan(path, known, package)
        else:  # no part of the view
            known.blind(path, "another file system")
        return known

    def _scan(self, path: str, found: Folder, package: bool) -> None:
        names, top = set(), path == self.folder
        for entry in self._entries(path, found):
            names.add(entry.name)
            if guard.name(entry.name, top and self.home):
                found.guarded.append(entry.path)
            hidden = top and self.home and entry.name[0] == "."
            if entry.is_dir(follow_symlinks=False):
                hidden = hidden or entry.path in self._empty or entry.inode() in self._linked
                packed = package or entry.name in PACKAGES
                if hidden or secrets.named(entry.name, folder=True):
                    found.secrets.append(entry.path)
                elif not packed or not self._list_tree(entry.path, found):
                    found.below.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                self._file(entry, found, hidden or secrets.named(entry.name))
            elif entry.is_symlink() and secrets.named(entry.name):
                found.secrets.append(entry.path)
                with suppress(OSError):  # it leads nowhere
                    number = os.stat(entry.path).st_ino
                    self._again |= number not in self._linked
                    self._linked.add(number)
        if guard.repository(names):
            found.repositories.append(path)
            found.guarded.append(path)

    def _entries(self, path: str, found: Folder) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0:
                        found.blind(path, f"more than {ENTRIES} names")
                        return
                    yield entry
        except OSError as bad:
            found.blind(path, bad.strerror)

    def _file(self, entry: os.DirEntry[str], found: Folder, secret: bool) -> None:
        """Put a file on the list, where it holds no secret. One that cannot be read now may be made readable later."""
        number = entry.inode()
        if secret or number in self._linked:
            self._linked.add(number)
            self._again |= number in self._files or number in self._inner
            found.secrets.append(entry.path)
        elif number not in self._files and len(self._files) >= LISTED:
            found.unread += 1
        elif number not in self._files:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                fd = Descriptor(os.open(entry.path, flags))
                if secrets.holds(entry.name, os.read(fd, secrets.HEAD)):
                    return found.secrets.append(entry.path)
                landlock.add(self.ruleset, fd)
            except OSError as bad:
                return found.blind(entry.path, bad.strerror)
            self._files.add(number)
            self.version += 1

    def _list_tree(self, path: str, found: Folder) -> bool:
        """Put a folder of packages, or git's, on the list as one, where it holds no secret by name; whether it is."""
        left, inner, numbers = [path], Folder(), set[int]()
        while left:
            for entry in self._entries(left.pop(), inner):
                folder = entry.is_dir(follow_symlinks=False)
                named = secrets.named(entry.name, folder) or secrets.doubtful(entry.name)
                if named or entry.inode() in self._linked:
                    return False
                numbers.add(entry.inode())
                if guard.name(entry.name, False):
                    inner.guarded.append(entry.path)
                if folder:
                    left.append(entry.path)
        if inner.unknown:
            return False
        landlock.allow(self.ruleset, path)
        self._trees.add(os.stat(path).st_ino)
        self._inner |= numbers
        self.version += 1
        found.guarded += inner.guarded
        return True


_known: dict[str, Workspace] = {}


def of(folder: str, exempt: Iterable[str] = ()) -> Workspace:
    """The workspace of a folder, real, looked at just now."""
    made = _known.get(folder) or _known.setdefault(folder, Workspace(folder))
    made.look(exempt)
    return made
