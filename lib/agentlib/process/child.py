"""A process that runs for us, and the plainest of them: a child of ours."""

import os
import select
import signal
from contextlib import suppress

from agentlib import stderr
from agentlib.types import Any, Protocol


class Child(Protocol):
    """A process that runs for us: a child of ours (Direct), or a server's (supervised.py). handle: readable at its end.
    reap: wait for its end; its status as Popen has it. left: then, the names of what it left running, all ended."""

    handle: int
    left: str = ""

    def signal(self, signum: int) -> None: ...
    def reap(self) -> int: ...

    def ended(self, seconds: float) -> bool:
        """Whether it ends within these seconds."""
        return readable(self.handle, seconds)


class Direct(Child):
    """A child of ours: a program of the suite's own."""

    def __init__(self, options: dict[str, Any], *files: int) -> None:
        """options: as for run.start(); session: whether it gets one of its own. files: its stdin, stdout, …"""
        self._alone = options.get("session", True)
        numbers = {**dict(enumerate(files)), **options.get("files", {})}
        self._pid = os.posix_spawnp(
            options["args"][0],
            options["args"],
            os.environ if options.get("env") is None else options["env"],
            file_actions=[(os.POSIX_SPAWN_DUP2, one, n) for n, one in numbers.items()],
            setsid=self._alone,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            setsigmask=() if self._alone else (signal.SIGINT,),  # Ctrl-C is ours: we end it
        )
        self.handle = self._pid
        try:
            self.handle = os.pidfd_open(self._pid)
        except BaseException:  # no more descriptors to be had; a signal that ends us
            self.signal(signal.SIGKILL)
            os.waitpid(self._pid, 0)
            raise

    def signal(self, signum: int) -> None:
        """To its group, whose number stays the child's as long as it is not reaped."""
        if self.handle >= 0:
            with suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._alone else os.kill)(self._pid, signum)

    def reap(self) -> int:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status


def readable(handle: int, seconds: float) -> bool:
    """Whether a descriptor is ready within these seconds; a closed one is."""
    poll = select.poll()
    if handle >= 0:
        poll.register(handle, select.POLLIN)
    return handle < 0 or bool(poll.poll(max(0.0, seconds) * 1000))


def memory_file(data: bytes) -> int:
    """A descriptor of a new file that holds these bytes, at its beginning, and has no name."""
    made = os.memfd_create("input")
    try:
        os.pwrite(made, data, 0)
    except OSError:
        os.close(made)
        raise
    return made


def bound() -> dict[str, str]:
    """Our environment for a program of the suite's own that is to end with the thread that starts it (cli.start)."""
    return {**os.environ, "AGENT_PARENT": str(os.getpid()), "AGENT_NAME": stderr.agent}
