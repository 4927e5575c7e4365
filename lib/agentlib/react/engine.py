"""Drives runs (loop.py): one thread waits on one queue for answers of the model and for work done by a few others."""

from __future__ import annotations

import heapq
import os
import queue
import threading
import time

from agentlib.faults import Fault
from agentlib.react.loop import Ask
from agentlib.react.model import PATIENCE
from agentlib.types import TYPE_CHECKING, Any, Callable, Record

if TYPE_CHECKING:
    from agentlib.react.loop import Act, Run
    from agentlib.react.model import Model

THREADS = 64  # at most; tools that run at once in all runs together
LOOK = 10.0  # seconds between two looks at who waits too long
STACK = 512 * 1024  # bytes of a thread's stack: the default, 8 MiB each, breaks under `ulimit -v`


class Workers:
    """Threads that do blocking work; made one by one as they are needed, never ended.

    They live as long as the program: a tool ends with the thread that started it (PR_SET_PDEATHSIG).
    """

    def __init__(self, events: queue.SimpleQueue[Any]) -> None:
        self._events = events
        self._todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock, self._idle, self._count = threading.Lock(), 0, 0

    def submit(self, key: Any, work: Callable[[], Any]) -> None:
        """Do the work; (key, result or exception) comes on the queue."""
        with self._lock:
            self._todo.put((key, work))
            if self._idle > 0:
                self._idle -= 1
                return
            if self._count >= THREADS:
                return
            self._count += 1
        self._begin()

    def _begin(self) -> None:
        threading.stack_size(STACK)
        try:
            threading.Thread(target=self._serve, daemon=True).start()
        except RuntimeError:  # no more threads to be had: the others do it
            self._count -= 1
            if not self._count:
                raise
        finally:
            threading.stack_size(0)

    def _serve(self) -> None:
        while True:
            key, work = self._todo.get()
            try:
                done = work()
            except BaseException as bad:
                done = bad
            self._events.put((key, done))
            with self._lock:
                if self._todo.qsize() == 0:
                    self._idle += 1


class Live:
    """A run on its way: where its generator stands, and what it waits for."""

    __slots__ = ("run", "steps", "done", "step", "works", "results", "left", "asked", "since")

    def __init__(self, run: Run, done: Callable[[Record], None]) -> None:
        self.run, self.steps, self.done = run, run.steps(), done
        self.step = 0  # number of the present step; an answer to another one is late
        self.works: list[tuple[int, Callable[[], Any]]] = []
        self.results: list[Any] = []
        self.left = 0
        # id of the request that it waits for, and the moment it was sent
        self.asked, self.since = ("", 0.0)


