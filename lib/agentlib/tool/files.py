"""Open files whose names a model chose: regular ones alone, and for writing only beneath the working folder.

What is checked is what was opened (fstat of the descriptor, folders opened one by one without following links), so
nothing can be put in its place between the check and the use.
"""

import os
import re
import stat
from contextlib import suppress

from agentlib.faults import Fault
from agentlib.records.text import binary
from agentlib.types import BinaryIO, NamedTuple

SIZE = 10 << 20  # bytes of a file that is read whole


def reading(path: str) -> BinaryIO:
    """The file, open for reading; a Fault where it is missing, is not a regular file, or has no valid name."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as bad:
        raise Fault("tool_error", f"{path}: {bad.strerror}") from None
    except ValueError:
        raise Fault("invalid_arguments", f"{path!r} is no file name") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        what = "is a folder" if os.path.isdir(path) else "not a regular file"
        raise Fault("tool_error", f"{path}: {what}")
    return os.fdopen(fd, "rb")


class Text(NamedTuple):
    """A file's text with line ends LF, and how the file has it: its encoding, its line end."""

    text: str
    encoding: str
    newline: str

    def encoded(self, text: str) -> bytes:
        """The bytes of a new text, in the encoding and with the line ends of the file."""
        if self.newline != "\n":
            text = text.replace("\r\n", "\n").replace("\n", self.newline)
        mark = next((mark for mark, name in MARKS if name == self.encoding), b"")
        try:
            return mark + text.encode(self.encoding.removesuffix("-sig"))
        except UnicodeEncodeError as bad:
            character = text[bad.start]
            why = f"the file is {self.encoding}, which has no {character!r}"
            raise Fault("tool_error", why) from None


MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read(path: str) -> Text:
    """The text of a file, and how the file has it: UTF-8, else by its mark, else Latin-1. Fault: binary, over SIZE."""
    with reading(path) as file:
        data = file.read(SIZE + 1)
    if len(data) > SIZE:
        raise Fault("limit_exceeded", f"{path}: larger than {SIZE >> 20} MiB")
    mark, encoding = next((pair for pair in MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    no_text = Fault("tool_error", f"{path}: a binary file of {len(data)} bytes")
    if "16" not in encoding and b"\0" in data[:8192]:
        raise no_text
    try:
        decoded = data[len(mark) :].decode(encoding.removesuffix("-sig"))
    except UnicodeDecodeError as bad:
        if "16" in encoding:
            why = f"{path}: not UTF-16 text (byte {bad.start + 2})"
            raise Fault("tool_error", why) from None
        if binary(data):
            raise no_text from None
        encoding, decoded = "latin-1", data.decode("latin-1")
    crlf = decoded.count("\r\n")
    if crlf and crlf == decoded.count("\n"):
        return Text(decoded.replace("\r\n", "\n"), encoding, "\r\n")
    return Text(decoded, encoding, "\n")


def replace(path: str, data: bytes) -> bool:
    """Write a file beneath the working folder, whole or not at all; whether it was there before.

    A file that is there keeps its mode, its owner and its other names (hard links).
    Missing folders are made. A link is followed to the file it means, which must lie beneath as well.
    """
    folder, name = _folder(path)
    old = None
    try:
        with suppress(FileNotFoundError):
            old = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if old and not stat.S_ISREG(old.st_mode):
            raise Fault("tool_error", f"{path}: not a regular file")
        if old and not old.st_mode & 0o222:
            raise Fault("tool_error", f"{path}: the file is read-only")
        mine = f".agent-write-{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(mine, flags, 0o666, dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                if old:
                    os.fchmod(fd, stat.S_IMODE(old.st_mode))
                owner = os.fstat(fd).st_uid, os.fstat(fd).st_gid
                os.fsync(fd)
            if old and (old.st_nlink > 1 or (old.st_uid, old.st_gid) != owner):
                flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(name, flags, dir_fd=folder), "wb") as file:
                    file.write(data)  # it fits on the disk, as the copy beside it shows
                    file.truncate()
                    file.flush()
                    os.fsync(file.fileno())
                os.unlink(mine, dir_fd=folder)
            else:
                os.replace(mine, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(mine, dir_fd=folder)
            raise
        return old is not None
    except OSError as bad:
        raise Fault("tool_error", f"{path}: {bad.strerror}") from None
    finally:
        os.close(folder)


def _folder(path: str) -> tuple[int, str]:
    """A descriptor of the folder of this file, made where it is missing, and the file's name in it."""
    if path == "~" or re.match(r"~[\w.-]*/", path):
        raise Fault("invalid_arguments", f"{path}: ~ is no folder here; give the path itself")
    if "\0" in path or not path or path.endswith(os.sep):
        raise Fault("invalid_arguments", f"{path!r} is no file name")
    top = os.path.realpath(os.curdir)
    *folders, name = os.path.relpath(os.path.realpath(path), top).split(os.sep)
    if os.pardir in (*folders, name) or name == os.curdir:
        raise Fault("tool_denied", f"{path}: not beneath the working folder")
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=fd)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
    except OSError as bad:
        os.close(fd)
        raise Fault("tool_error", f"{path}: {part}: {bad.strerror}") from None
    return fd, name
