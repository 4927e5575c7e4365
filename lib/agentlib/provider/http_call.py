"""What a vendor's file says of HTTP: its call and its address, the items of its streams, its refusals by kind."""

from __future__ import annotations

import time
from functools import lru_cache

from agentlib import records
from agentlib.faults import RETRYABLE, Fault
from agentlib.types import Any, Callable, Iterable, Iterator, Mapping

Headers = Mapping[str, str]

EXCERPT = 300  # characters of a foreign body in a message


class Call:
    """One call of a vendor: what `prepare` returns.

    body: the JSON body, None for GET. frames: the function that makes items of the chunks of a stream
    (`sse.answers`, `ndjson`, …); None where one whole JSON body is expected. sign: called with
    (method, url, headers, body bytes), returns the headers to send.
    """

    __slots__ = ("url", "headers", "body", "frames", "sign")

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        body: dict[str, Any] | None = None,
        frames: Callable[[Iterable[bytes]], Iterator[Any]] | None = None,
        sign: Callable[[str, str, dict[str, str], bytes], dict[str, str]] | None = None,
    ) -> None:
        self.url, self.headers, self.body, self.frames, self.sign = url, headers, body, frames, sign


@lru_cache(maxsize=16)
def base(value: str, variable: str) -> str:
    """A base address, checked, without the slash at its end; `invalid_request` names the variable it came from."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if (
        not good
        or any(c.isspace() or not c.isprintable() for c in value)
        or parts.query
        or parts.fragment
    ):
        why = f"{variable}: {value[:100]!r} is not an address such as https://host/v1"
        raise Fault("invalid_request", why)
    return value.rstrip("/")


def ndjson(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a stream of JSON lines."""
    from agentlib.provider.sse import lines

    for line in lines(chunks):
        if line.strip():
            yield decoded(line, "a line of the stream")


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


def excerpt(data: bytes, size: int = EXCERPT) -> str:
    """The beginning of a foreign body as one short line; of HTML, its words."""
    import re

    text = data[: 8 * size].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        text = re.sub(r"(?is)<(script|style).*?(</\1\s*>|$)|<[^>]*(>|$)", " ", text)
    text = " ".join(text.split())
    return text if len(text) <= size else text[: size - 1] + "…"


KINDS = {
    400: "invalid_request",
    401: "auth",
    402: "auth",
    403: "auth",
    404: "not_found",
    405: "invalid_request",
    408: "timeout",
    409: "server",
    413: "invalid_request",
    422: "invalid_request",
    425: "server",
    429: "rate_limit",
    529: "overloaded",
}


def refusal(status: int, headers: Headers, message: str, kind: str | None = None) -> Fault:
    """The fault of an HTTP status that is no success; `kind` where the vendor's body says more than the status."""
    if 300 <= status < 400:
        where = headers.get("location", "nowhere")[:200]
        return Fault(
            "bad_response",
            f"HTTP {status}: a redirect to {where}, not followed (the key stays here); set the base address",
            status=status,
            retryable=False,
        )
    kind = kind or KINDS.get(status) or ("server" if status >= 500 else "invalid_request")
    fields: dict[str, Any] = {"status": status, "retryable": kind in RETRYABLE}
    if (advice := headers.get("x-should-retry", "").lower()) in ("true", "false"):
        fields["retryable"] = advice == "true"
    if (wait := retry_after(headers)) is not None:
        fields["retry_after"] = wait
    return Fault(kind, message or f"HTTP {status}", **fields)


def retry_after(headers: Headers) -> float | None:
    """Seconds to wait, by `retry-after-ms`, else `retry-after` (seconds or a date); None where neither makes sense."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            value = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 < value < float("inf"):
            return round(value, 3)
    from email.utils import parsedate_to_datetime

    try:
        wait = parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return round(wait, 3) if wait > 0 else None
