"""A JSON-lines filter kept warm: what it loaded at great cost serves every process of the user (docs/protocol.md).

It runs apart, behind a Unix socket in the user's runtime folder (folder 0700, socket 0600, both sides check the other's
user). The first client starts it, under a lock, so there is one however many begin at once; it ends itself after some
idle minutes. Here is how it is started and connected to; server.py is its side, client.py a program's.

On the socket the server says {"warm":"ready"} or {"warm":"fault",…} first; then requests and records go both ways, and
{"warm":"note","message":…} for the person who waits. A client that closes has cancelled.
"""

import contextlib
import os
import socket
import struct

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.lock import locked
from agentlib.types import Iterator, Mapping, Sequence

READY_TIMEOUT = 180.0  # seconds for the filter to get ready: a model read from a slow disk
LOCK_TIMEOUT = 20.0  # seconds for another process that is just starting the filter


def minutes() -> float:
    """AGENT_WARM_MINUTES: idle minutes until a warm filter ends itself; 0: none is kept. Default 5."""
    text = os.environ.get("AGENT_WARM_MINUTES") or "5"
    try:
        return max(0.0, min(float(text), 1e6))
    except ValueError:
        problem = f"not a number of minutes: {text}"
        raise Fault("invalid_input", f"AGENT_WARM_MINUTES: {problem}") from None


def socket_file(name: str) -> str:
    return os.path.join(paths.runtime(), f"{name}.sock")


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Taken to start the filter or to remove its socket. Fault `timeout` where another process has it too long."""
    try:
        with locked(os.path.join(paths.runtime(), "warm.lock"), patience=LOCK_TIMEOUT):
            yield
    except TimeoutError:
        why = f"another process is starting {name} for over {LOCK_TIMEOUT:g} s"
        raise Fault("timeout", why) from None


@contextlib.contextmanager
def _address(path: str) -> Iterator[str]:
    """A name for the socket that fits into the 107 bytes the kernel allows."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def peer(sock: socket.socket) -> int:
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def dial(path: str) -> socket.socket | None:
    """A connection to the filter that listens there; None where none does (no socket, or a dead one's)."""
    sock, wrong = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), None
    try:
        sock.settimeout(READY_TIMEOUT)
        with _address(path) as address:
            sock.connect(address)
        if peer(sock) == os.getuid():
            return sock
        wrong = Fault("auth", f"{path}: another user listens here")
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    except OSError as bad:
        wrong = Fault("network", f"{path}: cannot connect: {bad.strerror or bad}")
    sock.close()
    if wrong:
        raise wrong
    return None


def listen(path: str) -> socket.socket:
    """A listening socket there, in the place of a dead one's; a live one is never taken: Fault. Call under `lock`."""
    if live := dial(path):
        live.close()
        raise Fault("invalid_request", f"{path}: already served by a running process")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        with _address(path) as address:
            sock.bind(address)
    finally:
        os.umask(old)
    sock.listen(1024)
    return sock


def log_file(name: str) -> str:
    """Where a warm filter's standard error goes; mode 0600, emptied at each start."""
    return os.path.join(paths.private(paths.place("state")), f"{name}.log")


def _start(name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
    listener = listen(socket_file(name))
    log = os.open(log_file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    sources = enumerate((listener.fileno(), log, log))
    files = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in sources]
    try:
        os.posix_spawn(command[0], list(command), dict(env), file_actions=files, setsid=True)
    except OSError as bad:
        os.unlink(socket_file(name))
        raise Fault("not_found", f"{command[0]}: cannot be started: {bad.strerror}") from None
    finally:
        listener.close()
        os.close(log)


def _greeting(sock: socket.socket) -> bool:
    """Wait until the filter is ready. False where it went away first. Its own Fault where it could not start."""
    try:
        with sock.makefile("rb", buffering=0) as stream:  # reads not a byte more than the greeting
            line = stream.readline()
    except TimeoutError:
        why = f"no answer within {READY_TIMEOUT:g} s from the process that is to answer"
        raise Fault("timeout", why) from None
    except ConnectionError:
        return False
    if not line.endswith(b"\n"):
        return False
    record = records.loads(line)
    if record.get("warm") == "fault":
        raise Fault(record["kind"], record["message"])
    return True


def connect(name: str, command: Sequence[str], env: Mapping[str, str]) -> socket.socket:
    """A connection to the ready filter, started by `command` (an absolute path first) where none runs. Fault."""
    for _ in range(3):  # it may be ending just as we come
        if not (sock := dial(socket_file(name))):
            with lock(name):
                if not (sock := dial(socket_file(name))):
                    _start(name, command, env)
                    sock = dial(socket_file(name))
        if sock and _greeting(sock):
            sock.setblocking(False)
            return sock
    log, last = log_file(name), "(not there)"
    with contextlib.suppress(OSError), open(log, errors="replace") as file:
        last = "".join(file.read(1 << 16).splitlines()[-1:])[-300:] or "(empty)"
    raise Fault("server", f"{name} does not stay up; {log} ends: {last}")
