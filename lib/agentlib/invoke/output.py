"""A tool's output as the model gets it: text, cut in the middle where it is long; then a file keeps all of it."""

import codecs
import os
import time

from agentlib import paths

SHOWN = 32 * 1024  # bytes that the model sees at most
HEAD = SHOWN * 5 // 8  # of which from the beginning; the rest is from the end
KEPT = 8 * 1024 * 1024  # bytes of which a file is kept; a tool that prints more is ended
INSIDE = bytes(range(0x80, 0xC0))  # what a character of UTF-8 does not begin with
DAYS = 7  # after which a kept file is removed
NOT_TEXT = "[bytes that are not UTF-8 stand as \N{REPLACEMENT CHARACTER}]"


def for_model(data: bytes, over: bool = False) -> str:
    """The output as a text for the model. over: there was more than `data`."""
    if len(data) <= SHOWN and not over:
        return _text(data) if data else "(no output)"
    size = f"at least {len(data):,}" if over else f"{len(data):,}"
    gap = f"[… cut here: {size} bytes in all; {_keep(data)} …]"
    end = data[HEAD - SHOWN :]
    end = end[:3].lstrip(INSIDE) + end[3:]
    return f"{_text(data[:HEAD], final=False)}\n{gap}\n{_text(end, final=not over)}"


def folder() -> str:
    """Where full outputs are kept; tools that may read should see it."""
    return os.path.join(paths.place("cache"), "outputs")


def _text(data: bytes, final: bool = True) -> str:
    """As text. final: False where it may end within a character."""
    text = codecs.utf_8_decode(data, "replace", final)[0]
    return f"{text}\n{NOT_TEXT}" if "\ufffd" in text else text


def _keep(data: bytes) -> str:
    """Keep all of it in a file, and remove old ones; a part of a sentence that says where."""
    import hashlib

    from agentlib.lock import replace

    name = os.path.join(folder(), hashlib.sha256(data).hexdigest()[:16] + ".txt")
    try:
        paths.private(folder())
        for entry in os.scandir(folder()):
            if entry.stat(follow_symlinks=False).st_mtime < time.time() - DAYS * 86400:
                os.unlink(entry)
        replace(name, data)
    except Exception as bad:
        return f"the whole could not be kept ({bad})"
    return f"the whole is in {name}"
