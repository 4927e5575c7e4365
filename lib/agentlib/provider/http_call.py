"""What a vendor's file says of HTTP: its call and its address, and the items of its streams."""

from functools import lru_cache

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Iterable, Iterator, Mapping, NamedTuple

Headers = Mapping[str, str]
Explain = Callable[[int, Headers, bytes], Fault]  # of status, headers and body of a refusal

EXCERPT = 300  # characters of a foreign body in a message


class Call(NamedTuple):
    """One call of a vendor: what `prepare` returns. body: the JSON body, None for GET. frames: what makes items of the
    chunks of a stream (`sse.answers`, `ndjson`, …), None where one JSON body is expected. sign: gives the headers to
    send by (method, url, headers, body bytes)."""

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


def ndjson(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a stream of JSON lines, also where they stand in events, or one takes several lines."""
    from agentlib.provider.sse import CAP, lines

    begun = ""
    for line in lines(chunks, last=True):
        begun += line.removeprefix("data:").strip()
        if begun.startswith("{") and len(begun) < CAP and not _is_object(begun):
            continue
        if begun and begun[0] != ":":
            yield decoded(begun, "a line of the stream")
        begun = ""
    if begun:
        raise broke_off()


def _is_object(text: str) -> bool:
    try:
        return text.endswith("}") and records.foreign(text) is not None
    except ValueError:
        return False


def decoded(text: str, what: str) -> dict[str, Any]:
    """A JSON object out of a stream; `bad_response` that says what is none."""
    try:
        value = records.foreign(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        why = f"{what} is not a JSON object: {excerpt(text.encode('utf-8', 'replace'), 100)!r}"
        raise Fault("bad_response", why)
    return value


def event(item: Any) -> dict[str, Any]:
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
