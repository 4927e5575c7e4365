"""Take the changes of a call over into the working folder, file by file, when the tool has ended.

This process does it, outside of the sandbox, and knows what is guarded. It follows no link, neither in the
folder nor in the changes; it replaces or removes only files that were on the workspace's list and that nobody else has
changed since the call began. What it refuses it leaves as it was, and says so.
"""

import errno
import os
import stat
import threading
from contextlib import suppress

from agentlib.sandbox import guard, references
from agentlib.sandbox.landlock import Descriptor
from agentlib.sandbox.overlay import OF_AN_OVERLAY
from agentlib.sandbox.workspace import Workspace
from agentlib.types import Iterable, NamedTuple

OPAQUE = f"{OF_AN_OVERLAY}opaque"  # of a folder that stands in the place of one that was removed
DEEPEST = 200  # folders; each takes two descriptors and four of Python's 1,000 frames
MOST = 10  # sentences
CHUNK = 1 << 20
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
KEPT = "a tool may not change this: left as it was"
DEEPER = f"deeper than {DEEPEST} folders: not taken over"
MADE = "a tool may not make this: it was not made"


class At(NamedTuple):
    """Where we are: open folders of the changes (-1: none) and of the working folder, and the path from its top. known:
    all in it was looked at; fresh: it stands in the place of a folder that the tool removed; git: how much of the path
    leads to a repository's own folder, -1 for outside of one."""

    new: int
    real: int
    path: tuple[str, ...]
    known: bool
    fresh: bool
    git: int


class Refused(Exception):
    """Why something is left as it was."""


class Conflict(Refused):
    """Somebody else has changed it since the call began."""


