"""supervisor.py FD - start programs for the process at the other end of FD, and end them all when it ends, however

A process cannot promise that its children end with it: kill -9 gives it no time, and what asks the kernel for a signal
at its parent's death (bubblewrap, setpriv) may ask too late, or be one of many. So they are children of this process,
whose one purpose is to see the end of FD. Every program has a supervisor, a fork of this process, which adopts what the
program's own children leave behind (a subreaper), passes signals on, and when the program has ended, ends all of that.
Then it may have another program: a fork costs more than most of these.

FD is a socket of packets. An order is a packet with descriptors: a file that holds an object in marshal's form (argv,
env, cwd, numbers: those of the descriptors after the first three), the line, and the program's descriptors. A byte on
the line is a signal for the program, its end is KILL; back goes, once, the exit status, a signed number of four bytes,
and after it the names of what was left running.
"""

import _socket as socket  # the modules around them take 12 ms to load, half of our start
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
IDLE = 64  # processes at most that wait for another order: so many calls agent-react makes at once
UNSTARTED = 1000  # a status of -1000 - errno: the program could not be started
# PyDLL keeps hold of the interpreter: clone(2) returns in two processes
MOST_FILES = 64  # that come with an order
LIBC = ctypes.PyDLL(None, use_errno=True)


Order = dict[str, Any]


class Worker:
    """A process that runs programs, one at a time. fits: which orders; line: of the present one, -1 for none."""

    line = -1

    def __init__(self, pid: int, channel: socket.socket, fits: Any) -> None:
        self.pid, self.channel, self.fits, self.handle = pid, channel, fits, os.pidfd_open(pid)


class Server:
    """Takes orders. start(order, files): starts an order's program; its number."""

    kill: int = END

    def __init__(self, start: Callable[[Order, list[int]], int]) -> None:
        self.start = start
        self.known: dict[int, Worker] = {}  # by handle, channel and line
        self.idle: list[Worker] = []
        self.poll = select.poll()

    def fits(self, _order: Order) -> Any:
        """The same for orders that one process may run one after another; None: it runs no other."""
        return True

    def worker(self, order: Order, packet: list[int]) -> Worker:
        """A process that has got the packet: an idle one, or a new one. OSError where there is none."""
        fits = self.fits(order)
        for one in [one for one in self.idle if fits is not None and one.fits == fits]:
            self.idle.remove(one)
            try:
                pass_on(one.channel, packet)
                return one
            except OSError:  # it has just been killed
                pass
        made = self.made(fits)
        pass_on(made.channel, packet)
        return made

    def made(self, fits: Any) -> Worker:
        """A new process that waits for its first order."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starter, pid = os.getpid(), self.fork()
        if pid == 0:
            self.work(theirs, starter)
        theirs.close()
        made = Worker(pid, ours, fits)
        self.watch(made, made.handle, ours.fileno())
        return made

    def fork(self) -> int:
        return os.fork()

    def work(self, channel: socket.socket, starter: int) -> NoReturn:
        """In a new process: run one program after another, until there are no more orders."""
        try:
            keep_only(channel.fileno())
            self.settle(starter)
            while packet := received(channel):
                self.run(channel, content(packet[0]), packet[1:])
        finally:  # nothing of ours may go on as another server
            os._exit(126)

    def settle(self, starter: int) -> None:
        LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
        LIBC.prctl(DEATH_SIGNAL, END, 0, 0, 0)
        if os.getppid() != starter:
            os._exit(1)

    def run(self, channel: socket.socket, order: Order, files: list[int]) -> None:
        """Start the program, pass signals on to it, end what it leaves, and report."""
        left: dict[int, str] = {}
        try:
            program = self.start(order, files)
            keep_only(channel.fileno())  # a pipe ends when the program closes it, not when we end
            status = wait_for(program)
            left = sweep(status != -signal.SIGKILL)
            left.pop(program, None)
        except OSError as bad:
            status = unstarted(bad)
        channel.send(packed(status) + " ".join(sorted(set(left.values()))).encode()[:1000])

    def serve(self, orders: socket.socket) -> int:
        """Until the orders end, and with them everything here."""
        self.poll.register(orders, select.POLLIN)
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.known:
                    self.attend(self.known[descriptor], descriptor)
                elif descriptor == orders.fileno() and not self.take(orders):
                    for worker in self.known.values():
                        self.signal(worker, signal.SIGKILL)
                    return 0

    def take(self, orders: socket.socket) -> bool:
        """One order; whether there was one."""
        if not (packet := received(orders)):
            return False
        line = packet.pop(1)
        try:
            worker = self.worker(content(packet[0]), packet)
        except OSError as bad:
            report(line, packed(unstarted(bad)))
        else:
            worker.line = line
            self.watch(worker, line)
        for one in packet:  # no program gets what belongs to another: they close
            os.close(one)
        return True

    def watch(self, worker: Worker, *descriptors: int) -> None:
        for one in descriptors:
            self.known[one] = worker
            self.poll.register(one, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        if self.known.pop(descriptor, None):
            self.poll.unregister(descriptor)

    def attend(self, worker: Worker, descriptor: int) -> None:
        """A program is to get a signal, or has ended, or its worker has."""
        if descriptor == worker.line:
            try:
                wanted = os.read(descriptor, 1)
            except ConnectionResetError:
                wanted = b""
            worker.fits = None  # the next program might get the signal
            if not wanted:  # whoever waited for it is gone
                self.poll.modify(descriptor, 0)
            self.signal(worker, wanted[0] if wanted else signal.SIGKILL)
        elif descriptor == worker.handle:
            status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
            self.forget(descriptor)
            os.close(descriptor)
            if status < 0:  # killed itself: what it had is ours now
                self.adopted()
            worker.fits = None
            self.done(worker, packed(status))
        elif data := worker.channel.recv(4096):
            self.done(worker, data)
        else:  # it is about to end
            self.forget(descriptor)

    def done(self, worker: Worker, data: bytes) -> None:
        """Its program has ended: report that; it may have another, where it was not sent a signal."""
        if worker.line >= 0:
            self.forget(worker.line)
            report(worker.line, data)
            worker.line = -1
        self.idle = [one for one in (*self.idle, worker) if one.fits is not None]
        if worker.fits is None:
            self.dismiss(worker)
        elif len(self.idle) > IDLE:
            self.dismiss(self.idle.pop(0))

    def dismiss(self, worker: Worker) -> None:
        self.forget(worker.channel.fileno())
        worker.channel.close()

    def adopted(self) -> None:
        """End what a supervisor had that has been killed, and what comes from there meanwhile."""
        ours = {worker.pid for worker in self.known.values() if worker.handle in self.known}
        until = time.monotonic() + STUBBORN
        while (left := children().difference(ours)) and time.monotonic() < until:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)

    def signal(self, worker: Worker, signum: int) -> None:
        if worker.handle in self.known:  # else it has ended
            os.kill(worker.pid, self.kill if signum == signal.SIGKILL else signum)


def start(order: Order, files: list[int]) -> int:
    """The number of the program's process. OSError where it cannot be started."""
    os.chdir(order["cwd"])
    numbers = [0, 1, 2, *order["numbers"]]
    apart = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for one in files]
    return os.posix_spawnp(
        order["argv"][0],
        order["argv"],
        order["env"],
        file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in zip(apart, numbers, strict=True)],
        setsid=True,
        setsigdef=IGNORED_BY_PYTHON,
        setsigmask=(),
    )


