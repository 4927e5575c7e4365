"""supervisor.py FD - start programs for the process at the other end of FD, and end them all when it ends, however

A process cannot promise that its children end with it: kill -9 gives it no time, and what asks the kernel for a signal
at its parent's death (bubblewrap, setpriv) may ask too late, or be one of many. So the children are ours, who live one
purpose: to see the end of FD. Every program has a supervisor, a fork of this process, which adopts what the program's
own children leave behind (a subreaper), passes signals on, and when the program has ended, ends all of that.

FD is a socket of packets. An order is a packet with descriptors: a file that holds an object in marshal's form (argv,
env, cwd, numbers: those of the descriptors after the first three), the line, and the program's descriptors. A byte on
the line is a signal for the program, its end is KILL; back goes, once, the exit status, a signed number of four bytes,
and after it the names of what was left running.
"""

import _socket as socket  # their faces cost 12 ms to load, half of our start
import ctypes
import fcntl
import gc
import marshal
import os
import select
import sys
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from agentlib.private import no_core, undumpable
from agentlib.types import TYPE_CHECKING, Any, Callable, NoReturn  # noqa: E402

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

END = signal.SIGUSR1  # to a supervisor: KILL for all that it has
HEARD = {signal.SIGCHLD, signal.SIGTERM, END}
LINGER = 0.3  # seconds that its children may go on once a program has ended: `... > >(tee log)`
STUBBORN = 2.0  # seconds that what was killed has to go
DEATH_SIGNAL, SUBREAPER = 1, 36  # linux/prctl.h
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)
UNSTARTED = 1000  # a status of -1000 - errno: the program could not be started
# PyDLL keeps hold of the interpreter: clone(2) returns in two processes
MOST_FILES = 64  # that come with an order
LIBC = ctypes.PyDLL(None, use_errno=True)


Order = dict[str, Any]


class Server:
    """Takes orders. start(order, files): starts an order's program, in its supervisor; its number."""

    kill: int = END

    def __init__(self, start: Callable[[Order, list[int]], int]) -> None:
        self.start = start
        self.begun: dict[int, tuple[int, int, int]] = {}  # by handle and line: pid, handle, line
        self.poll = select.poll()

    def begin(self, order: Order, line: int, files: list[int]) -> int:
        """The number of a new process, which ends with the order. OSError where there is none."""
        starter = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.supervise(order, line, files, starter)
        return pid

    def supervise(self, order: Order, line: int, files: list[int], starter: int) -> NoReturn:
        """In a new process: start the program, pass signals on to it, end what it leaves, and report."""
        left: dict[int, str] = {}
        try:
            keep(line, *files)
            LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
            LIBC.prctl(DEATH_SIGNAL, END, 0, 0, 0)
            if os.getppid() != starter:
                os._exit(1)
            program = self.start(order, files)
            keep(line)  # a pipe ends when the program closes it, not when we end
            status = mind(program)
            left = sweep(status != -signal.SIGKILL)
            left.pop(program, None)
        except OSError as bad:
            status = -UNSTARTED - (bad.errno or 0)
        except BaseException:  # nothing of ours may go on as another server
            status = 126
        report(line, status, left)
        os._exit(0)

    def serve(self, orders: socket.socket) -> int:
        """Until the orders end, and with them everything here."""
        self.poll.register(orders, select.POLLIN)
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.begun:
                    self.attend(descriptor)
                elif descriptor == orders.fileno() and not self.take(orders):
                    for pid, _, _ in self.begun.values():
                        self.signal(pid, signal.SIGKILL)
                    return 0

    def take(self, orders: socket.socket) -> bool:
        """One order; whether there was one."""
        room, close = socket.CMSG_SPACE(4 * MOST_FILES), socket.MSG_CMSG_CLOEXEC
        passed = [memoryview(one[2]).cast("i") for one in orders.recvmsg(1, room, close)[1]]
        if not passed:
            return False
        order, line, *files = passed[0]  # no program gets what belongs to another: they close
        try:
            with os.fdopen(order, "rb") as file:
                pid = self.begin(marshal.load(file), line, files)
            handle = os.pidfd_open(pid)
        except OSError as bad:
            report(line, -UNSTARTED - (bad.errno or 0))
            os.close(line)
        else:
            for one in (handle, line):
                self.begun[one] = (pid, handle, line)
                self.poll.register(one, select.POLLIN)
        for one in files:
            os.close(one)
        return True

    def attend(self, descriptor: int) -> None:
        """A process has ended, or is to get a signal."""
        pid, handle, line = self.begun[descriptor]
        if descriptor == line:
            try:
                wanted = os.read(line, 1)
            except ConnectionResetError:
                wanted = b""
            if not wanted:  # whoever waited for it is gone
                self.poll.unregister(line)
            return self.signal(pid, wanted[0] if wanted else signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status < 0:  # killed itself: what it had is ours now
            self.adopted(pid)
        report(line, status)
        for one in (handle, line):
            del self.begun[one]
            try:
                self.poll.unregister(one)
            except KeyError:
                pass
            os.close(one)

    def adopted(self, gone: int) -> None:
        """End what a supervisor had that has been killed, and what comes from there meanwhile."""
        ours = {pid for pid, _, _ in self.begun.values()} - {gone}
        until = time.monotonic() + STUBBORN
        while (left := children().difference(ours)) and time.monotonic() < until:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)

    def signal(self, pid: int, signum: int) -> None:
        os.kill(pid, self.kill if signum == signal.SIGKILL else signum)


