"""What a vendor says when it refuses or fails: the kind of the failure, its most specific cause, the wait it asks for.

All vendors' words are in one table, for gateways pass on the errors of others.
"""

import re
import time
from contextlib import suppress

from agentlib import records
from agentlib.faults import RETRYABLE, Fault
from agentlib.provider.http_call import Headers, excerpt, lenient
from agentlib.types import Any, Iterator, Record

STATUSES = {
    **dict.fromkeys((400, 405, 413, 422), "invalid_request"),
    **dict.fromkeys((401, 402, 403, 407), "auth"),
    **dict.fromkeys((409, 424, 425), "server"),
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
    529: "overloaded",
}
# the first kind whose words stand in the error's codes or its message, in lower case
WORDS = {
    "context_length": "context_length|maximum context length|context window|context size|context limit"
    "|prompt (is )?too long|input (is )?too long|too many tokens|max_new_tokens|input tokens exceeded"
    "|token count .*exceeds|exceeds the maximum number of tokens|exceed.* (context|input token)",
    "not_found": "model_not_found|deploymentnotfound|not_found_error|resourcenotfound"
    "|model identifier is invalid",
    "auth": "invalid_api_key|authentication_error|permission_error|permission_denied|unauthenticated"
    "|api_key_invalid|api key (not valid|expired)|accessdenied|unrecognizedclient|expiredtoken"
    "|(invalid|incomplete)signature|missingauthentication",
    "rate_limit": "insufficient_quota|rate_limit|ratelimitreached|too ?many ?requests|quota_?exceeded"
    "|throttling|resource_exhausted|billing_error",
    "timeout": "timeout_error|deadline_exceeded|modeltimeout",
    "overloaded": r"overloaded|service_?unavailable|modelnotready|\bunavailable$",
    "server": "server_error|internal_?(server)?error|api_error|model(stream)?error",
}
CODES = ("code", "type", "status", "status_code", "error_type", "__type")
# where the words of an error stand, also of a piece of a stream that is an error itself
MESSAGES = ("message", "Message", "detail", "msg", "error_message", "errors")


def refused(
    status: int, headers: Headers, message: str, kind: str | None = None, document: Any = None
) -> Fault:
    """The fault of an HTTP status that is no success, 0 where an answer that began well tells of it. kind: where the
    vendor's words say more. document: the error, which may tell how long to wait."""
    if 300 <= status < 400:
        where = headers.get("location", "nowhere")[:200]
        why = f"HTTP {status}: a redirect to {where}, not followed (the key stays here); set the base address"
        return Fault("bad_response", why, status=status, retryable=False)
    unknown = "server" if status >= 500 or not status else "invalid_request"
    kind = kind or STATUSES.get(status) or unknown
    advice = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    again = kind in RETRYABLE if advice is None else advice
    seconds = retry_after(headers) or (wait(headers, message, document) if again else None)
    fields = {"status": status or None, "retryable": again, "retry_after": seconds}
    fields = {name: value for name, value in fields.items() if value is not None}
    return Fault(kind, message or f"HTTP {status}", **fields)


def failed(error: Any, status: int | None = None, headers: Headers | None = None) -> Fault:
    """The fault of an error object or string; its HTTP status is the one it came with, else the one it names."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    message = cause(error)
    codes = [str(error.get(name) or "") for name in CODES]
    number = status or next((int(c) for c in codes if c.isdecimal() and len(c) == 3), 0)
    details = records.dumps(error["details"]) if error.get("details") else ""
    text = " ".join([message, details, *codes]).lower().strip()
    kind = next((kind for kind, words in WORDS.items() if re.search(words, text)), None)
    if kind == "context_length" and (number == 429 or re.search(WORDS["rate_limit"], text)):
        kind = "rate_limit"  # so many tokens a minute
    if number in (401, 403) and kind != "context_length" or number == 413 and kind == "rate_limit":
        kind = None  # the status says it better
    elif kind is None and status is None and number in (0, 400):
        # in a stream: the request was accepted
        refusing = re.search("invalid_(request|argument)|validation", text)
        kind = "invalid_request" if refusing else "server"
    fault = refused(number, headers or {}, message, kind, error)
    if number == 402 or re.search("insufficient_quota|billing_error", text):  # of money
        fault.kind, fault.fields["retryable"] = "rate_limit", False
    return fault


def explain(status: int, headers: Headers, body: bytes) -> Fault:
    """The fault of a refused request, by its body: an object, a list of one, or plain text."""
    document = lenient(body)
    if isinstance(document, list) and document:
        document = document[0]
    if 300 <= status < 400 or not isinstance(document, dict):
        return refused(status, headers, f"HTTP {status}: {excerpt(body)}" if body.strip() else "")
    return failed(error_of(document) or document, status, headers)


def error_of(document: Record) -> Any:
    """The error that a document holds, or that a piece of a stream is; None where there is none."""
    if document.get("error"):
        return document["error"]
    return document if any(document.get(name) for name in MESSAGES) else None


def cause(error: Any) -> str:
    """The most specific words that an error has: those of the vendor behind it, and what it could not read."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else records.dumps(error)
    if not any(error.values()):
        return ""
    names = (*MESSAGES, "error", "type", "__type")
    words = next((error[name] for name in names if error.get(name)), error)
    text = records.dumps(words) if words is error else cause(words)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    with suppress(ValueError):  # OpenRouter: the answer of the vendor behind it
        raw = records.foreign(raw) if isinstance(raw, str) else raw
    if raw:
        inner = isinstance(raw, dict) and raw.get("error")
        text = f"{text}: {cause(inner or raw)}"
    if isinstance(written := error.get("failed_generation"), str) and written:  # Groq
        text = f"{text} (the model wrote {written[:300]!r})"
    return text


