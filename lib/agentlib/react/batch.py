"""Many tasks in one process: each `task` record is a run, each run gives one `result`, whatever happens to it."""

import os
import threading
import time
from collections import deque
from contextlib import suppress

from agentlib import records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.react import output
from agentlib.react.loop import Run, Watcher, failed, interrupted
from agentlib.records import Line
from agentlib.types import Any, Iterator, Record

AHEAD = 10_000  # tasks read before they can be begun, so that the time left is known
JOBS = 16  # a core: they wait for the model, most of the time


class TaskOutput(Watcher):
    """Prints the messages and deltas of a task's run, with the task's id."""

    traced = True

    def __init__(self, id: Any) -> None:
        self._id = id

    def message(self, record: Record) -> None:
        # a delta that holds nothing is only a sign of life
        if record["type"] != "delta" or record.get("text") or record.get("thinking"):
            records.write({**record, "task": self._id})

    delta = message


class Batch:
    """The tasks under way. Reading is a thread's; everything else happens in the engine's. session: of agent-react."""

    def __init__(self, session: Any) -> None:
        if session.output.file:
            why = "--transcript keeps one conversation: it does not go with `task` records"
            raise Fault("invalid_input", why)
        self.session, self.options = session, session.options
        self.jobs = self.options.jobs or JOBS * (os.cpu_count() or 1)
        self.skip = _done_before(self.options.skip_done) if self.options.skip_done else set()
        self.waiting: deque[tuple[int, Record]] = deque()
        self.room = threading.Semaphore(AHEAD)
        self.count = self.finished = self.failed = self.skipped = 0
        self.cost, self.began = 0.0, time.monotonic()
        self.ended: Fault | bool = False
        self.early: dict[int, Record | None] = {}  # results that wait for one before (--ordered)
        self.next = 1
        self.setting = session.setting(many=True)

    def run(self, first: Record, stream: Iterator[Line]) -> int:
        """Run the tasks of the stream; the exit status: 0, 1 where a task failed, 2 where the stream broke off."""
        watched = output.visible(self.options.quiet)
        if watched:
            from agentlib import display

            display.live.show(self.progress, rows=True)
        self._take(first)
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        try:
            while not self.ended or self.waiting or self.session.engine:
                self.session.pass_on()
                if other := self.session.engine.turn():
                    self._receive(*other)
                self._begin()
        except BaseException:  # what is under way ends by the engine; the others get results too
            self.session.engine.stop(interrupted())
            self.session.result = {}
            for number, task in self.waiting:
                self._result(number, failed(interrupted(), task["id"]))
            raise
        finally:
            if watched:
                display.live.hide()
                display.live.write(2, f"{self.progress()}\n".encode(), apart=True)
        self.session.pass_on()
        if isinstance(self.ended, Fault):
            stderr.warn(self.ended.message)
            return self.ended.status
        return 1 if self.failed else 0

    def _read(self, stream: Iterator[Line]) -> None:
        put = self.session.events.put
        try:
            for line in stream:
                if line.record["type"] == "task":
                    self.room.acquire()
                put(("line", line))
            put(("end", True))
        except Fault as fault:
            put(("end", fault))
        except Exception as bad:
            put(("end", Fault("invalid_input", f"standard input: {bad}")))

    def _receive(self, what: str, value: Any) -> None:
        try:
            if what == "end":
                self.ended = self.ended or value
            elif isinstance(self.ended, Fault):
                pass  # the stream broke off before this line
            elif value.record["type"] == "task":
                self._take(value.record)
            else:
                self.session.input.take(value)
        except Fault as fault:
            self.ended = fault

    def _take(self, task: Record) -> None:
        self.count += 1
        if self.count == 200:  # from here on the faster codec is worth its start
            records.take_over()
        if task.get("id") is None:
            task["id"] = str(self.count)
        if records.dumps(task["id"]) in self.skip:
            self.room.release()
            self.skipped += 1
            return self._put(self.count, None)
        self.waiting.append((self.count, task))
        self._begin()

    def _begin(self) -> None:
        while self.waiting and len(self.session.engine) < self.jobs:
            number, task = self.waiting.popleft()
            self.room.release()
            self._start(number, task)

    def _start(self, number: int, task: Record) -> None:
        if wrong := _wrong(task, empty=bool(self.session.words)):
            return self._result(number, failed(Fault("invalid_input", wrong), task["id"]))
        text, words, source = task["input"], self.session.words, self.session.input
        pieces = [*source.material, *([{"type": "input", "text": text}] if words else [])]
        request = {**task, "input": " ".join(words) or text, "material": pieces}
        watcher = TaskOutput(task["id"]) if self.options.events else None
        run = Run(self.setting, list(source.messages), request, watcher)
        done = self.session.kept
        self.session.engine.start(run, lambda result: self._result(number, done(task, result)))

    def _result(self, number: int, result: Record) -> None:
        self.finished += 1
        self.failed += "error" in result
        self.cost += result.get("cost_usd") or 0.0
        self._put(number, result)

    def _put(self, number: int, result: Record | None) -> None:
        """Print a result (None: a task left out), with --ordered once all before it are printed."""
        self.early[number if self.options.ordered else self.next] = result
        while self.next in self.early:
            if (ready := self.early.pop(self.next)) and not self.options.quiet:
                records.write(ready)
            self.next += 1

    def progress(self) -> str:
        """In a line: how many are done, how fast, what it cost, how long it will take."""
        total = self.count - self.skipped
        rate = self.finished / max(time.monotonic() - self.began, 1e-3)
        left = round((total - self.finished) / rate) if rate else 0
        parts = {
            f"{self.finished}/{total}{'' if self.ended else '+'} done": True,
            f"{self.failed} failed": self.failed,
            f"{self.skipped} skipped": self.skipped,
            f"{rate:.1f}/s": True,
            f"${self.cost:.6f}": self.cost,
            f"{left // 60}m{left % 60:02}s left": left,
        }
        return ", ".join(part for part, some in parts.items() if some)


def _wrong(task: Record, empty: bool) -> str:
    text = task.get("input")
    if not isinstance(text, str) or not (text or empty):
        return "a task needs `input`, a string that is not empty"
    for name in ("system", "model"):
        if not isinstance(task.get(name), str | None):
            return f"a task's `{name}` must be a string"
    return ""


def _done_before(path: str) -> set[str]:
    """The ids with a good result in an earlier output; its last line may have been cut off, and ours go behind it."""
    from agentlib.records.tail import acquire_for_run, mend

    found = set()
    with os_errors(f"--skip-done {path}"):
        if os.path.samestat(os.fstat(1), os.stat(path)):
            acquire_for_run(1, path)
            with open(path, "ab+", 0) as results:
                mend(results.fileno())
        with open(path, "rb") as stream:
            for _, raw in records.lines(stream):
                with suppress(ValueError):
                    record = records.loads(raw)
                    is_result = isinstance(record, dict) and record.get("type") == "result"
                    if is_result and "error" not in record:
                        found.add(records.dumps(record.get("id")))
    return found
