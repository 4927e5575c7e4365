"""Be a warm filter's client: standard input goes to it, its records to standard output (see socket.py)."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Mapping, Record, Sequence
from agentlib.warm import socket as warm_socket

BUFFER = 1 << 20  # bytes waiting for a slow filter before standard input is left alone
Prepare = Callable[[Record], Record]  # the request as the filter is to get it
ASKED = ("request", "embed")
FINAL = ("response", "embedding", "error")


def through(name: str, command: Sequence[str], env: Mapping[str, str], prepare: Prepare) -> None:
    """Be the filter's client for the whole of standard input (see Client). A terminal is never read."""
    if sys.stdin is None or sys.stdin.isatty():
        stderr.warn("expects records on standard input")
        return
    Client(lambda: warm_socket.connect(name, command, env), prepare).run()


class Client:
    """Standard input to the warm filter, its records to standard output. One thread; a poll over three descriptors.

    connect: gives a connected socket, called at the first request and again after the filter went away. prepare:
    gives the request as the filter is to get it, or raises the Fault that answers it. Each request gets one final
    record whatever happens. Records that are not requests pass byte for byte.
    """

    def __init__(self, connect: Callable[[], socket.socket], prepare: Prepare) -> None:
        self._connect, self._prepare = connect, prepare
        self._sock: socket.socket | None = None
        self._open: list[Any] = []  # ids of requests that have no final record yet
        self._out, self._in, self._typed = b"", b"", b""
        self._number, self._ended = 0, False  # lines read; standard input is at its end
        self._fault: Fault | None = None

    def run(self) -> None:
        """Until standard input ends and all is answered; then the Fault of a malformed line, if there was one."""
        while not self._ended or self._open:
            poller = select.poll()
            poller.register(1, 0)  # an error here: nobody reads us any more
            if not self._ended and len(self._out) < BUFFER:
                poller.register(0, select.POLLIN)
            if self._sock:
                poller.register(self._sock, select.POLLIN | (select.POLLOUT if self._out else 0))
            for fd, event in poller.poll():
                if fd == 1 and event & select.POLLERR:
                    raise records.ClosedPipe
                if fd == 0:
                    self._read()
                elif fd != 1:
                    self._exchange(event)
        if self._fault:
            raise self._fault

    def _read(self) -> None:
        piece = os.read(0, 1 << 16)
        *lines, self._typed = (self._typed + piece).split(b"\n")
        if not piece:
            lines, self._typed, self._ended = [*lines, self._typed], b"", True
        for raw in lines:
            self._number += 1
            mark = b"\xef\xbb\xbf" if self._number == 1 else b""
            try:
                self._line(raw.removeprefix(mark).strip(b" \t\r\n"))
            except Fault as fault:
                self._fault, self._ended = fault, True
                return
        if len(self._typed) > records.LINE_CAP:
            self._ended = True
            self._fault = Fault("limit_exceeded", f"line {self._number + 1}: too long")

    def _line(self, raw: bytes) -> None:
        if not raw:
            return
        record = records.parse(raw, self._number)
        if record["type"] not in ASKED:
            return records.put(raw + b"\n")
        try:
            ready = self._prepare(record)
            self._sock = self._sock or self._connect()
        except Fault as fault:
            return records.write(fault.record(record.get("id")))
        self._open.append(record.get("id"))
        self._out += records.line(ready)

    def _exchange(self, event: int) -> None:
        assert self._sock is not None
        try:
            if event & select.POLLOUT and self._out:
                self._out = self._out[self._sock.send(self._out) :]
            if event & ~select.POLLOUT:
                self._answers(self._sock.recv(1 << 16))
        except BlockingIOError:
            pass
        except OSError as bad:
            if bad.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self._out = b""
            if not event & select.POLLIN:  # what it said before it went is still to be read
                self._answers(b"")

    def _answers(self, piece: bytes) -> None:
        if not piece:
            return self._lost()
        *lines, self._in = (self._in + piece).split(b"\n")
        for raw in lines:
            record = records.loads(raw)
            if record.get("type") in FINAL and record.get("id") in self._open:
                self._open.remove(record.get("id"))
            if record.get("warm") == "note":
                stderr.warn(record["message"])
            else:
                records.put(raw + b"\n")

    def _lost(self) -> None:
        """The filter went away: what it left open gets an error that may be tried again."""
        assert self._sock is not None
        self._sock.close()
        self._sock, self._out, self._in = None, b"", b""
        fault = Fault("server", "the process that answers was ended", retryable=True)
        for id in self._open:
            records.write(fault.record(id))
        self._open.clear()
