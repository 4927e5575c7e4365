"""A client of one connection on httpx: every wait bounded, the address of a name checked, the proxies curl's.

httpx's own timeouts are for one read each; here every wait is cut to what the exchange has left, also while a name is
looked up. One connection a client: 1,000 posts took 21 s of CPU in the pool of one, 2 s in as many.
"""

import os
import re
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import lru_cache

from agentlib.faults import Fault
from agentlib.net.bounds import NEVER, Bounds
from agentlib.packages import need
from agentlib.types import Any, Callable, Iterable, Iterator, Mapping

need("httpx")
import httpcore  # noqa: E402
import httpx  # noqa: E402

from agentlib.net import proxies  # noqa: E402

Allow = Callable[[str, int, list[str]], None]
Headers = Mapping[str, str]

# variables that name the certificates that TLS trusts
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CERTIFICATE_FOLDERS = ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HOST = re.compile(rb"[\w.:-]+")
VALUE = re.compile(r"[\t\x20-\x7e]*")
HEAD_CAP = 256 * 1024  # bytes read until the head of an answer is whole, with all interim answers
STEP = 64 * 1024  # bytes unpacked at a time, so that a gzip bomb meets the caps
CODINGS = 5  # of one body, at most; curl takes as many


class Client:
    """A connection that stays open between requests, of one thread at a time. keep: seconds that it may be idle. allow:
    called with host, port and IP addresses of each new one; raises where they may not be reached; no proxy is used."""

    follow = False  # redirects: never with a key

    def __init__(self, allow: Allow | None = None, keep: float = NEVER) -> None:
        self._allow, self._keep = allow, keep
        self._transport: httpx.HTTPTransport | None = None
        self._route: Any = None  # TLS or not, the proxy: what the client was made for
        self.proxy = ""  # that may answer itself, in the last request
        self._dialer = _Dialer(allow)

    def close(self) -> None:
        if self._transport:
            self._transport.close()
            self._transport = None

    @contextmanager
    def stream(
        self, method: str, url: str, bounds: Bounds, headers: Headers, content: bytes | None = None
    ) -> Iterator[httpx.Response]:
        """The answer to a request, its body unread, sent once. Faults: `invalid_request`, `timeout`, `network`."""
        address = parsed(url)
        place = address.netloc.decode("ascii")
        proxy = None if self._allow else proxies.proxy_for(address)
        name = proxies.without_password(str(proxy)) if proxy else ""
        self.proxy = name if address.scheme == "http" else ""
        if name:
            place += f" through the proxy {name}"
        if proxy and ":" in address.host:  # httpcore writes it without brackets
            why = "no IPv6 address by a proxy: give its name, or put it into NO_PROXY"
            raise Fault("invalid_request", f"{place}: {why}")
        for header, value in headers.items():  # httpx would show the value, which may be a key
            if not NAME.fullmatch(header) or not VALUE.fullmatch(value):
                why = f"the header {header[:60]!r} holds characters that none can hold"
                raise Fault("invalid_request", f"this cannot be sent to {place}: {why}")
        try:
            secure = address.scheme == "https"
            transport = self._open(secure, proxy)
            self._dialer.begin(bounds, secure + bool(proxy and proxy.scheme == "https"))
            sent = {"accept": "*/*", **headers}
            request = httpx.Request(method, address, headers=sent, content=content)
            if self.follow or address.userinfo:
                client = httpx.Client(transport=transport, trust_env=False, timeout=None)
                response = client.send(request, stream=True, follow_redirects=self.follow)
            else:  # an httpx.Client for each connection costs as much again as all the rest
                response = transport.handle_request(request)
                response.request = request
            with closing(response):
                self._dialer.in_head = False
                if not self._dialer.received:
                    self.close()
                    raise Fault("network", f"{place} answered before it was asked")
                yield response
        except (httpx.TimeoutException, TimeoutError):
            raise bounds.fault(place) from None
        except (httpx.HTTPError, httpx.InvalidURL) as bad:  # InvalidURL: of a redirect
            raise self._fault(bad, place) from None
        finally:
            bounds.socket = None

    def _open(self, secure: bool, proxy: httpx.URL | None) -> httpx.HTTPTransport:
        """The transport for this way, whose one connection the dialer opens."""
        if self._transport and self._route == (secure, proxy):
            return self._transport
        self.close()
        tls = _context(True) if proxy and proxy.scheme == "https" else None
        by = proxy and httpx.Proxy(proxy, ssl_context=tls)
        one = httpx.Limits(max_connections=1, keepalive_expiry=self._keep)
        try:
            made = httpx.HTTPTransport(verify=_context(secure), proxy=by, limits=one)
        except ImportError:
            from agentlib.packages import cure

            why = f"a socks proxy needs the package socksio: {cure('socks')}"
            raise Fault("invalid_request", why) from None
        # no argument for it; httpx's tests do so too
        made._pool._network_backend = self._dialer
        self._transport, self._route = made, (secure, proxy)
        return made

    def _fault(self, bad: Exception, place: str) -> Fault:
        reason = proxies.without_password(re.sub(r"^\[[^]]*\] ", "", str(bad)))[:300]
        if isinstance(bad, (httpx.ConnectError, httpx.ProxyError)):
            fields = {"retryable": False} if "CERTIFICATE_VERIFY" in str(bad) else {}
            return Fault("network", f"cannot connect to {place}: {reason}", **fields)
        if isinstance(bad, httpx.LocalProtocolError):
            return Fault("invalid_request", f"this cannot be sent to {place}: {reason}")
        broke_off = self._dialer.ended or isinstance(bad, httpx.NetworkError)
        what = "broke off the connection" if broke_off else "does not speak proper HTTP"
        return Fault("network", f"{place} {what}: {reason}")


