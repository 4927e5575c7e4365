"""Calls to vendors: one connection a thread, every wait bounded, every body capped, every failure a Fault.

httpx is imported with the first call: it costs as much as all the rest, and a call that cannot be made needs none.
"""

import contextlib
import itertools
import time

from agentlib import records
from agentlib.duration import of_variable
from agentlib.faults import Fault
from agentlib.net.bounds import NEVER, Bounds
from agentlib.provider.http_call import Call, Explain, excerpt, lenient
from agentlib.types import TYPE_CHECKING, Any, Callable, Iterable, Iterator

if TYPE_CHECKING:
    import httpx

    from agentlib.net.client import Client

BODY_CAP = 64 * 1024 * 1024  # bytes of one whole answer, unpacked
ERROR_CAP = 64 * 1024  # bytes of an error's body that are read
IDLE = 10.0  # seconds that a connection waits for the next call; AGENT_WARM may say more
LINGER = 0.5  # seconds that a vendor has to end its body after its end mark


class Watch(Bounds):
    """The bounds of one call, by the environment: to connect, of silence (streams only) and in all. active: when the
    stream last said something; a byte alone, of a ping, does not count."""

    def __init__(self, streams: bool) -> None:
        self.silence = of_variable("AGENT_SILENCE_TIMEOUT", 120) if streams else NEVER
        self.total = of_variable("AGENT_TIMEOUT", 600)
        super().__init__(of_variable("AGENT_CONNECT_TIMEOUT", 5), NEVER, self.total)
        self.active = self.started

    def due(self) -> float:
        """The moment (of the monotonic clock) at which the exchange has taken too long."""
        return min(self.until, self.active + self.silence)

    def fault(self, place: str = "") -> Fault:
        if self.until <= time.monotonic():
            what, variable = f"no whole answer in {self.total:g} s", "AGENT_TIMEOUT"
        elif self.connecting < NEVER:
            what = f"no connection to {place} in {self.connect:g} s"
            variable = "AGENT_CONNECT_TIMEOUT"
        else:
            what, variable = f"nothing said for {self.silence:g} s", "AGENT_SILENCE_TIMEOUT"
        return Fault("timeout", f"{what} ({variable} sets this bound)")


class Reply:
    """The vendor's answer: status, headers (in lower case), its body, to be read once. proxy: one that may give it."""

    def __init__(self, response: "httpx.Response", proxy: str = "") -> None:
        self.status, self.proxy = response.status_code, proxy
        self.headers = dict(response.headers.items())
        # the media type without its parameters
        self.media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._raw = response.iter_raw()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, unpacked; `limit_exceeded` where it is larger than BODY_CAP."""
        from agentlib.net.client import unpacked

        size = 0
        for chunk in unpacked(self._raw, self.headers.get("content-encoding", "")):
            size += len(chunk)
            if size > BODY_CAP:
                raise Fault("limit_exceeded", f"the answer has more than {BODY_CAP >> 20} MiB")
            yield chunk

    def beginning(self, chunks: Iterable[bytes] | None = None) -> bytes:
        """At most ERROR_CAP bytes of the body, for a message about it; never a fault. chunks: as of document()."""
        data = b""
        with contextlib.suppress(Exception):  # the status says enough
            for chunk in chunks or self.chunks():
                data += chunk[: ERROR_CAP - len(data)]
                if len(data) >= ERROR_CAP:
                    break
        return data

    def rest(self, watch: Watch) -> None:
        """Read the end of a body of which all that counts has been read: only then can the connection be used again."""
        watch.until = min(watch.until, time.monotonic() + LINGER)
        for _ in self._raw:
            pass

    def begun(self) -> tuple[bytes, Iterator[bytes]]:
        """(the first byte of the body that is no blank, b"" for none; the body as it arrives)."""
        chunks, head = self.chunks(), b""
        while not (text := head.removeprefix(b"\xef\xbb\xbf").lstrip()):
            chunk = next(chunks, None)
            if chunk is None or len(head) > ERROR_CAP:
                break
            head += chunk
        return text[:1], itertools.chain([head], chunks)

    def document(self, lists: bool = False, chunks: Iterable[bytes] | None = None) -> Any:
        """The body as a JSON object, or with `lists` a list; `bad_response` with an excerpt where it is none. chunks:
        the body, where its beginning has been looked at."""
        data = b"".join(self.chunks() if chunks is None else chunks)
        value = lenient(data)
        if not isinstance(value, (dict, list) if lists else dict):
            empty, cut = not data.strip(), value is None and data.lstrip()[:1] == b"{"
            what = "is empty" if empty else f"begins {excerpt(data)!r}"
            why = f"the answer is not a JSON object: it {what}"
            raise Fault("bad_response", why, status=self.status, retryable=empty or cut)
        return value

    def refusal(self, explain: Explain, url: str) -> Fault:
        """The fault of a status that is no success, with the proxy or the address where the words say too little."""
        import re

        from agentlib.net.proxies import without_password

        fault = explain(self.status, self.headers, self.beginning())
        gateway = self.status in (502, 503, 504) and self.media != "application/json"
        if self.proxy and (gateway or self.status == 407):
            fault.message = f"the proxy {self.proxy} says: {fault.message}"
        words = r"((page|path|url|resource) )?(not found|method not allowed)\.?"
        if re.fullmatch(rf"(?i)(HTTP )?40[45]|(HTTP 40[45]:? )?(40[45] )?{words}", fault.message):
            fault.message = f"{fault.message}: {without_password(url)}"
        return fault


class Connection:
    """A connection to vendors that stays open between calls. Of one thread at a time."""

    _client: "Client | None" = None

    def close(self) -> None:
        if self._client:
            self._client.close()

    def send(self, call: Call, watch: Watch, read: Callable[[Reply], Any]) -> Any:
        """Send the call; what `read` makes of the answer. Redirects are not followed, and nothing is sent twice."""
        if self._client is None:
            from agentlib.net.client import Client

            self._client = Client(keep=max(IDLE, of_variable("AGENT_WARM", IDLE)))
        coding = "identity" if call.frames else "gzip"
        headers = {"accept-encoding": coding, "user-agent": "agentutils", **call.headers}
        method, data = "GET", None
        if call.body is not None:
            method, data = "POST", records.encode(call.body)
            headers["content-type"] = "application/json"
        if call.sign:
            headers = call.sign(method, call.url, headers, data or b"")
        with self._client.stream(method, call.url, watch, headers, data) as response:
            return read(Reply(response, self._client.proxy))
