"""What executables answered to --agent-schema, in one file of the user's cache folder; a line a program:

    PATH \\t DEVICE:INODE:SIZE:MTIME_NS \\t RECORD \\t RECORD …

No record: the file has no mark. The lines are ready to print, and read without a JSON parser: 500 in 1 ms.
"""

import os
from binascii import crc32

from agentlib import __version__, paths

PROGRAMS = 20_000  # remembered at most

Cache = dict[bytes, list[bytes]]  # path to [stamp, record…]


def stamp(seen: os.stat_result) -> bytes:
    """What changes when the file does."""
    return b"%d:%d:%d:%d" % (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)


def key(path: str) -> bytes:
    """How the cache calls a file: its absolute path as bytes."""
    return os.fsencode(path if path[:1] == "/" else os.path.abspath(path))


def load() -> Cache:
    """The cache; {} where there is none, or one of another version, or one whose checksum does not fit."""
    try:
        with open(_file(), "rb") as file:
            first, _, body = file.read().partition(b"\n")
    except OSError:
        first = body = b""
    if first != _title(body):
        return {}
    return {path: rest for path, *rest in (line.split(b"\t") for line in body.split(b"\n") if line)}


def save(cache: Cache, new: dict[str, list[bytes]]) -> None:
    """Write the cache anew: the new entries, and the old ones whose files are still there. It never fails."""
    for path, answer in new.items():
        cache.pop(key(path), None)
        if not {9, 10} & set(key(path)):  # a tab or newline in the name: asked again each time
            cache[key(path)] = answer
    kept = [(path, answer) for path, answer in cache.items() if os.path.exists(path)][-PROGRAMS:]
    body = b"".join(b"\t".join([path, *answer]) + b"\n" for path, answer in kept)
    from agentlib.lock import replace  # a warm listing saves nothing

    try:
        replace(_file(), _title(body) + b"\n" + body)
    except OSError:
        pass


def _title(body: bytes) -> bytes:
    return b"agentutils schemas 2 %b %d" % (__version__.encode(), crc32(body))


def _file() -> str:
    return os.path.join(paths.place("cache"), "schemas")
