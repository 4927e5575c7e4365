"""Standard input inside a loop: its records one by one, as they come and as there is room for them."""

import os
import stat
import time
from collections import deque

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.process import events
from agentlib.process.splitter import Splitter
from agentlib.records import Line
from agentlib.types import Callable

CHUNK = 64 * 1024
Room = Callable[[], bool]  # whether there is room for one more record


class Intake:
    """take(line) gets each record, while room() says yes. Once `done` no more come; `fault` says what was malformed."""

    def __init__(self, loop: events.Loop, take: Callable[[Line], None], room: Room) -> None:
        self._loop, self._take, self._room = loop, take, room
        self._splitter, self._lines = Splitter(), deque[tuple[int, bytes]]()
        self._ended, self._watched = True, False  # nothing is read before start()
        self.fault: Fault | None = None
        self.begun = False  # whether anything came at all

    @property
    def done(self) -> bool:
        return self._ended and not self._lines

    def start(self, quiet: bool = False) -> None:
        """Begin to read; a terminal is not read. A pipe that stays silent is spoken of once."""
        if os.isatty(0):
            return
        self._ended = False
        if not quiet and not stat.S_ISREG(os.fstat(0).st_mode):
            self._loop.at(time.monotonic() + records.SILENCE, self._wonder)
        self._watch(True)

    def pump(self) -> None:
        """Hand on what there is room for, and read on only if that was all."""
        while self._lines and self._room():
            number, raw = self._lines.popleft()
            try:
                self._take(Line(records.parse(raw, number), raw, number))
            except Fault as fault:
                self._stop(fault)
        self._watch(not self._lines and not self._ended and self._room())

    def _stop(self, fault: Fault | None = None) -> None:
        self.fault, self._ended = fault, True
        if fault:
            self._lines.clear()

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.watch(0, events.IN, self._read)
        elif not wanted:
            self._loop.forget(0)
        self._watched = wanted

    def _read(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:  # another process set our input so: poll was too early
            return
        except OSError as bad:
            self._stop(Fault("invalid_input", f"standard input: {bad.strerror}"))
            return self._watch(False)
        self.begun = True
        try:
            self._lines.extend(self._splitter.feed(data) if data else self._splitter.rest())
        except Fault as fault:
            self._stop(fault)
        if not data:
            self._stop(self.fault)
        self.pump()

    def _wonder(self) -> None:
        if not self.begun and not self._ended:
            stderr.warn("waiting for records on standard input; use </dev/null if there are none")
