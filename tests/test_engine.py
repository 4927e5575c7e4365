"""Many runs on one queue: each ends in one result, whatever happens; late answers are for nobody."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from agentlib.faults import Fault
from agentlib.process.run import Scope
from agentlib.react import engine
from agentlib.react.engine import Engine, Workers
from agentlib.react.loop import Request, Work

Record = dict[str, Any]


class FakeModel:
    """Keeps the requests; answers are put on the queue by the test."""

    def __init__(self, events: queue.SimpleQueue[Any]) -> None:
        self.events = events
        self.requests = []  # type: ignore[var-annotated]
        self.forgotten = []  # type: ignore[var-annotated]

    def send(self, id: str, request: Record, key: Any) -> None:
        self.requests.append((request, key))

    def forget(self, id: str) -> None:
        self.forgotten.append(id)


class FakeRun:
    """A run that does what the function says."""

    def __init__(self, steps: Any) -> None:
        self.steps, self.scope = steps, Scope()

    def result(self, fault: Fault) -> Record:
        return {"error": fault.kind, "message": fault.message}

    def ended(self, result: Any) -> Any:
        return result


def started(*runs: Any, timeout: float | None = None) -> tuple[Engine, FakeModel, list[Any]]:
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    model, results = FakeModel(events), []  # type: ignore[var-annotated]
    made = Engine(model, events, timeout)  # type: ignore[arg-type]
    for run in runs:
        made.start(FakeRun(run), results.append)  # type: ignore[arg-type]
    return made, model, results


def test_answers_reach_the_run_that_asked_in_any_order() -> None:
    def run(name: str) -> Any:
        def steps() -> Any:
            answer = yield Request({"name": name})
            return f"{name} got {answer['text']}"

        return steps

    made, model, results = started(run("a"), run("b"))
    for request, key in reversed(model.requests):
        model.events.put((key, {"type": "response", "text": request["name"]}))
    while made:
        made.turn()
    assert results == ["b got b", "a got a"]


def test_error_records_are_thrown_into_the_run() -> None:
    def steps() -> Any:
        try:
            yield Request({})
        except Fault as fault:
            return fault.kind

    made, model, results = started(steps)
    model.events.put((model.requests[0][1], {"type": "error", "kind": "auth", "message": "no"}))
    made.turn()
    assert results == ["auth"]


def test_work_is_done_together_up_to_a_bound_and_answered_in_order() -> None:
    running = [0]
    most = [0]
    lock = threading.Lock()

    def work(n: int) -> Any:
        def do() -> int:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.05)
            with lock:
                running[0] -= 1
            return n

        return do

    def steps() -> Any:
        return (yield Work([work(n) for n in range(7)], 3))

    made, _, results = started(steps)
    while made:
        made.turn()
    assert results == [[0, 1, 2, 3, 4, 5, 6]]
    assert most[0] == 3


def test_a_late_answer_is_for_nobody() -> None:
    def steps() -> Any:
        try:
            yield Request({})
        except Fault:
            return (yield Work([lambda: "work"]))

    made, model, results = started(steps)
    key = model.requests[0][1]
    made._throw(made._live[key[0]], Fault("timeout", "late"))
    model.events.put((key, {"type": "response"}))
    while made:
        made.turn()
    assert results == [["work"]]
    assert model.forgotten


def test_a_run_over_its_time_ends_and_the_others_go_on() -> None:
    def slow() -> Any:
        try:
            yield Request({})
        except Fault as fault:
            return fault.kind

    made, _, results = started(slow, timeout=0.1)
    began = time.monotonic()
    while made:
        made.turn()
    assert results == ["timeout"]
    assert time.monotonic() - began < 40


def test_a_bug_in_one_run_is_its_result_and_not_the_end_of_the_others() -> None:
    def broken() -> Any:
        yield Request({})
        raise KeyError("x")

    def good() -> Any:
        yield Request({})
        return "good"

    made, model, results = started(broken, good)
    for _, key in model.requests:
        model.events.put((key, {"type": "response"}))
    while made:
        made.turn()
    assert results[0]["error"] == "tool_error" and "KeyError" in results[0]["message"]
    assert results[1] == "good"


def test_what_is_not_for_a_run_is_handed_back() -> None:
    made, model, _ = started()
    model.events.put(("line", 7))
    assert made.turn() == ("line", 7)


def test_more_work_than_threads_is_all_done() -> None:
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    workers = Workers(events)
    for n in range(engine.THREADS * 4):
        workers.submit(n, lambda: time.sleep(0.001))
    assert sorted(events.get(timeout=60)[0] for _ in range(engine.THREADS * 4)) == list(
        range(engine.THREADS * 4)
    )
    assert workers._count <= engine.THREADS


def test_a_failure_of_work_is_its_answer() -> None:
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    Workers(events).submit("k", lambda: 1 / 0)
    key, bad = events.get(timeout=60)
    assert key == "k" and isinstance(bad, ZeroDivisionError)


def test_what_is_to_be_done_beside_the_first_request_is_done_once_and_harms_nobody() -> None:
    done: list[int] = []

    def beside() -> None:
        done.append(1)
        raise OSError("no sandbox")

    def steps() -> Any:
        yield Request({})
        yield Request({})
        return {"output": "done"}

    made, model, results = started()
    made.beside = beside
    made.start(FakeRun(steps), results.append)  # type: ignore[arg-type]
    for _ in range(2):
        model.events.put((model.requests[-1][1], {"type": "response"}))
        while len(model.requests) < 2 and made:
            made.turn()
    while made:
        made.turn()
    assert done == [1] and results == [{"output": "done"}]
