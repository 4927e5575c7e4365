"""Read and write records: JSON lines, one object a line, `type` first. codec.py decides what is JSON.

May import: the flat modules.
"""

import _thread  # a lock without the module threading, which costs 1 ms at every start
import io
import os
import select
import stat
import sys

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.records.codec import dumps, encode, foreign, loads, take_over
from agentlib.types import Any, Iterator, NamedTuple, Record

__all__ = ["dumps", "encode", "foreign", "loads", "take_over"]  # codec.py's


class Line(NamedTuple):
    """One line of a stream: its record, its own bytes (without line end), its number from 1."""

    record: Record
    raw: bytes
    number: int


LINE_CAP = 64 * 1024 * 1024  # bytes; a longer line is refused, so that memory stays bounded
CURE = "; for plain text give the operand -"  # of a program that has that operand
SILENCE = 3.0  # seconds of a silent pipe before the user is told
_writing = _thread.allocate_lock()


class ClosedPipe(BaseException):
    """The reader of our standard output is gone: end in silence."""


def lines(stream: io.BufferedIOBase | Any) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered; BOM, line ends and CR taken off."""
    number = 0
    while raw := stream.readline(LINE_CAP + 1):
        number += 1
        if len(raw) > LINE_CAP:
            raise Fault("limit_exceeded", f"line {number}: longer than {LINE_CAP >> 20} MiB")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw := raw.strip(b" \t\r\n"):
            yield number, raw


def parse(raw: bytes, number: int, cure: str = "") -> Record:
    """The record of one line; `invalid_input` with the line's number and the cure where there is none."""
    record, why = None, "not a record (an object with a string `type`)"
    try:
        record = loads(raw)
    except ValueError as bad:
        why = f"not JSON: {bad}"
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        raise Fault("invalid_input", f"line {number}: {why}{cure}")
    return record


def read(stream: Any = None, quiet: bool = False, cure: str = "") -> Iterator[Line]:
    """The records of standard input (or of a binary stream), as they arrive. A terminal is never read."""
    if stream is None:
        if not waiting(quiet):
            return
        stream = sys.stdin.buffer
    for number, raw in lines(stream):
        yield Line(parse(raw, number, cure), raw, number)


def passed_on(text: bool | None = None, terminal: bool = False) -> Iterator[Record]:
    """The records of standard input, each printed first. text: as one `input` record (None: no operand `-`)."""
    if text:
        record = plain(terminal)
        write(record)
        yield record
    else:
        for one in read(cure="" if text is None else CURE):
            put(one.raw + b"\n")
            yield one.record


def of_a_loop() -> bool:
    """Whether standard input is a file that another program has begun to read, as the shell's `while read` does."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode) and os.lseek(0, 0, os.SEEK_CUR) > 0
    except OSError:
        return False


def waiting(quiet: bool = False) -> bool:
    """Whether standard input is there to be read; says so once where a pipe stays silent for SILENCE seconds."""
    if sys.stdin is None or sys.stdin.isatty():
        return False
    if not quiet and not select.select([sys.stdin.buffer], [], [], SILENCE)[0]:
        stderr.warn("waiting for records on standard input; use </dev/null if there are none")
    return True


def plain(terminal: bool = True) -> Record:
    """The `input` record that wraps all of standard input, read as plain text (the operand `-`): at a terminal what is
    typed until Ctrl-D. terminal=False, for a stage of an agent: nothing there, nor of the list that a shell's loop is
    reading, unless it is one of the suite's (lib/agent.bash); and a fault is a record for the next."""
    data = b""
    if not terminal and not stderr.agent and of_a_loop():
        stderr.warn("a loop is reading standard input, so it is left alone; cat | has it read")
    elif sys.stdin is not None and (terminal or not sys.stdin.isatty()):
        data = sys.stdin.buffer.read(LINE_CAP + 1)
    from agentlib.records.text import text_of

    try:
        if len(data) > LINE_CAP:
            raise Fault("limit_exceeded", f"standard input: more than {LINE_CAP >> 20} MiB of text")
        return {"type": "input", "text": text_of(data), "source": "stdin"}
    except Fault as fault:
        if not terminal:
            write(fault.record())
        raise


def line(record: Record) -> bytes:
    return encode(record) + b"\n"


def write(record: Record) -> None:
    put(line(record))


def out(data: memoryview) -> int:
    """Write some of the bytes to standard output; how many. cli.start() replaces it where that is a terminal."""
    return os.write(1, data)


def put(data: bytes) -> None:
    """Bytes to standard output, at once and whole, from any thread. ClosedPipe where nobody reads them.

    On a terminal, what it would obey is made visible (display.py)."""
    with _writing:
        view = memoryview(data)
        try:
            while view:
                view = view[out(view) :]
        except BrokenPipeError:
            raise ClosedPipe from None
        except OSError as bad:
            raise OSError(bad.errno, bad.strerror, "standard output") from None
