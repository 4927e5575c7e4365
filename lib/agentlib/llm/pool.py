"""The providers' processes and their calls. Another's id, no JSON, silence and a sudden end are failures of calls."""

import os
import sys
import time

from agentlib import __version__, duration, records, stderr
from agentlib.faults import Fault
from agentlib.llm import keys
from agentlib.llm.inflight import Pending
from agentlib.llm.output import Out
from agentlib.llm.routing import Provider
from agentlib.paths import REAL
from agentlib.process import events, peer
from agentlib.process import status as process_status
from agentlib.process.peer import Peer
from agentlib.records import LINE_CAP
from agentlib.types import TYPE_CHECKING, Any, Mapping, Record

if TYPE_CHECKING:
    import socket

Config = Mapping[str, Any]  # the user's config.toml


SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from agentlib.warm.provider import main; main(*sys.argv[2:])"
BOUNDS = ("AGENT_CONNECT_TIMEOUT", "AGENT_SILENCE_TIMEOUT", "AGENT_TIMEOUT")  # a provider's own
BACKLOG = 1 << 20  # bytes that wait for a slow provider before no more requests are read
MARGIN = 1.0  # seconds that a provider has to report its own timeout before we do
EARLY = 100  # answers that are kept for requests which are yet to come
LEAST = 256  # bytes that a delta counts for where it has fewer: so many does it take in memory
STRAYS = 3  # lines that belong to no call and are reported; more are dropped in silence
FINAL = ("response", "embedding", "error", "embed")  # the last comes back where none are made
STATUSES = {126: "invalid_request", 127: "not_found", peer.LOST: "server"}


class Process(Peer):
    """A provider's process and the calls that it has."""

    def __init__(self, pool: "Pool", provider: Provider) -> None:
        self.provider = provider
        self.calls: dict[str, Pending] = {}  # by the id on the wire
        self.late: set[str] = set()  # ids of calls that were given up: what still comes is dropped
        self.strays = self.idle = 0  # lines that belong to no call, and bytes of those
        self.stray = ""  # the last of them, for the message of a call that never gets its answer
        self.early: dict[str, bytes] = {}  # finals that came before any request, by their ids
        self.busy = False  # a request was sent
        env = keys.environment(provider.name, provider.schema, pool.config)
        pool.out.secrets |= keys.secrets(provider.schema, env)
        if not pool.quiet:
            pool.out.plain |= keys.plain(provider.schema, env)
        super().__init__(
            pool.loop,
            [provider.path],
            env,
            on_line=lambda raw: pool.take(self, raw),
            on_message=pool.message,
            on_end=lambda status: pool.ended(self, status),
            line=connect_warm(provider, env, pool.warm) if pool.warm else None,
        )

    def fault(self, kind: str, what: str, exit: int = 0) -> Fault:
        return Fault(kind, f"{self.provider.name}: {what}", exit, provider=self.provider.name)


