"""Fetch a page of the public web: every address is checked after its name was resolved, and that address is used.

So neither a name that means this machine, nor one that changes its meaning between check and use, nor a redirect
leads to a private network. No proxy, no cookies, no credentials.
"""

import codecs
import html
import ipaddress
import re
from contextlib import closing

import agentlib
from agentlib.faults import Fault
from agentlib.net.bounds import Bounds
from agentlib.types import Collection, NamedTuple


class Page(NamedTuple):
    """What came back: the last address, its media type ("" unknown), charset, body, and whether it is cut."""

    url: str
    kind: str
    charset: str
    data: bytes
    cut: bool


CAP = 1 << 20  # bytes of a body, unpacked
REDIRECTS = 5
SILENCE, WHOLE = 10.0, 30.0  # seconds without a byte; seconds in all
HEADERS = {
    "user-agent": f"agentutils/{agentlib.__version__}",
    "accept-encoding": "gzip",
    "accept": "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1",
}


def fetch(url: str, private: Collection[str] = ()) -> Page:
    """The page at this address. private: hosts (`name`, `name:port`; `1`: all) that may lie in a private network.

    A Fault: tool_denied for an address that is refused, network or timeout, tool_error for a status of 400 or more.
    """
    from agentlib.net.client import Client, unpacked

    def allow(host: str, port: int, addresses: list[str]) -> None:
        if not {host.lower(), f"{host.lower()}:{port}", "1"} & set(private):
            for address in addresses:
                if not public(address):
                    why = f"{host}: {address} is not an address of the public internet"
                    raise Fault("tool_denied", why)

    bounds = Bounds(SILENCE, SILENCE, WHOLE)
    with closing(Client(allow)) as client:
        for _ in range(REDIRECTS + 1):
            url = _checked(url)
            with client.stream("GET", url, bounds, HEADERS) as response:
                if response.next_request:
                    url = str(response.next_request.url)
                    continue
                if response.status_code >= 400:
                    words = f"HTTP {response.status_code} {response.reason_phrase}"
                    raise Fault("tool_error", f"{url}: {words}".rstrip())
                data = bytearray()
                encoding = response.headers.get("content-encoding", "")
                for piece in unpacked(response.iter_raw(), encoding):
                    data += piece
                    if len(data) > CAP:
                        break
                body, media = bytes(data[:CAP]), response.headers.get("content-type", "")
                kind = media.partition(";")[0].strip().lower()
                return Page(url, kind, charset(media, body), body, len(data) > CAP)
    raise Fault("tool_error", f"{url}: more than {REDIRECTS} redirects")


def _checked(url: str) -> str:
    """The address, where it is one of http or https without a password."""
    from agentlib.net.client import parsed

    url = url.strip()
    if not re.match(r"(?i)https?:", url):
        raise Fault("tool_denied", f"{url[:200]}: only http and https addresses are fetched")
    try:
        address = parsed(url)
    except Fault as bad:
        raise Fault("invalid_arguments", bad.message) from None
    if address.userinfo:
        raise Fault("invalid_arguments", f"{address.host}: give an address without a password")
    return str(address)


def public(text: str) -> bool:
    """Whether an IP address belongs to the public internet, also where it wraps one of the old kind."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if any(address in ipaddress.ip_network(net) for net in ("64:ff9b::/96", "::/96")):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
IN_HEADER = re.compile(r"(?i)charset\s*=\s*[\"']?([^\s;\"']+)")
IN_PAGE = re.compile(
    rb"(?i)<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w.:-]+)|<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([\w.:-]+)"
)
NOT_OF_THE_WEB = {"punycode", "unicode-escape", "raw-unicode-escape"}


def charset(media: str, data: bytes | bytearray) -> str:
    """The name of a codec: by the mark that the body begins with, the header, what the page says of itself.

    The first that names one that exists counts, as in a browser."""
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    header, page, inside = IN_HEADER.search(media), IN_PAGE.search(data[:4096]), ""
    if page:
        inside = _codec((page[1] or page[2]).decode("ascii", "replace"))
        if inside.startswith("utf-16"):  # it could not have been read
            inside = "utf-8"
    return (header and _codec(header[1])) or inside or "utf-8"


def _codec(label: str) -> str:
    """The codec that the web means by a label; "" where it means none."""
    try:
        name = codecs.lookup(label).name
        b"a".decode(name, "replace")  # fails for what makes no text, as hex does
    except (LookupError, ValueError):
        return ""
    if name in ("ascii", "iso8859-1"):
        return "cp1252"
    return "" if name in NOT_OF_THE_WEB else name


BLOCKS = frozenset(
    "address article aside blockquote br dd div dl dt fieldset figcaption figure footer form h1 h2 "
    "h3 h4 h5 h6 header hr li main nav ol p pre section table td th tr ul title".split()
)
TAG = re.compile(  # nothing is read twice, however broken the page is
    r"(?is)<!--(?:-?>|.*?(?:--!?>|\Z))"
    r"|<(script|style|template|noscript|svg)(?=[\s/>])[^>]*>.*?(?:</\1(?=[\s/>])[^>]*(?:>|\Z)|\Z)"
    r"|<(?P<end>/?)(?P<name>[a-z][^\s/>]*+)(?:[^>=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+')?+)*+(?:>|\Z)"
    r"|<[/!?][^>]*(?:>|\Z)"
)
# No character has such a number, and int() takes but 4,300 digits.
LONG = re.compile(r"&#0*\d{8,};?")


def plain(page: str) -> str:
    """The text of a page, a block a line, without scripts and styles."""

    def mark(tag: re.Match[str]) -> str:
        name = (tag["name"] or "").lower()
        if name not in BLOCKS:
            return ""
        return "\0- " if name == "li" and not tag["end"] else "\0"

    text = TAG.sub(mark, page.replace("\0", ""))
    lines = (" ".join(html.unescape(LONG.sub("\ufffd", line)).split()) for line in text.split("\0"))
    return "\n".join(line for line in lines if line not in ("", "-"))