def start(order: Order, files: list[int]) -> int:
    """The number of the program's process. OSError where it cannot be started."""
    os.chdir(order["cwd"])
    numbers = [0, 1, 2, *order["numbers"]]
    apart = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for one in files]
    return os.posix_spawn(
        found(order["argv"][0], order["env"]),
        order["argv"],
        order["env"],
        file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in zip(apart, numbers, strict=True)],
        setsid=True,
        setsigdef=IGNORED_BY_PYTHON,
        setsigmask=(),
    )


def found(program: str, env: dict[str, str]) -> str:
    """The file of a program, by the PATH that it will have, as execvpe(3) finds it."""
    folders = [] if "/" in program else os.get_exec_path(env)
    tried = [os.path.join(one, program) for one in folders]
    return next((one for one in tried if os.access(one, os.X_OK)), program)


def mind(program: int) -> int:
    """Pass signals on until the program has ended; its status."""
    while True:
        signum = signal.sigwaitinfo(HEARD).si_signo
        if signum == END:
            return -signal.SIGKILL
        if signum == signal.SIGTERM:
            os.killpg(program, signal.SIGTERM)
        elif (status := reaped(program)) is not None:
            return status


def reaped(program: int) -> int | None:
    """Reap what has ended; the program's status where it is among that."""
    status = None
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == program:
            status = os.waitstatus_to_exitcode(code)


def sweep(patient: bool) -> dict[int, str]:
    """End all that is left below us: who did not go by themselves, by name."""
    left: dict[int, str] = {}
    until = time.monotonic() + (LINGER if patient else 0.0)
    while not childless() and (rest := until - time.monotonic()) > 0:
        got = signal.sigtimedwait({signal.SIGCHLD, END}, rest)
        until = 0.0 if got and got.si_signo == END else until
    until = time.monotonic() + STUBBORN
    while not childless() and time.monotonic() < until:
        for pid in children():
            left.setdefault(pid, read(pid, "comm").strip())
            os.kill(pid, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.01)
    return left


def childless() -> bool:
    """Reap what has ended; whether nothing else is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def children() -> set[int]:
    return set(map(int, read(os.getpid(), f"task/{os.getpid()}/children").split()))


def read(pid: int, file: str) -> str:
    try:
        with open(f"/proc/{pid}/{file}") as opened:
            return opened.read()
    except OSError:
        return ""


def report(line: int, status: int, left: dict[int, str] | None = None) -> None:
    """The exit status, to whoever still waits for it; what is reported after that is not heard."""
    names = " ".join(sorted(set(left.values()))) if left else ""
    heard = socket.socket(fileno=line)
    try:
        heard.send(status.to_bytes(4, "little", signed=True) + names.encode()[:1000])
        heard.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    heard.detach()


def keep(*files: int) -> None:
    """Close all descriptors but these."""
    first = 0
    for one in sorted(files):
        os.closerange(first, one)
        first = one + 1
    os.closerange(first, 1 << 20)


def main(argv: list[str]) -> int:
    """0 at the end of the orders."""
    os.chdir("/")
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
    undumpable()  # orders hold environments, and those hold keys
    no_core()
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)  # heard by the supervisors, one at a time
    gc.disable()  # it would write to every page that we share with a supervisor, and so copy it
    os.set_inheritable(int(argv[0]), False)
    return Server(start).serve(socket.socket(fileno=int(argv[0])))


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
