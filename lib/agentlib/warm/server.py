"""The side of a warm filter that stays: accept clients, run the filter for each, end when idle (see socket.py).

The filter is a function work(lines, emit, wanted), in a thread for each client: `lines` gives the client's records,
`emit(record)` answers, `wanted()` says whether the client still waits.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import socketserver
import stat
import struct
import time

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Callable, Iterator, Record
from agentlib.warm import socket as warm_socket

Emit = Callable[[Record], None]
Work = Callable[[Iterator[Record], Emit, Callable[[], bool]], None]

MOST = 128  # clients at once; more wait in the socket's queue
OWN_FILES = 16  # descriptors for the filter itself
REST = 0.2  # seconds without accepting after the descriptors ran out
DRAIN = 10.0  # seconds that requests in flight have after SIGTERM
SEND_TIMEOUT = 5  # seconds for a client that does not read
READY = b'{"warm":"ready"}\n'


def serve(name: str, prepare: Callable[[], Work], idle: float | None = None) -> None:
    """Be the warm filter `name` until it was idle for so many seconds (socket.minutes()) or gets SIGTERM. prepare: does
    the slow part and gives the filter. Fault where another serves already, or of prepare: waiting clients get it."""
    listener = _inherited()
    if listener is None:
        with warm_socket.lock(name):
            listener = warm_socket.listen(warm_socket.socket_file(name))
    try:
        seconds = warm_socket.minutes() * 60 if idle is None else idle
        server = _Server(name, listener, prepare(), seconds)
        signal.signal(signal.SIGTERM, server.stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.run()
    except BaseException as bad:
        if isinstance(bad, Fault):
            line = records.line({"warm": "fault", "kind": bad.kind, "message": bad.message})
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock, _ = listener.accept()
                    with sock, contextlib.suppress(OSError):
                        sock.sendall(line)
        _remove(name, listener)
        raise


def _inherited() -> socket.socket | None:
    """The listening socket that came as standard input. Nothing else of our starter stays open, nor its folder."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    sock = socket.socket(fileno=os.dup(0))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        return None
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, sock.fileno())
    os.closerange(sock.fileno() + 1, 65536)
    os.chdir("/")
    return sock


def _remove(name: str, listener: socket.socket, idle: bool = False) -> bool:
    """Stop listening, once the socket's file is gone: whether it was done. idle: not where a client connects now."""
    with warm_socket.lock(name):
        if idle and select.select([listener], [], [], 0)[0]:
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(warm_socket.socket_file(name))
        listener.close()
    return True


class _Client(socketserver.BaseRequestHandler):
    server: "_Server"
    gone = False  # it went, or does not read: only its own request ends

    def handle(self) -> None:
        limit = struct.pack("ll", SEND_TIMEOUT, 0)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._send(READY)
        with self.request.makefile("rb") as stream, contextlib.suppress(Fault, OSError):
            lines = (line.record for line in records.read(stream))
            self.server.work(lines, lambda record: self._send(records.line(record)), self._wanted)

    def _wanted(self) -> bool:
        poll = select.poll()
        poll.register(self.request, 0)  # no event but "the other side is closed"
        return not (self.gone or self.server.cancelled or poll.poll(0))

    def _send(self, data: bytes) -> None:
        try:
            if not self.gone:
                self.request.sendall(data)
        except OSError:
            self.gone = True


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each client; between two of them a look at the clock, and at whether SIGTERM came."""

    daemon_threads = True
    timeout = 0.5  # seconds between two looks

    def __init__(self, name: str, listener: socket.socket, work: Work, idle: float) -> None:
        socketserver.BaseServer.__init__(self, name, _Client)  # the socket listens already
        self.socket, self.work, self._name, self._idle = listener, work, name, idle
        self._clients: set[Any] = set()
        self._most = max(1, min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OWN_FILES))
        self._used = time.monotonic()
        self._stopping = self.cancelled = False

    def stop(self, _signum: int = 0, _frame: Any = None) -> None:
        self._stopping = True

    def run(self) -> None:
        while not self._stopping:
            self.handle_request()
            idle = not self._clients and time.monotonic() - self._used >= self._idle
            if idle and _remove(self._name, self.socket, idle):
                return
        self._drain()

    def get_request(self) -> tuple[Any, Any]:
        """The next client; it stays in the queue, with OSError, where no descriptor is left for it."""
        try:
            if len(self._clients) >= self._most:
                raise BlockingIOError
            client = self.socket.accept()
        except OSError:
            time.sleep(REST)
            raise
        self._clients.add(client[0])
        return client

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return warm_socket.peer(request) == os.getuid()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._used = time.monotonic()
        self._clients.discard(request)

    def _drain(self) -> None:
        """No new clients; what is in flight may finish, then it is cancelled: each request gets its final record."""
        _remove(self._name, self.socket)
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)
        until = time.monotonic() + DRAIN
        while self._clients and time.monotonic() < until + 5:
            self.cancelled = time.monotonic() >= until
            time.sleep(0.05)
