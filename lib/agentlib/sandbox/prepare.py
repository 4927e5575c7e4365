"""Run a tool where it can do no harm: Sandbox prepares the start, kept.pool.SandboxPool starts it (docs/sandbox.md).

Profiles, besides that page's: `read+net` (the internet, but no writing), `probe` (as `read`, in an empty folder).
Bubblewrap where it works, else Landlock and seccomp where they can keep the profile's promise, else Fault tool_denied.
"""

import functools
import os
import time

from agentlib.environment import RUN
from agentlib.faults import Fault
from agentlib.sandbox import bwrap, host, landlock, limits, mounts, overlay, scratch, workspace
from agentlib.sandbox.landlock import Descriptor
from agentlib.sandbox.mounts import Argv, Paths
from agentlib.sandbox.overlay import EMPTY, OVERLAY
from agentlib.types import TYPE_CHECKING, Any, Callable, Iterable

if TYPE_CHECKING:
    from agentlib.sandbox.apply import Takeover

Env = dict[str, str]
USUAL = "PATH HOME LANG LC_ALL LC_CTYPE TERM TMPDIR TZ USER LOGNAME TRACEPARENT".split()
_ways: dict[bool, tuple[str, str]] = {}  # what was found out, by whether an overlay was tried too


class Sandbox:
    """The sandbox of one call, prepared. way: `bubblewrap`, `landlock` or `off`. argv, env, view, network, limits: what
    the tool gets and what restricts it, for kept.pool. close() it, or leave the `with`, after the child's end. removed:
    what the tool left and was not allowed to, in words."""

    def __init__(
        self, argv: Argv, profile: str, folder: str, env: Env, read: Paths = (), write: Paths = ()
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
        self._takeover: Takeover | None = None
        self._space: workspace.Workspace | None = None
        self.on_close: Callable[[str, bool], None] = lambda place, clean: scratch.clear(place)
        try:
            if profile != "off":
                self._wanted = profile, tuple(read), tuple(write)
                self._enclose(*self._wanted)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """After the child's end: what it left where it must leave nothing is moved aside; our own traces go."""
        self.__dict__.pop("listed", None)
        space = self._space
        if space and self.changes:
            clean = scratch.clean(self.changes, self._folder)
            self.removed += [] if clean else self._take_over(space, going_on=False)
            self.on_close(self.changes, clean)
        elif space and self.way == "landlock" and self.view.writable:
            from agentlib.sandbox.apply import set_aside

            self.removed += set_aside(space)
        if self._scratch:
            scratch.clear(self._scratch)
        if self._ruleset:
            self._trees.free.append(self._ruleset)
        self._space, self._scratch, self._ruleset = None, "", None

    def fall_back(self, why: str) -> bool:
        """Where no kept sandbox could be started for this reason, and bubblewrap has not worked before: whether
        Landlock is used now. Fault tool_denied where that cannot keep the profile."""
        if self.way != "bubblewrap" or not _ways.keys().isdisjoint((True, self.view.listed)):
            return False
        _ways[self.view.listed] = _without(f"bubblewrap does not work here: {why}")
        self._enclose(*self._wanted)
        return True

    def settle(self) -> list[str]:
        """Take over what a tool has changed that goes on; what it may not, in words."""
        space = self._space
        return self._take_over(space, going_on=True) if space and self.changes else []

    def _take_over(self, space: workspace.Workspace, going_on: bool) -> list[str]:
        from agentlib.sandbox.apply import Takeover

        self._takeover = self._takeover or Takeover(space, self._begun, self.view.kept)
        return self._takeover.take(f"{self.changes}/{overlay.CHANGES}", going_on)

    def _enclose(self, profile: str, read: Paths, write: Paths) -> None:
        search = self.env.get("PATH", os.defpath)
        self.view = mounts.view(self.argv, search, self._folder, profile, read, write)
        self.way, why = walled(self.view.listed)
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
            listed, self.version = self._space.listing(self.view.writable)
        else:
            trees = self._trees
            paths = [*trees.readable, *trees.writable]
            listed, self.version = self._space.listing(True, (trees, paths))
            landlock.allow(listed, self._scratch)
        return Descriptor(listed)

    @property
    def rulesets(self) -> list[int]:
        """Descriptors for the fork server: of what Landlock lets the tool do, and of what it lets be read."""
        return [one for one in (self._ruleset or -1, self.listed) if one >= 0]

    def take(self, place: str = "") -> None:
        """Have this place for changes, or a new one."""
        self.changes = place or scratch.for_changes(self._folder)
        for part in () if place else (overlay.CHANGES, overlay.WORK):
            landlock.allow(self.listed, f"{self.changes}/{part}")

    @property
    def options(self) -> dict[str, Any]:
        """For process.run, where the way is `off`. ValueError for the other ways, which kept.pool starts."""
        if self.way != "off":
            raise ValueError(f"the way {self.way} is started by SandboxPool")
        return {"args": self.argv, "env": self.env, "cwd": self._folder}

    def setup(self) -> dict[str, Any]:
        """What a fork server needs to know of all its calls."""
        view = None
        if self.way == "bubblewrap":
            kinds, pairs = {EMPTY: EMPTY, OVERLAY: OVERLAY}, self.view.ordered()
            size = bwrap.SIZES.get
            view = [(path, kinds.get(do, ""), size(path, bwrap.SIZE)) for path, do in pairs]
        return {"view": view, "user": (os.getuid(), os.getgid()), "network": self.network}

    def order(self) -> dict[str, Any]:
        """What it needs to know of this call."""
        made = {"argv": self.argv, "env": self.env, "cwd": self.inside, "limits": self.limits}
        if self.way == "landlock":
            return {**made, "network": self.network, "unseen": not self.view.writable}
        changes = os.path.basename(self.changes) or overlay.NOTHING
        lower = self._folder if self.listed >= 0 else ""
        return {**made, "overlay": lower, "changes": changes, "version": self.version, "drop": []}

    @property
    def inside(self) -> str:
        """The folder that the tool starts in."""
        return self.view.folder if self.view.visible else self._scratch or bwrap.NOWHERE


def works(listed: bool) -> None:
    """Bubblewrap does. listed: with an overlay of the working folder too."""
    _ways[listed] = "bubblewrap", ""


def walled(listed: bool = False) -> tuple[str, str]:
    """(`bubblewrap`, `landlock` or '', why not bubblewrap), as far as is known: the first sandbox that is started shows
    it. listed: whether an overlay of the working folder has to work too."""
    if known := _ways.get(True) or _ways.get(listed):
        return known
    return ("bubblewrap", "") if bubblewrap() else _without("bubblewrap (bwrap) is not installed")


def _without(why: str) -> tuple[str, str]:
    return ("landlock", why) if landlock.abi() else ("", f"{why}; this kernel has no Landlock")


def bubblewrap() -> str:
    """bwrap on our PATH, but never a project's own."""
    folders, here = os.environ.get("PATH", os.defpath).split(os.pathsep), os.getcwd()
    if not host.inside("/usr/bin", here):
        folders = [one for one in folders if not host.inside(os.path.realpath(one), here)]
    return host.which("bwrap", os.pathsep.join(folders))


def environment(names: Iterable[str] = ()) -> dict[str, str]:
    """What a tool gets of our environment: the usual few, the suite's own, and `names`, which the user granted."""
    wanted = {*USUAL, *RUN, *names}
    return {"PATH": os.defpath} | {n: value for n, value in os.environ.items() if n in wanted}
