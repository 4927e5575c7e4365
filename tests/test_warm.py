"""A filter kept warm: one process whoever starts it, private, cancelled with its client, gone when idle or killed."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.warm import server as warm_server
from agentlib.warm import socket as warm_socket

ECHO = str(Path(__file__).with_name("warm_echo.py"))
Lines = list[dict[str, Any]]


class Warm:
    """The filter of one test: its home, its runtime folder, its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[subprocess.Popen[bytes]]()
        self.env = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(folder),
            "AGENT_WARM_MINUTES": "1",
        }

    def start(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-IS", ECHO, "echo", *args],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,
            )
        )
        return self.started[-1]

    def end(self) -> None:
        """End every process of this test."""
        for process in self.started:
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    if stream:
                        stream.close()
            process.kill()
            process.wait()
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)

    def ask(self, *requests: dict[str, Any], args: tuple[str, ...] = ()) -> tuple[Lines, str, int]:
        """(records, standard error, exit status) of one client."""
        lines = "".join(json.dumps({"type": "request", **r}) + "\n" for r in requests)
        return self.raw(lines.encode(), *args)

    def raw(self, data: bytes, *args: str) -> tuple[Lines, str, int]:
        client = self.start(*args)
        out, err = client.communicate(data, timeout=60)
        return [json.loads(line) for line in out.splitlines()], err.decode(), client.returncode

    def pid(self) -> int:
        return int(self.ask({"id": "pid"})[0][0]["pid"])

    @property
    def socket(self) -> Path:
        return self.folder / "agentutils" / "echo.sock"

    def noted(self, word: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "echo.log").read_text().split().count(word)
        return 0

    def servers(self) -> list[int]:
        """The processes of this test that hold the filter."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if (
                    b"--serve" in words
                    and f"HOME={self.folder}".encode() in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
        return found


@pytest.fixture
def echo() -> Iterator[Warm]:
    folder = Path(tempfile.mkdtemp(prefix="warm-", dir="/tmp"))
    made = Warm(folder)
    yield made
    made.end()
    shutil.rmtree(folder)


def soon(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it is true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.02)


def everything(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    with sock.makefile("rb") as stream:
        return stream.read()


def gone(pid: int) -> bool:
    """Whether the process is dead (a zombie is)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_second_client_meets_the_process_that_the_first_started(echo: Warm) -> None:
    assert echo.pid() == echo.pid()
    assert echo.noted("prepared") == 1


def test_eight_clients_at_once_start_one_process(echo: Warm) -> None:
    clients = [echo.start() for _ in range(8)]
    answers = [c.communicate(b'{"type":"request","id":"a"}\n', timeout=60)[0] for c in clients]
    assert len({json.loads(a)["pid"] for a in answers}) == 1
    assert echo.noted("prepared") == 1


def test_many_requests_of_one_client_get_one_answer_each(echo: Warm) -> None:
    records, _, status = echo.ask(*({"id": str(n), "deltas": 2} for n in range(300)))
    assert status == 0
    assert [r["id"] for r in records if r["type"] == "response"] == [str(n) for n in range(300)]
    assert len(records) == 900


def test_a_large_request_and_a_large_answer_do_not_block_each_other(echo: Warm) -> None:
    big = "x" * 300_000
    records, _, _ = echo.ask(*({"id": str(n), "deltas": 3000, "text": big} for n in range(5)))
    assert sum(r["type"] == "response" for r in records) == 5


def test_records_that_are_not_requests_pass_byte_for_byte(echo: Warm) -> None:
    client = echo.start()
    line = b'{"type": "note",  "n": 1.0,"x":{}}\n'
    out, _ = client.communicate(line, timeout=60)
    assert out == line
    assert echo.servers() == []


def test_a_malformed_line_ends_the_reading_but_not_the_answers(echo: Warm) -> None:
    records, err, status = echo.raw(
        b'{"type":"request","id":"a","wait":0.2}\nwhat?\n{"type":"request","id":"b"}\n'
    )
    assert [r["id"] for r in records] == ["a"]
    assert status == 2
    assert "line 2: not JSON" in err


def test_socket_folder_and_log_are_private(echo: Warm) -> None:
    echo.pid()
    assert stat.S_IMODE(echo.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(echo.socket.parent.stat().st_mode) == 0o700
    log = echo.folder / ".local/state/agentutils/echo.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_process_gets_an_allowed_environment_not_its_starters(echo: Warm) -> None:
    echo.env["OPENAI_API_KEY"] = "sk-secret"
    env = echo.ask({"id": "a"})[0][0]["env"]
    assert "OPENAI_API_KEY" not in env and "HOME" in env


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_another_user_is_refused(echo: Warm) -> None:
    echo.pid()
    for path in (echo.folder, echo.socket.parent):
        path.chmod(0o711)
    echo.socket.chmod(0o666)  # as if the modes had failed: the peer's user is checked as well
    code = (
        f"import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect({str(echo.socket)!r});"
        "s.settimeout(5); print(s.recv(100))"
    )
    run = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, timeout=60)
    assert run.stdout == b"b''\n", run
    assert echo.noted("begun") == 1