class Pool:
    """One process for each provider. owner: the Dispatch, which hears what becomes of calls. silence: seconds without a
    word in a stream, after which a call is given up."""

    def __init__(
        self, loop: events.Loop, owner: Any, out: Out, config: Config, silence: float, quiet: bool
    ) -> None:
        self.loop, self.owner, self.out, self.config, self.quiet = loop, owner, out, config, quiet
        self.silence = silence + MARGIN
        self.warm = idle_seconds(config)
        self._current: dict[str, Process] = {}  # by the provider's path
        self._alive: set[Process] = set()
        self._swept = float("inf")  # when the next look at the clocks is due
        self._count = 0

    @property
    def room(self) -> bool:
        return all(child.backlog < BACKLOG for child in self._current.values())

    def process(self, provider: Provider) -> Process:
        child = self._current.get(provider.path)
        if child is None or child.input_closed:
            if child:
                self._retire(child)
            child = self._current[provider.path] = Process(self, provider)
            self._alive.add(child)
        return child

    def send(self, call: Pending, provider: Provider, request: Record) -> None:
        """Send the provider this request of the call. Fault where it cannot be run."""
        child = self.process(provider)
        wire = call.id if isinstance(call.id, str) else records.dumps(call.id)
        if wire in child.calls or wire in child.late:  # the user's own id, unless it is taken
            self._count += 1
            wire = f"{wire}#{self._count}"
        child.calls[wire], child.busy = call, True
        call.active = time.monotonic()
        child.send(records.line({"type": "request", "id": wire, **request}))
        self._watch_clocks(self._expiry(call))
        if wire in child.early:
            self.take(child, child.early.pop(wire))

    # -- what comes back

    def take(self, child: Process, raw: bytes) -> None:
        try:
            record = records.loads(raw)
        except ValueError as bad:
            return self._stray(child, raw, f"wrote what is not JSON ({bad})")
        kind = record.get("type") if isinstance(record, dict) else None
        wire = record.get("id") if kind else None
        call = child.calls.get(wire) if isinstance(wire, str) else None
        if call is None or not isinstance(kind, str):
            self._without_call(child, kind, wire, raw)
        elif kind not in FINAL:
            call.active = time.monotonic()
            call.size += max(LEAST, len(raw) - len(str(wire)))
            if call.size > LINE_CAP:
                what = f"its answer has more than {LINE_CAP >> 20} MiB"
                return self._give_up(child, str(wire), "limit_exceeded", what)
            record["id"] = call.id
            self.owner.delta(call, record, raw if wire == call.id else None)
        else:
            del child.calls[str(wire)]
            child.strays = 0
            record["id"] = call.id
            self._final(child, call, record, raw if wire == call.id else None)
            self._rest(child)

    def _without_call(self, child: Process, kind: Any, wire: Any, raw: bytes) -> None:
        """A line that belongs to no call; an answer among them is reported."""
        early = not child.busy and len(child.early) < EARLY
        if not isinstance(kind, str):
            self._stray(child, raw, "wrote what is no record")
        elif isinstance(wire, str) and wire in child.late:
            if kind in FINAL:
                child.late.discard(wire)
            else:
                self._bounded(child, raw)
        elif kind in FINAL and isinstance(wire, str) and early:
            child.early[wire] = raw  # it does not read requests: the first is still on its way
        elif kind in FINAL:
            self._stray(child, raw, "answered a request that it was not given")
        elif self._bounded(child, raw) and kind != "delta":
            self.owner.other(raw)

    def _stray(self, child: Process, raw: bytes, what: str) -> None:
        """Report a line that is no use to any call. Each call may still get its answer; but once there are as many such
        lines as calls, the provider gets no more to do: an honest one finishes what it has and ends."""
        child.strays += 1
        child.stray = f"{what}: {raw[:200].decode('utf-8', 'replace')!r}"
        current = self._current.get(child.provider.path) is child
        if child.strays <= STRAYS and (child.calls or current) and not self.quiet:
            line = self.out.clean(child.stray.encode()).decode()
            stderr.warn(f"{child.provider.name}: {line}")
        if child.strays >= len(child.calls) > 0:
            self._retire(child)
            child.finish()
        self._bounded(child, raw)

    def _bounded(self, child: Process, raw: bytes) -> bool:
        """Whether the lines that belong to no open call are few; a process that writes nothing else is ended."""
        child.idle += len(raw)
        if child.idle <= LINE_CAP * (1 + len(child.late)):
            return True
        what = f"wrote more than {LINE_CAP >> 20} MiB that belong to no request"
        self._fail_all(child, child.fault("bad_response", what))
        self._retire(child)
        return False

    def _final(self, child: Process, call: Pending, record: Record, raw: bytes | None) -> None:
        field, shape = ("vectors", list) if call.embeds else ("message", dict)
        if record["type"] == "embed":
            record = child.fault("invalid_request", "makes no embeddings").record()
        elif record["type"] != "error" and not isinstance(record.get(field), shape):
            record = child.fault("bad_response", f"its {record['type']} has no {field}").record()
        if record["type"] == "error":
            self.owner.failed(call, record)
        else:
            self.owner.answered(call, record, raw)

    def message(self, raw: bytes) -> None:
        if not self.quiet:
            stderr.say(self.out.clean(raw).decode("utf-8", "replace"))

    def ended(self, child: Process, status: int) -> None:
        self._alive.discard(child)
        if self._current.get(child.provider.path) is child:
            del self._current[child.provider.path]
        if child.calls:
            last_words = self.out.clean(child.tail).decode("utf-8", "replace").strip()
            reason = f": {last_words or child.stray}" if last_words or child.stray else ""
            what = f"{process_status.words(status)} before it answered{reason}"
            self._fail_all(child, child.fault(STATUSES.get(status, "bad_response"), what, status))

    def _fail_all(self, child: Process, fault: Fault) -> None:
        calls = list(child.calls.items())
        child.calls.clear()
        for wire, call in calls:
            child.late.add(wire)
            self.owner.failed(call, fault.record())

    # -- time

    def _expiry(self, call: Pending) -> float:
        return min(call.due, call.active + self.silence) if call.request.get("stream") else call.due

    def _watch_clocks(self, moment: float) -> None:
        """Look at the clocks at this moment. A new call is due no sooner than those before it."""
        if moment < self._swept:
            self._swept = moment
            self.loop.at(moment, self._sweep)

    def _sweep(self) -> None:
        now, self._swept = time.monotonic(), float("inf")
        for child in list(self._alive):
            for wire, call in list(child.calls.items()):
                if call.due <= now:
                    self._give_up(child, wire, "timeout", "no whole answer in time (--timeout)")
                elif self._expiry(call) <= now:
                    silent = f"nothing said for {now - call.active:.0f} s (--silence-timeout)"
                    self._give_up(child, wire, "timeout", silent)
            if child.calls:
                self._watch_clocks(min(map(self._expiry, child.calls.values())))
            else:
                self._rest(child)

    def _give_up(self, child: Process, wire: str, kind: str, what: str) -> None:
        """End a call that gets no answer, or too long a one; its process gets no other one."""
        call = child.calls.pop(wire)
        child.late.add(wire)
        self._retire(child)
        what += f"; it {child.stray}" if child.stray else ""
        self.owner.failed(call, child.fault(kind, what).record())

    # -- the end

    def _retire(self, child: Process) -> None:
        """No more calls for this process; it ends when those that it has are answered."""
        if self._current.get(child.provider.path) is child:
            del self._current[child.provider.path]
        self._rest(child)

    def _rest(self, child: Process) -> None:
        if child.alive and not child.calls and self._current.get(child.provider.path) is not child:
            child.close(grace=0)

    def close(self) -> None:
        """End all processes: end of input, a moment to leave, TERM, KILL. All calls must be finished."""
        self._current.clear()
        for child in list(self._alive):
            child.close()
        while self._alive:
            self.loop.turn()

    def kill(self) -> None:
        for child in list(self._alive):
            child.kill()
        self._alive.clear()