class Engine:
    """All runs of this process. timeout: seconds for a whole run, or None."""

    def __init__(self, model: Model, events: queue.SimpleQueue[Any], timeout: float | None) -> None:
        self._model, self._events, self._timeout = model, events, timeout
        self._workers = Workers(events)
        self.beside: Callable[[], None] | None = None  # done once, with the first request under way
        self._live: dict[int, Live] = {}
        self._count = 0
        self._clock: list[tuple[float, int]] = []  # (when, which run): of the whole run

    def __len__(self) -> int:
        return len(self._live)

    def start(self, run: Run, done: Callable[[Record], None]) -> None:
        """Begin a run; done(result) is called when it ends."""
        self._count += 1
        self._live[self._count] = live = Live(run, done)
        if self._timeout:
            heapq.heappush(self._clock, (time.monotonic() + self._timeout, self._count))
        self._go(self._count, live, None)

    def turn(self) -> tuple[Any, Any] | None:
        """Wait for one thing and go on with the run it is for; what is not for a run is returned."""
        wait = (
            LOOK if not self._clock else min(LOOK, max(0.0, self._clock[0][0] - time.monotonic()))
        )
        try:
            key, value = self._events.get(timeout=wait)
        except queue.Empty:
            self._ring()
            return None
        if not isinstance(key, tuple):
            return key, value
        number, step, index = key
        live = self._live.get(number)
        if live and live.step == step:
            self._hear(number, live, index, value)
        return None

    def stop(self, fault: Fault) -> None:
        """End every run with this fault; each still gives its result."""
        grace = 0.1 if len(self._live) == 1 else 0.0
        for live in list(self._live.values()):
            live.run.leash.pull(grace)
        for number in list(self._live):
            self._throw(number, fault)

    def kill(self) -> None:
        """Kill every tool, at once; no results. For a signal handler."""
        for live in list(self._live.values()):
            live.run.leash.kill()

    def _ring(self) -> None:
        """End the runs whose time is up, and those whose model has said nothing for too long."""
        now = time.monotonic()
        while self._clock and self._clock[0][0] <= now:
            _, number = heapq.heappop(self._clock)
            if number in self._live:
                self._throw(
                    number,
                    Fault(
                        "timeout", f"the run was not done within {self._timeout:g} s (--timeout)"
                    ),
                )
        for number in [
            one for one, live in self._live.items() if live.asked and now - live.since > PATIENCE
        ]:
            self._throw(number, Fault("timeout", f"no answer of the model within {PATIENCE:g} s"))

    def _throw(self, number: int, fault: Fault) -> None:
        live = self._live[number]
        if live.asked:
            self._model.forget(live.asked)
        live.run.leash.pull(0.05)
        self._go(number, live, fault)

    def _go(self, number: int, live: Live, value: Any) -> None:
        """Send a value, or throw a Fault, into the run, and start what it wants next."""
        live.step += 1
        live.asked = ""
        try:
            go_on = live.steps.throw if isinstance(value, BaseException) else live.steps.send
            step = go_on(value)
        except StopIteration as end:
            return self._done(number, live, end.value)
        except Exception as bug:
            # of ours, or a plugin's odd record: it ends this run and not the others
            if os.environ.get("AGENT_DEBUG"):
                raise
            return self._done(number, live, live.run.result(_known(bug)))
        if isinstance(step, Ask):
            self._ask(number, live, step)
        else:
            self._act(number, live, step)

    def _done(self, number: int, live: Live, result: Record) -> None:
        del self._live[number]
        live.done(result)

    def _ask(self, number: int, live: Live, step: Ask) -> None:
        live.asked = f"{number}.{live.step}"
        live.since = time.monotonic()
        self._model.ask(live.asked, step.request, (number, live.step, -1))
        work, self.beside = self.beside, None
        if work:
            self._workers.submit((0, 0, 0), work)

    def _act(self, number: int, live: Live, step: Act) -> None:
        live.results = [None] * len(step.works)
        live.works = list(enumerate(step.works))[::-1]
        live.left = len(step.works)
        for _ in range(min(step.together, live.left)):
            self._next(number, live)

    def _next(self, number: int, live: Live) -> None:
        if live.works:
            index, work = live.works.pop()
            self._workers.submit((number, live.step, index), work)

    def _hear(self, number: int, live: Live, index: int, value: Any) -> None:
        if index < 0:
            return self._go(number, live, _fault(value))
        live.results[index] = value
        live.left -= 1
        if live.left:
            return self._next(number, live)
        bad = next((one for one in live.results if isinstance(one, BaseException)), None)
        self._go(number, live, _known(bad) if bad else live.results)


def _fault(answer: Record | Fault) -> Record | Fault:
    """An `error` record as the Fault it tells of; a response as it is."""
    if isinstance(answer, Fault) or answer.get("type") != "error":
        return answer
    fields = {k: v for k, v in answer.items() if k not in ("type", "id", "kind", "message")}
    kind, why = answer.get("kind") or "server", answer.get("message") or "the model failed"
    return Fault(str(kind), str(why), **fields)


def _known(bad: BaseException) -> Fault:
    """A failure of ours as a Fault, so that it ends one run with a result and not the others."""
    if isinstance(bad, Fault):
        return bad
    if isinstance(bad, MemoryError):
        return Fault("limit_exceeded", "out of memory")
    return Fault("tool_error", f"internal error: {type(bad).__name__}: {bad}")
