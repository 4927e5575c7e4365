"""The system call filter, run by a small BPF machine of our own, and by the kernel."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys

import pytest

from agentlib import paths
from agentlib.faults import Fault
from agentlib.sandbox import seccomp

X86, ARM = 0xC000003E, 0xC00000B7


def verdict(code, number, *arguments, arch=X86):
    """What a program returns for one call: the machine of linux/filter.h, as far as the program uses it."""
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at = value = 0
    while True:
        operation, yes, no, operand = steps[at]
        at += 1
        if operation == seccomp.RETURN:
            return operand
        if operation == seccomp.LOAD:
            value = struct.unpack_from("=I", data, operand)[0]
        elif operation == seccomp.AND:
            value &= operand
        else:
            true = {
                seccomp.EQUAL: value == operand,
                seccomp.ANY_BIT: bool(value & operand),
                seccomp.AT_LEAST: value >= operand,
            }[operation]
            at += yes if true else no


@pytest.fixture(params=[("x86_64", 0, X86), ("aarch64", 1, ARM)], ids=["x86_64", "aarch64"])
def machine(request, monkeypatch):
    """(column of the tables, architecture) of a machine that we pretend to be on."""
    name, column, arch = request.param
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "here", "6", "", name)))
    return column, arch


@pytest.mark.parametrize(
    "options", [{}, {"network": True}, {"unseen": True}, {"truncate": True}, {"among": True}]
)
def test_every_call_has_the_verdict_of_the_tables_whatever_its_arguments(machine, options):
    column, arch = machine
    code = seccomp.program(**options)
    refused = {
        **seccomp.REFUSED,
        **(seccomp.UNSEEN if options.get("unseen") else {}),
        **(seccomp.TRUNCATE if options.get("truncate") else {}),
        **(seccomp.OUTLIVING if options.get("among") else {}),
    }
    numbers = {pair[column] for pair in refused.values()} - {None}
    special = {pair[column] for pair in seccomp.CALLS.values()} - {None}
    if options.get("among"):
        special |= {pair[column] for pair, _ in seccomp.TO_ONESELF.values()}
    for number in range(600):
        verdicts = {verdict(code, number, one, one, one, arch=arch) for one in (0, 1, 2**32 - 1)}
        if number in numbers:
            assert verdicts == {seccomp.EPERM}, number
        elif number not in special:
            assert verdicts == {seccomp.ALLOW}, number


def test_another_architecture_and_x32_end_the_process(machine):
    _, arch = machine
    code = seccomp.program()
    assert (
        verdict(code, 0, arch=0x40000003) == verdict(code, 0, arch=X86 + ARM - arch) == seccomp.KILL
    )
    if arch == X86:
        assert verdict(code, 0x40000000) == verdict(code, 0x40000000 + 41) == seccomp.KILL


def test_sockets_of_the_internet_need_the_network_and_others_are_never_there(machine):
    column, arch = machine
    socket = seccomp.CALLS["socket"][column]
    for family in range(50):
        for kind in range(8):
            for flags in (0, 0o2000000):
                assert (
                    verdict(seccomp.program(), socket, family, kind | flags, arch=arch)
                    == seccomp.EPERM
                )
                fine = family in (2, 10) and kind != 3
                assert verdict(
                    seccomp.program(network=True), socket, family, kind | flags, arch=arch
                ) == (seccomp.ALLOW if fine else seccomp.EPERM)


def test_processes_are_made_and_name_spaces_are_not(machine):
    column, arch = machine
    code, clone = seccomp.program(), seccomp.CALLS["clone"][column]
    assert (
        verdict(code, clone, 17, arch=arch)
        == verdict(code, clone, 0x3D0F00, arch=arch)
        == seccomp.ALLOW
    )
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert verdict(code, clone, 1 << bit | 17, arch=arch) == seccomp.EPERM
    assert verdict(code, seccomp.CALLS["clone3"][column], arch=arch) == seccomp.ENOSYS


def test_pipes_are_made_and_devices_are_not(machine):
    column, arch = machine
    code, mknodat = seccomp.program(), seccomp.CALLS["mknodat"][column]
    for kind, verdicts in (
        (0x1000, seccomp.ALLOW),
        (0x8000, seccomp.ALLOW),
        (0xC000, seccomp.ALLOW),
        (0x2000, seccomp.EPERM),
        (0x6000, seccomp.EPERM),
    ):
        assert verdict(code, mknodat, 3, 0, kind | 0o644, arch=arch) == verdicts


@pytest.mark.parametrize("name", seccomp.MODES)
def test_no_file_gets_a_mode_that_makes_it_run_as_its_owner(machine, name):
    column, arch = machine
    number, at = seccomp.CALLS[name][column], seccomp.MODES[name]
    if number is None:
        pytest.skip("there is no such call")
    for mode, verdicts in (
        (0o755, seccomp.ALLOW),
        (0o4755, seccomp.EPERM),
        (0o2755, seccomp.EPERM),
    ):
        assert verdict(seccomp.program(), number, *[0] * at, mode, arch=arch) == verdicts


@pytest.mark.parametrize(("name", "before"), [("open", 1), ("openat", 2)])
def test_no_file_is_made_that_runs_as_its_owner(machine, name, before):
    column, arch = machine
    number = seccomp.CALLS[name][column]
    if number is None:
        pytest.skip("there is no such call")
    made = os.O_CREAT | os.O_WRONLY, os.O_TMPFILE | os.O_RDWR
    for flags, mode, verdicts in (
        *((flags, 0o4755, seccomp.EPERM) for flags in made),
        *((flags, 0o644, seccomp.ALLOW) for flags in made),
        (os.O_RDONLY | os.O_DIRECTORY, 0o7777, seccomp.ALLOW),  # what no mode is may be anything
    ):
        assert verdict(seccomp.program(), number, *[0] * before, flags, mode, arch=arch) == verdicts
    assert verdict(seccomp.program(), seccomp.CALLS["openat2"][column], arch=arch) == seccomp.ENOSYS


def test_nothing_is_typed_into_a_terminal(machine):
    column, arch = machine
    code, ioctl = seccomp.program(), seccomp.CALLS["ioctl"][column]
    assert (
        verdict(code, ioctl, 0, 0x5412, arch=arch)
        == verdict(code, ioctl, 0, 0x541C, arch=arch)
        == seccomp.EPERM
    )
    assert (
        verdict(code, ioctl, 0, 1 << 32 | 0x5412, arch=arch) == seccomp.EPERM
    )  # the kernel looks at 32 bits
    assert verdict(code, ioctl, 0, 0x5401, arch=arch) == seccomp.ALLOW


@pytest.mark.parametrize("name", seccomp.TO_ONESELF)
def test_among_others_a_process_changes_itself_alone(machine, name):
    column, arch = machine
    pair, wanted = seccomp.TO_ONESELF[name]
    mine = [wanted.get(n, 7) for n in range(6)]
    code = seccomp.program(among=True)
    assert verdict(code, pair[column], *mine, arch=arch) == seccomp.ALLOW
    assert verdict(seccomp.program(), pair[column], 7, 7, arch=arch) == seccomp.ALLOW
    for n, value in wanted.items():
        for other in (value + 1, 4321, 2**32 - 1):
            verdicts = verdict(code, pair[column], *mine[:n], other, *mine[n + 1 :], arch=arch)
            assert verdicts == seccomp.EPERM


def test_jumps_stay_inside_and_the_program_is_short(machine):
    code = seccomp.program(unseen=True, truncate=True, among=True)
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    assert all(at + 1 + max(yes, no) < len(steps) for at, (_, yes, no, _) in enumerate(steps[:-1]))
    assert steps[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW) and len(steps) < 300


def test_an_unknown_machine_is_refused(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "here", "6", "", "riscv64")))
    with pytest.raises(Fault, match="sandbox unavailable"):
        seccomp.program()


def test_the_kernel_takes_it():
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from agentlib.sandbox import seccomp\n"
        "seccomp.installer(seccomp.program(unseen=True))()\n"
        "import socket\n"
        "for act in (lambda: socket.socket(), lambda: os.chmod('.', 0o755), lambda: os.chroot('/')):\n"
        "    try: act(); print('done')\n"
        "    except OSError as bad: print(bad.errno)\n"
        "a, b = socket.socketpair(); a.send(b'pair'); print(b.recv(9))\n"
        "print(os.waitpid(os.fork() or os._exit(3), 0)[1])"
    )
    ran = subprocess.run(
        [sys.executable, "-IS", "-c", script, paths.TOP + "/lib"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [str(errno.EPERM)] * 3 + ["b'pair'", "768"]


def test_a_file_that_runs_as_its_owner_can_be_made_in_no_way(tmp_path):
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from agentlib.sandbox import seccomp\n"
        "seccomp.installer(seccomp.program())(); os.chdir(sys.argv[2]); os.umask(0)\n"
        "file = os.open('f', os.O_CREAT | os.O_RDWR, 0o644); made = os.O_CREAT | os.O_WRONLY\n"
        "for act in (lambda: os.chmod('f', 0o4755), lambda: os.fchmod(file, 0o2755),\n"
        "            lambda: os.open('g', made, 0o6755),\n"
        "            lambda: os.mknod('h', 0o104755), lambda: os.open('.', os.O_TMPFILE | os.O_RDWR, 0o4755)):\n"
        "    try: act(); print('done')\n"
        "    except PermissionError: pass\n"
        "os.chmod('f', 0o755); os.close(os.open('i', made, 0o1755))\n"
    )
    argv = [sys.executable, "-IS", "-c", script, paths.TOP + "/lib", str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("", "")
    assert {one.name: one.stat().st_mode & 0o7777 for one in tmp_path.iterdir()} == {
        "f": 0o755,
        "i": 0o1755,
    }
