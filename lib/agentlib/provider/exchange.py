"""One request in flight: its deltas and its one final record, written from whichever thread comes first."""

import os
import threading
import time

from agentlib import cli, records, stderr
from agentlib.provider.answer import Answer
from agentlib.provider.http import LINGER, Watch
from agentlib.types import Any, Callable, Generator, Iterator, Record


class Unwritable(BaseException):
    """Standard output cannot be written: the disk is full, say."""


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
            self.watch.active = time.monotonic()

    def alive(self) -> None:
        """The vendor has said something, if only that it is there: now and then that is an empty delta."""
        now = time.monotonic()
        if self.request.get("stream") and now - self.watch.active > self.watch.silence / 4:
            self.delta("text", "")
        self.watch.active = now

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


def streamed(exchange: Exchange, deltas: Generator[Record, None, Answer]) -> Answer:
    """The answer at the end of the deltas, which are written as they come; a character cut in two is joined."""
    wanted, thoughts = exchange.request.get("stream"), Thoughts()
    halves = {"text": "", "thinking": ""}  # of a character: the rest is in the next delta

    def write(kind: str, text: str, last: bool = False) -> None:
        text, halves[kind] = halves[kind] + text, ""
        if not text.isascii():  # surrogate halves that met made one character
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if "\ud800" <= text[-1] <= "\udbff" and not last:
                text, halves[kind] = text[:-1], text[-1]
        pieces = thoughts.parted(text, last) if kind == "text" else [(kind, text)]
        for name, piece in pieces:
            if piece and wanted:
                exchange.delta(name, piece)

    while True:
        try:
            delta = next(deltas)
        except StopIteration as end:
            for kind in halves:
                write(kind, "", last=True)
            answer: Answer = end.value
            return answer
        if delta.get("ended"):  # whole; what else is due (its usage) is waited for a moment
            exchange.watch.read = LINGER
            continue
        for kind, text in delta.items():
            write(kind, text)


class Thoughts:
    """Text that comes in pieces and may begin with the model's thinking, between <think> and </think>."""

    OPEN, CLOSE = "<think>", "</think>"

    def __init__(self) -> None:
        self._mark = self.OPEN  # which of the two may come next, "" for none
        self._rest, self._after = "", False  # what is not yet known; whether thinking came

    def parted(self, text: str, last: bool = False) -> Iterator[tuple[str, str]]:
        """("thinking" or "text", piece) of each. last: no more text comes."""
        self._rest += text
        while self._rest and self._mark:
            head, mark = self._rest.lstrip(), self._mark
            if mark == self.CLOSE:
                thought, closed, rest = self._rest.partition(mark)
                begun = (n for n in range(len(mark) - 1, 0, -1) if thought.endswith(mark[:n]))
                cut = len(thought) if closed or last else len(thought) - next(begun, 0)
                yield "thinking", thought.rstrip() if closed else thought[:cut]
                self._rest = rest if closed else thought[cut:]
                if not closed:
                    return
                self._mark, self._after = self.OPEN, True
            elif head.startswith(mark):
                self._rest, self._mark = head[len(mark) :], self.CLOSE
            elif mark.startswith(head) and (not last or self._after and not head):
                return
            else:
                self._rest, self._mark = head if self._after else self._rest, ""
        text, self._rest = self._rest, ""
        yield "text", text


def thoughts_apart(message: Record) -> Record:
    """The message, its thinking taken out of its text into a part of its own."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    at = next((n for n, part in enumerate(parts) if part["type"] == "text"), None)
    if at is None or not parts[at]["text"].lstrip().startswith(Thoughts.OPEN):
        return message
    pieces, made = list(Thoughts().parted(parts[at]["text"], last=True)), []
    for kind in ("thinking", "text"):
        if (text := "".join(piece for name, piece in pieces if name == kind)).strip():
            made.append({"type": kind, kind: text.strip() if kind == "thinking" else text})
    parts = [*parts[:at], *made, *parts[at + 1 :]]
    plain = all(part["type"] == "text" for part in parts)
    return {**message, "content": "".join(p["text"] for p in parts) if plain else parts}
