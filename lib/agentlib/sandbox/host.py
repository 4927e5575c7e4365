"""The places of this machine that a sandboxed tool sees empty, or must see in order to start (docs/sandbox.md)."""

import functools
import os
import sys
from contextlib import suppress

from agentlib import packages, paths

SCRATCH = ("/tmp", "/run", "/dev/shm", "/var/tmp")  # an empty one of each for every call
OF_THE_MACHINE = """/etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- /etc/sudoers /etc/sudoers.d
    /etc/ssl/private /etc/krb5.keytab /etc/wireguard""".split()


def inside(path: str, folder: str) -> bool:
    """Whether the path is the folder or lies below it; both real and absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


@functools.cache
def home() -> str:
    """The user's home, real."""
    return os.path.realpath(paths.home())


@functools.cache
def homes() -> tuple[str, ...]:
    """The real folders that hold people's own things: HOME, the user's entry in passwd, /home, /root."""
    found = (home(), paths.passwd_home(), "/home", "/root")
    return tuple(sorted({os.path.realpath(one) for one in found if os.path.isdir(one)} - {"/"}))


@functools.cache
def scratch() -> tuple[str, ...]:
    """The real folders that are empty, and the tool's own, in every call."""
    return tuple(sorted({os.path.realpath(one) for one in SCRATCH if os.path.isdir(one)}))


@functools.cache
def machine_secrets() -> tuple[str, ...]:
    """Secret files of the machine that this user could read, real."""
    import glob

    found = [*OF_THE_MACHINE, *glob.glob("/etc/ssh/ssh_host_*_key")]
    return tuple(os.path.realpath(one) for one in found if os.access(one, os.R_OK))


@functools.cache
def suite() -> tuple[str, ...]:
    """The suite's own programs and registry, and the interpreter that runs them."""
    names = "bin lib providers tools plugins formats .venv share AGENTS.md".split()
    parts = [*(os.path.join(paths.TOP, name) for name in names), packages.folder()]
    if python := sys.executable and os.path.abspath(sys.executable):
        parts += [_prefix(python), _prefix(os.path.realpath(python))]
    parts += [os.path.join(paths.TOP, os.readlink(one)) for one in parts if os.path.islink(one)]
    parts += map(os.path.realpath, parts[:])  # install.sh links the .venv of a checkout to a link
    return tuple({part for part in parts if os.path.exists(part)})


def programs(argv: list[str]) -> list[str]:
    """The program of a command; with agent-mcp-connect also the one behind `--`, which it becomes."""
    becomes = os.path.basename(argv[0]) == "agent-mcp-connect" and paths.of_suite(argv[0])
    behind = argv[argv.index("--") + 1 :][:1] if becomes and "--" in argv else []
    return [argv[0], *filter(None, (which(one, "") for one in behind))]


def program(path: str, search: str) -> list[str]:
    """What a program needs to be seen in order to start: itself, its folder, and its interpreter's."""
    line, found = b"", [path, os.path.realpath(path)]
    found += [_narrowest(os.path.abspath(one)) for one in found]
    with suppress(OSError), open(path, "rb") as opened:
        line = opened.readline(256)
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and (interpreter := which(words[0], search)):
        found += [_prefix(interpreter), _prefix(os.path.realpath(interpreter))]
    return [*found, *_installed(search)]


def beside(program: str) -> list[str]:
    """The folder `lib` beside a program's own, from which one in tools/ or bin/ loads its parts; not one in a home."""
    real = (os.path.abspath(program), os.path.realpath(program))
    above = sorted({os.path.dirname(os.path.dirname(one)) for one in real})
    found = [f"{one}/lib" for one in above if not _holds_hidden(one)]
    return [one for one in found if os.path.isdir(one) and not os.path.islink(one)]


@functools.cache
def _installed(search: str) -> tuple[str, ...]:
    real = [one for one in search.split(os.pathsep) if os.path.isabs(one) and os.path.isdir(one)]
    return tuple(_prefix(f"{folder}/any") for folder in real if not _holds_hidden(folder))


def _narrowest(file: str) -> str:
    return file if _holds_hidden(os.path.dirname(file)) else os.path.dirname(file)


@functools.lru_cache(1024)
def _holds_hidden(folder: str) -> bool:
    return any(inside(area, os.path.realpath(folder)) for area in (*homes(), *scratch()))


def _prefix(file: str) -> str:
    """The tree that a program in .../bin belongs to (an environment, a language's installation), else its folder."""
    folder = os.path.dirname(file)
    above, name = os.path.split(folder)
    # .cargo has neither, but keys
    tree = os.path.isdir(f"{above}/lib") or os.path.isdir(f"{above}/libexec")
    if tree and name in ("bin", "sbin", "shims") and above != os.path.join(home(), ".local"):
        return folder if _holds_hidden(above) else above
    return _narrowest(file)


def which(name: str, search: str) -> str:
    """The executable of this name (with a slash: path) on a search path, without its relative folders; '' for none."""
    folders = [one for one in search.split(os.pathsep) if one[:1] == "/"]
    tried = [name] if "/" in name else [f"{folder}/{name}" for folder in folders]
    return next((one for one in tried if os.path.isfile(one) and os.access(one, os.X_OK)), "")
