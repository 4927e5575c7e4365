"""Where the changes of a call to the working folder lie until apply.py takes them over: outside of that folder.

On its file system where we may write there, so that a change is moved and not copied. What a killed process leaves is
removed by the next.
"""

import fcntl
import os
import time
from contextlib import suppress

from agentlib import cli, paths
from agentlib.faults import Fault
from agentlib.sandbox import landlock
from agentlib.sandbox.host import inside
from agentlib.sandbox.overlay import CHANGES, NOTHING, OF_AN_OVERLAY, WORK

NAME = "agent-changes-"
MOMENT = 60  # seconds
_bases: dict[int, str] = {}  # by the file system they are for


def base(folder: str) -> str:
    """The folder of this process for places that suit a working folder. Fault where there can be none."""
    device = os.stat(folder).st_dev
    if device not in _bases or inside(_bases[device], folder):
        _bases[device] = _made(folder, device)
    return _bases[device]


def clean(place: str, folder: str) -> bool:
    """Whether nothing was changed, the mode of the folder neither."""
    changes = f"{place}/{CHANGES}"
    named = all(name.startswith(OF_AN_OVERLAY) for name in os.listxattr(changes))  # no ACL
    return named and _mode(changes) == _mode(folder) and not os.listdir(changes)


def _mode(folder: str) -> int:
    return os.stat(folder).st_mode & 0o777


def take(folder: str) -> str:
    """A new place for a call that works in this folder."""
    place = f"{base(folder)}/{os.urandom(8).hex()}"
    os.mkdir(place, 0o700)
    return place


def for_changes(folder: str) -> str:
    """A new place for the changes of a call to this folder."""
    place = take(folder)
    for part in (CHANGES, WORK):
        os.mkdir(f"{place}/{part}", 0o700)
    os.chmod(f"{place}/{CHANGES}", _mode(folder))  # which a tool sees
    return place


def clear(path: str) -> None:
    """Remove a place or a base, whatever a tool made of the modes in it, and however deep it went."""
    found = [path]
    for folder in found:  # which grows meanwhile
        with suppress(OSError):
            os.chmod(folder, 0o700)
            for entry in list(os.scandir(folder)):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        higher = f"{path}/{os.urandom(8).hex()}"
                        os.chmod(entry.path, 0o700)
                        os.rename(entry.path, higher)
                        found.append(higher)
                    else:
                        os.unlink(entry.path)
    for folder in reversed(found):
        with suppress(OSError):
            os.rmdir(folder)


def _made(folder: str, device: int) -> str:
    usable = []
    for path in (paths.place("cache"), os.environ.get("TMPDIR", ""), "/var/tmp", "/tmp"):
        with suppress(OSError):
            os.makedirs(path, 0o700, exist_ok=True)
            real = os.path.realpath(path)
            if os.access(real, os.W_OK | os.X_OK) and not inside(real, folder):
                usable.append(real)
    if not usable:
        raise Fault("tool_denied", "sandbox unavailable: no folder for changes can be written")
    place = next((one for one in usable if os.stat(one).st_dev == device), usable[0])
    _tidy(place)
    made = os.path.join(place, f"{NAME}{os.urandom(8).hex()}")
    os.mkdir(made, 0o700)
    fcntl.flock(os.open(made, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)  # for as long as we live
    os.mkdir(f"{made}/{NOTHING}", 0o700)
    cli.at_end(lambda: clear(made))
    return made


def _tidy(place: str) -> None:
    """Remove what killed processes left; not what lives, goes at this moment, is not ours, or may just be made."""
    for path in [os.path.join(place, name) for name in os.listdir(place) if name.startswith(NAME)]:
        with suppress(OSError):
            found = os.lstat(path)
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > MOMENT:
                fd = landlock.Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(path)
