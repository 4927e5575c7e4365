"""Run a tool where it can do no harm: one call prepares the start, any Popen makes it (docs/safety.md).

    with sandbox.Cell(argv, "work", folder, env=environment) as cell:
        child = subprocess.Popen(**cell.options, stdin=..., stdout=..., stderr=...)
        ...
    cell.removed        # what the tool left and must not: moved aside, to be told

Profiles: `read` (nothing outside scratch folders can be written; no network), `work` (the working folder can),
`net` (the same, and the internet), `read+net` (the internet, but no writing), `off` (no sandbox at all), `probe` (as
`read`, in an empty folder).
Bubblewrap where it works, else Landlock and seccomp where they can keep the profile's promise, else Fault tool_denied.
Threads: a child dies with the thread that started it, so a thread that starts one must live as long.
"""
from __future__ import annotations

import functools
import os

from agentlib import afterwards, limits, places, seccomp
from agentlib.bwrap import command
from agentlib.faults import Fault
from agentlib.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

CONFINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "confine.py")
SETPRIV = "/usr/bin/setpriv"
USUAL = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ", "USER", "LOGNAME")
_verdict: tuple[str, str] | None = None


class Held(int):
    """A descriptor that is closed when nobody holds it any more."""

    def __del__(self) -> None:
        try:
            os.close(self)
        except OSError:
            pass


class Cell:
    """A start that is prepared. options: for Popen (args, env, cwd, pass_fds, start_new_session).

    close(), or leaving the `with`, after the child's end. removed: what it left and must not, in words.
    """

    def __init__(self, argv: list[str], profile: str, folder: str, *, env: Mapping[str, str],
                 read: Iterable[str] = (), write: Iterable[str] = (), limit: Mapping[str, int] | None = None) -> None:
        """argv: the tool, whose program is found on env's PATH. env: all that it gets, but for HOME and TMPDIR.

        read, write: more paths to see, to write, as the user granted them. limit: other limits than the usual ones.
        Fault tool_not_found for a program that is not there, tool_denied where the profile cannot be kept.
        """
        self.removed: list[str] = []
        self._folder, self._group, self._scratch = os.path.realpath(folder), "", ""
        self._limits = {**limits.defaults(), **(limit or {})}
        argv = [self._program(argv[0], env.get("PATH", os.defpath)), *argv[1:]]
        self._absent = afterwards.state(self._folder) if profile in ("work", "net") else {}
        try:
            self.options = self._off(argv, env) if profile == "off" else self._on(argv, profile, env, read, write)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """After the child's end: what it left where it must leave nothing is moved aside; our own traces go."""
        self.options = {}
        self.removed += afterwards.restore(self._absent)
        if self._group:
            limits.leave(self._group)
        if self._scratch:
            import shutil
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._absent, self._group, self._scratch = {}, "", ""

    @staticmethod
    def _program(name: str, search: str) -> str:
        found = places.which(name, search)
        if not found:
            raise Fault("tool_not_found", f"{name}: no such program, or not executable")
        return os.path.abspath(found)

    def _off(self, argv: list[str], env: Mapping[str, str]) -> dict[str, Any]:
        leash = [SETPRIV, "--pdeathsig", "KILL", "--"] if os.access(SETPRIV, os.X_OK) else []
        return {"args": [*leash, *argv], "env": dict(env), "cwd": self._folder, "start_new_session": True}

    def _on(self, argv: list[str], profile: str, env: Mapping[str, str], read: Iterable[str],
            write: Iterable[str]) -> dict[str, Any]:
        way, why = verdict()
        if not way:
            raise Fault("tool_denied", f"sandbox unavailable: {why}")
        network = profile in ("net", "read+net")
        view = View(argv, env.get("PATH", os.defpath), self._folder, writable=profile in ("work", "net"),
                    visible=profile != "probe", read=read, write=write)
        self._group = limits.group(self._limits["processes"])
        start = self._bwrap if way == "bubblewrap" else self._landlock
        return {**start(argv, view, network, env), "start_new_session": True}

    def _bwrap(self, argv: list[str], view: View, network: bool, env: Mapping[str, str]) -> dict[str, Any]:
        filter = Held(_memory(seccomp.program(network)))
        args = [*command(_bwrap(), view, network, filter), *limits.command(self._limits), *argv]
        if self._group:     # a process moves itself into its group, and then becomes bwrap
            args = ["/bin/sh", "-c", 'echo 0 >"$0" && exec "$@"', f"{self._group}/cgroup.procs", *args]
        home = {"HOME": places.home(), "TMPDIR": "/tmp"}
        return {"args": args, "env": {**env, **home}, "cwd": "/", "pass_fds": (filter,)}

    def _landlock(self, argv: list[str], view: View, network: bool, env: Mapping[str, str]) -> dict[str, Any]:
        import marshal
        import sys

        from agentlib import rules
        readable, writable = rules.of(view)
        self._scratch = _scratch()
        wanted = {"read": readable, "write": [self._scratch, *writable], "network": network,
                  "unseen": not view.writable, "limits": self._limits, "group": self._group}
        given = Held(_memory(marshal.dumps(wanted)))
        args = [sys.executable or "/usr/bin/python3", "-IS", CONFINE, str(int(given)), *argv]
        home = {"HOME": self._scratch, "TMPDIR": self._scratch}
        where = view.folder if view.visible else self._scratch
        return {"args": args, "env": {**env, **home}, "cwd": where, "pass_fds": (given,)}


