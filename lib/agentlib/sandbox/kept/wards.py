"""Sandboxes that are kept up: a cell starts in one that stands already for another with the same view.

To put one up takes 30 ms, an interpreter's start among them, a cell in it 2 (tests/bench/sandbox.py). What a cell has
of its own: see warden.py.
"""

import os
import threading

from agentlib.faults import Fault
from agentlib.process.run import start
from agentlib.process.supervised import Supervised
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.process.child import Child
    from agentlib.sandbox.cell import Cell
    from agentlib.sandbox.kept.ward import Ward

MOST = 8  # kept up at once; what is shown changes seldom


class Wards:
    """The sandboxes that this process keeps up, by what they show. From any thread."""

    def __init__(self) -> None:
        self._kept: dict[Any, Ward | str] = {}  # why there is none, where none can be put up
        self._old: list[Ward] = []  # of no use for more calls
        self._lock = threading.Lock()

    def begin(self, cell: "Cell", stdin: int, stdout: int = 1, stderr: int = 2) -> "Child":
        """Start the cell's tool with these descriptors. OSError: it cannot start.

        Fault tool_denied where a sandbox that it needs cannot be put up.
        """
        if cell.way == "off":
            return start(cell.options, stdin, stdout, stderr)
        for _ in range(2):
            ward = self._ward(cell)
            try:
                return ward.begin(cell, stdin, stdout, stderr)
            except BrokenPipeError:
                self._give_up(ward)
        raise Fault("tool_denied", "sandbox unavailable: its warden has ended")

    def put_up(self, cell: "Cell") -> None:
        """Have one ready for calls that see what this cell sees."""
        Supervised.serving() if cell.way == "off" else self._ward(cell)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for ward in (*self._kept.values(), *self._old):
                _end(ward)
            self._kept.clear()
            self._old.clear()

    def _give_up(self, ward: "Ward") -> None:
        with self._lock:
            for key in [key for key, one in self._kept.items() if one is ward]:
                _end(self._kept.pop(key))  # else another thread has seen to it

    def _ward(self, cell: "Cell") -> "Ward":
        found = self._found(cell)
        if isinstance(found, str) and cell.fall_back(found):
            found = self._found(cell)
        if isinstance(found, str):
            raise Fault("tool_denied", f"sandbox unavailable: {found}")
        return found

    def _found(self, cell: "Cell") -> "Ward | str":
        from agentlib.sandbox.kept.ward import Ward

        key = _key(cell)
        with self._lock:
            ward = self._kept.get(key)
            if isinstance(ward, Ward) and ward.stale():
                self._old.append(ward)
                del self._kept[key]
                for idle in [one for one in self._old if one.idle]:
                    idle.close()
                    self._old.remove(idle)
            if key not in self._kept:
                if len(self._kept) + len(self._old) >= MOST:
                    self._make_room()
                try:
                    self._kept[key] = Ward(cell)
                except OSError as bad:
                    self._kept[key] = str(bad)
            return self._kept[key]

    def _make_room(self) -> None:
        for key, ward in self._kept.items():
            if isinstance(ward, str) or ward.idle:
                return _end(self._kept.pop(key))


def _end(ward: "Ward | str") -> None:
    if not isinstance(ward, str):
        ward.close()


def _key(cell: "Cell") -> Any:
    """What tells one sandbox from another: what it shows of which files, and whether it has a network."""
    if cell.way == "landlock":
        return cell.way
    view = cell.view.ordered()
    return cell.network, tuple((path, action, *_identity(path)) for path, action in view)


def _identity(path: str) -> tuple[int, int]:
    """A mount stays with its file, where another takes its name. (Where that gets its number too: Ward.stale.)"""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
