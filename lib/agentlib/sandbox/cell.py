"""Run a tool where it can do no harm: a cell prepares the start, kept.wards.Wards makes it (docs/safety.md).

    with Cell(argv, "work", folder, env=environment()) as cell:
        done = run(partial(wards.begin, cell), b"", timeout, cap, leash)
    cell.removed        # what the tool left and must not, in words: it was moved aside

Profiles: `read` (nothing outside scratch folders can be written; no network), `work` (the working folder can),
`net` (the same, and the internet), `read+net` (the internet, but no writing), `off` (no sandbox at all), `probe` (as
`read`, in an empty folder).
Bubblewrap where it works, else Landlock and seccomp where they can keep the profile's promise, else Fault tool_denied.
"""

import functools
import os
import threading
import time

from agentlib import paths
from agentlib.environment import RUN
from agentlib.faults import Fault
from agentlib.sandbox import bwrap, host, landlock, limits, overlay, scratch, workspace
from agentlib.sandbox.landlock import Descriptor
from agentlib.sandbox.mounts import View
from agentlib.sandbox.overlay import EMPTY, OVERLAY
from agentlib.types import TYPE_CHECKING, Any, Callable, Iterable, Mapping

if TYPE_CHECKING:
    from agentlib.sandbox.apply import Hand

USUAL = "PATH HOME LANG LC_ALL LC_CTYPE TERM TMPDIR TZ USER LOGNAME TRACEPARENT".split()
_trying = threading.Lock()
_ways: dict[bool, tuple[str, str]] = {}  # by whether an overlay was tried too


class Cell:
    """A start that is prepared. way: `bubblewrap`, `landlock` or `off`. argv, env, view, network, limits: what the tool
    gets and what holds it, for kept.wards. close(), or leaving the `with`, after the child's end. removed: what it left
    and must not, in words."""

    def __init__(
        self,
        argv: list[str],
        profile: str,
        folder: str,
        *,
        env: Mapping[str, str],
        read: Iterable[str] = (),
        write: Iterable[str] = (),
    ) -> None:
        """argv: the tool, whose program is found on env's PATH. env: all that it gets, but for HOME and TMPDIR. read,
        write: more paths to see, to write, as the user granted them. Fault
        tool_not_found for a program that is not there, tool_denied where the profile cannot be kept."""
        self.removed: list[str] = []
        self._folder, self._scratch = os.path.realpath(folder), ""
        self.limits = limits.defaults()
        found = host.which(argv[0], env.get("PATH", os.defpath))
        if not found:
            raise Fault("tool_not_found", f"{argv[0]}: no such program, or not executable")
        self.argv = [os.path.abspath(found), *argv[1:]]
        self.env, self.way, self.network = dict(env), "off", profile in ("net", "read+net", "off")
        self.changes, self.version, self._begun = "", 0, time.time_ns()
        self._ruleset: Descriptor | None = None
        self._hand: Hand | None = None
        self._space: workspace.Workspace | None = None
        self.over: Callable[[str, bool], None] = lambda place, clean: scratch.clear(place)
        try:
            if profile != "off":
                self._wanted = profile, tuple(read), tuple(write)
                self._enclose(*self._wanted)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cell":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """After the child's end: what it left where it must leave nothing is moved aside; our own traces go."""
        self.__dict__.pop("listed", None)
        space = self._space
        if space and self.changes:
            clean = scratch.clean(self.changes, self._folder)
            self.removed += [] if clean else self._take_over(going_on=False)
            self.over(self.changes, clean)
        elif space and self.way == "landlock" and self.view.writable:
            from agentlib.sandbox.apply import set_aside

            self.removed += set_aside(space)
        if self._scratch:
            scratch.clear(self._scratch)
        if self._ruleset:
            self._trees.free.append(self._ruleset)
        self._space, self._scratch, self._ruleset = None, "", None

    def fall_back(self) -> bool:
        """Where no sandbox could be put up: whether bubblewrap does not work here at all, and Landlock holds it now.
        Fault tool_denied where Landlock cannot keep the profile."""
        folder = self._folder if self.view.listed else ""
        if self.way != "bubblewrap" or walled(folder)[0] == "bubblewrap":
            return False
        self._enclose(*self._wanted)
        return True

    def settle(self) -> list[str]:
        """Take over what a tool has changed that goes on; what it may not, in words."""
        return self._take_over(going_on=True) if self._space and self.changes else []

    def _take_over(self, going_on: bool) -> list[str]:
        from agentlib.sandbox.apply import Hand

        if self._hand is None and self._space:
            self._hand = Hand(self._space, self._begun, self.view.kept)
        return self._hand.take(f"{self.changes}/{overlay.CHANGES}", going_on) if self._hand else []

    def _enclose(self, profile: str, read: Iterable[str], write: Iterable[str]) -> None:
        search = self.env.get("PATH", os.defpath)
        self.view = View(self.argv, search, self._folder, profile, read, write)
        self.way, why = walled(self._folder if self.view.listed else "", sure=False)
        if not self.way:
            raise Fault("tool_denied", f"sandbox unavailable: {why}")
        space = workspace.of(self._folder, self.view.kept) if self.view.listed else None
        home, temporary = host.home(), "/tmp"
        if self.way == "landlock":
            from agentlib.sandbox import rules

            self._trees = rules.of(self.view, space, self.network)
            # where nothing is written, nothing is taken over
            beside = self._folder if self.view.listed else "/proc"
            self._scratch = home = temporary = scratch.take(beside)
            self._ruleset = self._trees.take(self._scratch)
        self._space = space
        self.env.update(HOME=home, TMPDIR=temporary)

    @functools.cached_property
    def listed(self) -> int:
        """A descriptor of what can be read of the working folder; -1 where all can."""
        if self._space is None or (self.way == "landlock" and self.view.writable):
            return -1
        if self.way != "landlock":
            listed, self.version = self._space.listing()
        else:
            trees = self._trees
            listed, self.version = self._space.listing((trees, [*trees.readable, *trees.writable]))
            landlock.allow(listed, self._scratch)
        return Descriptor(listed)

    @property
    def rulesets(self) -> list[int]:
        """Descriptors for the warden: of what Landlock lets the tool do, and of what it lets be read."""
        return [one for one in (self._ruleset or -1, self.listed) if one >= 0]

    def take(self, place: str = "") -> None:
        """Have this place for changes, or a new one."""
        self.changes = place or scratch.for_changes(self._folder)
        for part in () if place else (overlay.CHANGES, overlay.WORK):
            landlock.allow(self.listed, f"{self.changes}/{part}")

    @property
    def options(self) -> dict[str, Any]:
        """For process.run, without a sandbox. ValueError for a cell that needs one, and so is started by kept.wards."""
        if self.way != "off":
            raise ValueError(f"a cell of the way {self.way} is started in a sandbox")
        return {"args": self.argv, "env": self.env, "cwd": self._folder}

    def setup(self) -> dict[str, Any]:
        """What a warden needs to know of all its cells."""
        made: dict[str, Any] = {"view": None, "user": (os.getuid(), os.getgid()), "network": self.network}
        if self.way == "bubblewrap":
            shown = {EMPTY: EMPTY, OVERLAY: OVERLAY}
            pairs = self.view.ordered()
            made["view"] = [(path, shown.get(do, ""), bwrap.size(path)) for path, do in pairs]
        return made

    def order(self) -> dict[str, Any]:
        """What a warden needs to know of this one."""
        made = {"argv": self.argv, "env": self.env, "cwd": self.inside, "limits": self.limits}
        if self.way == "landlock":
            return {**made, "network": self.network, "unseen": not self.view.writable}
        return {
            **made,
            "overlay": self._folder if self.listed >= 0 else "",
            "changes": os.path.basename(self.changes) or overlay.NOTHING,
            "version": self.version,
            "drop": [],
        }

    @property
    def inside(self) -> str:
        """The folder that the tool starts in."""
        return self.view.folder if self.view.visible else self._scratch or bwrap.NOWHERE


