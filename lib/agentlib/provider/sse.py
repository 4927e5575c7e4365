"""Server-sent events, decoded as they arrive (WHATWG HTML, "Server-sent events", parsing and interpretation)."""

import codecs
from contextlib import suppress

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Iterable, Iterator, NamedTuple


class Event(NamedTuple):
    """One event: its type (`message` where the stream gave none), its data, the last id seen."""

    event: str
    data: str
    id: str


CAP = 8 * 1024 * 1024  # characters of one line, and of one event; so that memory stays bounded


def lines(chunks: Iterable[bytes], last: bool = False) -> Iterator[str]:
    """The lines of a UTF-8 stream, ended by LF, CR or CRLF. last: also the last one, where its end is missing."""
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    begun: list[str] = []  # the pieces of a line whose end has not come
    size, after_cr = 0, False
    for chunk in chunks:
        text = decode(chunk)
        if after_cr and text:  # the LF of a CRLF that was cut in the middle
            text, after_cr = text.removeprefix("\n"), False
        if "\r" in text:
            after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        head, end, rest = text.rpartition("\n")
        if end:
            yield from ("".join(begun) + head).split("\n")
            begun, size = [], 0
        if rest:
            begun.append(rest)
            size += len(rest)
            if size > CAP:
                raise Fault("limit_exceeded", f"the stream has a line of more than {CAP >> 20} MiB")
    if last and begun:
        yield "".join(begun)


def answers(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events as servers send them: the last may lack its end, an error may be a field `error:` or bare JSON."""
    return events(chunks, loose=True)


def events(chunks: Iterable[bytes], loose: bool = False) -> Iterator[Event]:
    """The events of a stream. One that the stream's end cut off is dropped. loose: see answers()."""
    kind, data, size, last_id = "", [], 0, ""
    for line in lines(chunks, last=loose):
        if line.startswith("data:"):  # nearly all lines of our streams
            data.append(line[6:] if line.startswith(" ", 5) else line[5:])
            size += len(line)
            if size > CAP:
                why = f"the stream has an event of more than {CAP >> 20} MiB"
                raise Fault("limit_exceeded", why)
        elif not line:
            if data:
                yield Event(kind or "message", "\n".join(data), last_id)
            kind, data, size = "", [], 0
        elif loose and line[0] in "{[":
            yield Event("message", line, last_id)
        else:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "error" and loose:
                yield Event("error", value, last_id)
    if loose and (rest := "\n".join(data)):
        with suppress(ValueError):  # unless it was cut off
            if rest.strip() != "[DONE]":
                records.foreign(rest)
            yield Event(kind or "message", rest, last_id)
