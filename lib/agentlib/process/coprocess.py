"""A JSON-lines program kept running: questions in by `id`, answers out by `id`, in any order, from any thread."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading

from agentlib import records
from agentlib.faults import Fault
from agentlib.process.run import ended, signal_group
from agentlib.types import Any, Callable, Record

Answer = Record | Fault

KINDS = {
    2: "invalid_input",
    100: "invalid_request",
    111: "network",
    127: "not_found",
}  # by its exit status


class Coprocess:
    """name: what messages call it. options: for Popen. final: whether a record that has an id ends its question;
    the others go to `passing`. kind: of the fault where its exit status says no better. A child that ends answers
    every open question, and all later ones, with a Fault."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        final: Callable[[Record], bool] = lambda record: True,
        passing: Callable[[Record], None] = lambda record: None,
        kind: str = "tool_error",
    ) -> None:
        self.name, self._final, self._passing, self._kind = name, final, passing, kind
        self._open: dict[str, Callable[[Answer], None]] = {}
        self._over: Fault | None = None
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._child = subprocess.Popen(
            **{
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE if os.isatty(2) else None,
                **options,
            }
        )
        for work in (self._write, self._read):
            threading.Thread(target=work, daemon=True).start()
        self._messages = threading.Thread(target=self._show, daemon=True)
        if self._child.stderr:
            self._messages.start()

    def send(self, id: str, record: Record, answer: Callable[[Answer], None]) -> None:
        """Ask; answer(record or Fault) is called once, in another thread, unless `forget(id)` comes first."""
        with self._lock:
            over = self._over
            if over is None:
                self._open[id] = answer
        if over is not None:
            answer(over)
        else:
            self._outbox.put(records.dumps(record).encode() + b"\n")

    def tell(self, record: Record) -> None:
        """A record that wants no answer."""
        self._outbox.put(records.dumps(record).encode() + b"\n")

    def forget(self, id: str) -> None:
        """Nobody waits for this answer any more."""
        with self._lock:
            self._open.pop(id, None)

    def ask(self, id: str, record: Record, seconds: float) -> Record:
        """Ask and wait for the answer. Fault `tool_timeout` after `seconds`, else of the kind the child ended with."""
        box: queue.SimpleQueue[Answer] = queue.SimpleQueue()
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
        """Whether it can still be asked."""
        return self._over is None

    def close(self, grace: float) -> None:
        """End of input, `grace` seconds to leave by itself, and then end()."""
        self._outbox.put(None)
        ended(self._child, grace)
        self.end()

    def end(self) -> None:
        """TERM where it still runs, a moment, KILL; and all that is left in a group of its own."""
        for signum, seconds in ((signal.SIGTERM, 0.2), (signal.SIGKILL, 1.0)):
            if not ended(self._child, 0.0):
                self._signal(signum)
                ended(self._child, seconds)
        self._signal(signal.SIGKILL)
        self._child.wait()
        if self._messages.is_alive():
            self._messages.join(0.2)  # a child of its own may have the pipe still

    def _signal(self, signum: int) -> None:
        if self._child.returncode is not None:
            return
        if os.getpgid(self._child.pid) == self._child.pid:
            signal_group(self._child, signum)
        else:
            self._child.send_signal(signum)

    def _write(self) -> None:
        assert self._child.stdin
        try:
            while (data := self._outbox.get()) is not None:
                self._child.stdin.write(data)
                if self._outbox.empty():
                    self._child.stdin.flush()
            self._child.stdin.close()
        except OSError:  # it has ended: the reader sees that as well, and tells
            pass

    def _show(self) -> None:
        """Its messages to the terminal, where ours go to one: it may be anybody's program."""
        from agentlib import display

        assert self._child.stderr
        terminal = display.Terminal(2)
        while data := os.read(self._child.stderr.fileno(), 65536):
            terminal.write(data)

    def _read(self) -> None:
        fault = None
        try:
            for line in records.lines(self._child.stdout):
                self._hear(line[1])
        except (Fault, ValueError) as bad:
            fault = Fault("bad_response", f"{self.name}: {bad}")
        self._end(fault)

    def _hear(self, raw: bytes) -> None:
        record = records.loads(raw)
        if not isinstance(record, dict):
            raise ValueError(f"answered with something that is not an object: {raw[:80]!r}")
        id = record.get("id")
        if not isinstance(id, str) or not self._final(record):
            return self._passing(record)
        with self._lock:
            answer = self._open.pop(id, None)
        if answer:
            answer(record)

    def _end(self, fault: Fault | None) -> None:
        if fault is None:
            ended(self._child, 1.0)
            status = self._status()
            fault = Fault(
                KINDS.get(status or 0, self._kind),
                f"{self.name}: ended {told(status)} before it answered",
            )
        with self._lock:
            self._over = fault
            waiting = list(self._open.values())
            self._open.clear()
        for answer in waiting:
            answer(fault)

    def _status(self) -> int | None:
        """Its exit status as Popen tells it, without reaping it: that is for close(). None where it is not known."""
        try:
            seen = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return self._child.returncode
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status


def told(status: int | None) -> str:
    """An exit status in words; negative numbers are signals, as Popen tells them."""
    if status is None:
        return "its output"
    if status < 0:
        try:
            return f"by signal {signal.Signals(-status).name}"
        except ValueError:
            return f"by signal {-status}"
    return f"with status {status}"
