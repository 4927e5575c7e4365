"""A child process: lines both ways, its end, and what cannot be started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from agentlib.faults import Fault
from agentlib.process import events, peer


class Run:
    """What one child said, and how it ended."""

    def __init__(self, script: str, argv: list[str] | None = None) -> None:
        self.loop = events.Loop()
        self.lines = list[bytes]()
        self.messages = list[bytes]()
        self.status: int | None = None
        self.child = peer.Peer(
            self.loop,
            argv or ["/bin/sh", "-c", script],
            dict(os.environ),
            on_line=self.lines.append,
            on_message=self.messages.append,
            on_end=self.end,
        )

    def end(self, status: int) -> None:
        assert self.status is None
        self.status = status

    def wait(self) -> Run:
        until = time.monotonic() + 60
        self.loop.at(until, lambda: None)
        while self.status is None:
            assert time.monotonic() < until
            self.loop.turn()
        return self


def test_lines_go_both_ways_however_large() -> None:
    run = Run("cat")
    line = b"x" * 3_000_000 + b"\n"
    run.child.send(line)
    run.child.send(b"end\n")
    while len(run.lines) < 2:
        run.loop.turn()
    assert run.lines == [line.strip(), b"end"]
    run.child.close()
    assert run.wait().status == 0


def test_everything_that_was_written_is_read_before_the_end() -> None:
    run = Run("for i in 1 2 3; do echo $i; done; echo bad >&2; printf last; exit 3").wait()
    assert run.lines == [b"1", b"2", b"3", b"last"] and run.messages == [b"bad"]
    assert run.status == 3 and run.child.tail == b"bad\n"


def test_a_grandchild_that_keeps_the_pipe_does_not_keep_us() -> None:
    started = time.monotonic()
    run = Run("sleep 200 & echo said").wait()
    assert run.lines == [b"said"] and time.monotonic() - started < 40


def test_a_child_that_will_not_end_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "HARD", 0.2)
    run = Run('trap "" TERM; echo up; while :; do sleep 0.05; done')
    while not run.lines:
        run.loop.turn()
    run.child.close(grace=0.1)
    assert run.wait().status == -signal.SIGKILL


def test_kill_ends_the_whole_group_at_once() -> None:
    run = Run("sleep 200 & echo $!; wait")
    while not run.lines:
        run.loop.turn()
    run.child.kill()
    for _ in range(3000):
        try:
            os.kill(int(run.lines[0]), 0)
        except ProcessLookupError:
            break
        if "Z" in Path(f"/proc/{int(run.lines[0])}/stat").read_text().split(")")[1]:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the grandchild lives")
    assert run.status is None


def test_the_child_has_the_usual_signals_again() -> None:
    run = Run("grep SigIgn /proc/self/status").wait()
    assert int(run.lines[0].split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_the_kernel_ends_the_child_with_its_starter() -> None:
    read, write = os.pipe()
    starter = os.fork()
    if starter == 0:
        run = Run("sleep 200")
        os.write(write, str(run.child.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(starter, 0)
    pid = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    for _ in range(3000):
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]:
                return
        except FileNotFoundError:
            return
        time.sleep(0.02)
    pytest.fail("the child outlives its starter")


@pytest.mark.parametrize(
    "content, mode, kind",
    [
        (None, 0, "not_found"),
        ("#!/no/such\n", 0o755, "invalid_request"),
        ("echo\n", 0o644, "invalid_request"),
    ],
)
def test_what_cannot_be_run_is_reported(
    content: str | None, mode: int, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "program"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Fault) as caught:
        peer.spawn([str(file)], {})
    assert caught.value.kind == kind and str(file) in caught.value.message
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_stays_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run = Run("cat")
        run.child.close()
        run.wait()
    del run
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1  # the poll object of the last loop
