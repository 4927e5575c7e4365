"""Fetch a page of the public web: every address is checked after its name was resolved, and that address is used.

So neither a name that means this machine, nor one that changes its meaning between check and use, nor a redirect
leads to a private network. No proxy, no cookies, no credentials.
"""

from __future__ import annotations

import codecs
import http.client
import ipaddress
import socket
import time
from html.parser import HTMLParser
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from agentlib import __version__
from agentlib.faults import Fault
from agentlib.types import Collection, NamedTuple


class Page(NamedTuple):
    """What came back: the last address, its media type ("" unknown), charset, body, and whether it is cut."""

    url: str
    kind: str
    charset: str
    data: bytes
    cut: bool


CAP = 1 << 20  # bytes of a body
REDIRECTS = 5
SILENCE, WHOLE = 10.0, 30.0  # seconds without a byte; seconds in all


def fetch(url: str, private: Collection[str] = ()) -> Page:
    """The page at this address. private: hosts (`name`, `name:port`; `1`: all) that may lie in a private network.

    A Fault: tool_denied for an address that is refused, network or timeout, tool_error for a status of 400 or more.
    """
    until = time.monotonic() + WHOLE
    for _ in range(REDIRECTS + 1):
        parts = _checked(url)
        connection = _connect(parts, private, until)
        try:
            target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
                f"?{_query(parts)}" if parts.query else ""
            )
            connection.request(
                "GET",
                target,
                headers={
                    "User-Agent": f"agentutils/{__version__}",
                    "Accept-Encoding": "identity",
                    "Accept": "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1",
                },
            )
            answer = connection.getresponse()
            where = answer.getheader("Location")
            if answer.status in (301, 302, 303, 307, 308) and where:
                url = urljoin(url, where)
                continue
            if answer.status >= 400:
                raise Fault("tool_error", f"{url}: HTTP {answer.status} {answer.reason}")
            return _page(url, answer, until)
        except TimeoutError:
            raise Fault("timeout", f"{url}: no answer in time") from None
        except (OSError, http.client.HTTPException, ValueError) as bad:
            raise Fault("network", f"{url}: {bad or type(bad).__name__}") from None
        finally:
            connection.close()
    raise Fault("tool_error", f"{url}: more than {REDIRECTS} redirects")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = (parts.hostname or "").encode("idna")
    except ValueError:
        raise Fault("invalid_arguments", f"{url[:200]!r} is no valid address") from None
    if parts.scheme not in ("http", "https"):
        raise Fault("tool_denied", f"{url[:200]}: only http and https addresses are fetched")
    if not host or parts.username is not None:
        raise Fault(
            "invalid_arguments", f"{url[:200]}: give an address with a host and without a password"
        )
    return parts


def _query(parts: SplitResult) -> str:
    return quote(parts.query, safe="/%:@!$&'()*+,;=~?")


def _connect(
    parts: SplitResult, private: Collection[str], until: float
) -> http.client.HTTPConnection:
    """A connection to an address of the host that may be fetched from; its own name goes into TLS and Host."""
    host = parts.hostname or ""
    usual = 443 if parts.scheme == "https" else 80
    port = parts.port or usual
    family, address = _resolve(host, port, private)
    if parts.scheme == "https":
        import ssl

        tls = ssl.create_default_context()
    connection = http.client.HTTPConnection(host, port)
    connection.default_port = usual  # is left out of the Host header
    left = min(SILENCE, until - time.monotonic())
    if left <= 0:
        raise Fault("timeout", f"{host}: no answer in time")
    plain = socket.socket(family, socket.SOCK_STREAM)
    plain.settimeout(left)
    try:
        plain.connect(address)
        connection.sock = (
            tls.wrap_socket(plain, server_hostname=host) if parts.scheme == "https" else plain
        )
    except OSError as bad:
        plain.close()
        kind = "timeout" if isinstance(bad, TimeoutError) else "network"
        raise Fault(kind, f"{host}: {bad.strerror or bad}") from None
    return connection


def _resolve(host: str, port: int, private: Collection[str]) -> tuple[int, tuple[str, int]]:
    """Family and address to connect to; a Fault unless every address of the host may be fetched from."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as bad:
        raise Fault(
            "network", f"{host}: {getattr(bad, 'strerror', None) or 'no such host'}"
        ) from None
    if not {host.lower(), f"{host.lower()}:{port}", "1"} & set(private):
        for one in found:
            if not public(str(one[4][0])):
                raise Fault(
                    "tool_denied", f"{host}: {one[4][0]} is not an address of the public internet"
                )
    return found[0][0], found[0][4]  # type: ignore[return-value]


def public(text: str) -> bool:
    """Whether an IP address belongs to the public internet, also where it wraps one of the old kind."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in ipaddress.ip_network("64:ff9b::/96") or address in ipaddress.ip_network(
            "::/96"
        ):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            address = inner
    return address.is_global and not address.is_multicast


def _page(url: str, answer: http.client.HTTPResponse, until: float) -> Page:
    data = bytearray()
    while len(data) <= CAP and (block := answer.read1(65536)):
        data += block
        if time.monotonic() > until:
            raise TimeoutError
    charset = answer.headers.get_content_charset("utf-8")
    try:
        codecs.lookup(charset)
    except LookupError:
        charset = "utf-8"
    kind = answer.headers.get_content_type() if answer.getheader("Content-Type") else ""
    return Page(url, kind, charset, bytes(data[:CAP]), len(data) > CAP)


class _Text(HTMLParser):
    BLOCKS = frozenset(
        "address article aside blockquote br dd div dl dt fieldset figcaption figure footer form h1 h2 "
        "h3 h4 h5 h6 header hr li main nav ol p pre section table td th tr ul title".split()
    )
    SILENT = frozenset(("script", "style", "template", "noscript", "svg"))

    def __init__(self) -> None:
        super().__init__()
        self.out: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent += tag in self.SILENT
        if tag in self.BLOCKS:
            self.out.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in self.SILENT and self._silent > 0
        if tag in self.BLOCKS:
            self.out.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.out.append(" ".join(f".{data}.".split())[1:-1])


def plain(html: str) -> str:
    """The text of a page, a block a line, without scripts and styles."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.out).split("\n"))
    return "\n".join(line for line in lines if line not in ("", "-"))
