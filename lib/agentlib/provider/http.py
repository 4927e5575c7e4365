"""Calls to vendors: one connection a thread, every wait bounded, every body capped, every failure a Fault.

Threads and blocking calls, for they start fastest and read plainly: 1,000 posts in flight cost 0.6 ms of CPU and 27 kB
each (tests/bench/concurrency.py). reach.py finds the way to an address, dial.py opens it, wire.py speaks HTTP on it.
"""

from __future__ import annotations

import os
import select
import socket
import time

from agentlib import records
from agentlib.faults import Fault
from agentlib.provider import wire
from agentlib.provider.dial import connected
from agentlib.provider.http_call import Call, excerpt
from agentlib.provider.reach import way, without_password
from agentlib.types import TYPE_CHECKING, Any, Callable, Iterable, Iterator

if TYPE_CHECKING:
    from agentlib.provider.reach import Way

BODY_CAP = 64 * 1024 * 1024  # bytes of one whole answer, unpacked
ERROR_CAP = 64 * 1024  # bytes of an error's body that are read
LINGER = 0.5  # seconds that a vendor has to end its body after its end mark
STEP = 1024 * 1024  # bytes unpacked at a time, so that a gzip bomb meets the caps


class Watch:
    """The bounds of one exchange: seconds to connect, of silence (streams only) and for the whole; 0 is none."""

    __slots__ = ("connect", "silence", "whole", "started", "heard", "socket")

    def __init__(self, streams: bool) -> None:
        self.connect = seconds("AGENT_CONNECT_TIMEOUT", 5)
        self.silence = seconds("AGENT_SILENCE_TIMEOUT", 120) if streams else float("inf")
        self.whole = seconds("AGENT_TIMEOUT", 600)
        self.started = self.heard = time.monotonic()
        self.socket: socket.socket | None = None  # of the connection, once there is one

    def due(self) -> float:
        """The moment (of the monotonic clock) at which the exchange has taken too long."""
        return min(self.started + self.whole, self.heard + self.silence)

    def fault(self) -> Fault:
        """What to say when it is due."""
        if self.started + self.whole <= time.monotonic():
            return Fault(
                "timeout", f"no whole answer in {self.whole:g} s (AGENT_TIMEOUT sets this bound)"
            )
        return Fault(
            "timeout",
            f"nothing said for {self.silence:g} s (AGENT_SILENCE_TIMEOUT sets this bound)",
        )

    def cut(self) -> None:
        """End the exchange from another thread: whoever reads from its socket wakes up."""
        try:
            if self.socket:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def left(self) -> float | None:
        """Seconds until the whole is due, at least a few moments; None without a bound."""
        left = self.started + self.whole - time.monotonic()
        return None if left == float("inf") else max(0.01, left)


def seconds(variable: str, default: float) -> float:
    """The bound that an environment variable sets; 0 means none; what is no number means the default."""
    try:
        value = float(os.environ.get(variable) or default)
    except ValueError:
        return default
    return value if value > 0 else float("inf")


