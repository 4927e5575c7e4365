"""Sandboxes that are kept up: a cell starts in one that stands already for another with the same view.

To put one up takes 30 ms, an interpreter's start among them, a cell in it 2 (tests/bench/sandbox.py). What a cell has
of its own: see warden.py.
"""

from __future__ import annotations

import os
import threading

from agentlib.faults import Fault
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.process.child import Child
    from agentlib.sandbox.cell import Cell
    from agentlib.sandbox.kept.ward import Ward

MOST = 8  # kept up at once; what is shown changes seldom


class Wards:
    """The sandboxes that this process keeps up, by what they show. From any thread."""

    def __init__(self) -> None:
        self._kept: dict[Any, Ward | None] = {}  # None where one cannot be kept up
        self._old: list[Ward] = []  # of no use for more calls
        self._why = "its warden has ended"  # why there is none
        self._lock = threading.Lock()

    def begin(self, cell: Cell, *files: int) -> Child | None:
        """Start the cell's tool in a kept sandbox; None where it needs one of its own. OSError: it cannot start.

        Fault tool_denied where it can have none: a working folder is seen through an overlay, which a warden makes.
        """
        if cell.way == "off":
            return None
        key = _key(cell)
        for _ in range(2):
            ward = self._ward(key, cell)
            try:
                if ward:
                    return ward.begin(cell, *files)
            except BrokenPipeError:
                self._give_up(key, ward)
        if cell.way == "bubblewrap" and cell.view.listed:
            raise Fault("tool_denied", f"sandbox unavailable: {self._why}")
        return None

    def put_up(self, cell: Cell) -> None:
        """Have one ready for calls that see what this cell sees."""
        self._ward(_key(cell), cell)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for ward in (*self._kept.values(), *self._old):
                if ward:
                    ward.close()
            self._kept.clear()
            self._old.clear()

    def _give_up(self, key: Any, ward: Ward | None) -> None:
        """One that failed; another thread may have seen to that."""
        with self._lock:
            if ward and self._kept.get(key) is ward:
                del self._kept[key]
                ward.close()

    def _ward(self, key: Any, cell: Cell) -> Ward | None:
        with self._lock:
            if (ward := self._kept.get(key)) and ward.stale():
                self._old.append(ward)
                del self._kept[key]
                self._tidy()
            if key not in self._kept:
                if len(self._kept) + len(self._old) >= MOST:
                    self._make_room()
                self._kept[key] = self._put_up(cell)
            return self._kept[key]

    def _put_up(self, cell: Cell) -> Ward | None:
        from agentlib.sandbox.kept.ward import Ward

        try:
            return Ward(cell)
        except OSError as bad:
            self._why = str(bad)
            return None

    def _make_room(self) -> None:
        """End one that has no calls."""
        for key, ward in self._kept.items():
            if ward is None or ward.idle:
                del self._kept[key]
                return ward.close() if ward else None

    def _tidy(self) -> None:
        """End those that are of no use and have no calls any more."""
        for ward in [one for one in self._old if one.idle]:
            ward.close()
            self._old.remove(ward)


def status(folder: str) -> str:
    """Whether calls share a sandbox in this working folder, and why not, in a line."""
    from agentlib.sandbox.cell import Cell, environment
    from agentlib.sandbox.kept.ward import Ward

    try:
        with Cell(["/bin/true"], "read", folder, env=environment()) as cell:
            Ward(cell).close()
    except (Fault, OSError) as bad:
        return f"calls: there is no sandbox that they could share: {bad}"
    return "calls: they share a sandbox, in cells of their own"


def _key(cell: Cell) -> Any:
    """What tells one sandbox from another: what it shows of which files, and whether it has a network."""
    if cell.way == "landlock":
        return cell.way
    return cell.network, tuple(
        (path, action, *_identity(path)) for path, action in cell.view.ordered()
    )


def _identity(path: str) -> tuple[int, int]:
    """A mount stays with its file where that is moved away and another takes its name. (If it is taken away, and the
    other gets its number too, the ward is stale.)"""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