def test_a_server_of_another_user_is_not_used(echo: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    echo.pid()
    monkeypatch.setattr(warm_socket, "peer", lambda sock: os.getuid() + 1)
    with pytest.raises(Fault, match="another user"):
        warm_socket.dial(str(echo.socket))


def test_a_runtime_folder_that_others_can_enter_is_refused(echo: Warm) -> None:
    echo.socket.parent.mkdir(mode=0o755)
    records, _, _ = echo.ask({"id": "a"})
    assert records[0]["type"] == "error" and "0700" in records[0]["message"]


def test_the_socket_of_a_dead_process_is_replaced(echo: Warm) -> None:
    first = echo.pid()
    os.kill(first, signal.SIGKILL)
    soon(lambda: gone(first))
    assert echo.socket.exists()
    assert echo.pid() != first


def test_a_live_socket_is_never_stolen(echo: Warm) -> None:
    first = echo.pid()
    second = echo.start("--serve")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 100, err
    assert b"already served" in err
    assert echo.pid() == first


def test_a_stopped_process_keeps_its_socket_and_goes_on_afterwards(echo: Warm) -> None:
    first = echo.pid()
    os.kill(first, signal.SIGSTOP)
    second = echo.start("--serve")
    assert second.wait(60) == 100
    client = echo.start()
    os.kill(first, signal.SIGCONT)
    assert (
        json.loads(client.communicate(b'{"type":"request","id":"a"}\n', timeout=60)[0])["pid"]
        == first
    )


def test_a_client_that_disconnects_has_cancelled(echo: Warm) -> None:
    client = echo.start()
    assert client.stdin
    client.stdin.write(b'{"type":"request","id":"a","deltas":3,"wait":60}\n')
    client.stdin.flush()
    soon(lambda: echo.noted("begun"))
    client.kill()
    client.communicate()
    soon(lambda: echo.noted("cancelled"), 2.0)
    assert echo.ask({"id": "b"})[2] == 0
    assert echo.noted("prepared") == 1


def test_a_client_whose_reader_goes_away_ends_and_cancels(echo: Warm) -> None:
    client = echo.start()
    assert client.stdin and client.stdout
    client.stdin.write(b'{"type":"request","id":"a","wait":60}\n')
    client.stdin.flush()
    soon(lambda: echo.noted("begun"))
    client.stdout.close()
    assert client.wait(5) == -signal.SIGPIPE
    soon(lambda: echo.noted("cancelled"), 2.0)


def test_a_client_that_never_reads_does_not_hold_up_the_others(echo: Warm) -> None:
    echo.pid()
    sock = warm_socket.dial(str(echo.socket))
    assert sock and sock.recv(100).startswith(b'{"warm":"ready"}')
    sock.sendall(b'{"type":"request","id":"a","deltas":100000}\n')
    assert echo.ask({"id": "b"})[0][0]["type"] == "response"
    soon(lambda: echo.noted("done") == 3, warm_server.SEND_TIMEOUT + 10)
    sock.close()


def test_kill_nine_of_the_process_gives_an_error_that_may_be_tried_again(echo: Warm) -> None:
    pid = echo.pid()
    client = echo.start()
    assert client.stdin and client.stdout
    client.stdin.write(b'{"type":"request","id":"a","wait":60}\n')
    client.stdin.flush()
    soon(lambda: echo.noted("begun") == 2)
    os.kill(pid, signal.SIGKILL)
    error = json.loads(client.stdout.readline())
    assert (error["type"], error["id"], error["kind"], error["retryable"]) == (
        "error",
        "a",
        "server",
        True,
    )
    client.stdin.write(b'{"type":"request","id":"b"}\n')  # the same client starts it again
    client.stdin.flush()
    again = json.loads(client.stdout.readline())
    assert again["id"] == "b" and again["pid"] != pid
    client.communicate()


def test_term_lets_requests_in_flight_finish_and_removes_the_socket(echo: Warm) -> None:
    server = echo.start("--serve")
    soon(echo.socket.exists)
    clients = [echo.start() for _ in range(5)]
    for client in clients:
        assert client.stdin
        client.stdin.write(b'{"type":"request","id":"a","wait":1}\n')
        client.stdin.flush()
    soon(lambda: echo.noted("begun") == 5)
    server.terminate()
    assert server.wait(60) == 0
    assert not echo.socket.exists()
    for client in clients:
        assert json.loads(client.communicate(timeout=60)[0])["type"] == "response"


def test_term_cancels_what_takes_too_long_with_a_final_record(echo: Warm) -> None:
    tests = Path(ECHO).parent
    code = (
        f"import sys; sys.argv = [{ECHO!r}]; sys.path[:0] = [{str(tests)!r}, {str(tests.parent / 'lib')!r}];"
        "import warm_echo; from agentlib.warm import server as warmserver;"
        "warmserver.DRAIN = 0.3; warmserver.serve('echo', lambda: warm_echo.prepare('echo', ''))"
    )
    server = subprocess.Popen(
        [sys.executable, "-IS", "-c", code], env=echo.env, stdin=subprocess.DEVNULL
    )
    soon(echo.socket.exists)
    client = echo.start()
    assert client.stdin
    client.stdin.write(b'{"type":"request","id":"a","wait":60}\n')
    client.stdin.flush()
    soon(lambda: echo.noted("begun"))
    server.terminate()
    echo.started.append(server)
    assert server.wait(60) == 0
    error = json.loads(client.communicate(timeout=60)[0])
    assert (error["type"], error["id"], error["kind"]) == ("error", "a", "interrupted")


def test_an_idle_process_ends_and_leaves_no_socket(echo: Warm) -> None:
    echo.env["AGENT_WARM_MINUTES"] = "0.005"
    pid = echo.pid()
    soon(lambda: gone(pid))
    assert not echo.socket.exists()
    assert echo.pid() != pid


def test_an_open_connection_is_not_idle(echo: Warm) -> None:
    echo.env["AGENT_WARM_MINUTES"] = "0.005"
    client = echo.start()
    assert client.stdin and client.stdout
    pids = []
    for _ in range(2):
        client.stdin.write(b'{"type":"request","id":"a","wait":0.5}\n')
        client.stdin.flush()
        pids.append(json.loads(client.stdout.readline())["pid"])
    client.communicate()
    assert pids[0] == pids[1]


def test_the_process_outlives_its_starters_process_group_and_holds_none_of_its_files(
    echo: Warm,
) -> None:
    reader, writer = os.pipe()
    client = echo.start(start_new_session=True, pass_fds=(writer,))
    os.close(writer)
    client.communicate(
        b'{"type":"request","id":"a"}\n', timeout=20
    )  # ends: nobody else holds its standard output
    with contextlib.suppress(ProcessLookupError):
        os.killpg(client.pid, signal.SIGKILL)
    assert os.read(reader, 1) == b""
    os.close(reader)
    (pid,) = echo.servers()
    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [
        f for f in files if f.startswith("pipe:") or f.startswith("/dev/") and f != "/dev/null"
    ]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_a_filter_that_cannot_start_tells_every_client_why(echo: Warm) -> None:
    records, _, _ = echo.ask({"id": "a"}, {"id": "b"}, args=("no", "model", "here"))
    assert [(r["type"], r["id"], r["kind"], r["message"]) for r in records] == [
        ("error", "a", "not_found", "no model here"),
        ("error", "b", "not_found", "no model here"),
    ]
    soon(lambda: not echo.socket.exists())


def test_a_filter_that_crashes_at_its_start_is_an_error_with_its_last_words(echo: Warm) -> None:
    records, _, _ = echo.ask({"id": "a"}, args=("crash",))
    assert records[0]["kind"] == "server"
    assert "no such thing as luck" in records[0]["message"]


def test_more_clients_than_descriptors_are_queued_not_lost(echo: Warm) -> None:
    server = echo.start(
        "--serve", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    )
    soon(echo.socket.exists)
    socks = [s for _ in range(80) if (s := warm_socket.dial(str(echo.socket)))]
    cpu = Path(f"/proc/{server.pid}/stat")
    before = sum(map(int, cpu.read_text().split()[13:15]))
    time.sleep(0.5)
    assert (
        sum(map(int, cpu.read_text().split()[13:15])) - before < 25
    )  # of 50 ticks: it does not spin
    for sock in socks:
        sock.settimeout(60)
        sock.sendall(b'{"type":"request","id":"a"}\n')
        sock.shutdown(socket.SHUT_WR)
    for sock in socks:
        assert everything(sock).count(b'"response"') == 1
        sock.close()
    server.terminate()
    assert server.wait(60) == 0


def test_a_thousand_connections_leave_no_descriptor_thread_or_memory_behind(echo: Warm) -> None:
    pid = echo.pid()

    def connections(count: int) -> None:
        for _ in range(count):
            sock = warm_socket.dial(str(echo.socket))
            assert sock
            sock.sendall(b'{"type":"request","id":"a"}\n')
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock).count(b'"response"') == 1
            sock.close()

    def size() -> tuple[int, int, int]:
        status = Path(f"/proc/{pid}/status").read_text().split()
        threads, memory = (int(status[status.index(name) + 1]) for name in ("Threads:", "VmRSS:"))
        return len(os.listdir(f"/proc/{pid}/fd")), threads, memory

    connections(200)
    soon(lambda: size()[1] == 1)
    before = size()
    connections(800)
    soon(lambda: all(now <= was for now, was in zip(size()[:2], before, strict=False)))
    assert size()[2] < before[2] * 1.1


def test_a_long_runtime_folder_is_no_obstacle(echo: Warm) -> None:
    deep = echo.folder / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    echo.env["XDG_RUNTIME_DIR"] = str(deep)
    assert echo.pid() == echo.pid()


def test_minutes_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_WARM_MINUTES", "soon")
    with pytest.raises(Fault, match="AGENT_WARM_MINUTES"):
        warm_socket.minutes()
