"""The text of a file: as it is, or out of PDF and HTML by libraries that do just that; images as parts."""

from __future__ import annotations

import os
import re
import select
import stat
import time

from agentlib.faults import Fault
from agentlib.types import Record

IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
CAP = 20 * 1024 * 1024  # bytes of one file
WRITER = 3.0  # seconds until the writer of a named pipe has come
SILENCE, WHOLE = 30.0, 300.0  # seconds that a pipe may keep silent, and take


def load(path: str, source: str | None = None) -> Record:
    """The `context` record of a file. Fault where it holds nothing that a model can read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _read(fd, path)
        finally:
            os.close(fd)
    except OSError as bad:
        raise Fault("invalid_input", f"{path}: {bad.strerror}") from None
    if len(data) > CAP:
        raise Fault("limit_exceeded", f"{path}: over {CAP >> 20} MiB")
    return record(data, source or path, os.path.abspath(path))


def _read(fd: int, path: str) -> bytes:
    """The bytes of a file, one over CAP at most; of a pipe until its writer ends, SILENCE and WHOLE seconds at most."""
    poll, data, begin = select.poll(), bytearray(), time.monotonic()
    poll.register(fd, select.POLLIN)
    while len(data) <= CAP:
        took = time.monotonic() - begin
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            if not poll.poll(max(0.0, min(SILENCE, WHOLE - took)) * 1000):
                raise Fault(
                    "timeout", f"{path}: its writer keeps silent, and has not ended"
                ) from None
            continue
        if not piece and (data or not _waits(fd, path, poll)):
            break
        if not piece and took > WRITER:
            raise Fault("timeout", f"{path}: nobody writes to this pipe")
        data += piece
    return bytes(data[: CAP + 1])


def _waits(fd: int, path: str, poll: select.poll) -> bool:
    """Whether this is a named pipe that no writer has come to so far: it seems to be at its end. Waits a moment."""
    named = stat.S_ISFIFO(os.fstat(fd).st_mode) and "pipe:" not in os.path.realpath(path)
    return named and all(event & select.POLLIN for _, event in poll.poll(50))


def record(data: bytes, source: str, path: str | None = None, media_type: str = "") -> Record:
    """The `context` record of bytes whose kind their beginning tells."""
    head: Record = {"type": "context", "source": source}
    if image := image_type(data):
        part = {"type": "image", "media_type": image, **({"path": path} if path else _base64(data))}
        return {**head, "media_type": image, "part": part}
    if data.startswith(b"%PDF-"):
        return {**head, "text": pdf(data, source), "media_type": "application/pdf"}
    if "html" in media_type or re.match(rb"\s*(<!doctype html|<html)", data[:200], re.I):
        return {**head, "text": html(data.decode("utf-8", "replace")), "media_type": "text/html"}
    return {**head, "text": text(data, source)}


def text(data: bytes, source: str) -> str:
    """Plain text; a Fault where the bytes are none (a NUL, or more than a few that are not UTF-8)."""
    if b"\0" in data[:65536]:
        raise Fault("invalid_input", f"{source}: binary")
    out = data.decode("utf-8-sig", "replace")
    if out.count("\N{REPLACEMENT CHARACTER}") > len(out) // 50:
        raise Fault("invalid_input", f"{source}: binary")
    return out


def image_type(data: bytes) -> str | None:
    """The media type of an image that models take."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in IMAGES.items() if data.startswith(magic)), None)


def pdf(data: bytes, source: str) -> str:
    """The text of a PDF by pypdf (optional)."""
    import io

    from agentlib import packages

    packages.need("pypdf")
    import pypdf

    try:
        pages = pypdf.PdfReader(io.BytesIO(data)).pages
        return "\n\f\n".join(page.extract_text() for page in pages)
    except Exception as bad:  # whatever a broken file makes of it
        raise Fault("invalid_input", f"{source}: not a PDF that can be read: {bad}") from None


def html(page: str) -> str:
    """The text of a page by inscriptis (optional)."""
    from agentlib import packages

    packages.need("inscriptis")
    import inscriptis

    return str(inscriptis.get_text(page))


def _base64(data: bytes) -> dict[str, str]:
    import base64

    return {"data": base64.b64encode(data).decode()}
