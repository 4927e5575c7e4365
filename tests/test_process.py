"""One child process: pumped both ways, bounded in time and output, ended with all of its group."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agentlib.process import run as process_run
from agentlib.process.child import Direct
from agentlib.process.ordered import KILLED
from agentlib.process.run import Outcome, Scope
from agentlib.process.supervised import Supervised
from agentlib.sandbox import landlock, prepare
from agentlib.sandbox.kept.pool import SandboxPool

Run = Callable[..., Outcome]


@pytest.fixture(params=["a process of ours", "a kept sandbox", "Landlock alone"])
def run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """A function that runs a piece of shell, either way."""
    kept = SandboxPool()

    def make(
        script: str, stdin_data: bytes = b"", timeout: float = 10, cap: int = 1 << 20
    ) -> Outcome:
        argv = ["/bin/sh", "-c", script]
        if request.param == "a process of ours":
            return process_run.run({"args": argv}, stdin_data, timeout, cap, Scope())
        with prepare.Sandbox(argv, "read", str(tmp_path), env={"PATH": os.defpath}) as sandbox:
            return process_run.run(
                partial(started, kept, sandbox), stdin_data, timeout, cap, Scope()
            )

    if request.param == "Landlock alone":
        monkeypatch.setitem(prepare._ways, True, ("landlock", ""))
        if not landlock.abi():
            pytest.skip("this kernel has no Landlock")
    elif request.param != "a process of ours" and not prepare.walled()[0]:
        pytest.skip("there is no sandbox on this machine")
    yield make
    kept.close()


def started(kept: SandboxPool, sandbox: prepare.Sandbox, *stdin_data: int) -> process_run.Child:
    return kept.begin(sandbox, *stdin_data)


def test_a_megabyte_each_way_at_once_does_not_lock_up(run: Run) -> None:
    done = run(
        "head -c 1000000 /dev/zero; cat >/dev/null; head -c 1000000 /dev/zero",
        b"x" * 1_000_000,
        cap=4_000_000,
    )
    assert (done.status, len(done.out)) == (0, 2_000_000)


def test_a_child_that_never_reads_is_no_error(run: Run) -> None:
    assert run("echo hi", b"x" * 1_000_000).out == b"hi\n"


def test_a_child_with_closed_output_is_waited_for(run: Run) -> None:
    assert run("exec >&- 2>&-; sleep 0.2; exit 4").status == 4


def test_time_is_bounded_also_for_one_that_ignores_term(run: Run) -> None:
    began = time.monotonic()
    done = run("trap '' TERM; while :; do sleep 1; done", timeout=0.3)
    assert done.late and done.status in (-9, 128 + 9)
    assert time.monotonic() - began < 0.3 + process_run.GRACE + 40


def test_output_over_the_cap_ends_the_child(run: Run) -> None:
    done = run("yes", cap=100_000)
    assert done.over and len(done.out) == 100_000


def test_only_the_end_of_stderr_is_kept(run: Run) -> None:
    done = run("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done")
    assert len(done.err) <= process_run.ERR_CAP and done.err.endswith(b"line 2999\n")


def test_a_grandchild_that_holds_the_output_is_not_waited_for_and_ends(run: Run) -> None:
    began = time.monotonic()
    assert run("sleep 60.4321 & echo left").out == b"left\n"
    assert time.monotonic() - began < 40
    for _ in range(3000):
        if not running("60.4321"):
            break
        time.sleep(0.02)
    assert not running("60.4321")


def processes(word: str) -> list[int]:
    """The numbers of those that have this word in their command."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [int(file.parent.name)] if word in file.read_text() else []
    return found


def running(word: str) -> bool:
    """Whether a process has this word in its command."""
    return bool(processes(word))


def test_a_cancelled_scope_ends_what_runs_and_starts_nothing_more() -> None:
    scope = Scope()
    outcomes: list[Outcome] = []
    sleep = {"args": ["sleep", "60"]}
    thread = threading.Thread(
        target=lambda: outcomes.append(process_run.run(sleep, b"", 60, 10, scope))
    )
    thread.start()
    while not scope._children:
        time.sleep(0.01)
    scope.cancel()
    thread.join(40)
    assert not thread.is_alive() and outcomes[0].status == -15
    with pytest.raises(InterruptedError):
        process_run.run({"args": ["true"]}, b"", 1, 1, scope)


def test_a_program_that_is_not_there_is_an_oserror_and_no_descriptor_is_left(
    run: Run, tmp_path: Path
) -> None:
    run("true")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        process_run.run({"args": [str(tmp_path / "none")]}, b"", 1, 1, Scope())
    run("true")
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_descriptor_to_spare_nothing_is_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none)
    monkeypatch.setattr("_socket.socketpair", none)
    for begin in (Direct, process_run.start):
        with pytest.raises(OSError, match="Too many"):
            begin({"args": ["sleep", "60.1234"]}, 0)
    assert not running("60.1234")


@pytest.mark.parametrize(("session", "blocked"), [(True, False), (False, True)])
def test_ctrl_c_is_for_the_program_and_not_for_the_filter_beside_it(
    session: bool, blocked: bool, tmp_path: Path
) -> None:
    """A filter in our session, which Ctrl-C reaches as it starts, showed a traceback: the program ends it itself."""
    with (tmp_path / "status").open("wb") as file:
        child = Direct({"args": ["cat", "/proc/self/status"], "session": session}, 0, file.fileno())
    assert child.reap() == 0
    lines = dict(line.split(":\t") for line in (tmp_path / "status").read_text().splitlines())
    assert bool(int(lines["SigBlk"], 16) & 1 << signal.SIGINT - 1) is blocked


def test_what_a_program_leaves_in_a_session_of_its_own_is_ended_and_named() -> None:
    done = process_run.run(
        {"args": ["/bin/sh", "-c", "setsid sleep 60.7531 >/dev/null 2>&1 & echo hi"]},
        b"",
        5,
        100,
        Scope(),
    )
    assert (done.status, done.out, done.left) == (0, b"hi\n", "sleep")
    assert not running("60.7531")


def test_what_its_children_write_a_moment_later_is_heard() -> None:
    script = {"args": ["/bin/sh", "-c", "(sleep 0.1; echo late) & echo soon"]}
    assert process_run.run(script, b"", 5, 100, Scope()).out == b"soon\nlate\n"


def test_a_supervisor_that_is_gone_is_replaced() -> None:
    assert process_run.run({"args": ["true"]}, b"", 5, 1, Scope()).status == 0
    server = Supervised._server
    assert server
    server[1].signal(9)
    assert server[1].ended(60)
    assert process_run.run({"args": ["true"]}, b"", 5, 1, Scope()).status == 0


def test_a_supervisor_that_is_killed_takes_all_with_it(run: Run) -> None:
    ended = list[Outcome]()
    script = "setsid sleep 60.8201 & sleep 60.8202; exit 0"
    thread = threading.Thread(target=lambda: ended.append(run(script, timeout=50)))
    thread.start()
    until = time.monotonic() + 40
    while not (mine := processes("60.8202")) and time.monotonic() < until:
        time.sleep(0.01)
    shell = next(one for one in mine if Path(f"/proc/{one}/comm").read_text() == "sh\n")
    status = Path(f"/proc/{shell}/stat").read_text()
    os.kill(int(status.rpartition(")")[2].split()[1]), 9)
    thread.join(60)
    assert ended and ended[0].status == KILLED
    while processes("60.820") and time.monotonic() < until:
        time.sleep(0.01)
    assert not processes("60.820")
