"""The side of a warm filter that stays: accept clients, run the filter for each, end when idle (see warm.py).

The filter is a function work(lines, emit, wanted): `lines` gives the client's records, `emit(record)` answers,
`wanted()` says whether the client still waits. It runs in a thread for each client.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import stat
import struct
import threading
import time

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Iterator, Record
from agentlib.warm import socket as warm_socket

Work = Callable[[Iterator[Record], Callable[[Record], None], Callable[[], bool]], None]

MOST = 128  # clients at once; more wait in the socket's queue
OWN_FILES = 16  # descriptors for the filter itself
REST = 0.2  # seconds without accepting after the descriptors ran out
DRAIN = 10.0  # seconds that requests in flight have after SIGTERM
SEND_PATIENCE = 5  # seconds for a client that does not read
READY = b'{"warm":"ready"}\n'


def serve(name: str, prepare: Callable[[], Work]) -> None:
    """Be the warm filter `name` until it is idle for warm.minutes() or gets SIGTERM. prepare: does the slow part and
    gives the filter. Fault where another serves already, or where prepare raises one (waiting clients are told it)."""
    listener = _inherited()
    if listener is None:
        with warm_socket.lock(name):
            listener = warm_socket.listen(warm_socket.socket_file(name))
    listener.setblocking(False)
    ended = False
    try:
        server = _Server(name, listener, prepare(), warm_socket.minutes() * 60)
        signal.signal(signal.SIGTERM, server.stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.run()
        ended = True
    except Fault as fault:
        _refuse(listener, fault)
        raise
    finally:
        if not ended:
            _remove(name, listener)


def _inherited() -> socket.socket | None:
    """The listening socket that warm.connect gave as standard input. With it we are a process of our own: nothing
    else of our starter's is kept, neither its descriptors nor its folder."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    sock = socket.socket(fileno=os.dup(0))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        return None
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    keep = sock.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 65536)
    os.chdir("/")
    return sock


def _remove(name: str, listener: socket.socket) -> None:
    """Stop listening; the socket's file goes first, so that nobody finds it dead."""
    with warm_socket.lock(name), contextlib.suppress(FileNotFoundError):
        os.unlink(warm_socket.socket_file(name))
    listener.close()


def _refuse(listener: socket.socket, fault: Fault) -> None:
    """Tell the clients that wait why there is no filter."""
    line = records.line({"warm": "fault", "kind": fault.kind, "message": fault.message})
    with contextlib.suppress(BlockingIOError):
        while True:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                sock.sendall(line)


class _Client:
    """One connection: its thread, and whether it is still there."""

    def __init__(self, sock: socket.socket, work: Work, done: Callable[[], None]) -> None:
        self.sock = sock
        self.cancelled = self.gone = self.ended = (
            False  # nobody waits; nobody is there; its thread is done
        )
        self._work, self._done = work, done
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_PATIENCE, 0))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._send(READY)
            with self.sock.makefile("rb") as stream:
                self._work(self._lines(stream), self._emit, lambda: not self.cancelled)
        except (Fault, OSError):
            pass  # a line that is no record, or the client went: closing tells it
        finally:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            self.ended = True
            self._done()

    def _lines(self, stream: Any) -> Iterator[Record]:
        for number, raw in records.lines(stream):
            yield records.parse(raw, number)

    def _emit(self, record: Record) -> None:
        self._send(records.line(record))

    def _send(self, data: bytes) -> None:
        try:
            if not self.gone:
                self.sock.sendall(data)
        except OSError:
            self.gone = self.cancelled = (
                True  # it went, or does not read: its request ends, nobody else's
            )


class _Server:
    """Accepts in one thread by poll; a self-pipe wakes it when a client's thread ends and at SIGTERM."""

    def __init__(self, name: str, listener: socket.socket, work: Work, idle: float) -> None:
        self._name, self._listener, self._work, self._idle = name, listener, work, idle
        self._clients: dict[int, _Client] = {}
        self._poller = select.poll()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poller.register(self._woken, select.POLLIN)
        self._stopping = False
        self._used = time.monotonic()
        self._rest = 0.0
        self._most = max(1, min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OWN_FILES))

    def stop(self, _signum: int = 0, _frame: Any = None) -> None:
        """Begin to end (a signal handler)."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def run(self) -> None:
        """Serve until idle or stopped; the socket is gone at the end."""
        while not self._stopping:
            resting = time.monotonic() < self._rest
            self._watch_listener(not resting and len(self._clients) < self._most)
            left = max(0.05, self._idle - (time.monotonic() - self._used))
            self._turn(REST if resting else 60.0 if self._clients else left)
            if (
                not self._clients
                and time.monotonic() - self._used >= self._idle
                and self._end_idle()
            ):
                return
        self._drain()

    def _turn(self, wait: float) -> None:
        """One round of poll: new clients, clients that went away, threads that ended."""
        for fd, _ in self._poller.poll(wait * 1000):
            if fd == self._listener.fileno():
                self._accept()
            elif fd == self._woken.fileno():
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif client := self._clients.get(fd):
                client.gone = client.cancelled = True
                self._poller.unregister(fd)  # else it would wake us again and again
        for fd, client in list(self._clients.items()):
            if client.ended:
                self._forget(fd, client)

    def _forget(self, fd: int, client: _Client) -> None:
        with contextlib.suppress(KeyError):
            self._poller.unregister(fd)
        client.sock.close()
        del self._clients[fd]
        self._used = time.monotonic()

    def _watch_listener(self, on: bool) -> None:
        if on:
            self._poller.register(self._listener, select.POLLIN)
        else:
            with contextlib.suppress(KeyError):
                self._poller.unregister(self._listener)

    def _accept(self) -> bool:
        """Take one client in. False where there was none, or no descriptor left for it: then it waits its turn."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError:  # EMFILE: leave the queue alone for a moment, do not spin
            self._rest = time.monotonic() + REST
            return False
        if warm_socket.peer(sock) != os.getuid():
            sock.close()
            return False
        try:
            self._clients[sock.fileno()] = _Client(sock, self._work, self._wake)
            self._poller.register(sock, 0)  # no event but "the other side is closed"
        except RuntimeError:  # no thread to be had
            sock.close()
            return False
        return True

    def _end_idle(self) -> bool:
        """End, unless a client comes at this very moment."""
        with warm_socket.lock(self._name):
            if self._accept():
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(warm_socket.socket_file(self._name))
        self._listener.close()
        return True

    def _drain(self) -> None:
        """No new clients; what is in flight may finish, then it is cancelled: each request gets its final record."""
        self._watch_listener(False)
        _remove(self._name, self._listener)
        for client in self._clients.values():
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_RD)
        until = time.monotonic() + DRAIN
        while self._clients and time.monotonic() < until + 5:
            self._turn(0.1)
            if time.monotonic() >= until:
                for client in self._clients.values():
                    client.cancelled = True
