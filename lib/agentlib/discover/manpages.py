"""The programs on PATH, described without running any: by the NAME line of their man page, else by their package.

A warm listing is one file in the user's cache folder, valid while no folder of programs or man pages changed.
"""

from __future__ import annotations

import os
import stat

from agentlib import paths, stderr
from agentlib.schema import schemas
from agentlib.types import Iterator, Record

SECTIONS = ("1", "8", "6")  # of the manual: commands, administration, games
PAGE = 8 * 1024  # bytes of a page that are read: its NAME stands at the top
STATUS = "/var/lib/dpkg/status"
INFO = "/var/lib/dpkg/info"


def listing() -> bytes:
    """A `program` record a line for each program on PATH, sorted as PATH is; what comes again is marked so."""
    folders = search_path()
    stamp = _stamp(folders)
    file = os.path.join(paths.place("cache"), "programs")
    try:
        with open(file, "rb") as stream:
            first, _, body = stream.read().partition(b"\n")
        if first == stamp:
            return body
    except OSError:
        pass
    body = b"".join(schemas.line(one) + b"\n" for one in programs(folders))
    _keep(file, stamp + b"\n" + body)
    return body


def search_path() -> list[str]:
    """The folders of PATH, each once. Relative ones and those anyone may write to are left out, with a word."""
    found: dict[str, str] = {}
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if not os.path.isabs(folder):
            stderr.warn(f"PATH: {folder or 'an empty entry'!r} is not an absolute folder; left out")
            continue
        try:
            mode = os.stat(folder).st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH:
            stderr.warn(f"PATH: anyone may write to {folder}; left out")
        elif stat.S_ISDIR(mode):
            found.setdefault(os.path.realpath(folder), folder)
    return list(found.values())


def programs(folders: list[str]) -> Iterator[Record]:
    """The records of all programs in these folders."""
    described = Descriptions()
    first: dict[str, str] = {}
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            try:
                mode = os.stat(path).st_mode
            except OSError:
                continue
            if not stat.S_ISREG(mode) or not mode & 0o111:
                continue
            text, source = described.of(path)
            one: Record = {
                "type": "program",
                "name": name,
                "description": text,
                "path": path,
                "source": source,
            }
            if mode & (stat.S_ISUID | stat.S_ISGID):
                one["setuid"] = True
            if first.setdefault(name, path) != path:
                one["shadowed_by"] = first[name]
            yield one


class Descriptions:
    """What man pages and packages say of programs; read when first asked for."""

    def __init__(self) -> None:
        self._pages: dict[str, str] = {}
        for folder in man_folders():
            for section in SECTIONS:
                self._index(os.path.join(folder, f"man{section}"))
        self._owners: dict[str, str] | None = None
        self._packages: dict[str, str] = {}

    def _index(self, folder: str) -> None:
        try:
            for name in os.listdir(folder):
                self._pages.setdefault(
                    name.removesuffix(".gz").rpartition(".")[0], os.path.join(folder, name)
                )
        except OSError:
            pass

    def of(self, path: str) -> tuple[str, str]:
        """(description, `man` or `dpkg`) of a program; two empty strings where nothing is known."""
        real = os.path.realpath(path)
        for name in (os.path.basename(path), os.path.basename(real)):
            if (page := self._pages.get(name)) and (text := name_line(page)):
                return text, "man"
        if self._owners is None:
            self._owners, self._packages = _owners(), _packages()
        for known in (path, real, real.removeprefix("/usr")):
            if text := self._packages.get(self._owners.get(known, ""), ""):
                return text, "dpkg"
        return "", ""


def man_folders() -> list[str]:
    """Where man pages are: MANPATH, else the usual folders."""
    given = [
        folder
        for folder in os.environ.get("MANPATH", "").split(os.pathsep)
        if os.path.isabs(folder)
    ]
    return given or ["/usr/local/share/man", "/usr/local/man", "/usr/share/man"]