def idle_seconds(config: Config) -> float:
    """How long a provider stays after its last answer; 0: it is not kept."""
    value = str(os.environ.get("AGENT_WARM") or config.get("warm") or "0").strip()
    return duration.seconds(f"{value}s" if value[-1:].isdigit() else value, "warm: ")


def connect_warm(provider: Provider, env: Mapping[str, str], idle: float) -> "socket.socket":
    """A connection to the provider's warm process, started where there is none with this key, address and version. Of
    our own variables it gets what its schema lists and its bounds of time: the rest are this run's."""
    import hashlib

    from agentlib.warm import socket as warm

    listed = {*BOUNDS, *(entry["name"] for entry in keys.entries(provider.schema))}
    env = {k: v for k, v in env.items() if k in listed or not k.startswith("AGENT_")}
    env |= {"AGENT_WARM": f"{idle:g}"}
    changed = os.stat(provider.path).st_mtime_ns
    answer = repr((__version__, REAL, provider.path, changed, sorted(env.items())))
    name = f"{provider.name}-{hashlib.sha256(answer.encode()).hexdigest()[:24]}"
    lib = os.path.join(REAL, "lib")
    argv = [sys.executable, "-IS", "-c", SERVE, lib, name, provider.path, f"{idle:g}"]
    return warm.connect(name, argv, env)
