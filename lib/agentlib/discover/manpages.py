"""The programs on PATH, described without running any: by the NAME line of their man page, else by their package.

A warm listing is one file in the user's cache folder, valid while no folder of programs or man pages changed.
"""

import os
import re
import shutil
import stat
from contextlib import suppress

from agentlib import paths
from agentlib.schema import schemas
from agentlib.types import Iterator, Record

SECTIONS = ("1", "8", "6")  # of the manual: commands, administration, games
SECONDS = 60  # that man-db may take to read the pages of all programs
CAP = 64 << 20  # bytes of what it says
STATUS = "/var/lib/dpkg/status"
INFO = "/var/lib/dpkg/info"
_PROGRAM = re.compile(rb"^/(?:usr/)?(?:local/)?(?:s?bin|games)/[^/\n]+$", re.M)


def listing() -> bytes:
    """A `program` record a line for each program on PATH, sorted as PATH is; what comes again is marked so."""
    folders = search_path()
    seen = [b"agentutils programs 1"]
    for path in [*folders, STATUS, *_man_folders()]:
        # what changes when a program or a page comes or goes, or a package is installed
        with suppress(OSError):
            about = os.stat(path)
            name = os.fsencode(path).replace(b"\n", b"?")
            seen.append(b"%s %d %d" % (name, about.st_ino, about.st_mtime_ns))
    stamp, file = b"\t".join(seen), os.path.join(paths.place("cache"), "programs")
    first, _, body = _read(file).partition(b"\n")
    if first != stamp:
        from agentlib.lock import replace

        body = b"".join(schemas.line(one) + b"\n" for one in programs(folders))
        with suppress(OSError):  # a cache that cannot be written is none
            replace(file, stamp + b"\n" + body)
    return body


def _read(file: str) -> bytes:
    with suppress(OSError), open(file, "rb") as stream:
        return stream.read()
    return b""


def search_path() -> list[str]:
    """The folders of PATH, each once. Relative ones and those anyone may write to are left out, with a message."""
    found: dict[str, str] = {}
    for folder in paths.sound("PATH", os.environ.get("PATH", os.defpath)):
        if os.path.isdir(folder):
            found.setdefault(os.path.realpath(folder), folder)
    return list(found.values())


def programs(folders: list[str]) -> Iterator[Record]:
    """The records of all programs in these folders."""
    files = [os.path.join(top, name) for top in folders for name in sorted(os.listdir(top))]
    described = descriptions(files)
    first: dict[str, str] = {}
    for path in files:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode) or not mode & 0o111:
            continue
        name, (text, source) = os.path.basename(path), described[path]
        about = {"name": name, "description": text, "path": path, "source": source}
        one: Record = {"type": "program", **about}
        if mode & (stat.S_ISUID | stat.S_ISGID):
            one["setuid"] = True
        if first.setdefault(name, path) != path:
            one["shadowed_by"] = first[name]
        yield one


def descriptions(files: list[str]) -> dict[str, tuple[str, str]]:
    """(description, `man` or `dpkg`) of each program; two empty strings where nothing is known."""
    pages: dict[str, str] = {}
    for folder in filter(os.path.isdir, _man_folders()):
        for name in os.listdir(folder):
            pages.setdefault(name.removesuffix(".gz").rpartition(".")[0], f"{folder}/{name}")
    real = {path: os.path.realpath(path) for path in files}
    names = {path: (os.path.basename(path), os.path.basename(real[path])) for path in files}
    pages_of = {path: [pages[name] for name in names[path] if name in pages] for path in files}
    texts = name_lines([page for found in pages_of.values() for page in found])
    from_man = {path: [texts[page] for page in pages_of[path] if page in texts] for path in files}
    owners, packages = ({}, {}) if all(from_man.values()) else _dpkg()
    found = {}
    for path in files:
        owner = [owners.get(p) for p in (path, real[path], real[path].removeprefix("/usr"))]
        by_man = [(text, "man") for text in from_man[path]]
        by_package = [(packages[name], "dpkg") for name in owner if name in packages]
        found[path] = [*by_man, *by_package, ("", "")][0]
    return found


def _man_folders() -> list[str]:
    """Where man pages of programs are: below MANPATH, else below the usual folders."""
    folders = [path for path in os.environ.get("MANPATH", "").split(":") if os.path.isabs(path)]
    usual = ["/usr/local/share/man", "/usr/local/man", "/usr/share/man"]
    return [f"{folder}/man{section}" for folder in folders or usual for section in SECTIONS]


def name_lines(pages: list[str]) -> dict[str, str]:
    """What the NAME sections of man pages say behind the dash, as man-db reads them; {} where man-db is not here."""
    from agentlib.display import visible
    from agentlib.process import run

    program = shutil.which("lexgrog", path=os.defpath)
    if not program or not pages:
        return {}
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    options, found = {"args": [program, "--", *pages], "env": env}, dict[str, str]()
    ran = run.run(options, b"", SECONDS, CAP, run.Scope())
    for line in ran.out.decode("utf-8", "replace").splitlines():
        page, _, entry = line.partition(': "')
        found.setdefault(page, visible(entry.removesuffix('"').partition(" - ")[2][:200]))
    return found


def _dpkg() -> tuple[dict[str, str], dict[str, str]]:
    """(the package of each file in a folder of programs, the short description of each package), by dpkg's lists."""
    import glob

    owners = {
        os.fsdecode(path): os.path.basename(name).removesuffix(".list").partition(":")[0]
        for name in glob.glob(f"{INFO}/*.list")
        for path in _PROGRAM.findall(_read(name))
    }
    blocks = _read(STATUS).decode("utf-8", "replace").split("\n\n")
    fields = [dict(re.findall("^(Package|Description): (.*)$", one, re.M)) for one in blocks]
    return owners, {one["Package"]: one["Description"] for one in fields if len(one) == 2}
