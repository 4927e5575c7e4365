"""A tool's output as the model gets it: text, cut in the middle where it is long; then a file keeps all of it."""

from __future__ import annotations

import os
import time

from agentlib import paths

SHOWN = 32 * 1024  # bytes that the model sees at most
HEAD = SHOWN * 5 // 8  # of which from the beginning; the rest is from the end
KEPT = 8 * 1024 * 1024  # bytes of which a file is kept; a tool that prints more is ended
DAYS = 7  # after which a kept file is removed
NOT_TEXT = "[bytes that are not UTF-8 stand as \N{REPLACEMENT CHARACTER}]"


def for_model(data: bytes, over: bool = False) -> str:
    """The output as a text for the model. over: there was more than `data`."""
    if len(data) <= SHOWN and not over:
        return _text(data) if data else "(no output)"
    size = f"at least {len(data):,}" if over else f"{len(data):,}"
    gap = f"[… cut here: {size} bytes in all; {_keep(data)} …]"
    return f"{_text(_trimmed(data[:HEAD]))}\n{gap}\n{_text(_trimmed(data[HEAD - SHOWN :]))}"


def folder() -> str:
    """Where full outputs are kept; tools that may read should see it."""
    return os.path.join(paths.place("cache"), "outputs")


def _text(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return f"{text}\n{NOT_TEXT}" if "\ufffd" in text else text


def _trimmed(data: bytes) -> bytes:
    data = data[next((n for n in range(min(4, len(data))) if data[n] & 0xC0 != 0x80), 0) :]
    for back in range(1, min(4, len(data)) + 1):
        lead = data[-back]
        if lead & 0xC0 != 0x80:
            length = 1 + sum(lead >= least for least in (0xC0, 0xE0, 0xF0))
            return data if length <= back else data[:-back]
    return data


def _keep(data: bytes) -> str:
    """Keep the output in a file named by the hash of its content; where it is, in words."""
    import hashlib

    from agentlib.lock import replace

    name = os.path.join(folder(), hashlib.sha256(data).hexdigest()[:16] + ".txt")
    try:
        paths.private(folder())
        _remove_old()
        replace(name, data)
    except Exception as bad:
        return f"the whole could not be kept ({bad})"
    return f"the whole is in {name}"


def _remove_old() -> None:
    limit = time.time() - DAYS * 86400
    with os.scandir(folder()) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_mtime < limit:
                os.unlink(entry)
