#!/usr/bin/env -S python3 -IS
"""escape.py OUTSIDE PID PORT - try every way out of a sandbox, gently, and say which ones are open

Run as a tool. OUTSIDE: a folder of the user's beside the working folder, with a file `file` and a socket `socket`.
PID: the starter's. PORT: of a listener on 127.0.0.1, TCP and UDP. Prints one JSON object: each attempt with "done"
or the name of what refused it. Kernel and device files are opened only, never written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import sys

OUTSIDE = sys.argv[1]
PID = int(sys.argv[2])
PORT = int(sys.argv[3])
FILE = f"{OUTSIDE}/file"
LIBC = ctypes.CDLL(None, use_errno=True)
ATTEMPTS = {}


def attempt(function):
    """Register a way out; it counts as closed when it raises."""
    ATTEMPTS[function.__name__] = function
    return function


def call(number, *arguments):
    """A bare system call (x86_64), with the errno as an exception."""
    if LIBC.syscall(number, *(ctypes.c_long(one) for one in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")


def opened(path, flags):
    """Open and close, no more."""
    os.close(os.open(path, flags))


@attempt
def write_work():
    with open("made-by-tool", "w") as file:
        file.write("work")


@attempt
def write_tmp():
    with open(os.path.join(os.environ["TMPDIR"], "made"), "w") as file:
        file.write("tmp")


@attempt
def write_home():
    with open(os.path.join(os.environ["HOME"], ".bashrc"), "w") as file:
        file.write("home")


@attempt
def read_environ_of_starter():
    for pid in {str(PID), "1", *filter(str.isdigit, os.listdir("/proc"))}:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if b"PLANTED" in file.read():
                return
    raise PermissionError(errno.EACCES, "")


@attempt
def read_memory_of_starter():
    opened(f"/proc/{PID}/mem", os.O_RDONLY)


@attempt
def read_own_environment():
    if "PLANTED" not in json.dumps(dict(os.environ)):
        raise PermissionError(errno.EACCES, "")


@attempt
def write_outside():
    opened(FILE, os.O_WRONLY)


@attempt
def create_outside():
    opened(f"{OUTSIDE}/new", os.O_WRONLY | os.O_CREAT)


@attempt
def truncate_outside():
    os.truncate(FILE, 0)


@attempt
def unlink_outside():
    os.unlink(FILE)


@attempt
def rename_outside():
    os.rename(FILE, f"{OUTSIDE}/other")


@attempt
def mkdir_outside():
    os.mkdir(f"{OUTSIDE}/folder")


@attempt
def hard_link_to_outside():
    os.link(FILE, "link")
    opened("link", os.O_WRONLY)


@attempt
def soft_link_to_outside():
    with contextlib.suppress(OSError):
        os.symlink(FILE, f"{os.environ['TMPDIR']}/soft")
    opened(f"{os.environ['TMPDIR']}/soft", os.O_WRONLY)


@attempt
def descriptor_of_starter():
    opened(f"/proc/{PID}/cwd/../file", os.O_WRONLY)


@attempt
def chmod_outside():
    os.chmod(FILE, 0o640)


@attempt
def utime_outside():
    os.utime(FILE, (1, 1))


@attempt
def setxattr_outside():
    os.setxattr(FILE, "user.mark", b"1")


@attempt
def unix_socket():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"{OUTSIDE}/socket")


@attempt
def abstract_socket():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"\0agentutils-test-{PID}")


@attempt
def tcp():
    with socket.create_connection(("127.0.0.1", PORT), 2) as one:
        one.sendall(b"tcp")


@attempt
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"udp", ("127.0.0.1", PORT))


@attempt
def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


@attempt
def netlink_socket():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@attempt
def signal_starter():
    os.kill(PID, 0)


@attempt
def limit_starter():
    call(302, PID, 7, 0, 0)


@attempt
def slow_starter():
    call(141, 0, PID, 1)


@attempt
def ptrace_starter():
    call(101, 16, PID, 0, 0)


@attempt
def ptrace_me():
    call(101, 0, 0, 0, 0)


@attempt
def process_vm_readv():
    call(310, os.getpid(), 0, 0, 0, 0, 0)


@attempt
def io_uring():
    call(425, 1, 0)


@attempt
def unshare_user():
    call(272, 0x10000000)


@attempt
def clone_user():
    if (pid := LIBC.syscall(56, ctypes.c_long(0x10000000 | signal.SIGCHLD), 0, 0, 0, 0)) == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "")


@attempt
def mount():
    if LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "")


@attempt
def mknod():
    os.mknod(f"{os.environ['TMPDIR']}/device", 0o20600, os.makedev(1, 3))


@attempt
def chroot():
    os.chroot("/")


@attempt
def keyring():
    call(250, 0, -3, 0)


@attempt
def type_into_terminal():
    fcntl.ioctl(0, 0x5412, b"x")


@attempt
def become_root():
    os.setuid(0)
    opened("/etc/shadow", os.O_RDONLY)


@attempt
def sysctl():
    opened("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@attempt
def sysrq():
    opened("/proc/sysrq-trigger", os.O_WRONLY)


@attempt
def sysfs():
    opened("/sys/kernel/uevent_helper", os.O_WRONLY)


@attempt
def control_group():
    opened("/sys/fs/cgroup/pids/tasks", os.O_WRONLY)


@attempt
def kernel_log():
    opened("/dev/kmsg", os.O_WRONLY)


@attempt
def disk():
    opened(
        next(
            (
                f"/dev/{one}"
                for one in ("vda", "sda", "nvme0n1", "xvda")
                if os.path.exists(f"/dev/{one}")
            ),
            "/dev/no-disk",
        ),
        os.O_RDONLY,
    )


@attempt
def terminal():
    opened("/dev/tty", os.O_RDWR)


@attempt
def shadow():
    with open("/etc/shadow") as file:
        file.read(1)


@attempt
def capabilities():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    if (
        not int(fields["CapEff"], 16)
        and fields["NoNewPrivs"].strip() == "1"
        and fields["Seccomp"].strip() == "2"
    ):
        raise PermissionError(errno.EPERM, "")


def tried(function):
    """What became of one attempt."""
    try:
        function()
    except OSError as refused:
        return errno.errorcode.get(refused.errno or 0, type(refused).__name__)
    except Exception as refused:
        return type(refused).__name__
    return "done"


if __name__ == "__main__":
    print(json.dumps({name: tried(function) for name, function in ATTEMPTS.items()}))
