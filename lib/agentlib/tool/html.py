"""The text of a web page, and the codec that it is written in."""

import codecs
import html
import re

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
