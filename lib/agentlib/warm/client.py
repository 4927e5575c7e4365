"""Be a warm filter's client: standard input goes to it, its records to standard output (see socket.py)."""

import signal
import sys
import threading
from contextlib import suppress
from os import getpid, kill
from socket import MSG_NOSIGNAL, socket

from agentlib import cli, records, stderr
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Mapping, Record, Sequence
from agentlib.warm import socket as warm_socket

REQUESTS = ("request", "embed")
FINAL = ("response", "embedding", "error")


def through(
    name: str, command: Sequence[str], env: Mapping[str, str], prepare: Callable[[Record], Record]
) -> None:
    """Be the filter's client for all of standard input; each request gets one final record whatever happens. prepare:
    the request as the filter is to get it; Fault."""
    if sys.stdin is None or sys.stdin.isatty():
        return stderr.warn("expects records on standard input")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a program without a reader ends
    cli.when_unread(lambda: kill(getpid(), signal.SIGPIPE))
    client, malformed = Client(lambda: warm_socket.connect(name, command, env)), None
    try:
        for line in records.read(sys.stdin.buffer):
            if line.record["type"] in REQUESTS:
                try:
                    client.send(line.record.get("id"), records.line(prepare(line.record)))
                except Fault as fault:
                    records.write(fault.record(line.record.get("id")))
            else:
                records.put(line.raw + b"\n")
    except Fault as fault:  # a malformed line, after the answers to what came before
        malformed = fault
    with client.changed:
        client.changed.wait_for(lambda: not client.open)
    if malformed:
        raise malformed


class Client:
    """Requests to the warm filter, its records to standard output in another thread. connect: gives a socket, at the
    first request and again after the filter went away."""

    def __init__(self, connect: Callable[[], socket]) -> None:
        self._connect = connect
        self._sock: socket | None = None
        self.open: list[Any] = []  # ids of requests that have no final record yet
        self.changed = threading.Condition()

    def send(self, id: Any, line: bytes) -> None:
        with self.changed:
            if not self._sock:
                self._sock = self._connect()
                self._sock.setblocking(True)
                threading.Thread(target=self._read, args=(self._sock,), daemon=True).start()
            sock = self._sock
            self.open.append(id)
        with suppress(OSError):  # it went away: the other thread says so
            sock.sendall(line, MSG_NOSIGNAL)

    def _read(self, sock: socket) -> None:
        try:
            with sock, sock.makefile("rb") as stream, suppress(ConnectionError):
                for _, raw in records.lines(stream):
                    self._answer(raw + b"\n", records.loads(raw))
            fault = Fault("server", "the process that answers was ended", retryable=True)
            with self.changed:
                self._sock, lost = None, self.open.copy()
            for id in lost:
                error = fault.record(id)
                self._answer(records.line(error), error)
        except OSError as bad:
            stderr.warn(f"standard output: {bad.strerror}")
            cli.end(111)

    def _answer(self, line: bytes, record: Record) -> None:
        if record.get("warm") == "note":
            return stderr.warn(record["message"])
        records.put(line)
        with self.changed:
            if record.get("type") in FINAL and record.get("id") in self.open:
                self.open.remove(record.get("id"))
            self.changed.notify()
