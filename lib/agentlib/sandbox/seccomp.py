"""The system call filter of a sandboxed tool: a classic BPF program, assembled here, checked by no library.

Refused calls fail with EPERM, so that a tool can say what it could not do; calls of another architecture (or x32)
end the process, since their numbers mean other things. Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h; instructions: linux/filter.h, linux/seccomp.h.
"""

import os
import struct

from agentlib.faults import Fault
from agentlib.types import Callable

KILL, ALLOW, EPERM, ENOSYS = 0x80000000, 0x7FFF0000, 0x00050001, 0x00050026
LOAD, EQUAL, ANY_BIT, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x45, 0x35, 0x54, 0x06
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
CHARACTER_DEVICE, BLOCK_DEVICE, FILE_TYPE = 0x2000, 0x6000, 0xF000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # type into, paste into, somebody's terminal
AF_INET, AF_INET6, SOCK_RAW, SOCKET_TYPE = 2, 10, 3, 0xF

Pair = tuple[int | None, int | None]


def _numbers(text: str) -> dict[str, Pair]:
    """NAME, its number on x86_64, its number on aarch64 (-: there is no such call), and so on."""
    words = text.split()
    numbers = [None if one == "-" else int(one) for one in words if not one[0].isalpha()]
    names = [one for one in words if one[0].isalpha()]
    return dict(zip(names, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


REFUSED = _numbers("""
    io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427  ptrace 101 117
    process_vm_readv 310 270  process_vm_writev 311 271  pidfd_getfd 438 438
    process_madvise 440 440  kcmp 312 272  keyctl 250 219  add_key 248 217  request_key 249 218
    userfaultfd 323 282  perf_event_open 298 241  bpf 321 280  mount 165 40  umount2 166 39
    pivot_root 155 41  chroot 161 51  move_mount 429 429  open_tree 428 428  fsopen 430 430
    fsconfig 431 431  fsmount 432 432  fspick 433 433  mount_setattr 442 442
    open_tree_attr 467 467  unshare 272 97  setns 308 268  open_by_handle_at 304 265
    swapon 167 224  swapoff 168 225  acct 163 89  reboot 169 142  kexec_load 246 104
    kexec_file_load 320 294  init_module 175 105  finit_module 313 273  delete_module 176 106
    iopl 172 -  ioperm 173 -  quotactl 179 60  syslog 103 116
""")
# What Landlock does not see: closed by name where nothing may be changed at all (chmod, owner, times, attributes).
UNSEEN = _numbers("""
    chmod 90 -  fchmod 91 52  fchmodat 268 53  fchmodat2 452 452  chown 92 -  fchown 93 55
    lchown 94 -  fchownat 260 54  utime 132 -  utimes 235 -  utimensat 280 88  futimesat 261 -
    setxattr 188 5  lsetxattr 189 6  fsetxattr 190 7  setxattrat 463 463  removexattr 197 14
    lremovexattr 198 15  fremovexattr 199 16  removexattrat 466 466
""")
TRUNCATE = _numbers("truncate 76 45")
# What leads to other processes where there are no process and IPC namespaces: objects that outlive a call...
OUTLIVING = _numbers("""
    shmget 29 194  shmctl 31 195  shmat 30 196  semget 64 190  semctl 66 191  semop 65 193
    semtimedop 220 192  msgget 68 186  msgctl 71 187  msgsnd 69 189  msgrcv 70 188
    mq_open 240 180  mq_unlink 241 181
""")
# ...and what may be done only to the caller itself, whose number is 0: by the position of the number, and what else has
# to be 0 or 1 with it (setpriority(PRIO_PROCESS), ioprio_set(IOPRIO_WHO_PROCESS)).
TO_ONESELF: dict[str, tuple[Pair, dict[int, int]]] = {
    "prlimit64": ((302, 261), {0: 0}),
    "setpriority": ((141, 140), {0: 0, 1: 0}),
    "ioprio_set": ((251, 30), {0: 1, 1: 0}),
}
SCHEDULING = _numbers("""
    sched_setaffinity 203 122  sched_setscheduler 144 119  sched_setparam 142 118
    sched_setattr 314 274  migrate_pages 256 238  move_pages 279 239
""")
TO_ONESELF.update((name, (pair, {0: 0})) for name, pair in SCHEDULING.items())
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
CALLS = _numbers("""
    socket 41 198  clone 56 220  clone3 435 435  ioctl 16 29  mknod 133 -  mknodat 259 33
    chmod 90 -  fchmod 91 52  fchmodat 268 53  fchmodat2 452 452  creat 85 -  open 2 -
    openat 257 56  openat2 437 437
""")
# where the mode stands with which a file is made or left, and the bits that make programs of it run as its owner
MODES = {"mknod": 1, "chmod": 1, "fchmod": 1, "creat": 1}
MODES |= {"mknodat": 2, "fchmodat": 2, "fchmodat2": 2}
SET_ID, MAKES = 0o6000, 0o20000100  # O_CREAT, O_TMPFILE without O_DIRECTORY


def program(
    network: bool = False, unseen: bool = False, truncate: bool = False, among: bool = False
) -> bytes:
    """The filter, 8 bytes an instruction. network: internet sockets stay allowed (never Unix sockets).

    unseen: refuse also what Landlock cannot (chmod and the like); truncate: refuse truncate(2) by path; among: it runs
    among the user's other processes, which it may not touch.
    Fault tool_denied on a machine whose call numbers are not known here.
    """
    machine = os.uname().machine
    if machine not in MACHINES:
        raise Fault("tool_denied", f"sandbox unavailable: no system call filter for {machine}")
    column, arch = MACHINES[machine]
    refused = [_step(RETURN, EPERM)]
    tables = ((True, REFUSED), (unseen, UNSEEN), (truncate, TRUNCATE), (among, OUTLIVING))
    rules = [(pair, refused) for wanted, table in tables if wanted for pair in table.values()]
    for pair, fixed in TO_ONESELF.values() if among else ():
        checks = [_unless(_load(n), value, EPERM) for n, value in fixed.items()]
        rules.append((pair, [step for check in checks for step in check]))
    device = [_step(AND, FILE_TYPE), *_if(EQUAL, CHARACTER_DEVICE), *_if(EQUAL, BLOCK_DEVICE)]
    family = [_step(EQUAL, AF_INET, 2, 0), _step(EQUAL, AF_INET6, 1, 0), *refused]
    internet = [_load(0), *family, _load(1), _step(AND, SOCKET_TYPE), *_if(EQUAL, SOCK_RAW)]
    rules += [
        *((CALLS[name], [_load(at), *_if(ANY_BIT, SET_ID)]) for name, at in MODES.items()),
        *((CALLS[name], _made(at)) for name, at in (("open", 1), ("openat", 2))),
        # what they are to do stands in memory
        *((CALLS[name], [_step(RETURN, ENOSYS)]) for name in ("clone3", "openat2")),
        (CALLS["clone"], [_load(0), *_if(ANY_BIT, NAMESPACES)]),
        (CALLS["ioctl"], [_load(1), *_if(EQUAL, TIOCSTI), *_if(EQUAL, TIOCLINUX)]),
        (CALLS["mknod"], [_load(1), *device]),
        (CALLS["mknodat"], [_load(2), *device]),
        (CALLS["socket"], internet if network else refused),
    ]
    code = [*_unless(_step(LOAD, ARCH), arch, KILL), _step(LOAD, NUMBER)]
    if machine == "x86_64":
        code += [_step(AT_LEAST, 0x40000000, 0, 1), _step(RETURN, KILL)]  # x32 calls
    for pair, body in rules:
        # the call's number is loaded before each rule, and so after a longer one
        if (number := pair[column]) is not None:
            body = body if len(body) == 1 else [*body, _step(LOAD, NUMBER)]
            code += [_step(EQUAL, number, 0, len(body)), *body]
    return b"".join([*code, _step(RETURN, ALLOW)])


def _step(operation: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction (struct sock_filter); yes and no: how many instructions a jump skips."""
    return struct.pack("=HBBI", operation, yes, no, value)


def _load(argument: int) -> bytes:
    return _step(LOAD, FIRST_ARGUMENT + 8 * argument)


def _made(flags: int) -> list[bytes]:
    """Refused where a file is made that runs as its owner; the mode stands after the flags, and counts only then."""
    return [_load(flags), _step(ANY_BIT, MAKES, 0, 3), _load(flags + 1), *_if(ANY_BIT, SET_ID)]


def _unless(load: bytes, value: int, verdict: int) -> list[bytes]:
    return [load, _step(EQUAL, value, 1, 0), _step(RETURN, verdict)]


def _if(test: int, value: int) -> list[bytes]:
    """Refused where what is loaded passes this test."""
    return [_step(test, value, 0, 1), _step(RETURN, EPERM)]


def installer(code: bytes) -> Callable[[], None]:
    """A function that puts the filter on the calling thread and what it starts, for good; to make it takes longer."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
    made = ctypes.byref(Program(len(code) // 8, code))

    def put() -> None:
        if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, made, 0, 0):
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")

    return put
