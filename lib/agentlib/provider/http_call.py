"""What a vendor's file says of HTTP: its call and its address, and the items of its streams.

Server-sent events are decoded as they arrive (WHATWG HTML, "Server-sent events", parsing and interpretation).
"""

import codecs
from contextlib import suppress
from functools import lru_cache

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Iterable, Iterator, Mapping, NamedTuple

Headers = Mapping[str, str]
Explain = Callable[[int, Headers, bytes], Fault]  # of status, headers and body of a refusal

EXCERPT = 300  # characters of a foreign body in a message


class Call(NamedTuple):
    """One call of a vendor: what `prepare` returns. body: JSON, None for GET. frames: what makes items of a stream
    (`answers`, `ndjson`, …), None for one JSON body. sign: makes the headers of (method, url, headers, bytes)."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    frames: Callable[[Iterable[bytes]], Iterator[Any]] | None = None
    sign: Callable[[str, str, dict[str, str], bytes], dict[str, str]] | None = None


@lru_cache(maxsize=16)
def base(value: str, variable: str) -> str:
    """A base address, checked, without the slash at its end; `invalid_request` names the variable it came from."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        good = good and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or any(c.isspace() or not c.isprintable() for c in value):
        why = f"{variable}: {value[:100]!r} is not an address such as https://host/v1"
        raise Fault("invalid_request", why)
    return value.rstrip("/")


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


def ndjson(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a stream of JSON lines, also where they stand in events, or one takes several lines."""
    begun = ""
    for line in lines(chunks, last=True):
        begun += line.removeprefix("data:").strip()
        if begun.startswith("{") and len(begun) < CAP:
            try:
                records.foreign(begun if begun.endswith("}") else "")
            except ValueError:
                continue  # the object goes on
        if begun and begun[0] != ":":
            yield decoded(begun, "a line of the stream")
        begun = ""
    if begun:
        raise broke_off()


def lenient(text: str | bytes) -> Any:
    """The value of a vendor's JSON; None for what is none."""
    try:
        return records.foreign(text)
    except ValueError:
        return None


def decoded(text: str, what: str) -> dict[str, Any]:
    """A JSON object out of a stream; `bad_response` that says what is none."""
    value = lenient(text)
    if not isinstance(value, dict):
        why = f"{what} is not a JSON object: {excerpt(text.encode('utf-8', 'replace'), 100)!r}"
        raise Fault("bad_response", why)
    return value


def event(item: Event) -> dict[str, Any]:
    """The JSON object of a server-sent event. One that is called an error becomes an object with `error`."""
    value = decoded(item.data, f"event {item.event!r} of the stream")
    is_error = item.event == "error" and "error" not in value
    return {"type": "error", "error": value} if is_error else value


def broke_off(begun: bool = True) -> Fault:
    """The fault of a stream that ends before its end mark, whether it had begun or not: it may be tried again."""
    what = "the stream broke off before its end" if begun else "the stream is empty"
    return Fault("network" if begun else "bad_response", what, retryable=True)


def excerpt(data: bytes, size: int = EXCERPT) -> str:
    """The beginning of a foreign body as one short line; of HTML, its words."""
    import re

    text = data[: 8 * size].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        text = re.sub(r"(?is)<(script|style).*?(</\1\s*>|$)|<[^>]*(>|$)", " ", text)
    text = " ".join(text.split())
    return text if len(text) <= size else text[: size - 1] + "…"
