"""A server on loopback that answers with the bytes a test gives, and a provider that is asked by way of it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import installed

ROOT = Path(__file__).resolve().parent.parent
Play = Callable[[socket.socket], None]


class Server:
    """Plays `play(connection)` after each request; keeps what came in `requests` (heads and bodies).
    `ends` is released for each connection that it has closed."""

    def __init__(
        self, play: Play | bytes, family: int = socket.AF_INET, tls: ssl.SSLContext | None = None
    ) -> None:
        self.tls = tls
        self.play: Play = (
            (lambda connection: connection.sendall(play)) if isinstance(play, bytes) else play
        )
        self.requests: list[tuple[str, bytes]] = []
        self.ends = threading.Semaphore(0)
        self.listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family
        )
        self.port = self.listener.getsockname()[1]
        self.address = f"http{'s' if tls else ''}://{'[::1]' if family == socket.AF_INET6 else '127.0.0.1'}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._served, args=(connection,), daemon=True).start()

    def _served(self, connection: socket.socket) -> None:
        self._serve(connection)
        self.ends.release()

    def _serve(self, connection: socket.socket) -> None:
        if self.tls:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                return  # the client does not trust us, as some tests want
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                if not (piece := connection.recv(65536)):
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            lengths = [
                line.partition(b":")[2]
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            ]
            while len(body) < int(lengths[0] if lengths else 0):
                body += connection.recv(65536)
            self.requests.append((head.decode("latin-1"), body))
            try:
                self.play(connection)
            except OSError:
                pass  # the provider has left, as some tests want


@contextmanager
def serving(
    play: Play | bytes, family: int = socket.AF_INET, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """The server, until the end of the `with`."""
    server = Server(play, family, tls)
    try:
        yield server
    finally:
        server.listener.close()


def http(
    body: bytes | str, status: str = "200 OK", media: str = "application/json", **headers: str
) -> bytes:
    """A whole HTTP answer."""
    data = body.encode() if isinstance(body, str) else body
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n"
    return f"{head}{more}\r\n".encode() + data


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """A chunk of a chat completion as an event."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def completion(text: str = "well", **message: Any) -> str:
    """A whole chat completion."""
    reply = {"role": "assistant", "content": text, **message}
    return json.dumps(
        {
            "model": "m",
            "choices": [{"index": 0, "message": reply, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        }
    )


# Starts a command in a small process of its own, and writes the command's peak of memory in KiB as the last line of
# standard error. A child of the test's process would be counted with the memory of that process.
MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


class Reply:
    """What a provider said: its records, exit status, standard error, the seconds it took."""

    def __init__(self, done: subprocess.CompletedProcess[str], seconds: float) -> None:
        self.status = done.returncode
        self.stderr = done.stderr
        self.seconds = seconds
        self.stdout = done.stdout
        self.records: list[dict[str, Any]] = [
            json.loads(line) for line in done.stdout.split("\n")[:-1]
        ]
        self.text = "".join(r.get("text", "") for r in self.records if r["type"] == "delta")

    @property
    def final(self) -> dict[str, Any]:
        """The one final record."""
        finals = [r for r in self.records if r["type"] in ("response", "error")]
        assert len(finals) == 1, finals
        return finals[0]


def ask(
    address: str,
    name: str = "openai",
    lines: str | None = None,
    env: dict[str, str] | None = None,
    under: tuple[str, ...] = (),
    **request: Any,
) -> Reply:
    """Start providers/NAME (by the command `under`), give it one request (or these lines) and wait for its end."""
    wanted = {
        "type": "request",
        "id": "1",
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        **request,
    }
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    known = {
        **clean,
        "PATH": installed.path("curl", "jq"),
        f"{name.upper()}_API_KEY": "key-5ecre7-5ecre7",
        f"{name.upper()}_BASE_URL": address,
        **(env or {}),
    }
    started = time.monotonic()
    done = subprocess.run(
        [*under, installed.suite() / "providers" / name],
        input=json.dumps(wanted) + "\n" if lines is None else lines,
        env=known,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Reply(done, time.monotonic() - started)


def ask_and_measure(address: str, **request: Any) -> tuple[Reply, int]:
    """As `ask`; also the provider's peak of memory in MiB."""
    reply = ask(address, under=(sys.executable, "-IS", "-c", MEASURE), **request)
    return reply, int(reply.stderr.split()[-1]) // 1024
