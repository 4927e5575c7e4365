"""fork_server.py FD TOOL - start a tool for every order that comes on FD, until FD is closed

It runs inside a kept sandbox (sandbox.py), so that a call does not start a bubblewrap of its own. In what bubblewrap
isolates, each call has its own namespaces (processes, mounts, IPC), its own /proc and its own empty folders, no
capabilities, the filter of system calls, the limits. Namespaces in which a call left nothing serve the next call of
the same program. TOOL is for ps: the sandbox was started for it. Where there is no bubblewrap, this runs outside, and
Landlock restricts each call.

FD is a socket of packets: the setup, an object in marshal's form, which is answered, and then orders (supervisor.py):
argv, env, cwd, limits. With Landlock: network, and unseen: whether nothing at all may be changed; with rulesets of it.
"""

import _socket as socket  # neither it nor contextlib or functools is loaded: see supervisor.py
import _thread
import ctypes
import gc
import marshal
import os
import resource
import stat
import sys
from itertools import zip_longest

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))

from agentlib.faults import Fault
from agentlib.private import undumpable
from agentlib.process import supervisor
from agentlib.process.supervisor import HEARD, LIBC, Order, Worker, keep_only, packed, read, reaped
from agentlib.sandbox import landlock, seccomp
from agentlib.sandbox.overlay import CHANGES, DOOR, EMPTY, NOTHING, OVERLAY, READY, WORK
from agentlib.types import TYPE_CHECKING, Any, Callable, Iterator

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

# by network and unseen: what puts on the filter of system calls for a tool that Landlock alone holds
_filters: dict[tuple[bool, bool], Callable[[], None]] = {}
View = list[tuple[str, str, int]]  # path, EMPTY or OVERLAY or '', bytes of an empty place

SETUP = 1 << 20  # bytes of it, at most
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT = 1, 2, 4, 8, 32  # sys/mount.h
BIND, RECURSIVE = 4096, 16384
CLONE = {"x86_64": 56, "aarch64": 220}  # the number of clone(2)
FSOPEN, FSCONFIG, FSMOUNT, MOVE_MOUNT = 430, 431, 432, 429  # the same on every machine
SET_FLAG, SET_STRING, CREATE = 0, 1, 6  # linux/mount.h
DETACH, FROM_DESCRIPTOR, HERE = 2, 4, -100  # MNT_DETACH, MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD
LIMITS = 16  # RLIM_NLIMITS
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}
OWN_SPACES = 0x00020000 | 0x08000000 | 0x20000000  # CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID
NEW_USERS = 0x10000000  # CLONE_NEWUSER
DUMPABLE, DROP_FROM_BOUND, AMBIENT, CLEAR_ALL = 4, 24, 47, 4  # linux/prctl.h
CAPABILITY_VERSION_3 = 0x20080522
NO_NEW_PRIVILEGES, RESTRICT_SELF = 38, 446  # the number of landlock_restrict_self(2)


class LandlockServer(supervisor.Server):
    """Outside of any sandbox: each call has a process of its own, made before it, that Landlock restricts."""

    def __init__(self) -> None:
        super().__init__(start_restricted)
        undumpable()
        LIBC.prctl(supervisor.SUBREAPER, 1, 0, 0, 0)
        bar_capabilities()  # of root a tool gets but the files
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)

    def worker(self, order: Order, packet: list[int]) -> Worker:
        filtered(order["network"], order["unseen"])
        worker, worker.fits = super().worker(order, packet), None
        try:
            self.idle += [] if self.idle else [self.made(True)]
        except OSError:  # the next call makes it
            pass
        return worker