class Reply:
    """The vendor's answer: status, headers (names in lower case), and its body, to be read once."""

    __slots__ = ("status", "headers", "_raw")

    def __init__(self, answer: wire.Answer) -> None:
        self.status, self.headers, self._raw = answer.status, answer.headers, answer.body()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, unpacked."""
        packed = self.headers.get("content-encoding", "identity").strip().lower()
        if packed in ("", "identity"):
            return self._raw
        if packed in ("gzip", "x-gzip", "deflate"):
            return inflate(self._raw)
        raise Fault(
            "bad_response", f"the answer came in an encoding that was not asked for: {packed[:40]}"
        )

    def body(self, cap: int = BODY_CAP) -> bytes:
        """The whole body; `limit_exceeded` where it is larger than cap."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > cap:
                raise Fault("limit_exceeded", f"the answer has more than {cap >> 20} MiB")
        return bytes(data)

    def beginning(self, cap: int = ERROR_CAP) -> bytes:
        """At most cap bytes of the body, for a message about it; never a fault."""
        data = b""
        try:
            for chunk in self.chunks():
                data += chunk[: cap - len(data)]
                if len(data) >= cap:
                    break
        except Exception:
            pass  # the status says enough
        return data

    def rest(self, watch: Watch) -> None:
        """Read the end of a body of which all that counts has been read: only then can the connection be used again."""
        until = time.monotonic() + LINGER
        if watch.socket:
            watch.socket.settimeout(LINGER)
        try:
            for _ in self._raw:
                if time.monotonic() > until:
                    return
        except (OSError, wire.Broken):
            pass  # it cannot, then

    def media(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def document(self, many: bool = False) -> Any:
        """The whole body as a JSON object; `bad_response` with an excerpt where it is none.

        With `many` it may be a list of objects too: what Gemini makes of a stream where a proxy takes `alt=sse` away.
        """
        data = self.body()
        try:
            value = records.foreign(data)
        except ValueError:
            value = None
        if not isinstance(value, (dict, list) if many else dict):
            what = f"begins {excerpt(data)!r}" if data.strip() else "is empty"
            raise Fault(
                "bad_response", f"the answer is not a JSON object: it {what}", status=self.status
            )
        return value


class Connection:
    """A connection to vendors that stays open between calls. Of one thread at a time."""

    __slots__ = ("_socket", "_end")

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._end: tuple[Any, ...] = ()  # to whom: TLS, host, port, proxy

    def close(self) -> None:
        """Close it; the next call opens another."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def send(self, call: Call, watch: Watch, read: Callable[[Reply], Any]) -> Any:
        """Send the call; what `read` makes of the answer. Redirects are not followed, and nothing is sent twice."""
        there = way(call.url)
        message = _message(call, there)
        connection = self._open(there, watch)
        sent, answer = False, None
        try:
            connection.settimeout(watch.left())
            sent = _sent(connection, message)
            answer = wire.Answer(connection)
            return read(Reply(answer))
        except TimeoutError:
            raise watch.fault() from None
        except wire.Broken as bad:
            raise Fault("network", f"{there.shown} {bad}") from None
        except OSError as bad:
            raise Fault(
                "network", f"{there.shown} broke off the connection: {_reason(bad)}"
            ) from None
        finally:
            watch.socket = None
            if not (sent and answer and answer.reusable()):
                self.close()

    def _open(self, there: Way, watch: Watch) -> socket.socket:
        """The connection as it is, where the other side has kept it, else a new one; `watch` can cut it from now on."""
        if self._socket is None or self._end != there[:4] or _readable(self._socket):
            self.close()
            self._socket, self._end = _connected(there, watch), there[:4]
        watch.socket = self._socket
        if watch.due() <= time.monotonic():  # it came too late to be cut
            self.close()
            raise watch.fault()
        return self._socket


def _message(call: Call, there: Way) -> bytes:
    """The bytes of a call."""
    headers = {
        "accept-encoding": "identity" if call.frames else "gzip",
        "user-agent": "agentutils",
        **call.headers,
    }
    data = None
    if call.body is not None:
        data = records.dumps(call.body).encode()
        headers["content-type"] = "application/json"
    method = "GET" if data is None else "POST"
    if call.sign:
        headers = call.sign(method, call.url, headers, data or b"")
    try:
        return wire.request(method, there.target, {**headers, **there.headers}, data)
    except ValueError as bad:
        raise Fault("invalid_request", f"this cannot be sent to {there.shown}: {bad}") from None


def _sent(connection: socket.socket, message: bytes) -> bool:
    """Send a request; whether it went out whole. Who closes before that has often said why, so the answer is read."""
    try:
        connection.sendall(message)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _readable(connection: socket.socket) -> bool:
    """Whether something comes from a connection on which nothing is due: its end, that is, or what has no place."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _connected(there: Way, watch: Watch) -> socket.socket:
    """A new connection; the fault that says why there is none."""
    try:
        return connected(there, time.monotonic() + min(watch.connect, watch.left() or float("inf")))
    except TimeoutError:
        raise Fault(
            "timeout",
            f"no connection to {there.shown} in {watch.connect:g} s (AGENT_CONNECT_TIMEOUT sets this bound)",
        ) from None
    except (OSError, wire.Broken) as bad:
        fields = {"retryable": False} if "CERTIFICATE_VERIFY" in str(bad) else {}
        raise Fault(
            "network", f"cannot connect to {there.shown}: {_reason(bad)}", **fields
        ) from None


def _reason(bad: Exception) -> str:
    text = getattr(bad, "strerror", None) or str(bad) or type(bad).__name__
    return without_password(text)


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """gzip or zlib unpacked in steps; `bad_response` where it is damaged or ends early."""
    import zlib

    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for chunk in chunks:
            while chunk:
                if data := unpack.decompress(chunk, STEP):
                    yield data
                chunk = unpack.unconsumed_tail
    except zlib.error as bad:
        raise Fault("bad_response", f"the packed answer is damaged: {bad}") from None
    if not unpack.eof:
        raise Fault("bad_response", "the packed answer ends early")
