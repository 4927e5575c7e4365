"""Open a connection: the addresses of a name in turn, the tunnel of a proxy, TLS; all within one bound of time."""

from __future__ import annotations

import os
import socket
import time
from _thread import allocate_lock

from agentlib.provider import wire
from agentlib.types import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from agentlib.provider.reach import Proxy, Way


def connected(there: Way, until: float) -> socket.socket:
    """A connection, by way of the proxy and with TLS where they are wanted, by `until` (of the monotonic clock).

    OSError or wire.Broken says what failed, TimeoutError that it took too long.
    """
    end = there.proxy or there
    plain = _dialled(end.host, end.port, until)
    try:
        if not there.secure:
            return plain
        if there.proxy:
            plain.settimeout(_left(until))
            _tunnel(plain, there, there.proxy)
        plain.settimeout(_left(until))
        return _context().wrap_socket(plain, server_hostname=there.host)
    except BaseException:
        plain.close()
        raise


def _left(moment: float) -> float | None:
    """Seconds until a moment of the monotonic clock, None where it never comes; TimeoutError when it has come."""
    left = moment - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return None if left == float("inf") else left


def _dialled(host: str, port: int, until: float) -> socket.socket:
    """A connection to the first address of a host that takes one; each has its share of the time."""
    found = socket.getaddrinfo(
        host.encode(), port, type=socket.SOCK_STREAM
    )  # bytes: a str loads the codec idna
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        plain = socket.socket(family, kind, protocol)
        try:
            left = _left(until)
            plain.settimeout(left and left / (len(found) + 1 - number))
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
        except OSError:
            plain.close()
            if number == len(found):
                raise
    raise OSError("the name has no address")


def _tunnel(plain: socket.socket, there: Way, proxy: Proxy) -> None:
    """Have a proxy connect us to the host itself."""
    place = f"[{there.host}]:{there.port}" if ":" in there.host else f"{there.host}:{there.port}"
    plain.sendall(wire.request("CONNECT", place, {"host": place, **proxy.headers}, None))
    answer = wire.Answer(plain)
    if not 200 <= answer.status < 300:
        raise OSError(f"the proxy answers HTTP {answer.status}")


_making = allocate_lock()
_contexts: list[ssl.SSLContext] = []


def _context() -> ssl.SSLContext:
    """The TLS context that all connections share, made for the first of them.

    It trusts SSL_CERT_FILE and SSL_CERT_DIR, else the system's certificates, else, where there are none, certifi's.
    """
    import ssl

    with _making:
        if not _contexts:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if not _has_certificates(ssl.get_default_verify_paths()):
                context.load_verify_locations(_certifi())
            _contexts.append(context)
    return _contexts[0]


def _has_certificates(paths: ssl.DefaultVerifyPaths) -> bool:
    """Whether the user or the system says whom to trust."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    return bool(paths.cafile or paths.capath and os.listdir(paths.capath))


def _certifi() -> str:
    from agentlib.packages import need

    need("certifi")
    import certifi

    return str(certifi.where())
