"""Find the processes that a bubblewrap of ours runs, so that they can be asked to end before it is ended with them."""

from __future__ import annotations


def inside(pid: int) -> list[int]:
    """All processes below a bwrap of this number but its own; none where it is no bwrap, or has ended."""
    found: list[int] = []
    level = [pid] if name(pid) == "bwrap" else []
    while level:
        level = [child for one in level for child in children(one)]
        found += [child for child in level if name(child) != "bwrap"]
    return found


def name(pid: int) -> str:
    return _read(f"/proc/{pid}/comm").strip()


def children(pid: int) -> list[int]:
    return [int(word) for word in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
