"""HTTP on httpx: one connection a thread, every wait bounded, every body capped, every failure a Fault.

Threads and blocking calls, for they start fastest and read plainly: 1,000 posts in flight cost 1 ms of CPU and 30 kB
each (tests/bench/concurrency.py). httpx is imported when the first call is sent.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from agentlib import records
from agentlib.faults import Fault
from agentlib.http import Call, excerpt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    import httpx

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
        self.socket: Any = None  # of the connection, once there is one

    def due(self) -> float:
        """The moment (of the monotonic clock) at which the exchange has taken too long."""
        return min(self.started + self.whole, self.heard + self.silence)

    def fault(self) -> Fault:
        """What to say when it is due."""
        if self.started + self.whole <= time.monotonic():
            return Fault("timeout", f"no whole answer in {self.whole:g} s (AGENT_TIMEOUT sets this bound)")
        return Fault("timeout", f"nothing said for {self.silence:g} s (AGENT_SILENCE_TIMEOUT sets this bound)")

    def cut(self) -> None:
        """End the exchange from another thread: whoever reads from its socket wakes up."""
        import socket

        try:
            if self.socket:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


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

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: dict[str, str] = dict(response.headers)
        self._raw = response.iter_raw()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, unpacked."""
        packed = self.headers.get("content-encoding", "identity").strip().lower()
        if packed in ("", "identity"):
            return self._raw
        if packed in ("gzip", "x-gzip", "deflate"):
            return inflate(self._raw)
        raise Fault("bad_response", f"the answer came in an encoding that was not asked for: {packed[:40]}")

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
        import threading

        timer = threading.Timer(LINGER, watch.cut)
        timer.daemon = True
        timer.start()
        try:
            for _ in self._raw:
                pass
        finally:
            timer.cancel()

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
            raise Fault("bad_response", f"the answer is not a JSON object: it {what}", status=self.status)
        return value


class Connection:
    """A connection to vendors that stays open between calls. Of one thread at a time."""

    __slots__ = ("_client", "_secure", "_socket")

    def __init__(self) -> None:
        self._client: httpx.Client | None = None
        self._secure = False
        self._socket: Any = None

    def _open(self, secure: bool) -> httpx.Client:
        if self._client is None or secure and not self._secure:
            self._client, self._secure = _client(secure), secure
        return self._client

    def send(self, call: Call, watch: Watch, read: Callable[[Reply], Any]) -> Any:
        """Send the call; what `read` makes of the answer. Redirects are not followed."""
        import_httpx()
        headers = {"accept-encoding": "identity" if call.frames else "gzip", "user-agent": "agentutils", **call.headers}
        data = None
        if call.body is not None:
            data = records.dumps(call.body).encode()
            headers["content-type"] = "application/json"
        method = "GET" if data is None else "POST"
        if call.sign:
            headers = call.sign(method, call.url, headers, data or b"")
        watch.socket = self._socket

        def traced(name: str, info: dict[str, Any]) -> None:
            """httpcore tells of its steps here: a new connection's socket is what `cut` needs."""
            if name.startswith("connection.") and name.endswith(".complete") and info.get("return_value"):
                self._socket = watch.socket = info["return_value"].get_extra_info("socket")

        try:
            client = self._open(call.url.startswith("https:"))
            request = client.build_request(
                method,
                call.url,
                headers=headers,
                content=data,
                timeout=_timeout(watch),
                extensions={"trace": traced},
            )
            response = client.send(request, stream=True, follow_redirects=False)
            try:
                return read(Reply(response))
            finally:
                response.close()
        except httpx.HTTPError as bad:
            raise _broken(bad, call.url, watch) from None
        except (httpx.InvalidURL, UnicodeError) as bad:
            raise Fault(
                "invalid_request", f"the address {call.url[:100]!r} or a header cannot be sent: {bad}"
            ) from None
        except httpx.StreamError as bad:
            raise Fault("network", f"the connection broke off: {bad}") from None


_importing = allocate_lock()
_contexts: dict[bool, Any] = {}


def import_httpx() -> None:
    """Make `httpx` a name of this module, once."""
    with _importing:
        if "httpx" not in globals():
            from agentlib.packages import need

            need("httpx")
            import httpx

            globals()["httpx"] = httpx


def _client(secure: bool) -> httpx.Client:
    """A client of one connection. All share one TLS context, which is costly (30 ms) and so made only for https."""
    import ssl

    with _importing:
        if secure not in _contexts:
            _contexts[secure] = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.Client(
            verify=_contexts[secure],
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )
    except (ValueError, ImportError) as bad:
        raise Fault(
            "invalid_request", f"a proxy variable of the environment cannot be used: {without_password(str(bad))}"
        ) from None


def _timeout(watch: Watch) -> httpx.Timeout:
    whole = None if watch.whole == float("inf") else watch.whole
    return httpx.Timeout(whole, connect=min(watch.connect, watch.whole) if watch.connect != float("inf") else whole)


def _broken(bad: httpx.HTTPError, url: str, watch: Watch) -> Fault:
    """The fault of a transport that failed."""
    place = _place(url)
    if isinstance(bad, httpx.ConnectTimeout):
        return Fault(
            "timeout", f"no connection to {place} in {watch.connect:g} s (AGENT_CONNECT_TIMEOUT sets this bound)"
        )
    if isinstance(bad, httpx.TimeoutException):
        return Fault("timeout", f"{place} did not answer in time")
    if isinstance(bad, (httpx.ConnectError, httpx.ProxyError)):
        fields = {"retryable": False} if "CERTIFICATE_VERIFY" in str(bad) else {}
        return Fault("network", f"cannot connect to {place}: {_reason(bad)}", **fields)
    if isinstance(bad, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return Fault("invalid_request", f"this cannot be sent to {place}: {_reason(bad)}")
    return Fault("network", f"{place} broke off the connection: {_reason(bad)}")


def _reason(bad: Exception) -> str:
    text = str(bad) or type(bad).__name__
    return text.rpartition("] ")[2] if text.startswith("[Errno") else without_password(text)


def _place(url: str) -> str:
    """Host and port of an address, and the proxy on the way to it."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    parts, proxies = urlsplit(url), getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass_environment(parts.hostname or "", proxies):
        return f"{parts.netloc} through the proxy {without_password(proxy)}"
    return parts.netloc


def without_password(text: str) -> str:
    """The text with the password (and user) of any address in it made `***`."""
    import re

    return re.sub(r"//[^/@\s]+@", "//***@", text)


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
