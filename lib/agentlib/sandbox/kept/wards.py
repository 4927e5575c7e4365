"""Sandboxes that are kept up: from the third call with the same view on, a cell starts in one that stands already.

A sandbox of its own costs a call 8 ms, most of them the kernel's, a cell in a kept one 2 (tests/bench/sandbox.py).
Where Landlock is the wall every call is kept: there it is the start of an interpreter that costs. What a cell has of
its own: see warden.py.
"""

from __future__ import annotations

import os
import threading

from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.process.child import Child
    from agentlib.sandbox.cell import Cell
    from agentlib.sandbox.kept.ward import Ward

ALONE = 2  # calls that have a bubblewrap of their own before one is kept up
MOST = 8  # kept up at once; what is shown changes seldom


class Wards:
    """The sandboxes that this process keeps up, by what they show. From any thread."""

    def __init__(self) -> None:
        self._kept: dict[Any, Ward | None] = {}  # None where one cannot be kept up
        self._calls: dict[Any, int] = {}
        self._old: list[Ward] = []  # of no use for more calls
        self._lock = threading.Lock()

    def begin(self, cell: Cell, *given: int) -> Child | None:
        """Start the cell's tool in a kept sandbox; None where it needs one of its own. OSError: it cannot start."""
        if cell.way == "off":
            return None
        key = _key(cell)
        ward = self._ward(key, cell)
        try:
            return ward.begin(cell, *given) if ward else None
        except BrokenPipeError:
            self._give_up(key, ward)
            return None

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
                self._kept[key] = None
                ward.close()

    def _ward(self, key: Any, cell: Cell) -> Ward | None:
        with self._lock:
            if (ward := self._kept.get(key)) and ward.stale():
                self._old.append(ward)
                del self._kept[key]
                self._tidy()
            if key not in self._kept:
                self._calls[key] = self._calls.get(key, 0) + 1
                early = self._calls[key] <= ALONE and cell.way == "bubblewrap"
                if early or len(self._kept) + len(self._old) >= MOST:
                    return None
                self._kept[key] = _put_up(cell)
            return self._kept[key]

    def _tidy(self) -> None:
        """End those that are of no use and have no calls any more."""
        for ward in [one for one in self._old if one.idle]:
            ward.close()
            self._old.remove(ward)


def _put_up(cell: Cell) -> Ward | None:
    from agentlib.sandbox.kept.ward import Ward

    try:
        return Ward(cell)
    except OSError:
        return None


def status(folder: str) -> str:
    """Whether calls share a sandbox in this working folder, and why not, in a line."""
    from agentlib.faults import Fault
    from agentlib.sandbox.cell import Cell, environment
    from agentlib.sandbox.kept.ward import Ward

    try:
        with Cell(["/bin/true"], "read", folder, env=environment()) as cell:
            Ward(cell).close()
            first = "third" if cell.way == "bubblewrap" else "first"
    except (Fault, OSError) as bad:
        return f"calls: each has a sandbox of its own: {bad}"
    return f"calls: from the {first} on they share a sandbox, in cells of their own"


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