def verdict() -> tuple[str, str]:
    """(`bubblewrap`, `landlock` or '', why not bubblewrap), found out by one trial in each process."""
    global _verdict
    if _verdict is None:
        why = _trial()
        if not why:
            _verdict = ("bubblewrap", "")
        else:
            from agentlib import landlock
            _verdict = ("landlock", why) if landlock.abi() else ("", f"{why}; this kernel has no Landlock")
    return _verdict


def _trial() -> str:
    """Why bubblewrap does not work here, '' where it does: it runs `true` once, with all that a tool gets."""
    import subprocess
    if not _bwrap():
        return "bubblewrap (bwrap) is not installed"
    filter = Held(_memory(seccomp.program()))
    view = View(["/bin/true"], "", "/", writable=False, visible=False, read=(), write=())
    args = [*command(_bwrap(), view, False, filter), "/bin/true"]
    try:
        ran = subprocess.run(args, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=10,
                             pass_fds=(filter,))
    except (OSError, subprocess.TimeoutExpired) as bad:
        return f"bubblewrap does not work here: {bad}"
    said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if ran.returncode == 0 else f"bubblewrap does not work here: {said[-1] if said else ran.returncode}"


def _bwrap() -> str:
    """bwrap on our PATH, but never a project's own."""
    return _bwrap_on(os.environ.get("PATH", os.defpath), os.getcwd())


@functools.cache
def _bwrap_on(search: str, here: str) -> str:
    folders = [one for one in search.split(os.pathsep)
               if not places.inside(os.path.realpath(one), here) or places.inside("/usr/bin", here)]
    return places.which("bwrap", os.pathsep.join(folders))


def _scratch() -> str:
    """A new folder of our own, the tool's HOME and TMPDIR where there are no mounts to make them of."""
    base = next((one for one in (os.environ.get("TMPDIR", ""), "/tmp") if os.access(one, os.W_OK)), "")
    if not base:
        raise Fault("tool_denied", "sandbox unavailable: neither TMPDIR nor /tmp can be written")
    made = os.path.join(os.path.realpath(base), f"agent-tool-{os.urandom(8).hex()}")
    os.mkdir(made, 0o700)
    return made


def _memory(data: bytes) -> int:
    """A fresh descriptor that reads as these bytes; one for each start, since readers share its place."""
    fd = os.memfd_create("sandbox")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def environment(names: Iterable[str] = ()) -> dict[str, str]:
    """What a tool gets of our environment: the usual few, the run's AGENT_*, and `names`, which the user granted."""
    wanted = {*USUAL, *names, *(name for name in os.environ if name.startswith("AGENT_") and not secret(name))}
    return {"PATH": os.defpath, **{name: os.environ[name] for name in sorted(wanted) if name in os.environ}}


def secret(name: str) -> bool:
    """Whether a variable of this name looks like one that holds a secret."""
    return any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"))


def undumpable() -> None:
    """Nobody but root may read our memory and environment from now on (no core files either)."""
    import ctypes
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)      # PR_SET_DUMPABLE
