"""Lines out of bytes that arrive in pieces, by the rules of records.lines(): numbered, no blank ones, a cap."""

from agentlib.faults import Fault
from agentlib.records import LINE_CAP

BLANK = b" \t\r\n"


class Splitter:
    """Feed it what was read; it gives the lines that are whole: [(number from 1, bytes without line end)]."""

    __slots__ = ("_parts", "_size", "_number")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line that is not whole yet
        self._size = self._number = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that end in this piece. Fault `limit_exceeded` for one longer than LINE_CAP."""
        *ended, last = data.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._parts, ended[0]])
            self._parts, self._size = [], 0
        self._parts.append(last)
        self._size += len(last)
        out = self._numbered(ended)
        if self._size > LINE_CAP:
            why = f"line {self._number + 1}: longer than {LINE_CAP >> 20} MiB"
            raise Fault("limit_exceeded", why)
        return out

    def rest(self) -> list[tuple[int, bytes]]:
        """The last line, where the input did not end with a line end."""
        last, self._parts, self._size = b"".join(self._parts), [], 0
        return self._numbered([last])

    def _numbered(self, lines: list[bytes]) -> list[tuple[int, bytes]]:
        out = []
        for raw in lines:
            self._number += 1
            if self._number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw := raw.strip(BLANK):
                out.append((self._number, raw))
        return out
