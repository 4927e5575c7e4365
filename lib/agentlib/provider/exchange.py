"""One request in flight: its deltas and its one final record, written from whichever thread comes first."""

from __future__ import annotations

import os
import threading
import time

from agentlib import cli, records, stderr
from agentlib.provider.http import LINGER, Watch
from agentlib.types import TYPE_CHECKING, Any, Callable, Generator, Record

if TYPE_CHECKING:
    from agentlib.provider.answer import Answer


class Unwritable(BaseException):
    """Standard output cannot be written, for the disk is full, say. Nothing can be said any more."""


def ending(work: Callable[..., None], *args: Any) -> None:
    """Do what a thread has to do; where nobody reads, or nothing can be written, the whole program ends."""
    try:
        work(*args)
    except records.ClosedPipe:
        os._exit(141)  # as cli.end does it, but for the signal: a thread cannot restore it
    except Unwritable as bad:
        stderr.warn(f"standard output: {bad}")
        cli.end(111)


class Exchange:
    """One request and its one final record."""

    __slots__ = ("request", "id", "watch", "partial", "done", "_head", "_lock")

    def __init__(self, request: Record, id: Any) -> None:
        self.request, self.id = request, id
        self.watch = Watch(bool(request.get("stream")))
        self.partial = self.done = False
        self._head = b'{"type":"delta","id":' + records.encode(id)
        self._lock = threading.Lock()

    def delta(self, kind: str, text: str) -> None:
        """Write a delta at once, unless the final record has gone out already. kind: `text` or `thinking`."""
        # the one record that comes by the thousand
        line = b'%b,"%b":%b}\n' % (self._head, kind.encode(), records.encode(text))
        with self._lock:
            if not self.done:
                self.partial = True
                _put(line)
            self.watch.heard = time.monotonic()

    def alive(self) -> None:
        """The vendor has said something, if only that it is there: now and then that is an empty delta."""
        now = time.monotonic()
        if self.request.get("stream") and now - self.watch.heard > self.watch.silence / 4:
            self.delta("text", "")
        self.watch.heard = now

    def final(self, record: Record, overdue: bool = False) -> bool:
        """Write the final record if none went out; with overdue, only if the bounds of time still say so."""
        with self._lock:
            if self.done or overdue and self.watch.due() > time.monotonic():
                return False
            if record["type"] == "error":
                record["partial"] = self.partial
            self.done = True
            _put(records.line(record))
            return True


def _put(line: bytes) -> None:
    try:
        records.put(line)
    except OSError as bad:
        raise Unwritable(bad.strerror) from None


def streamed(
    exchange: Exchange, request: Record, deltas: Generator[Record, None, Answer]
) -> Answer:
    """The answer at the end of the deltas, which are written as they come; a character cut in two is joined."""
    wanted, waiting = request.get("stream"), {"text": "", "thinking": ""}
    while True:
        try:
            delta = next(deltas)
        except StopIteration as end:
            answer: Answer = end.value
            break
        # the answer is whole; what else is due (its usage) is waited for a moment
        if delta.get("ended"):
            exchange.watch.read = LINGER
            continue
        for kind, text in delta.items():
            if waiting[kind]:
                text, waiting[kind] = joined(waiting[kind] + text), ""
            # half a character: the rest is in the next delta
            if text and "\ud800" <= text[-1] <= "\udbff":
                text, waiting[kind] = text[:-1], text[-1]
            if text and wanted:
                exchange.delta(kind, text)
    for kind, half in waiting.items():
        if half and wanted:
            exchange.delta(kind, half)
    return answer


def joined(text: str) -> str:
    """Surrogate halves that met made one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