# How long to wait.

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PIECE = r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
WAIT_WORDS = rf"(?:\b(?:again|retry|wait)\b\D{{0,40}}?)((?:{PIECE}\s*)+)"
# the fields of an error, and their units
_SECONDS = "retry_after retryafter retry_after_seconds retry_delay retrydelay estimated_time"
FIELDS = {**dict.fromkeys(_SECONDS.split(), 1.0), "retry_after_ms": 0.001}
# the headers that say how long to wait, and their units
HEADERS = {"retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001, "retry-after": 1.0}


def wait(headers: Headers, message: str = "", document: Any = None) -> float | None:
    """Seconds to wait by the error's fields or words, or by the limits' reset headers; None where none says."""
    again = re.search(WAIT_WORDS, message, re.IGNORECASE)
    by_words = moment(again[1]) if again else None
    return next(filter(None, _advice(document)), None) or by_words or resets(headers)


def retry_after(headers: Headers) -> float | None:
    """Seconds to wait, by `retry-after-ms`, else `retry-after` (seconds or a date); None where neither makes sense."""
    found = (moment(headers.get(name, ""), unit) for name, unit in HEADERS.items())
    return next(filter(None, found), None)


def resets(headers: Headers) -> float | None:
    """Seconds until the limits that are used up are reset; where none says what remains, until the first of all."""
    used_up, every = [], []
    for name, value in headers.items():
        if re.search("rate-?limit.*reset", name) and (seconds := moment(value)):
            every.append(seconds)
            if headers.get(name.replace("reset", "remaining"), "").strip() in ("0", "0.0"):
                used_up.append(seconds)
    return max(used_up) if used_up else min(every, default=None)


def moment(text: str, unit: float = 1.0) -> float | None:
    """Seconds from now, out of a number, a moment of the epoch (s or ms), `6m0s` or a date; None for nonsense."""
    text, seconds = text.strip(), 0.0
    if re.fullmatch(r"\d{1,16}(\.\d+)?", text):
        seconds = float(text) * unit
        if seconds > 1e9:
            seconds = seconds / (1000 if seconds > 1e11 else 1) - time.time()
    elif pieces := re.findall(PIECE, text, re.IGNORECASE):
        words = [name.lower() for _, name in pieces]
        units = [UNITS["ms" if re.match("ms|mil", word) else word[0]] for word in words]
        total = sum(float(number) * unit for (number, _), unit in zip(pieces, units, strict=True))
        seconds = 0.0 if re.sub(PIECE, "", text, flags=re.IGNORECASE).strip() else total
    else:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        for read in (parsedate_to_datetime, datetime.fromisoformat):
            with suppress(ValueError, TypeError, OverflowError):
                date = read(text)
                date = date if date.tzinfo else date.replace(tzinfo=UTC)
                seconds = date.timestamp() - time.time()
    return round(seconds, 3) if seconds > 0 else None


def _advice(value: Any, depth: int = 6) -> Iterator[float | None]:
    """What the fields of an error say of the wait, wherever they stand in it; it may hold a vendor's headers."""
    if isinstance(value, dict):
        fields = {str(name).lower(): inner for name, inner in value.items()}
        headers = {name: str(inner) for name, inner in fields.items()}
        yield retry_after(headers) or resets(headers)
        for name in filter(FIELDS.get, fields):
            inner = fields[name].get("seconds") if isinstance(fields[name], dict) else fields[name]
            yield moment(str(inner), FIELDS[name])
        value = list(value.values())
    for inner in value if depth and isinstance(value, list) else ():
        yield from _advice(inner, depth - 1)