def name_line(page: str) -> str:
    """What the NAME section of a man page says behind the dash; "" where there is none to be found."""
    import zlib

    try:
        fd = os.open(page, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = os.read(fd, PAGE) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
        if page.endswith(".gz"):
            data = zlib.decompressobj(31).decompress(data, PAGE)
    except (OSError, zlib.error):
        return ""
    text = data.decode("utf-8", "replace")
    if text.startswith(".so ") and "\n" in text:  # the page is another one
        other = os.path.join(
            os.path.dirname(os.path.dirname(page)), text[4 : text.index("\n")].strip()
        )
        return (
            name_line(f"{other}.gz" if os.path.exists(f"{other}.gz") else other)
            if other != page
            else ""
        )
    return plain(_name_section(text))


def _name_section(text: str) -> str:
    import re

    section = re.search(
        r'^\.S[Hh]\s+"?NAME"?[^\n]*\n(.*?)(?=^\.S[Hh]\b|\Z)', text, re.M | re.S | re.I
    )
    if not section:
        return ""
    if words := re.search(r"^\.Nd\s+(.*)$", section[1], re.M):  # pages of the BSD kind
        return words[1]
    lines = [re.sub(r"^\.(?:[BIR]+|SM|Nm)\s+", "", line) for line in section[1].splitlines()]
    joined = " ".join(line for line in lines if line and line[0] not in ".'")
    parts = re.split(r"\s(?:\\-|\\\(em|\\\[em\]|-{1,2}|–|—)\s", joined, maxsplit=1)
    return parts[1] if len(parts) > 1 else ""


def plain(text: str) -> str:
    """A line of roff without its fonts and signs; 200 characters at most."""
    import re

    text = re.sub(r"\\f(?:[A-Z0-9]|\([A-Z]{2}|\[[^]]*\])|\\[&/,|^%]|\\s[-+]?\d+", "", text)
    text = re.sub(r"\\\((?:aq|cq|oq|rq|lq|dq)|\\\[(?:aq|cq|oq|rq|lq|dq)\]", "'", text)
    text = re.sub(r"\\\(\w\w|\\\[\w+\]|\\\*\(\w\w", "", text)
    text = text.replace("\\-", "-").replace("\\.", ".").replace("\\e", "\\").replace("\\ ", " ")
    return " ".join(text.replace('"', "").split())[:200]


def _owners() -> dict[str, str]:
    """The package of each file in a folder of programs, from dpkg's lists."""
    import re

    found = {}
    wanted = re.compile(rb"^/(?:usr/)?(?:local/)?(?:s?bin|games)/[^/\n]+$", re.M)
    try:
        names = os.listdir(INFO)
    except OSError:
        return {}
    for name in names:
        if name.endswith(".list"):
            with open(os.path.join(INFO, name), "rb") as stream:
                for path in wanted.findall(stream.read()):
                    found[os.fsdecode(path)] = name[:-5].partition(":")[0]
    return found


def _packages() -> dict[str, str]:
    """The short description of each package that is installed."""
    import re

    try:
        with open(STATUS, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return {}
    found = {}
    for block in text.split("\n\n"):
        name, about = (
            re.search(rf"^{field}: (.*)$", block, re.M) for field in ("Package", "Description")
        )
        if name and about:
            found[name[1]] = about[1]
    return found


def _stamp(folders: list[str]) -> bytes:
    """Changes when a program or a page comes or goes, or a package is installed."""
    seen = [b"agentutils programs 1"]
    for path in [*folders, STATUS, *(f"{f}/man{s}" for f in man_folders() for s in SECTIONS)]:
        try:
            about = os.stat(path)
            seen.append(
                b"%s %d %d"
                % (os.fsencode(path).replace(b"\n", b"?"), about.st_ino, about.st_mtime_ns)
            )
        except OSError:
            pass
    return b"\t".join(seen)


def _keep(file: str, data: bytes) -> None:
    """Write the cache; it never fails."""
    from agentlib.lock import replace

    try:
        replace(file, data)
    except OSError:
        pass
