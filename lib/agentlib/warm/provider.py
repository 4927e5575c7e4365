"""Any provider kept warm: one process of it, with its connections and its key, answers all processes of the user.

agent-llm starts it (llm/pool.py) where the user wants that; it ends itself when it was idle for as long as they said.
"""

import itertools
import os
import resource
import signal
import threading
from functools import partial

from agentlib.faults import Fault
from agentlib.process.coprocess import Coprocess
from agentlib.types import Any, Callable, Iterator, Record
from agentlib.warm import server, socket
from agentlib.warm.client import FINAL

MOMENT = 0.2  # seconds between two looks at whether a client still waits


def main(name: str, path: str, seconds: str) -> None:
    """Serve the provider `path` behind the socket `name`. No core dump of this process holds a key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    server.serve(name, lambda: Shared(path).work, float(seconds))
    if not os.path.getsize(log := socket.log_file(name)):
        os.unlink(log)


class Shared:
    """The provider's process, and the clients that wait for its answers."""

    def __init__(self, path: str) -> None:
        self._waiting: dict[str, Callable[[Any], None]] = {}  # by the id on the wire
        self._ids = map(str, itertools.count())

        def passing(record: Record) -> None:
            if emit := self._waiting.get(str(record.get("id"))):
                emit(record)

        def final(record: Record) -> bool:
            return record.get("type") in FINAL

        name, command = os.path.basename(path), {"args": [path]}
        self._provider = Coprocess(name, command, final, passing, kind="server")

    def work(self, lines: Iterator[Record], emit: server.Emit, wanted: Callable[[], bool]) -> None:
        """Give a client's requests to the provider, and what comes back to the client, under its own ids."""
        pending: dict[str, str] = {}  # the client's ids, by those on the wire
        done = threading.Condition()

        def answer(wire: str, got: Record | Fault) -> None:
            record = got.record() if isinstance(got, Fault) else got
            emit({**record, "id": pending.get(wire)})
            if record.get("type") in FINAL:
                self._waiting.pop(wire, None)
                with done:
                    pending.pop(wire, None)
                    done.notify_all()
            if isinstance(got, Fault):  # the provider has ended: the next client gets another
                os.kill(os.getpid(), signal.SIGTERM)

        for request in lines:
            wire = next(self._ids)
            pending[wire] = request.get("id", "")
            self._waiting[wire] = partial(answer, wire)
            self._provider.send(wire, {**request, "id": wire}, self._waiting[wire])
        with done:
            while pending and wanted():
                done.wait(MOMENT)
        for wire in list(pending):
            self._waiting.pop(wire, None)
            self._provider.forget(wire)
