"""The kept sandboxes of a process: a call starts in one that an earlier call with the same view left running.

To start one takes 30 ms, a call in it 2 ms (tests/bench/sandbox.py). What each call has of its own: fork_server.py.
"""

import threading

from agentlib.faults import Fault
from agentlib.process.run import start
from agentlib.sandbox import mounts
from agentlib.types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentlib.process.child import Child
    from agentlib.sandbox.kept.sandbox import KeptSandbox
    from agentlib.sandbox.prepare import Sandbox

MOST = 8  # kept at once; what is shown changes seldom


class SandboxPool:
    """The kept sandboxes of this process, by what they show. It can be used from any thread."""

    def __init__(self) -> None:
        self._kept: dict[Any, KeptSandbox] = {}
        self._old: list[KeptSandbox] = []  # they get no more calls
        self._lock = threading.Lock()

    def begin(self, sandbox: "Sandbox", stdin: int, stdout: int = 1, stderr: int = 2) -> "Child":
        """Start the tool of this sandbox with these descriptors. OSError: it cannot start.

        Fault tool_denied where the sandbox cannot be made.
        """
        if sandbox.way == "off":
            return start(sandbox.options, stdin, stdout, stderr)
        for _ in range(2):
            kept = self._kept_sandbox(sandbox)
            try:
                return kept.begin(sandbox, stdin, stdout, stderr)
            except BrokenPipeError:
                self._give_up(kept)
        raise Fault("tool_denied", "sandbox unavailable: its fork server has ended")

    def prepare(self, sandbox: "Sandbox") -> None:
        """Start the kept sandbox for calls that see what this one sees."""
        if sandbox.way != "off":
            self._kept_sandbox(sandbox)
            return
        from agentlib.process.supervised import Supervised

        Supervised.serving()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for kept in (*self._kept.values(), *self._old):
                kept.close()
            self._kept.clear()
            self._old.clear()

    def _give_up(self, kept: "KeptSandbox") -> None:
        with self._lock:
            for key in [key for key, one in self._kept.items() if one is kept]:
                self._kept.pop(key).close()  # else another thread has seen to it

    def _kept_sandbox(self, sandbox: "Sandbox") -> "KeptSandbox":
        try:
            return self._found(sandbox)
        except OSError as bad:
            if sandbox.fall_back(str(bad)):
                return self._kept_sandbox(sandbox)
            raise Fault("tool_denied", f"sandbox unavailable: {bad}") from None

    def _found(self, sandbox: "Sandbox") -> "KeptSandbox":
        from agentlib.sandbox.kept.sandbox import KeptSandbox

        key = _key(sandbox)
        with self._lock:
            kept = self._kept.get(key)
            if kept and kept.stale():
                self._old.append(kept)
                del self._kept[key]
                for idle in [one for one in self._old if one.idle]:
                    idle.close()
                    self._old.remove(idle)
            if key not in self._kept:
                if len(self._kept) + len(self._old) >= MOST:
                    self._make_room()
                self._kept[key] = KeptSandbox(sandbox)
            return self._kept[key]

    def _make_room(self) -> None:
        for key, kept in self._kept.items():
            if kept.idle:
                return self._kept.pop(key).close()


def _key(sandbox: "Sandbox") -> Any:
    """What tells one sandbox from another: what it shows of which files, and whether it has a network. A mount stays
    with its file where another takes its name. (KeptSandbox.stale: that one gets its number too.)"""
    if sandbox.way == "landlock":
        return sandbox.way
    view = sandbox.view.ordered()
    return sandbox.network, tuple((path, do, *mounts.stamp(path)[:2]) for path, do in view)
