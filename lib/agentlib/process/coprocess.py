"""A program in JSON lines that stays up: requests and answers by `id`, in any order, from any thread."""

import os
import queue
import signal
import threading

from agentlib import records
from agentlib.faults import Fault
from agentlib.process import run
from agentlib.types import TYPE_CHECKING, Any, Callable, Record

if TYPE_CHECKING:
    from agentlib.process.child import Child

Final = Record | Fault
KINDS = {2: "invalid_input", 100: "invalid_request", 111: "network", 127: "not_found"}  # by status


class Coprocess:
    """name: what messages call it. options: for start. final: whether a record that has an id answers its request;
    the others go to `passing`. kind: of the fault where its exit status says no better. A child that ends answers
    every open request, and all later ones, with a Fault."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        final: Callable[[Record], bool] = lambda record: True,
        passing: Callable[[Record], None] = lambda record: None,
        kind: str = "tool_error",
        start: "Callable[..., Child]" = run.start,
        parse: Callable[[bytes], Any] = records.loads,
    ) -> None:
        self.name, self._final, self._passing, self._kind = name, final, passing, kind
        self._parse = parse  # the value of a line
        self._open: dict[str, Callable[[Final], None]] = {}
        self._over: Fault | None = None
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reaping = threading.Lock()
        self._code: int | None = None
        pipes = [os.pipe()[::-1], os.pipe(), *([os.pipe()] if os.isatty(2) else [])]
        ours, theirs = zip(*pipes, strict=True)
        try:
            self._child = start(options, *theirs)
        except OSError:
            for one in ours:
                os.close(one)
            raise
        finally:
            for one in theirs:
                os.close(one)
        self._stdin, self._stdout = open(ours[0], "wb"), open(ours[1], "rb")
        self._messages = threading.Thread(target=self._show, args=ours[2:], daemon=True)
        works = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in [*works, *([self._messages] if ours[2:] else [])]:
            thread.start()

    def send(self, id: str, record: Record, answer: Callable[[Final], None]) -> None:
        """Send a request. answer(record or Fault) is called once, in another thread, unless forget(id) comes first."""
        with self._lock:
            if not (over := self._over):
                self._open[id] = answer
        if over:
            answer(over)
        else:
            self._outbox.put(records.line(record))

    def post(self, record: Record) -> None:
        """A record that wants no answer."""
        self._outbox.put(records.line(record))

    def forget(self, id: str) -> None:
        """Nobody waits for this answer any more."""
        with self._lock:
            self._open.pop(id, None)

    def call(self, id: str, record: Record, seconds: float) -> Record:
        """Send a request and wait for the answer. Fault `tool_timeout` after `seconds`; else as the child ended."""
        box: queue.SimpleQueue[Final] = queue.SimpleQueue()
        self.send(id, record, box.put)
        try:
            answer = box.get(timeout=seconds)
        except queue.Empty:
            self.forget(id)
            raise Fault("tool_timeout", f"{self.name}: no answer within {seconds:g} s") from None
        if isinstance(answer, Fault):
            raise answer
        return answer

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._over is None

    def close(self, grace: float) -> None:
        """End of input, `grace` seconds to leave by itself, and then end()."""
        self._over = self._over or Fault(self._kind, f"{self.name}: closed")
        self._outbox.put(None)
        self._child.ended(grace)
        self.end()

    def end(self) -> None:
        """TERM where it still runs, a moment, KILL; and all that is left in a group of its own."""
        if not self._child.ended(0.0):
            self._child.signal(signal.SIGTERM)
            self._child.ended(0.2)
        self._reaped()
        if self._messages.is_alive():
            self._messages.join(0.2)  # a child of its own may have the pipe still

    def _write(self) -> None:
        try:
            with self._stdin:
                while (data := self._outbox.get()) is not None:
                    self._stdin.write(data)
                    if self._outbox.empty():
                        self._stdin.flush()
        except OSError:  # it has ended: the reader sees that as well
            pass

    def _show(self, messages: int) -> None:
        """Its messages to the terminal, where ours go to one: it may be anybody's program."""
        from agentlib import display

        terminal = display.Terminal(2)
        with open(messages, "rb", buffering=0) as stream:
            while data := stream.read(65536):
                terminal.write(data)

    def _read(self) -> None:
        fault = None
        try:
            with self._stdout:
                for line in records.lines(self._stdout):
                    self._hear(line[1])
        except (Fault, ValueError) as bad:
            fault = Fault("bad_response", f"{self.name}: {bad}")
        self._end(fault)

    def _hear(self, raw: bytes) -> None:
        record = self._parse(raw)
        if not isinstance(record, dict):
            raise ValueError(f"answered with something that is not an object: {raw[:80]!r}")
        if record.get("type") == "error" and "id" not in record:  # why it ends
            why = str(record.get("kind")), str(record.get("message"))
            return self._end(Fault(*why, record.get("exit")))
        id = record.get("id")
        if not isinstance(id, str) or not self._final(record):
            return self._passing(record)
        with self._lock:
            answer = self._open.pop(id, None)
        if answer:
            answer(record)

    def _end(self, fault: Fault | None) -> None:
        fault = fault or self._over or self._status()
        with self._lock:
            self._over = self._over or fault
            waiting, self._open = self._open, {}
        for answer in waiting.values():
            answer(fault)

    def _status(self) -> Fault:
        from agentlib.process import status

        code = self._reaped() if self._child.ended(1.0) else None
        words = f"{self.name}: {status.words(code)} before it answered"
        return Fault(KINDS.get(code or 0) or status.kind(code or 0, self._kind), words, code)

    def _reaped(self) -> int:
        with self._reaping:
            if self._code is None:
                self._child.signal(signal.SIGKILL)  # what it leaves in its group
                try:
                    self._code = self._child.reap()
                except OSError:
                    self._code = 127
            return self._code