def works(listed: bool) -> None:
    """Bubblewrap does. listed: with an overlay of the working folder too."""
    with _trying:
        _ways[listed] = "bubblewrap", ""


def walled(folder: str = "", sure: bool = True) -> tuple[str, str]:
    """(`bubblewrap`, `landlock` or '', why not bubblewrap), found out by one trial in each process.

    folder: a working folder that is seen. What stands before it is an overlay, which is tried too.
    sure: False where a sandbox is put up next, which shows it as well.
    """
    with _trying:
        known = _ways.get(True) or _ways.get(bool(folder))
        if known is None and not sure and bubblewrap():
            return "bubblewrap", ""
        if known is None:
            why = _trial(scratch.base(folder) if folder else "")
            kernel = "landlock" if landlock.abi() else ""
            lack = why if kernel else f"{why}; this kernel has no Landlock"
            _ways[bool(folder)] = known = (kernel, lack) if why else ("bubblewrap", "")
        return known


def _trial(base: str = "") -> str:
    """Why bubblewrap does not work here, '' where it does. base: for changes; with one an overlay is tried too."""
    import subprocess

    if not bubblewrap():
        return "bubblewrap (bwrap) is not installed"
    view = View(["/bin/true"], "", "/", "probe")
    tried = [paths.PYTHON, "-IS", overlay.__file__] if base else ["/bin/true"]
    args = [*bwrap.command(bubblewrap(), view, False, base), *tried]
    none = subprocess.DEVNULL
    try:
        ran = subprocess.run(args, env={}, stdin=none, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as bad:
        return f"bubblewrap does not work here: {bad}"
    if ran.returncode == 0:
        return ""
    lines = ran.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"bubblewrap does not work here: {lines[-1] if lines else ran.returncode}"


def bubblewrap() -> str:
    """bwrap on our PATH, but never a project's own."""
    folders, here = os.environ.get("PATH", os.defpath).split(os.pathsep), os.getcwd()
    if not host.inside("/usr/bin", here):
        folders = [one for one in folders if not host.inside(os.path.realpath(one), here)]
    return host.which("bwrap", os.pathsep.join(folders))


def environment(names: Iterable[str] = ()) -> dict[str, str]:
    """What a tool gets of our environment: the usual few, the suite's own, and `names`, which the user granted."""
    wanted = sorted({*USUAL, *RUN, *names} & os.environ.keys())
    return {"PATH": os.defpath, **{name: os.environ[name] for name in wanted}}