class Takeover:
    """Takes over one call's changes. begun: when it began, in nanoseconds. kept: paths that stay, absolute."""

    def __init__(self, workspace: Workspace, begun: int, kept: Iterable[str]) -> None:
        self._workspace, self._begun = workspace, begun
        every = (*kept, *references.settings())
        self._kept = {os.path.relpath(path, workspace.folder) for path in every}
        self._refused: list[str] = []
        self._before: set[str] = set()  # what was said before
        self._going_on = False
        # what was copied, by path: file, time, copy
        self._taken: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def take(self, changes: str, going_on: bool = False) -> list[str]:
        """Take over what lies in the folder of changes; what was refused, in a sentence each, once.

        going_on: the tool has not ended, and will need what it made. From then on changes are copied, not moved.
        """
        with self._lock:
            self._going_on |= going_on
            if not self._going_on:
                os.chmod(changes, 0o700)
            self._refused = []
            if os.listdir(changes):
                space = self._workspace
                named = references.paths(space.folder, space.found)
                self._kept |= {os.path.relpath(path, space.folder) for path in named}
                new = Descriptor(os.open(changes, FOLDER))
                real = Descriptor(os.open(space.folder, FOLDER))
                self._device = os.fstat(real).st_dev
                self._folder(At(new, real, (), False, False, -1))
            notes = [one for one in self._refused if one not in self._before]
            self._before.update(notes)
        return notes[:MOST] + ([f"and {len(notes) - MOST} more like these"] if notes[MOST:] else [])

    def _folder(self, at: At) -> None:
        there, made = set(os.listdir(at.real)), set(os.listdir(at.new))
        for name in sorted(made):
            self._trying(at, name, there, made, self._entry)
        for name in sorted(there - made) if at.fresh else ():
            self._trying(at, name, there, made, self._remove)

    def _trying(self, at, name, there, made, what) -> None:  # type: ignore[no-untyped-def]
        if at.git < 0 and guard.repository(there):
            at = at._replace(git=len(at.path))
        try:
            self._check_guarded(at, name, there, made)
            what(at, name)
        except Refused as why:
            self._refused.append(f"{'/'.join((*at.path, name))}: {why}")
        except OSError as bad:
            self._refused.append(f"{'/'.join((*at.path, name))}: not taken over: {bad.strerror}")

    def _check_guarded(self, at: At, name: str, there: set[str], made: set[str]) -> None:
        """Refused for what runs or is believed later. there, made: the names in the folder and in its changes."""
        path, home = (*at.path, name), self._workspace.home and not at.path
        if at.git >= 0:
            of_git = path[at.git :]
            # of a new work tree most is guarded
            new_tree = of_git[:-1] == ("worktrees",) and name not in there
            guarded = new_tree or references.of_git(of_git)
        elif name == guard.GIT and name in there:
            guarded = not _both_folders(at, name)
        else:
            guarded = guard.name(name, home)
            completes = name in guard.REPOSITORY and name not in there
            guarded = guarded or (completes and guard.repository(there | made))
        if guarded or os.path.join(*path) in self._kept:
            raise Refused(KEPT if name in there else MADE)

    def _entry(self, at: At, name: str) -> None:
        found = os.stat(name, dir_fd=at.new, follow_symlinks=False)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:  # the mark of what was removed
            self._remove(at, name)
        elif stat.S_ISDIR(found.st_mode):
            self._enter(at, name, found.st_mode)
        elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
            self._place(at, name, found)
        else:
            raise Refused("neither a file, a folder nor a link: it was not made")

    def _enter(self, at: At, name: str, mode: int) -> None:
        if len(at.path) >= DEEPEST:
            raise Refused(DEEPER)
        there = _stat(at.real, name)
        if there is None or not stat.S_ISDIR(there.st_mode):
            if there:
                self._remove(at, name)
            os.mkdir(name, 0o700, dir_fd=at.real)
        if not self._going_on:
            os.chmod(name, 0o700, dir_fd=at.new)
        below = self._below(at, name)
        self._folder(below)
        if not there or stat.S_IMODE(there.st_mode) != stat.S_IMODE(mode):
            os.fchmod(below.real, mode & 0o777)

    def _below(self, at: At, name: str) -> At:
        if len(at.path) >= DEEPEST:
            raise Refused(DEEPER)
        real = Descriptor(os.open(name, FOLDER, dir_fd=at.real))
        found = os.fstat(real)
        if found.st_dev != self._device:
            raise Refused("another file system: not taken over")
        path = (*at.path, name)
        git = len(path) if at.git < 0 and name == guard.GIT else at.git
        known = at.known or found.st_ino in self._workspace.found.trees
        new = -1 if at.new < 0 else Descriptor(os.open(name, FOLDER, dir_fd=at.new))
        fresh = at.fresh or (new >= 0 and _opaque(new))
        return At(new, real, path, known, fresh, git)

    def _remove(self, at: At, name: str) -> None:
        """What the tool has removed; of a folder all but what must stay."""
        found = _stat(at.real, name)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            self._check_way(at, name)
            self._check_replaceable(at, found)
            return os.unlink(name, dir_fd=at.real)
        below = self._below(at._replace(new=-1), name)
        there = set(os.listdir(below.real))
        for one in sorted(there):
            self._trying(below, one, there, set(), self._remove)
        os.rmdir(name, dir_fd=at.real)

    def _check_way(self, at: At, name: str) -> None:
        """Refused for a link, or what might become one, on the way to a path that stays."""
        way = os.path.join(*at.path, name) + "/"
        if any(path.startswith(way) for path in self._kept):
            raise Refused(KEPT)

    def _check_replaceable(self, at: At, found: os.stat_result) -> None:
        """Refused where the tool may not replace or remove a file that is there."""
        if found.st_ctime_ns > self._begun:
            raise Conflict("somebody else has changed it during the call: left as it is")
        listed = at.known or found.st_ino in self._workspace.found.files
        if stat.S_ISREG(found.st_mode) and not listed:
            raise Refused("it holds a secret, or was not looked at: left as it was")

    def _place(self, at: At, name: str, found: os.stat_result) -> None:
        self._check_way(at, name)
        there, target, conflict = _stat(at.real, name), name, None
        path, now = (*at.path, name), (found.st_ino, found.st_ctime_ns)
        before = self._taken.get(path, ())
        if self._going_on and before[:2] == now:
            return
        if there and stat.S_ISDIR(there.st_mode):
            self._remove(at, name)
        elif there and there.st_ino not in before[2:]:
            try:
                self._check_replaceable(at, there)
            except Conflict as why:
                conflict, target = why, f"{name}.tool-{os.urandom(4).hex()}"
        if self._going_on or not _moved(at, name, target, found):
            _copy(at, name, target, found)
            made = os.stat(target, dir_fd=at.real, follow_symlinks=False)
            self._taken[path] = (*now, made.st_ino)
        if conflict:
            raise Refused(f"{conflict}; the tool's is {target}")


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _both_folders(at: At, name: str) -> bool:
    """Whether this is a folder in the working folder and, if it is there, in the changes; and not a new one."""
    real, new = _stat(at.real, name), None if at.new < 0 else _stat(at.new, name)
    if at.fresh or not real or not new:
        return False
    if not stat.S_ISDIR(real.st_mode) or not stat.S_ISDIR(new.st_mode):
        return False
    os.chmod(name, 0o700, dir_fd=at.new)
    fd = Descriptor(os.open(name, FOLDER, dir_fd=at.new))
    opaque = _opaque(fd)
    os.fchmod(fd, stat.S_IMODE(new.st_mode))
    return not opaque


