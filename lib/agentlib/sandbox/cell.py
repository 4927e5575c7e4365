"""Run a tool where it can do no harm: one call prepares the start, process.run makes it (docs/safety.md).

    with sandbox.Cell(argv, "work", folder, env=environment) as cell:
        done = run(cell.options, b"", timeout, cap, leash)
    cell.removed        # what the tool left and must not: moved aside, to be told

Profiles: `read` (nothing outside scratch folders can be written; no network), `work` (the working folder can),
`net` (the same, and the internet), `read+net` (the internet, but no writing), `off` (no sandbox at all), `probe` (as
`read`, in an empty folder).
Bubblewrap where it works, else Landlock and seccomp where they can keep the profile's promise, else Fault tool_denied.
Threads: a child dies with the thread that started it, so a thread that starts one must live as long.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sys

from agentlib.faults import Fault
from agentlib.sandbox import bwrap, host, leftovers, limits, rules, seccomp
from agentlib.sandbox.mounts import View
from agentlib.types import Any, Iterable, Mapping

CONFINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "confine.py")
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
    """A start that is prepared. options: for start() and run() of process.run.

    way: `bubblewrap`, `landlock` or `off`. argv, env, view, network, limits: what the tool gets and what holds it, for
    wards.py, which starts it by these in a sandbox that stands already. close(), or leaving the `with`, after the
    child's end. removed: what it left and must not, in words.
    """

    def __init__(
        self,
        argv: list[str],
        profile: str,
        folder: str,
        *,
        env: Mapping[str, str],
        read: Iterable[str] = (),
        write: Iterable[str] = (),
        limit: Mapping[str, int] | None = None,
    ) -> None:
        """argv: the tool, whose program is found on env's PATH. env: all that it gets, but for HOME and TMPDIR.

        read, write: more paths to see, to write, as the user granted them. limit: other limits than the usual ones.
        Fault tool_not_found for a program that is not there, tool_denied where the profile cannot be kept.
        """
        self.removed: list[str] = []
        self._folder, self._group, self._scratch = os.path.realpath(folder), "", ""
        self.limits = {**limits.defaults(), **(limit or {})}
        self.argv = [self._program(argv[0], env.get("PATH", os.defpath)), *argv[1:]]
        self.env, self.way, self.network = dict(env), "off", profile in ("net", "read+net", "off")
        self._absent = leftovers.state(self._folder) if profile in ("work", "net") else {}
        try:
            if profile != "off":
                self._enclose(profile, read, write)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """After the child's end: what it left where it must leave nothing is moved aside; our own traces go."""
        self.__dict__.pop("options", None)
        self.removed += leftovers.restore(self._absent)
        if self._group:
            limits.leave(self._group)
        if self._scratch:
            import shutil

            shutil.rmtree(self._scratch, ignore_errors=True)
        self._absent, self._group, self._scratch = {}, "", ""

    @staticmethod
    def _program(name: str, search: str) -> str:
        found = host.which(name, search)
        if not found:
            raise Fault("tool_not_found", f"{name}: no such program, or not executable")
        return os.path.abspath(found)

    def _enclose(self, profile: str, read: Iterable[str], write: Iterable[str]) -> None:
        self.way, why = verdict()
        if not self.way:
            raise Fault("tool_denied", f"sandbox unavailable: {why}")
        search = self.env.get("PATH", os.defpath)
        self.view = View(
            self.argv,
            search,
            self._folder,
            writable=profile in ("work", "net"),
            visible=profile != "probe",
            read=read,
            write=write,
        )
        home, temporary = host.home(), "/tmp"
        if self.way == "landlock":
            self._trees = rules.of(self.view)
            self._scratch = home = temporary = _scratch()
        self.env.update(HOME=home, TMPDIR=temporary)

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """For process.run; each start needs options of its own."""
        if self.way != "off":
            self._group = limits.group(self.limits["processes"])
        make = {"bubblewrap": self._bwrap, "landlock": self._landlock, "off": self._off}[self.way]
        return make()

    def _off(self) -> dict[str, Any]:
        return {"args": self.argv, "env": self.env, "cwd": self._folder}

    def _bwrap(self) -> dict[str, Any]:
        args = [
            *bwrap.alone(bubblewrap(), self.view, self.network),
            *limits.command(self.limits),
            *self.argv,
        ]
        (ready, theirs), (waiting, go) = os.pipe(), os.pipe()
        files = {
            bwrap.GO: apart(waiting),
            bwrap.FILTER: apart(memory(seccomp.program(self.network))),
            bwrap.READY: apart(theirs),
        }
        return {
            "args": limits.within(self._group, args),
            "env": self.env,
            "files": files,
            "gate": (Held(ready), Held(go)),
        }

    def _landlock(self) -> dict[str, Any]:
        import marshal

        given = Held(memory(marshal.dumps({**self.confined(), "group": self._group})))
        return {
            "args": [python(), "-IS", CONFINE, "3", *self.argv],
            "env": self.env,
            "cwd": self.inside,
            "files": {3: given},
        }

    def confined(self) -> dict[str, Any]:
        """What confine.py puts on a process."""
        readable, writable = self._trees
        return {
            "read": readable,
            "write": [self._scratch, *writable],
            "network": self.network,
            "unseen": not self.view.writable,
            "limits": self.limits,
            "group": "",
        }

    @property
    def inside(self) -> str:
        """The folder that the tool starts in."""
        return self.view.folder if self.view.visible else self._scratch or bwrap.NOWHERE


