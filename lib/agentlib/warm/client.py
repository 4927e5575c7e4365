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

Prepare = Callable[[Record], Record]  # the request as the filter is to get it; Fault
REQUESTS = ("request", "embed")
FINAL = ("response", "embedding", "error")


def through(name: str, command: Sequence[str], env: Mapping[str, str], prepare: Prepare) -> None:
    """Be the filter's client for all of standard input; each request gets one final record whatever happens."""
    if sys.stdin is None or sys.stdin.isatty():
        return stderr.warn("expects records on standard input")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who writes for nobody ends
    cli.when_unread(lambda: kill(getpid(), signal.SIGPIPE))
    Client(lambda: warm_socket.connect(name, command, env), prepare).run()


class Client:
    """Standard input to the warm filter in this thread, its records to standard output in another. connect: gives a
    socket, at the first request and again after the filter went away. Other records pass byte for byte."""

    def __init__(self, connect: Callable[[], socket], prepare: Prepare) -> None:
        self._connect, self._prepare = connect, prepare
        self._sock: socket | None = None
        self._open: list[Any] = []  # ids of requests that have no final record yet
        self._changed = threading.Condition()

    def run(self) -> None:
        """Until standard input ends and all is answered; then the Fault of a malformed line, if there was one."""
        malformed = None
        try:
            for line in records.read(sys.stdin.buffer):
                if line.record["type"] in REQUESTS:
                    self._send(line.record)
                else:
                    records.put(line.raw + b"\n")
        except Fault as fault:
            malformed = fault
        with self._changed:
            self._changed.wait_for(lambda: not self._open)
        if malformed:
            raise malformed

    def _send(self, record: Record) -> None:
        id = record.get("id")
        try:
            ready = records.line(self._prepare(record))
            with self._changed:
                if not self._sock:
                    self._sock = self._connect()
                    self._sock.setblocking(True)
                    threading.Thread(target=self._read, args=(self._sock,), daemon=True).start()
                sock = self._sock
                self._open.append(id)
        except Fault as fault:
            return records.write(fault.record(id))
        with suppress(OSError):  # it went away: the other thread says so
            sock.sendall(ready, MSG_NOSIGNAL)

    def _read(self, sock: socket) -> None:
        try:
            with sock, sock.makefile("rb") as stream, suppress(ConnectionError):
                for _, raw in records.lines(stream):
                    self._answer(raw, records.loads(raw))
            fault = Fault("server", "the process that answers was ended", retryable=True)
            with self._changed:
                self._sock, lost = None, self._open.copy()
            for id in lost:
                line = records.line(fault.record(id))
                self._answer(line[:-1], records.loads(line))
        except OSError as bad:
            stderr.warn(f"standard output: {bad.strerror}")
            cli.end(111)

    def _answer(self, raw: bytes, record: Record) -> None:
        if record.get("warm") == "note":
            return stderr.warn(record["message"])
        records.put(raw + b"\n")
        with self._changed:
            if record.get("type") in FINAL and record.get("id") in self._open:
                self._open.remove(record.get("id"))
            self._changed.notify()
