"""What a person at a terminal sees of a run on stderr; nothing where stderr is no terminal."""

from __future__ import annotations

import os
import time

from agentlib import records
from agentlib.messages import transcript
from agentlib.types import Any, Protocol, Record

WIDTH = 100  # characters of one line
OFTEN = 0.2  # seconds between two states of the batch's line


def visible(quiet: bool) -> bool:
    """Whether anybody is there to see it."""
    try:
        return not quiet and os.isatty(2)
    except OSError:
        return False


def _dim(text: str) -> str:
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[2m{text}\033[0m"


def _write(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "replace"))
    except OSError:
        pass


def _clean(text: str, width: int = WIDTH) -> str:
    from agentlib import display  # only a terminal needs it

    text = display.visible(text).replace("\n", " ")
    return text if len(text) <= width else text[: width - 1] + "…"


def message(record: Record) -> None:
    """One line for a call, one for its result."""
    for call in transcript.calls(record):
        arguments = call.get("arguments")
        text = arguments if isinstance(arguments, str) else records.dumps(arguments)
        _write(_dim(_clean(f"→ {call.get('name')} {text}")) + "\n")
    if record.get("role") == "tool":
        mark = "✗" if record.get("is_error") else "←"
        lines = transcript.text(record).strip().splitlines() or [""]
        more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
        _write(_dim(_clean(f"{mark} {lines[0]}", WIDTH - len(more)) + more) + "\n")


class Counts(Protocol):
    """What a batch has done so far; ended: whether all its tasks have been read."""

    count: int
    finished: int
    failed: int
    skipped: int
    cost: float
    ended: Any


class Line:
    """The one line of a batch: how many are done, how fast, what it cost, how long it will take."""

    def __init__(self, batch: Counts, quiet: bool) -> None:
        self._batch, self._on = batch, visible(quiet)
        self._began, self._last = time.monotonic(), 0.0

    def show(self) -> None:
        """Renew the line, if it is time."""
        now = time.monotonic()
        if self._on and now - self._last >= OFTEN:
            self._last = now
            _write(f"\r{_clean(self._text(now), 79)}\033[K")

    def end(self) -> None:
        """The last state of the line, kept."""
        if self._on:
            _write(f"\r{_clean(self._text(time.monotonic()), 79)}\033[K\n")

    def _text(self, now: float) -> str:
        batch = self._batch
        rate = batch.finished / max(now - self._began, 1e-3)
        total = f"{batch.count - batch.skipped}{'' if batch.ended else '+'}"
        left = (batch.count - batch.skipped - batch.finished) / rate if rate else 0
        parts = [
            f"{batch.finished}/{total} done",
            f"{batch.failed} failed" if batch.failed else "",
            f"{batch.skipped} skipped" if batch.skipped else "",
            f"{rate:.1f}/s",
            f"${batch.cost:.4f}" if batch.cost else "",
            f"{_time(left)} left" if left else "",
        ]
        return ", ".join(part for part in parts if part)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