def _opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError as bad:
        if bad.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return False


def _moved(at: At, name: str, target: str, found: os.stat_result) -> bool:
    """Move a file, without marks of the overlay and set-user-id; False where it lies on another file system."""
    path = f"/proc/self/fd/{at.new}/{name}"
    if stat.S_ISREG(found.st_mode):
        if found.st_mode & 0o6000:
            os.chmod(path, found.st_mode & 0o777)
        for mark in os.listxattr(path, follow_symlinks=False):
            if mark.startswith(OF_AN_OVERLAY):
                os.removexattr(path, mark, follow_symlinks=False)
    try:
        os.rename(name, target, src_dir_fd=at.new, dst_dir_fd=at.real)
    except OSError as bad:
        if bad.errno == errno.EXDEV:
            return False
        raise
    return True


def _copy(at: At, name: str, target: str, found: os.stat_result) -> None:
    """To another file system; it appears there as a whole."""
    part = f".{os.urandom(8).hex()}.part"
    try:
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=at.new), part, dir_fd=at.real)
        else:
            source = os.open(name, READ, dir_fd=at.new)
            made = os.open(part, NEW, 0o600, dir_fd=at.real)
            with open(source, "rb") as old, open(made, "wb") as file:
                while data := old.read(CHUNK):
                    file.write(data)
                file.flush()
                os.fchmod(made, found.st_mode & 0o777)
                os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.rename(part, target, src_dir_fd=at.real, dst_dir_fd=at.real)
    except OSError:
        if _stat(at.real, part):
            os.unlink(part, dir_fd=at.real)
        raise


def set_aside(space: Workspace) -> list[str]:
    """Move aside the guarded paths of a folder that had none; one sentence for each. Where Landlock is the wall nothing
    can keep a tool from making them in a folder that it may write."""
    if not os.access(space.folder, os.W_OK | os.X_OK):
        with suppress(OSError):  # a tool may have locked the folder behind itself
            os.chmod(space.folder, os.stat(space.folder).st_mode | 0o700)
    space.look()
    notes = []
    for path in space.found.guarded:
        folder, name = os.path.split(path)
        new = f"refused-{name}-{os.urandom(4).hex()}"
        try:
            os.rename(path, os.path.join(folder, new))
            notes.append(f"{path}: a tool may not make this: moved to {new}")
        except OSError as bad:
            why = f"a tool may not make this, and it cannot be moved aside: {bad.strerror}"
            notes.append(f"{path}: {why}")
    locked = [f"{path}: it cannot be looked at: {why}" for path, why in space.found.unknown]
    return notes + locked[:MOST]