class ForkServer(supervisor.Server):
    """Inside of a sandbox of bubblewrap. setup: view, network, user (uid, gid)."""

    kill = signal.SIGKILL

    def __init__(self, setup: dict[str, Any]) -> None:
        super().__init__(supervisor.start)
        self.new: list[Any] = []  # of the first process of a call: its traces before the first tool
        self.user, self.mount = setup["user"], mounting(setup["view"])
        self.places = [path for path, action, _ in setup["view"] if action == EMPTY]
        self.places.append("/dev/pts")
        self.overlays: dict[str, int] = {}  # by the name of their changes: their list's version
        self.filter = seccomp.installer(seccomp.program(setup["network"]))
        seal(self.user)
        if any(action == OVERLAY for _, action, _ in setup["view"]):
            try_overlay()

    def fits(self, order: Order) -> Any:
        """What two orders have in common of which one uses the other's namespaces: tool, view of the folder, limits."""
        names = ("changes", "version", "cwd", "limits")
        return [order["argv"][0], *(order[name] for name in names)]

    def worker(self, order: Order, packet: list[int]) -> Worker:
        self.ready(order, packet[4:])
        return super().worker(order, packet[:4])

    def fork(self) -> int:
        number = CLONE[os.uname().machine]
        return check(LIBC.syscall(number, OWN_SPACES | signal.SIGCHLD, 0, 0, 0, 0), "clone")

    def settle(self, _starter: int) -> None:
        """The first process of its namespaces has all that is started in them below it, and ends with this server."""

    def run(self, channel: socket.socket, order: Order, files: list[int]) -> None:
        """Be the first process of the namespaces: prepare them, start the tool; and end, where it leaves anything."""
        try:
            if not self.new:
                self.furnish(order)
                self.new = list(traces(self.places))
            actions = [(os.POSIX_SPAWN_DUP2, one, n) for n, one in enumerate(files)]
            argv, env, usual = order["argv"], order["env"], supervisor.IGNORED_BY_PYTHON
            tool = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsigdef=usual)
        except BaseException as bad:
            os.write(files[2], f"sandbox: {bad}\n".encode())
            raise
        keep_only(channel.fileno())  # a pipe ends when the tool closes it, not when we end
        while (found := os.waitpid(-1, 0))[0] != tool:
            pass
        code = os.waitstatus_to_exitcode(found[1])
        code = code if code >= 0 else 128 - code
        if not reaped()[1] or not self.as_new():
            os._exit(code)
        channel.send(packed(code))

    def as_new(self) -> bool:
        """Whether the tools that ran in these namespaces have left nothing. It stops at the first trace."""
        try:
            return all(old == now for old, now in zip_longest(self.new, traces(self.places)))
        except OSError:
            return False

    def ready(self, order: Order, listed: list[int]) -> None:
        """The order's overlay, made where there is none for its changes and its list (an open one, or none)."""
        for name in order["drop"]:
            if self.overlays.pop(name, None) is not None:
                LIBC.umount2(os.fsencode(f"{READY}/{name}"), DETACH)
            for worker in [one for one in self.idle if one.fits[1] == name]:
                self.idle.remove(worker)
                self.dismiss(worker)
        name, version = order["changes"], order["version"]
        if self.overlays.get(name) == version or not order["overlay"]:
            return
        path, folder = f"{READY}/{name}", os.open(order["overlay"], os.O_PATH | os.O_CLOEXEC)
        place = os.open(f"{DOOR}/{name}", os.O_PATH | os.O_CLOEXEC)
        if name in self.overlays:
            LIBC.umount2(os.fsencode(path), DETACH)
        os.makedirs(path, exist_ok=True)
        mount_overlay(path, folder, f"/proc/self/fd/{place}", name != NOTHING, *listed)
        self.overlays[name] = version
        os.close(folder)
        os.close(place)

    def furnish(self, order: Order) -> None:
        os.setsid()
        self.mount(order["changes"])
        os.makedirs(order["cwd"], exist_ok=True)
        os.chdir(order["cwd"])
        if self.user != (0, 0):
            become_user(*self.user)
        drop_capabilities()
        impose(order["limits"], order["limits"]["processes"])
        self.filter()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, terminate_all)


def terminate_all(*_: object) -> None:
    """SIGTERM for all processes of this call."""
    LIBC.kill(-1, signal.SIGTERM)


def traces(places: list[str]) -> Iterator[Any]:
    """All in which a tool could leave something to the next one in its namespaces: files in the empty folders, System V
    objects, how the kernel treats their first process. (POSIX queues cannot be made: sandbox/limits.py.)"""
    for place in places:
        yield from contents(place)
    yield [read(f"sysvipc/{name}") for name in ("shm", "sem", "msg")]
    yield [resource.getrlimit(n) for n in range(LIMITS)]
    yield os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)
    yield LIBC.syscall(IOPRIO_GET[os.uname().machine], 1, 0)
    yield read("self/oom_score_adj"), read("self/autogroup")


def contents(place: str) -> Iterator[Any]:
    """What lies in an empty place, itself too, but for what is mounted there, with all that can be changed of it."""
    device, found = os.lstat(place).st_dev, [place]
    for path in found:  # which grows meanwhile
        now = os.lstat(path)
        if now.st_dev != device:
            continue
        marks = os.listxattr(path, follow_symlinks=False)
        yield path, now[:7], now.st_mtime_ns, now.st_ctime_ns, marks
        if stat.S_ISDIR(now.st_mode):
            found += [f"{path}/{name}" for name in sorted(os.listdir(path))]