def wait_for(program: int) -> int:
    """Pass signals on until the program has ended; its status."""
    while True:
        signum = signal.sigwaitinfo(HEARD).si_signo
        if signum == END:
            return -signal.SIGKILL
        if signum == signal.SIGTERM:
            os.killpg(program, signal.SIGTERM)
        elif program in (ended := reaped()[0]):
            return os.waitstatus_to_exitcode(ended[program])


def reaped() -> tuple[dict[int, int], bool]:
    """Reap what has ended: (the status of each, by its number; whether nothing else is left)."""
    ended: dict[int, int] = {}
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    except ChildProcessError:
        return ended, True
    return ended, False


def sweep(patient: bool) -> dict[int, str]:
    """End all that is left below us: who did not go by themselves, by name."""
    left: dict[int, str] = {}
    until = time.monotonic() + (LINGER if patient else 0.0)
    while not reaped()[1] and (rest := until - time.monotonic()) > 0:
        got = signal.sigtimedwait({signal.SIGCHLD, END}, rest)
        until = 0.0 if got and got.si_signo == END else until
    until = time.monotonic() + STUBBORN
    while not reaped()[1] and time.monotonic() < until:
        for pid in children():
            left.setdefault(pid, read(f"{pid}/comm").strip())
            os.kill(pid, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.01)
    return left


def children() -> set[int]:
    return set(map(int, read(f"{os.getpid()}/task/{os.getpid()}/children").split()))


def read(file: str) -> str:
    try:
        with open(f"/proc/{file}") as opened:
            return opened.read()
    except OSError:
        return ""


def pass_on(channel: socket.socket, files: list[int]) -> None:
    """A packet of descriptors."""
    passed = b"".join(one.to_bytes(4, sys.byteorder) for one in files)
    channel.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


def received(channel: socket.socket) -> list[int]:
    """The descriptors of a packet; none at the end."""
    room, close = socket.CMSG_SPACE(4 * MOST_FILES), socket.MSG_CMSG_CLOEXEC
    passed = [memoryview(one[2]).cast("i") for one in channel.recvmsg(1, room, close)[1]]
    return list(passed[0]) if passed else []


def content(order: int) -> Any:
    return marshal.loads(os.pread(order, os.fstat(order).st_size, 0))


def packed(status: int) -> bytes:
    return status.to_bytes(4, "little", signed=True)


def unstarted(bad: OSError) -> int:
    return -UNSTARTED - (bad.errno or 0)


def report(line: int, data: bytes) -> None:
    """To whoever still waits for it."""
    try:
        os.write(line, data)
    except OSError:
        pass
    os.close(line)


def keep_only(*files: int) -> None:
    """Close all other descriptors."""
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
