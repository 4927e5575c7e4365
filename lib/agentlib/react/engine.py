"""Drives runs (loop.py): one thread waits on one queue for answers of the model and for work done by other threads."""

import heapq
import os
import queue
import threading
import time
from itertools import islice

from agentlib.faults import Fault, of_record
from agentlib.react.loop import Request, Run, Work
from agentlib.types import Any, Callable, Iterator, Record

# seconds for an answer, where the run has no limit of its own and agent-llm keeps none
ANSWER_TIMEOUT = 1800.0
THREADS = 64  # at most; tools that run at once in all runs together
LOOK = 10.0  # seconds between two looks at who waits too long
STACK = 512 * 1024  # bytes of a thread's stack: the default, 8 MiB each, breaks under `ulimit -v`
MODEL = -1  # in the key of an event: it is the model's, not that of a piece of work


class Workers:
    """Threads for blocking work, made as needed, never ended: a tool ends with its starter (PR_SET_PDEATHSIG)."""

    def __init__(self, events: queue.SimpleQueue[Any]) -> None:
        self._events = events
        self._todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle, self._count = threading.Semaphore(0), 0

    def submit(self, key: Any, work: Callable[[], Any]) -> None:
        """Do the work; (key, result or exception) comes on the queue. For one thread alone."""
        self._todo.put((key, work))
        if self._idle.acquire(blocking=False) or self._count >= THREADS:
            return
        threading.stack_size(STACK)
        try:
            threading.Thread(target=self._serve, daemon=True).start()
            self._count += 1
        except RuntimeError:  # no more threads to be had: the others do it
            if not self._count:
                raise
        finally:
            threading.stack_size(0)

    def _serve(self) -> None:
        while True:
            try:
                key, work = self._todo.get_nowait()
            except queue.Empty:
                self._idle.release()
                key, work = self._todo.get()
            try:
                done = work()
            except BaseException as bad:
                done = bad
            self._events.put((key, done))


class Active:
    """A run on its way: where its generator stands, and what it waits for."""

    step = 0  # number of the present step; an answer to another one is late
    left = 0  # parts of its work without a result
    request = ""  # id of the request that it waits for
    since = 0.0  # when the model's last sign of life came

    def __init__(self, number: int, run: Run, done: Callable[[Record], None]) -> None:
        self.number, self.run, self.steps, self.done = number, run, run.steps(), done
        self.parts: Iterator[tuple[Any, Callable[[], Any]]] = iter(())  # not begun yet
        self.results: list[Any] = []


class Engine:
    """All runs of this process. model: bin/agent-react's. timeout: seconds for a whole run, or None."""

    def __init__(self, model: Any, events: queue.SimpleQueue[Any], timeout: float | None) -> None:
        self._model, self._events, self._timeout = model, events, timeout
        self._workers = Workers(events)
        self.beside: Callable[[], None] | None = None  # done once, with the first request under way
        self._live: dict[int, Active] = {}
        self._count = 0
        self._ends: list[tuple[float, int]] = []  # when the time of which run is up

    def __len__(self) -> int:
        return len(self._live)

    def start(self, run: Run, done: Callable[[Record], None]) -> None:
        """Begin a run; done(result) is called when it ends."""
        self._count += 1
        self._live[self._count] = live = Active(self._count, run, done)
        if self._timeout:
            heapq.heappush(self._ends, (time.monotonic() + self._timeout, self._count))
        self._go(live, None)

    def turn(self) -> tuple[Any, Any] | None:
        """Wait for one event and go on with the run it is for; what is not for a run is returned."""
        wait = min(LOOK, self._ends[0][0] - time.monotonic()) if self._ends else LOOK
        try:
            if wait <= 0:
                raise queue.Empty
            key, value = self._events.get(timeout=wait)
        except queue.Empty:
            self._end_late_runs()
            return None
        if not isinstance(key, tuple):
            return key, value
        live = self._live.get(key[0])
        if live and live.step == key[1]:
            self._take(live, key[2], value)
        return None

    def stop(self, fault: Fault) -> None:
        """End every run with this fault; each still gives its result."""
        runs = list(self._live.values())
        for live in runs:
            live.run.scope.cancel(0.1 if len(runs) == 1 else 0.0)
        for live in runs:
            self._throw(live, fault)

    def kill(self) -> None:
        """Kill every tool, at once; no results. For a signal handler."""
        for live in list(self._live.values()):
            live.run.scope.kill()

    def _end_late_runs(self) -> None:
        now = time.monotonic()
        while self._ends and self._ends[0][0] <= now:
            _, number = heapq.heappop(self._ends)
            if live := self._live.get(number):
                why = f"the run was not done within {self._timeout:g} s (--timeout)"
                self._throw(live, Fault("timeout", why))
        for live in list(self._live.values()):
            if live.request and now - live.since > ANSWER_TIMEOUT:
                self._throw(live, Fault("timeout", f"no answer within {ANSWER_TIMEOUT:g} s"))

    def _throw(self, live: Active, fault: Fault) -> None:
        self._model.forget(live.request)
        live.run.scope.cancel(0.05)
        self._go(live, fault)

    def _go(self, live: Active, value: Any) -> None:
        """Send or throw the value into the run, and see to what it waits for then."""
        live.step += 1
        live.request = ""
        try:
            go_on = live.steps.throw if isinstance(value, BaseException) else live.steps.send
            step: Any = go_on(value)
        except StopIteration as end:
            step = end.value
        except Exception as bug:
            # of ours, or a plugin's odd record: it ends this run and not the others
            if os.environ.get("AGENT_DEBUG"):
                raise
            step = live.run.result(_known(bug))
        if isinstance(step, Request):
            live.request, live.since = f"{live.number}.{live.step}", time.monotonic()
            self._model.send(live.request, step.record, (live.number, live.step, MODEL))
            if self.beside:
                self._workers.submit((0, 0, 0), self.beside)
            self.beside = None
        elif isinstance(step, Work):
            keys = [(live.number, live.step, index) for index in range(len(step.parts))]
            live.parts = zip(keys, step.parts, strict=True)
            live.results, live.left = [None] * len(keys), len(keys)
            self._begin(live, step.together)
        else:
            del self._live[live.number]
            live.done(live.run.ended(step))

    def _begin(self, live: Active, count: int = 1) -> None:
        for key, part in islice(live.parts, count):
            self._workers.submit(key, part)

    def _take(self, live: Active, index: int, value: Any) -> None:
        if index == MODEL:
            kind = None if isinstance(value, Fault) else value.get("type")
            if kind == "delta":
                live.since = time.monotonic()
                return live.run.watcher.delta(value)
            return self._go(live, of_record(value) if kind == "error" else value)
        live.results[index] = value
        live.left -= 1
        if live.left:
            return self._begin(live)
        bad = next((one for one in live.results if isinstance(one, BaseException)), None)
        self._go(live, _known(bad) if bad else live.results)


def _known(bad: BaseException) -> Fault:
    if isinstance(bad, Fault):
        return bad
    if isinstance(bad, MemoryError):
        return Fault("limit_exceeded", "out of memory")
    return Fault("tool_error", f"internal error: {type(bad).__name__}: {bad}")
