"""HTTP/1.1 as a client speaks it (RFC 9112): the bytes of a request, and an answer read from a socket, strictly.

Not http.client: it takes a body that ends early for whole where that is read in pieces, a chunk's size of -0x1_0, two
lengths that differ, headers up to the first malformed one, and a 103 for the answer; each of these would have to be
mended in its private methods. This is quicker too: 0.1 ms of CPU less a request, 20 ms less to import.
"""

from __future__ import annotations

import re

from agentlib.types import TYPE_CHECKING, Iterator, Mapping

if TYPE_CHECKING:
    import socket

HEAD_CAP = 64 * 1024  # bytes of an answer's head, of the trailers
PIECE = 64 * 1024  # bytes read at a time
INTERIM = 16  # answers of a status below 200 before the one that counts

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e]*")
STATUS = re.compile(r"HTTP/1\.(\d) ([1-9]\d\d)(?: .*)?", re.ASCII)
FOLD = re.compile(r"\r?\n[ \t]+")  # a header that goes on in the next line, as was once allowed
LINE_END = re.compile(rb"\n")
HEAD_END = re.compile(rb"\n\r?\n")
SIZE = re.compile(
    rb"\r\n([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n"
)  # with the end of what stands before it
SIZE_BEGUN = re.compile(rb"\r?|\r\n[^\n]{0,8192}")


class Broken(Exception):
    """The other side ended early, or what it sent is no HTTP; the words go on from its name."""


def request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The bytes of a request. ValueError, without the value, for it may be a key, where a header cannot be sent."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
            raise ValueError(f"the header {name[:60]!r} holds characters that none can hold")
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + (body or b"")


class Answer:
    """An answer: its status, its headers (names in lower case), and its body, to be read once.

    ended: whether all of the body has been read, and nothing that comes after it.
    """

    __slots__ = (
        "status",
        "headers",
        "ended",
        "_version",
        "_socket",
        "_held",
        "_started",
        "_length",
    )

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._held, self._started, self.ended = connection, b"", False, False
        for _ in range(INTERIM + 1):
            self._version, self.status = _status(self._until(LINE_END, b"", "status line"))
            self.headers = _headers(self._until(HEAD_END, b"\n", "head"))
            if self.status >= 200 or self.status == 101:
                break
        else:
            raise Broken(f"sent more than {INTERIM} interim answers and no other")
        self._length = self._measured()

    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        said = self.headers.get("connection", "").lower()
        return self.ended and not self._held and self._version > 0 and "close" not in said

    def _measured(self) -> int | None:
        """Bytes of the body; -1 where it comes in chunks, None where the end of the connection is its end."""
        if self.status < 200 or self.status in (204, 304):
            return 0
        if (coding := self.headers.get("transfer-encoding")) is not None:
            if coding.lower() != "chunked":
                raise Broken(
                    f"sent a body in a transfer coding that was not asked for: {coding[:40]}"
                )
            return -1
        if (told := self.headers.get("content-length")) is None:
            return None
        lengths = {
            length.strip() for length in told.split(",")
        }  # as the same header twice was joined
        length = lengths.pop()
        if lengths or not length.isascii() or not length.isdigit() or len(length) > 18:
            raise Broken(f"sent no proper content-length: {told[:40]!r}")
        return int(length)

    def _more(self) -> bytes:
        """What was read too much, else what comes next; b"" at the end of the connection."""
        if self._held:
            piece, self._held = self._held, b""
            return piece
        piece = self._socket.recv(PIECE)
        self._started = self._started or bool(piece)
        return piece

    def _until(self, end: re.Pattern[bytes], data: bytes, what: str) -> bytes:
        """The bytes up to the first `end`, with `data` before them; what comes after it is held."""
        seen = 0
        while not (found := end.search(data, seen)):
            if len(data) > HEAD_CAP:
                raise Broken(f"sent a {what} without end (more than {HEAD_CAP >> 10} KiB)")
            seen = max(0, len(data) - 3)
            if not (piece := self._more()):
                raise Broken(
                    f"broke off the connection: {f'its {what} ends early' if self._started else 'no answer came'}"
                )
            data += piece
        self._held = data[found.end() :]
        return data[: found.end()]

    def body(self) -> Iterator[bytes]:
        """The body, piece by piece, each as soon as it is there."""
        if self._length is None:
            while piece := self._more():
                yield piece
        elif self._length < 0:
            yield from self._chunks()
        else:
            left = self._length
            while left:
                if not (piece := self._more()):
                    raise Broken(
                        f"broke off the connection: {left} bytes of the answer are missing"
                    )
                self._held, piece = piece[left:], piece[:left]
                left -= len(piece)
                self.ended = not left
                yield piece
        self.ended = self._length is not None

    def _chunks(self) -> Iterator[bytes]:
        """The data of a body in chunks; what came together is handed on together."""
        data, left, last = (
            b"\r\n",
            0,
            False,
        )  # as if a chunk had just ended; left: bytes that this one still has
        while not last:
            if not (piece := self._more()):
                raise Broken("broke off the connection: the answer's chunks end early")
            data, at, ready = data + piece, 0, []
            while at < len(data) and not last:
                if left:
                    ready.append(data[at : at + left])
                    at, left = at + len(ready[-1]), left - len(ready[-1])
                elif size := SIZE.match(data, at):
                    at, left = size.end(), int(size[1], 16)
                    last = not left
                elif SIZE_BEGUN.fullmatch(data, at):
                    break
                else:
                    raise Broken(f"sent a malformed chunk: {data[at : at + 40]!r}")
            data = data[at:]
            if ready:
                yield b"".join(ready)
        self._held = data
        self._until(HEAD_END, b"\n", "body")


def _status(line: bytes) -> tuple[int, int]:
    """(minor version, status) by the first line of a head."""
    text = line.decode("latin-1").rstrip("\r\n")
    if not (found := STATUS.fullmatch(text)):
        raise Broken(f"does not speak HTTP/1.1: its answer begins {text[:60]!r}")
    return int(found[1]), int(found[2])


def _headers(data: bytes) -> dict[str, str]:
    """The headers by name; those of the same name are joined by a comma."""
    headers: dict[str, str] = {}
    for line in FOLD.sub(" ", data.decode("latin-1").strip("\r\n")).split("\n"):
        name, colon, value = line.partition(":")
        if not colon or not NAME.fullmatch(name):
            if not headers and not line:
                break  # there is none at all
            raise Broken(f"sent a malformed header: {line[:60]!r}")
        name, value = name.lower(), value.strip(" \t\r")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
