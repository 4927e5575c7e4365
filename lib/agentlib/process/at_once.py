"""Do a thing for each of many, several at a time, in threads."""

import queue
import threading
from contextlib import suppress

from agentlib.process.run import LINGER, Scope
from agentlib.types import Any, Callable, Iterable, Iterator


def at_once(
    most: int, todo: Iterable[Any], do: Callable[[Any], Any], scope: Scope
) -> Iterator[Any]:
    """What do(one) returns for each, as they end: in threads, `most` at a time.

    Nothing that they start in the scope outlives this, however it is left.
    """
    jobs = list(todo)
    left, ended = iter(jobs), queue.SimpleQueue[Any]()

    def work() -> None:
        try:
            with suppress(InterruptedError):  # the scope was cancelled
                for job in left:
                    ended.put((do(job),))
        finally:
            ended.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in jobs[:most]]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            yield from (one[0] for one in iter(ended.get, None))
    finally:
        jobs.clear()
        scope.cancel()
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(LINGER)