@lru_cache(64)
def parsed(url: str) -> httpx.URL:
    """An address of http or https that can be sent to; else `invalid_request`."""
    try:
        address = httpx.URL(url)
        good = address.scheme in ("http", "https") and (address.port or 0) in range(65536)
        if good and address.host and HOST.fullmatch(address.raw_host):
            return address
        reason = "it is not of the form http[s]://host[:port]/…"
    except (httpx.InvalidURL, UnicodeError) as bad:
        reason = str(bad)
    safe = proxies.without_password(url[:100])
    raise Fault("invalid_request", f"the address {safe!r} cannot be sent to: {reason}")


def unpacked(chunks: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """A body that came in a content coding, unpacked in steps; `bad_response` where that cannot be done."""
    codings = [word for word in coding.lower().replace(",", " ").split() if word != "identity"]
    for word in reversed(codings):
        if word not in ("gzip", "x-gzip", "deflate") or len(codings) > CODINGS:
            raise Fault("bad_response", f"the answer came in an unwanted encoding: {coding[:40]}")
        chunks = _inflated(chunks)
    return chunks


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Members of gzip, zlib's form, or bare deflate, by the first byte. Padding after the end is passed over."""
    import zlib

    unpack: Any = None
    spare = 16 * STEP  # bytes that may come without content, as a bomb within a bomb does
    try:
        for chunk in chunks:
            if (spare := spare - len(chunk)) < 0:
                raise Fault("bad_response", "the packed answer holds nearly nothing")
            while chunk:
                if unpack is None or unpack.eof and chunk[:1] == b"\x1f":
                    has_head = chunk[0] == 0x1F or chunk[0] & 0x0F == zlib.DEFLATED
                    form = zlib.MAX_WBITS | 32 if has_head else -zlib.MAX_WBITS
                    unpack = zlib.decompressobj(form)
                elif unpack.eof:
                    break
                if data := unpack.decompress(chunk, STEP):
                    spare += 8 * len(data)
                    yield data
                chunk = unpack.unconsumed_tail or unpack.unused_data
        if unpack and (data := unpack.flush()):
            yield data
    except zlib.error as bad:
        raise Fault("bad_response", f"the packed answer is damaged: {bad}") from None
    if unpack and not unpack.eof:
        raise Fault("bad_response", "the packed answer ends early", retryable=True)


_making = threading.Lock()
_contexts: dict[bool, ssl.SSLContext] = {}


def _context(secure: bool) -> ssl.SSLContext:
    """The TLS context of all clients; for plain HTTP an empty one, since httpx requires one."""
    with _making:
        if secure not in _contexts:
            _contexts[secure] = trusted() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return _contexts[secure]


def trusted() -> ssl.SSLContext:
    """A TLS context by the environment's certificates, else the system's, else certifi's; a host's name must stand in
    subjectAltName, a common name is not enough. `invalid_request` where a variable names what cannot be read."""
    variables = dict.fromkeys(CERTIFICATES + CERTIFICATE_FOLDERS)
    values = {name: os.environ.get(name, "") for name in variables}
    named = [(name, value) for name, value in values.items() if value and name != "SSL_CERT_DIR"]
    folders = values["SSL_CERT_DIR"].split(os.pathsep)
    named += [("SSL_CERT_DIR", folder) for folder in folders if folder]
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if named else ssl.create_default_context()
    for name, path in named:
        try:
            if name not in CERTIFICATES or name in CERTIFICATE_FOLDERS and os.path.isdir(path):
                os.listdir(path)  # load_verify_locations takes also a folder that is not there
                made.load_verify_locations(capath=path)
            else:
                open(path, "rb").close()
                made.load_verify_locations(cafile=path)
        except OSError as bad:
            reason = "no certificates" if isinstance(bad, ssl.SSLError) else bad.strerror
            raise Fault("invalid_request", f"{name}: {path}: {reason}") from None
    system = ssl.get_default_verify_paths()
    if not (named or system.cafile or system.capath and os.listdir(system.capath)):
        import certifi

        made.load_verify_locations(certifi.where())
    made.hostname_checks_common_name = False
    return made


class _Dialer(httpcore.NetworkBackend):
    """Opens connections within the bounds of an exchange. received: bytes read since the request was sent. in_head:
    whether the head of the answer is still to come. ended: whether the other side closed."""

    bounds: Bounds
    _socket: socket.socket | None = None
    _layers = _missing = 0  # of TLS: in all, still to come

    def __init__(self, allow: Allow | None) -> None:
        self._allow, self._plain = allow, httpcore.SyncBackend()

    def begin(self, bounds: Bounds, layers: int) -> None:
        self.bounds, self._layers = bounds, layers
        bounds.socket = self._socket
        self.received, self.in_head, self.ended = 0, True, False

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """A connection to the first address of a host that takes one; each has its share of the time."""
        self.bounds.connecting = time.monotonic() + self.bounds.connect
        self._missing = self._layers
        addresses = _addresses(host, port, self.bounds.left())
        if self._allow:
            self._allow(host, port, addresses)
        last: Exception = httpcore.ConnectError("the name has no address")
        for number, address in enumerate(addresses):
            left = self.bounds.left()
            share = left and left / (len(addresses) - number)
            try:
                return self.opened(self._plain.connect_tcp(address, port, share), 0)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                last = failed
        raise last

    def opened(self, stream: httpcore.NetworkStream, layer: int) -> httpcore.NetworkStream:
        """The stream within the bounds; with its last layer of TLS the connection is there."""
        self._missing -= layer
        self._socket = self.bounds.socket = stream.get_extra_info("socket")
        if not self._missing:
            self.bounds.left()  # it may have come too late to be cut
            self.bounds.connecting = NEVER
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    """A connection on which no wait is longer than the exchange has left. A head and its body leave together."""

    def __init__(self, stream: httpcore.NetworkStream, dialer: _Dialer) -> None:
        self._stream, self._dialer, self._unsent = stream, dialer, b""

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer
        self._dialer.received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        dialer, unsent, self._unsent = self._dialer, self._unsent, b""
        with suppress(httpcore.WriteError):  # who closes early has often said why: that is read
            self._stream.write(unsent, dialer.bounds.left())
        data = self._stream.read(max_bytes, dialer.bounds.left())
        dialer.received += len(data)
        dialer.ended = not data
        if dialer.in_head and dialer.received > HEAD_CAP:
            raise httpcore.RemoteProtocolError(f"no head within {HEAD_CAP >> 10} KiB")
        return data

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        left = self._dialer.bounds.left()
        return self._dialer.opened(self._stream.start_tls(ssl_context, server_hostname, left), 1)


def _addresses(host: str, port: int, seconds: float | None) -> list[str]:
    """The IP addresses of a host; ConnectError, TimeoutError. The look-up knows no bound, so it waits in a thread."""
    found: list[Any] = []

    def look_up(flags: int = 0) -> None:
        try:
            found[:] = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=flags)
        except socket.gaierror as bad:
            found[:] = [] if flags else [bad]

    look_up(socket.AI_NUMERICHOST)
    if not found:
        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(seconds)
    if not found:
        raise TimeoutError
    if isinstance(found[0], OSError):
        raise httpcore.ConnectError(found[0].strerror)
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return [socket.getnameinfo(address, numeric)[0] for *_, address in found]