def start_restricted(order: Order, files: list[int]) -> int:
    """The number of the tool's process, behind Landlock: a thread of which nothing else comes puts on the walls."""
    # without a user namespace the user's other processes count too
    with open("/proc/loadavg") as load:
        running = int(load.read().split()[3].split("/")[1])
    impose(order["limits"], order["limits"]["processes"] + running)

    def spawn() -> int:
        filtered(order["network"], order["unseen"])()
        return supervisor.start({**order, "numbers": ()}, files[:3])

    return restricted(files[3:], spawn)


def impose(limits: dict[str, int], processes: int) -> None:
    """Put these (limits.defaults) on this process. processes: of all that the kernel counts with the tool's."""
    wanted = {"NPROC": processes, "AS": limits["memory"], "FSIZE": limits["file"], "CORE": 0}
    for name, value in {**wanted, "NOFILE": limits["files"], "MSGQUEUE": 0}.items():
        which = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(which)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))


def limit(ruleset: int) -> None:
    """From now on this thread may do what the ruleset allows; what is added to it later is of no use to it. OSError."""
    check(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "landlock")
    check(LIBC.syscall(RESTRICT_SELF, ruleset, 0), "landlock")


def restricted(rulesets: list[int], work: Callable[[], int]) -> int:
    """What work() returns or raises, done by a new thread that these hold from the start, and that has ended then."""
    made: list[int | BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            for one in rulesets:
                limit(one)
            made.append(work())
        except BaseException as bad:
            made.append(bad)
        finally:
            done.release()

    _thread.start_new_thread(run, ())
    done.acquire()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def filtered(network: bool, unseen: bool) -> Callable[[], None]:
    if not (found := _filters.get((network, unseen))):
        old = landlock.abi() < 3
        code = seccomp.program(network, unseen=unseen, truncate=old, among=True)
        found = _filters[network, unseen] = seccomp.installer(code)
    return found


def mounting(view: View) -> Callable[..., None]:
    """A function that makes the mounts of a call: new empty folders, the overlay, and what the view shows in them."""
    spaces = {path for path, action, _ in view if action}
    steps = [step for step in view if step[1] or above(step[0], view) in spaces]

    def mount_all(changes: str) -> None:
        kept = {
            path: os.open(f"{READY}/{changes}" if action else path, os.O_PATH | os.O_CLOEXEC)
            for path, action, _ in steps
            if action != EMPTY
        }
        for path, action, size in steps:
            if action == EMPTY:
                os.makedirs(path, exist_ok=True)
                mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEVICES, f"mode=755,size={size}")
                continue
            make_mount_point(path, os.path.isdir(f"/proc/self/fd/{kept[path]}"))
            mount(f"/proc/self/fd/{kept[path]}", path, None, BIND | RECURSIVE)
        terminals = "newinstance,ptmxmode=0666,mode=620"
        mount("devpts", "/dev/pts", "devpts", NO_SUID | NO_PROGRAMS, terminals)
        mount_proc()

    return mount_all


def above(path: str, view: View) -> str:
    """The nearest folder above this one that the view says something of; '' where there is none."""
    folders = (one for one, _, _ in view if path.startswith(f"{one.rstrip('/')}/"))
    return max(folders, key=len, default="")


def make_mount_point(path: str, folder: bool) -> None:
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def mount_proc() -> None:
    """A /proc of one's own; what root could turn there is read-only, as bubblewrap has it."""
    flags = NO_SUID | NO_DEVICES | NO_PROGRAMS
    mount("proc", "/proc", "proc", flags)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        if os.path.exists(path := f"/proc/{name}"):
            mount(path, path, None, BIND)
            mount(None, path, None, REMOUNT | BIND | READ_ONLY | flags)


def mount_overlay(target: str, lower: int, place: str, writable: bool, ruleset: int = -1) -> None:
    """Put the overlay of an open folder on a path. place: the folder for changes; ruleset: -1 for no list. OSError."""
    rulesets = [ruleset] if ruleset >= 0 else []
    made = restricted(rulesets, lambda: new_overlay(f"/proc/self/fd/{lower}", place, writable))
    overlay = landlock.Descriptor(made)
    call(MOVE_MOUNT, overlay, b"", HERE, os.fsencode(target), FROM_DESCRIPTOR)