def verdict() -> tuple[str, str]:
    """(`bubblewrap`, `landlock` or '', why not bubblewrap), found out by one trial in each process."""
    global _verdict
    if _verdict is None:
        why = _trial()
        if not why:
            _verdict = ("bubblewrap", "")
        else:
            from agentlib.sandbox import landlock

            _verdict = (
                ("landlock", why) if landlock.abi() else ("", f"{why}; this kernel has no Landlock")
            )
    return _verdict


def _trial() -> str:
    """Why bubblewrap does not work here, '' where it does: it runs `true` once, with all that a tool gets."""
    import subprocess

    if not bubblewrap():
        return "bubblewrap (bwrap) is not installed"
    filter = Held(memory(seccomp.program()))
    view = View(["/bin/true"], "", "/", writable=False, visible=False, read=(), write=())
    args = [*bwrap.command(bubblewrap(), view, False, filter), "/bin/true"]
    try:
        ran = subprocess.run(
            args,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            pass_fds=(filter,),
        )
    except (OSError, subprocess.TimeoutExpired) as bad:
        return f"bubblewrap does not work here: {bad}"
    said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
    return (
        ""
        if ran.returncode == 0
        else f"bubblewrap does not work here: {said[-1] if said else ran.returncode}"
    )


def bubblewrap() -> str:
    """bwrap on our PATH, but never a project's own."""
    return _bwrap_on(os.environ.get("PATH", os.defpath), os.getcwd())


@functools.cache
def _bwrap_on(search: str, here: str) -> str:
    folders = [
        one
        for one in search.split(os.pathsep)
        if not host.inside(os.path.realpath(one), here) or host.inside("/usr/bin", here)
    ]
    return host.which("bwrap", os.pathsep.join(folders))


def _scratch() -> str:
    """A new folder of our own, the tool's HOME and TMPDIR where there are no mounts to make them of."""
    base = next(
        (one for one in (os.environ.get("TMPDIR", ""), "/tmp") if os.access(one, os.W_OK)), ""
    )
    if not base:
        raise Fault("tool_denied", "sandbox unavailable: neither TMPDIR nor /tmp can be written")
    made = os.path.join(os.path.realpath(base), f"agent-tool-{os.urandom(8).hex()}")
    os.mkdir(made, 0o700)
    return made


def apart(descriptor: int) -> Held:
    """The same descriptor under a number that no child knows it by."""
    made = Held(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10))
    os.close(descriptor)
    return made


def memory(data: bytes) -> int:
    """A fresh descriptor that reads as these bytes; one for each start, since readers share its place."""
    fd = os.memfd_create("sandbox")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def python() -> str:
    """The interpreter for what we start ourselves."""
    return os.path.abspath(sys.executable or "/usr/bin/python3")


def environment(names: Iterable[str] = ()) -> dict[str, str]:
    """What a tool gets of our environment: the usual few, the run's AGENT_*, and `names`, which the user granted."""
    wanted = {
        *USUAL,
        *names,
        *(name for name in os.environ if name.startswith("AGENT_") and not secret(name)),
    }
    return {
        "PATH": os.defpath,
        **{name: os.environ[name] for name in sorted(wanted) if name in os.environ},
    }


def secret(name: str) -> bool:
    """Whether a variable of this name looks like one that holds a secret."""
    return any(
        word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
    )
