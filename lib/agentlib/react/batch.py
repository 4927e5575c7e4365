"""Many tasks in one process: each `task` record is a run, each run gives one `result`, whatever happens to it."""

from __future__ import annotations

import os
import threading
from collections import deque

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.react.loop import Run, failed
from agentlib.types import TYPE_CHECKING, Any, Iterator, Record

if TYPE_CHECKING:
    from agentlib.react.session import Session
    from agentlib.react.settings import Setting
    from agentlib.react.stdin import Heard
    from agentlib.records import Line

AHEAD = 10_000  # tasks read before they can be begun, so that the time left can be told
JOBS = 16  # a core: they wait for the model, most of the time


def run(
    session: Session, heard: Heard, words: list[str], first: Record, stream: Iterator[Line]
) -> int:
    """Run the tasks of the stream; the exit status: 0, 1 where a task failed, 2 where the stream broke off."""
    if session.file:
        why = "--transcript keeps one conversation: it does not go with `task` records"
        raise Fault("invalid_input", why)
    return Batch(session, heard, words).run(first, stream)


class Batch:
    """The tasks under way. Reading is a thread's; everything else happens in the engine's."""

    def __init__(self, session: Session, heard: Heard, words: list[str]) -> None:
        self.session, self.heard, self.words = session, heard, words
        self.jobs = session.options.jobs or JOBS * (os.cpu_count() or 1)
        self.skip = _done_before(session.options.skip_done) if session.options.skip_done else set()
        self.waiting: deque[tuple[int, Record]] = deque()
        self.room = threading.Semaphore(AHEAD)
        self.count = self.finished = self.failed = self.skipped = 0
        self.cost = 0.0
        self.ended: Fault | bool = False
        self.held: dict[int, Record | None] = {}  # results that wait for an earlier one (--ordered)
        self.next = 1
        self.setting: Setting = session.setting(heard.config)

    def run(self, first: Record, stream: Iterator[Line]) -> int:
        """Until the stream has ended and every task has its result."""
        from agentlib.react.progress import Line as Progress

        progress = Progress(self, self.session.options.quiet)
        self._take(first)
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        try:
            while not self.ended or self.waiting or self.session.engine:
                if not self.session.options.quiet:
                    self.session.pass_on()
                if other := self.session.engine.turn():
                    self._hear(*other)
                self._begin()
                progress.show()
        except BaseException:
            self._interrupt()
            raise
        finally:
            progress.end()
        if not self.session.options.quiet:
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

    def _hear(self, what: str, value: Any) -> None:
        if what == "end":
            self.ended = self.ended or value
        elif isinstance(self.ended, Fault):
            pass  # the stream broke off before this line
        elif value.record["type"] == "task":
            self._take(value.record)
        else:
            try:
                self.heard.take(value)
            except Fault as fault:
                self.ended = fault

    def _take(self, task: Record) -> None:
        self.count += 1
        if task.get("id") is None:
            task["id"] = str(self.count)
        if _key(task["id"]) in self.skip:
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
        if wrong := _wrong(task, empty=bool(self.words)):
            return self._result(number, failed(Fault("invalid_input", wrong), task["id"]))
        text = task["input"]
        pieces = [*self.heard.material, *([{"type": "input", "text": text}] if self.words else [])]
        request = {**task, "input": " ".join(self.words) or text, "material": pieces}
        emit = self._emitter(task["id"]) if self.session.options.events else (lambda record: None)
        self.session.engine.start(
            Run(self.setting, list(self.heard.messages), request, emit),
            lambda result: self._result(number, result),
        )

    def _emitter(self, id: Any) -> Any:
        return lambda record: records.write({**record, "task": id})

    def _result(self, number: int, result: Record) -> None:
        self.finished += 1
        self.failed += "error" in result
        self.cost += result.get("cost_usd") or 0.0
        self._put(number, result)

    def _put(self, number: int, result: Record | None) -> None:
        """Print a result (None: a task left out), with --ordered once all before it are printed."""
        self.held[number] = result
        for ready in self._ready(number):
            if (result := self.held.pop(ready)) and not self.session.options.quiet:
                records.write(result)

    def _ready(self, number: int) -> Iterator[int]:
        if not self.session.options.ordered:
            yield number
        while self.session.options.ordered and self.next in self.held:
            yield self.next
            self.next += 1

    def _interrupt(self) -> None:
        """The runs under way end by the engine; what was read and not begun gets its result too."""
        fault = Fault("interrupted", "interrupted by a signal")
        self.session.engine.stop(fault)
        self.session.result = {}
        while self.waiting:
            number, task = self.waiting.popleft()
            self._result(number, failed(fault, task["id"]))


def _wrong(task: Record, empty: bool) -> str:
    """What is wrong with a task, '' where nothing is. empty: whether its input may be."""
    text = task.get("input")
    if not isinstance(text, str) or not (text or empty):
        return "a task needs `input`, a string that is not empty"
    named = next(
        (name for name in ("system", "model") if not isinstance(task.get(name), str | None)), ""
    )
    return f"a task's `{named}` must be a string" if named else ""


def _key(id: Any) -> str:
    return records.dumps(id)


def _done_before(path: str) -> set[str]:
    """The ids with a good result in an earlier output; its last line may have been cut off, and ours go behind it."""
    from agentlib.lock import acquire_for_run, mend

    found = set()
    try:
        if os.path.samestat(os.fstat(1), os.stat(path)):
            acquire_for_run(1, path)
            with open(path, "ab+", 0) as results:
                mend(results.fileno())
        with open(path, "rb") as stream:
            for _, raw in records.lines(stream):
                try:
                    record = records.loads(raw)
                except ValueError:
                    continue
                if (
                    isinstance(record, dict)
                    and record.get("type") == "result"
                    and "error" not in record
                ):
                    found.add(_key(record.get("id")))
    except OSError as bad:
        raise Fault("invalid_input", f"--skip-done {path}: {bad.strerror}") from None
    return found
