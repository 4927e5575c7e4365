"""A provider kept warm by AGENT_WARM or config.toml: one process and one connection for many runs of agent-llm."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from installed import suite
from raw_server import completion, http, serving

KEY = "key-5ecre7-5ecre7"
Ask = Callable[..., subprocess.CompletedProcess[str]]


def play(connection: socket.socket) -> None:
    """The answer `well`, to the request that was read and to each that follows."""
    answer = http(completion()).replace(b"connection: close\r\n", b"")
    connection.sendall(answer)
    while b"\r\n\r\n" in connection.recv(65536):
        connection.sendall(answer)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    """Where sockets are; the warm processes there are ended after the test."""
    yield tmp_path / "run" / "agentutils"
    end(tmp_path, signal.SIGTERM)


def warm(home: Path) -> list[int]:
    """The warm processes of this home."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if f"XDG_RUNTIME_DIR={home}/run".encode() in (one / "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(one.name))
        except OSError:
            pass
    return found


def end(home: Path, signum: int) -> None:
    """Send all of them a signal; the end of one may end another."""
    for pid in warm(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


@pytest.fixture
def ask(tmp_path: Path, runtime: Path) -> Ask:
    def run(address: str, reply: str = "hi", **env: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path / "run"),
            "AGENT_PROVIDER": "openai",
            "AGENT_MODEL": "m",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": address,
            **env,
        }
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        argv = [suite() / "bin/agent-llm", reply]
        return subprocess.run(
            argv, env=known, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )

    return run


def test_many_runs_open_one_connection(ask: Ask, runtime: Path) -> None:
    with serving(play) as server:
        for _ in range(20):
            done = ask(server.address, AGENT_WARM="30s")
            assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)
        assert len(server.requests) == 1  # the connections that were opened
    [path] = runtime.glob("*.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700


def test_it_is_off_by_default(ask: Ask, runtime: Path) -> None:
    with serving(play) as server:
        for env in ({}, {"AGENT_WARM": "0"}, {"AGENT_WARM": ""}):
            assert ask(server.address, **env).stdout == "well\n"
    assert not list(runtime.glob("*.sock"))


def test_config_toml_says_so_too(ask: Ask, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / ".config/agentutils").mkdir(parents=True)
    (tmp_path / ".config/agentutils/config.toml").write_text('warm = "30s"\n')
    with serving(play) as server:
        assert ask(server.address).stdout == "well\n"
    assert len(list(runtime.glob("*.sock"))) == 1


def test_what_is_no_time_is_reported(ask: Ask) -> None:
    done = ask("http://127.0.0.1:9", AGENT_WARM="long")
    assert done.returncode == 2 and "'long' is not a time" in done.stderr


def test_another_key_address_or_bound_has_a_process_of_its_own(ask: Ask, runtime: Path) -> None:
    with serving(play) as server, serving(play) as other:
        for number, env in enumerate(
            ({}, {"OPENAI_API_KEY": "key-0ther-0ther"}, {"AGENT_CONNECT_TIMEOUT": "2"}), 1
        ):
            assert ask(server.address, AGENT_WARM="30", **env).stdout == "well\n"
            assert len(list(runtime.glob("*.sock"))) == number
        assert ask(other.address, AGENT_WARM="30").stdout == "well\n"
        assert len(list(runtime.glob("*.sock"))) == 4
        keys = [re.findall("bearer (.*)", head.lower())[0] for head, _ in server.requests]
    assert [key.strip() for key in keys] == [KEY, "key-0ther-0ther", KEY]


def test_the_key_is_in_no_argument_name_or_log(ask: Ask, runtime: Path, tmp_path: Path) -> None:
    with serving(play) as server:
        ask(server.address, AGENT_WARM="30")
    processes = warm(tmp_path)
    assert len(processes) == 2  # the one that listens, the provider
    for pid in processes:
        assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        core = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0", core)
    for path in tmp_path.rglob("*"):
        assert KEY not in path.name
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_it_ends_itself_when_it_was_idle_and_another_comes(
    ask: Ask, runtime: Path, tmp_path: Path
) -> None:
    with serving(play) as server:
        assert ask(server.address, AGENT_WARM="1").stdout == "well\n"
        until = time.monotonic() + 60
        while (list(runtime.glob("*.sock")) or warm(tmp_path)) and time.monotonic() < until:
            time.sleep(0.1)
        assert not list(runtime.glob("*.sock")) and not warm(tmp_path)
        assert not list(tmp_path.rglob("*.log"))
        assert [file.name for file in runtime.iterdir()] == ["warm.lock"]
        assert ask(server.address, AGENT_WARM="1").stdout == "well\n"


def test_a_provider_that_was_killed_is_replaced(ask: Ask, runtime: Path, tmp_path: Path) -> None:
    with serving(play) as server:
        for _ in range(2):
            assert ask(server.address, AGENT_WARM="30").stdout == "well\n"
            end(tmp_path, signal.SIGKILL)
        assert ask(server.address, AGENT_WARM="30").stdout == "well\n"


class Mirror(BaseHTTPRequestHandler):
    """Says back what was said, after a moment."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(0.2)
        self.wfile.write(http(completion(body["messages"][-1]["content"])))

    def log_message(self, *args: object) -> None:
        pass


def test_many_at_once_get_each_their_own_answer(ask: Ask) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    with server, ThreadPoolExecutor(12) as pool:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        runs = [pool.submit(ask, address, f"word{number}", AGENT_WARM="30") for number in range(12)]
        assert [run.result().stdout for run in runs] == [f"word{number}\n" for number in range(12)]
        server.shutdown()