def new_overlay(lower: str, place: str, writable: bool) -> int:
    """The descriptor of a new overlay that is mounted nowhere."""
    file_system = landlock.Descriptor(call(FSOPEN, b"overlay", 1))
    parts = {"lowerdir": f"{lower}:{place}"}
    if writable:
        upper, work = f"{place}/{CHANGES}", f"{place}/{WORK}"
        parts = {"lowerdir": lower, "upperdir": upper, "workdir": work}
    for name, value in parts.items():
        call(FSCONFIG, file_system, SET_STRING, name.encode(), os.fsencode(value), 0)
    call(FSCONFIG, file_system, SET_FLAG, b"userxattr", None, 0)
    call(FSCONFIG, file_system, CREATE, None, None, 0)
    return call(FSMOUNT, file_system, 1, NO_SUID | NO_DEVICES | (0 if writable else READ_ONLY))


def try_overlay() -> None:
    """OSError where an overlay does not do in this sandbox what it must."""
    place = f"{DOOR}/trial-{os.urandom(8).hex()}"
    lower, changes, work = (f"{place}/{name}" for name in ("lower", CHANGES, WORK))
    for path in (lower, changes, work):
        os.makedirs(path, 0o700)
    for name in ("listed", "later"):
        os.close(os.open(f"{lower}/{name}", os.O_CREAT, 0o600))
    ruleset = landlock.Descriptor(landlock.reading())
    if ruleset < 0:
        raise OSError("this kernel has no Landlock")
    for path in (f"{lower}/listed", changes, work):
        landlock.allow(ruleset, path)
    mount_overlay(lower, landlock.Descriptor(os.open(lower, os.O_PATH)), place, True, ruleset)
    for name, wanted in (("listed", True), ("later", False), ("new", True)):
        flags = os.O_CREAT if name == "new" else os.O_RDONLY
        try:
            seen = os.open(f"{lower}/{name}", flags, 0o600)
            os.close(seen)
        except PermissionError:
            seen = -1
        if (seen >= 0) is not wanted:
            raise OSError(f"a file in an overlay, {name}, can or cannot be read")
    LIBC.umount2(os.fsencode(lower), DETACH)


def call(number: int, *arguments: bytes | int | None) -> int:
    return check(int(LIBC.syscall(number, *arguments)), "overlay")


def seal(user: tuple[int, int]) -> None:
    """Once, for all calls: nothing writable that they would share, no user namespaces, and nobody can trace us."""
    if user == (0, 0):  # else each call needs one, and the filter refuses more
        mount("proc", "/proc", "proc", 0)
        write("/proc/sys/user/max_user_namespaces", "0")
        check(LIBC.umount2(b"/proc", DETACH), "umount /proc")
    mount(None, "/dev", None, REMOUNT | BIND | READ_ONLY | NO_SUID)
    check(LIBC.prctl(DUMPABLE, 0, 0, 0, 0), "prctl")
    bar_capabilities()


def become_user(uid: int, gid: int) -> None:
    """Be the user again. To mount, a fork server is root in its sandbox's user namespace; outside it is the user."""
    check(LIBC.unshare(NEW_USERS), "unshare")
    check(LIBC.prctl(DUMPABLE, 1, 0, 0, 0), "prctl")  # else these files are not ours
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid} 0 1")
    write("/proc/self/gid_map", f"{gid} 0 1")
    check(LIBC.prctl(DUMPABLE, 0, 0, 0, 0), "prctl")
    bar_capabilities()


def bar_capabilities() -> None:
    """No program that is started from here on gets a capability."""
    check(LIBC.prctl(AMBIENT, CLEAR_ALL, 0, 0, 0), "prctl")
    for capability in range(64):
        if LIBC.prctl(DROP_FROM_BOUND, capability, 0, 0, 0):
            break  # the one before was the last that this kernel knows


def drop_capabilities() -> None:
    """Give up those that this process has."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    check(LIBC.capset(header, none), "capset")


def write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    words = [one and os.fsencode(one) for one in (source, target, kind, data)]
    check(LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def main(argv: list[str]) -> int:
    """0 at the end of the orders. The answer to the setup: why no call can be started, or ''; and our mount table."""
    os.chdir("/")
    os.set_inheritable(int(argv[0]), False)
    orders = socket.socket(fileno=int(argv[0]))
    server, why = None, ""
    try:
        setup = marshal.loads(orders.recv(SETUP))
        server = ForkServer(setup) if setup["view"] is not None else LandlockServer()
    except (OSError, Fault, EOFError, ValueError) as bad:
        why = str(bad)
    gc.disable()  # it would write to every page that we share with a child, and so copy it
    with open("/proc/self/mountinfo", "rb") as table:
        table.read()
        passed = socket.SOL_SOCKET, socket.SCM_RIGHTS, table.fileno().to_bytes(4, sys.byteorder)
        orders.sendmsg([marshal.dumps(why)], [passed])
    return server.serve(orders) if server else 1


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
