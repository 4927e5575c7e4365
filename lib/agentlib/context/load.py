"""The text of a file: as it is, or out of PDF and HTML by libraries for that; images as parts."""

import binascii
import os
import re
import select
import stat
import time

from agentlib import packages, records
from agentlib.faults import Fault, os_errors
from agentlib.messages.requests import sniffed
from agentlib.types import Record

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # that models accept
HTML = re.compile(
    rb"(?is)(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*(?:<(?:\?xml|!--)[^>]*>\s*)*<(?:!doctype html|html\b)"
)
CAP = 20 * 1024 * 1024  # bytes of one file
WRITER = 3.0  # seconds for the writer of a named pipe to come
SILENCE, WHOLE = 30.0, 300.0  # seconds that a pipe may be silent, and that reading it may take


def load(path: str) -> Record:
    """The `context` record of a file. Fault if there is nothing in it that a model can read."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    with os_errors(path), open(os.open(path, flags), "rb", 0) as file:
        data = _read(file.fileno(), path)
    if len(data) > CAP:
        raise Fault("limit_exceeded", f"{path}: over {CAP >> 20} MiB")
    return record(data, path, os.path.abspath(path))


def _read(fd: int, path: str) -> bytes:
    """At most CAP + 1 bytes of a file. A pipe is read until its writer ends, for SILENCE and WHOLE seconds at most."""
    poll, data, begin = select.poll(), bytearray(), time.monotonic()
    poll.register(fd, select.POLLIN)
    is_named = stat.S_ISFIFO(os.fstat(fd).st_mode) and "pipe:" not in os.path.realpath(path)
    while len(data) <= CAP:
        took = time.monotonic() - begin
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            if not poll.poll(max(0.0, min(SILENCE, WHOLE - took)) * 1000):
                problem = f"{path}: its writer keeps silent, and has not ended"
                raise Fault("timeout", problem) from None
            continue
        data += piece
        if piece:
            continue
        # a named pipe that has no writer yet seems to be at its end
        if data or not is_named or not all(event & select.POLLIN for _, event in poll.poll(50)):
            break
        if took > WRITER:
            raise Fault("timeout", f"{path}: nobody writes to this pipe")
    return bytes(data[: CAP + 1])


def record(data: bytes, source: str, path: str | None = None) -> Record:
    """The `context` record of some bytes; their beginning shows what kind they are."""
    head: Record = {"type": "context", "source": source}
    image = sniffed(data)
    if image in IMAGES:
        encoded = binascii.b2a_base64(data, newline=False).decode()
        place = {"path": path} if path else {"data": encoded}
        part = {"type": "image", "media_type": image, **place}
        return {**head, "media_type": image, "part": part}
    if data.startswith(b"%PDF-"):
        return {**head, "text": _pdf(data, source), "media_type": "application/pdf"}
    if HTML.match(data[:4000].replace(b"\0", b"")):  # as in UTF-16
        return {**head, "text": html(data), "media_type": "text/html"}
    return {**head, "text": text(data, source)}


def text(data: bytes, source: str) -> str:
    """Plain text, as records.text_of reads it. Fault if it is binary."""
    try:
        return records.text_of(data, source)
    except Fault:
        raise Fault("invalid_input", f"{source}: binary") from None


def _pdf(data: bytes, source: str) -> str:
    import io

    packages.need("pypdf")
    import pypdf

    try:
        pages = pypdf.PdfReader(io.BytesIO(data)).pages
        return "\n\f\n".join(page.extract_text() for page in pages)
    except Exception as bad:  # pypdf raises many kinds for a broken file
        raise Fault("invalid_input", f"{source}: not a PDF that can be read: {bad}") from None


def html(data: bytes) -> str:
    """The text of an HTML page: by inscriptis where that is installed and can read the page, else a block a line."""
    from agentlib.tool import web

    page = data.decode(web.charset("", data), "replace").replace("\0", "")
    try:
        packages.need("inscriptis")
        import inscriptis

        return str(inscriptis.get_text(page))
    except Exception:  # not installed; lxml raises many kinds for a broken page
        return web.plain(page)
