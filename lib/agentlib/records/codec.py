"""JSON text and the values it stands for. Others use it by agentlib.records.

The reading is strict where two programs could differ (RFC 8259; docs/protocol.md): no NaN or Infinity, no key
twice in one object, no number that overflows. Lone surrogates become U+FFFD on the way out.

Once LONG bytes have gone through the standard library's json, orjson takes over (quick_codec.py): its import costs
14 ms, and then it takes half the time. Values, text and errors stay what they were.
"""

import _thread  # not threading, which costs 1 ms at every start
import sys

from agentlib.types import Any

DEEPEST = 1000  # arrays and objects in one another; Python 3.12 and 3.13 read on until a thread's stack is full
LONG = 2 << 20  # bytes; what orjson would have saved until here is what its import costs
_size = 0.0  # bytes that went through json
_json: Any = None  # its strict decoder, its decoder for vendors, its encoder
_quick: Any = None  # the module quick_codec, once it has taken over

sys.set_int_max_str_digits(0)  # integers keep their digits; records.LINE_CAP bounds them


def loads(text: str | bytes) -> Any:
    """The value of one JSON document. ValueError, in words for a person, where it is not one."""
    return _load(text, True)


def foreign(text: str | bytes) -> Any:
    """The value of a vendor's JSON: as loads, but a key twice is no error, the last one counts, and NaN is None."""
    mark: Any = b"\xef\xbb\xbf" if isinstance(text, bytes) else "\ufeff"
    return _load(text.removeprefix(mark), False)


def dumps(value: Any) -> str:
    """One line of JSON, without its line end; always valid UTF-8, whatever the strings hold."""
    return encode(value).decode()


def encode(value: Any) -> bytes:
    """The bytes of one line of JSON, without its line end. ValueError for NaN and Infinity."""
    if _quick and (quick := _quick.encode(value)):
        return quick  # type: ignore[no-any-return]
    data = _json_encode(value)
    _count(len(data))
    return data


def _load(text: str | bytes, strict: bool) -> Any:
    if _quick or _count(len(text)):
        value = _quick.loads(text, strict)
        if value is not _quick.UNSURE:
            return value
    decoder = _standard()[0 if strict else 1]
    if _too_deep(text):
        raise ValueError("nested too deeply")
    try:
        return decoder.decode(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError as bad:
        raise ValueError(f"byte {bad.start + 1} is not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _too_deep(text: str | bytes) -> bool:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False
    import re
    from itertools import accumulate

    steps = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
    marks = re.finditer(rb'"(?:[^"\\]++|\\.)*+"?|[][{}]', data, re.S)
    return max(accumulate(steps.get(mark[0], 0) for mark in marks)) > DEEPEST


def _count(size: int) -> bool:
    """Count the bytes that json has to do with; whether orjson has taken over, as it does when they are LONG."""
    global _size
    _size += size
    if _size >= LONG:
        take_over()
    return _quick is not None


def take_over() -> None:
    """Let orjson do the work from here on, where it is installed: for a process that expects much. It is imported in a
    thread, where no signal raises an exception: Python would dump core (https://github.com/ijl/orjson/issues/310)."""
    global _size
    _size = float("-inf")  # once is enough
    done = _thread.allocate_lock()

    def load() -> None:
        global _quick
        from contextlib import suppress

        from agentlib.faults import Fault

        with suppress(Fault, ImportError):
            from agentlib.records import quick_codec

            _quick = quick_codec
        done.release()

    done.acquire()
    try:
        _thread.start_new_thread(load, ())
    except RuntimeError:  # no more threads: slower is better than not at all
        return
    done.acquire()


def _standard() -> Any:
    """json's codecs, loaded when the first is needed: it costs 3 ms, and a warm agent-discover needs none."""
    global _json
    if _json is None:
        from json import JSONDecoder, JSONEncoder

        _json = (
            JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float),
            JSONDecoder(parse_constant=lambda word: None),
            JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False),
        )
    return _json


def _json_encode(value: Any) -> bytes:
    text: str = _standard()[2].encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # join a surrogate pair that came in two pieces, replace a lone half
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return out


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _float(text: str) -> float:
    if abs(value := float(text)) == float("inf"):
        raise ValueError(f"the number {text[:40]} is too large")
    return value
