"""How long one exchange may take: to connect, without a byte, and as a whole."""

import socket
import time
from contextlib import suppress

from agentlib.faults import Fault

NEVER = float("inf")


class Bounds:
    """connect, read, total: seconds until there is a connection, for each read, for all of it; NEVER is no bound.
    connecting, until: the moments (of the monotonic clock) by which it must be open (NEVER once it is), and be over."""

    def __init__(self, connect: float, read: float, total: float) -> None:
        self.connect, self.read, self.started = connect, read, time.monotonic()
        self.until = self.started + total
        self.connecting = NEVER
        self.socket: socket.socket | None = None

    def left(self) -> float | None:
        """Seconds that the next wait may take, None for ever; TimeoutError where the time is up."""
        left = min(self.until, self.connecting) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        left = min(left, self.read)
        return None if left == NEVER else left

    def fault(self, place: str) -> Fault:
        if self.connecting < NEVER:
            return Fault("timeout", f"no connection to {place} in {self.connect:g} s")
        return Fault("timeout", f"{place}: no answer in time")

    def cut(self) -> None:
        """End the exchange from another thread: a read of its socket then returns."""
        with suppress(OSError):
            if self.socket:
                self.socket.shutdown(socket.SHUT_RDWR)
