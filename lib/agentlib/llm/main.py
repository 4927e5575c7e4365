"""A run of agent-llm: a question answered as text or as one record, or a stream of requests answered as records."""

import os
import stat
import time
from collections import deque

from agentlib import history, private, records, stderr
from agentlib.faults import Fault, Interrupted
from agentlib.llm import args, dispatch, inflight, output, prompt
from agentlib.llm.routing import Router
from agentlib.messages import transcript
from agentlib.process import events
from agentlib.process.splitter import Splitter
from agentlib.types import Any, Callable, Mapping, Namespace, Record

LISTS = {"models": "--list-models", "providers": "--list-providers"}
COMMANDS = LISTS | {"version": "--version", "status": "keys", "key": "keys", "usage": "budget"}
CHUNK = 64 * 1024  # bytes of standard input that are read at once
SETTINGS = ("system", "temperature", "max_tokens", "stop", "schema", "reasoning", "options")


def run(options: Namespace, router: Router, config: Mapping[str, Any]) -> int:
    """Answer what the options, the operands and standard input ask; the exit status. config: the user's file."""
    private.undumpable()
    this = Run(options, router, config)
    try:
        return this.run()
    except (KeyboardInterrupt, Interrupted):
        this.dispatch.interrupt()
        raise
    finally:
        this.dispatch.pool.kill()


class Run:
    """What is known of the run so far, and the loop that it turns in."""

    def __init__(self, options: Namespace, router: Router, config: Mapping[str, Any]) -> None:
        self.options, self.router = options, router
        words = [word for word in options.request if word != "-"]
        self.earlier: list[Record] = []  # the conversation to go on with
        run: Record = {}
        if options.earlier:
            run, found, words = history.earlier(words)
            self.earlier = [m for m in found if not (options.system and m["role"] == "system")]
        tools = run.get("tools", ()) if run.get("program") == "agent-llm" else ()
        self.tools = [{"type": "tool", **tool} for tool in tools]
        self.text = " ".join(words)
        named = {name: getattr(options, name) for name in SETTINGS}
        self.flags = {name: value for name, value in named.items() if value is not None}
        # of `config` records
        self.settings: Record = {k: run[k] for k in ("provider", "model", "system") if run.get(k)}
        self.before: list[records.Line] = []  # what was read while no request has come
        self.size = 0  # bytes of that
        self.filter = False  # a request has come
        self.loop, limits = events.Loop(), args.limits(options)
        self.dispatch = dispatch.Dispatch(self.loop, router, limits, dict(config), options.quiet)
        self.out = self.dispatch.out
        if not options.no_history:
            self.dispatch.history = history.opened(options.quiet, self.out.secrets)
        self.kept = {"continues": run.get("id", "")}
        self.intake = Intake(self.loop, self.take, lambda: self.dispatch.room)

    def run(self) -> int:
        self.begin()
        self.loop.watch(1, events.GONE, _gone)
        stream = [records.plain()] if "-" in self.options.request else self.read()
        if stream and "-" in self.options.request and not (self.text or stream[0]["text"].strip()):
            raise Fault("invalid_input", "standard input is empty: nothing is asked")
        if not self.filter:
            if not stream and not self.text:
                if self.options.request or self.earlier or os.isatty(0):
                    raise Fault("invalid_input", "nothing is asked; see 'agent-llm --help'")
                return 0  # an empty stream is a filter's quiet end
            if not stream:
                from agentlib.policy import terminal

                terminal.check_request([self.text], "agent-llm", COMMANDS)
            sink = output.Whole if self.options.json else output.Text
            self.dispatch.sink = sink(self.out)
            known = len(transcript.mend([*self.earlier, {"role": "user"}])) - 1
            request = prompt.request([*self.earlier, *self.tools, *stream], self.text)
            self.submit("1", request, known, self.kept)
        elif self.earlier:
            raise Fault("invalid_input", "--continue does not go with `request` records")
        return self.end()

    def begin(self) -> None:
        """Start the provider that will most likely be asked: it loads while we read."""
        if not (self.options.replay or self.options.cache or self.options.earlier):
            try:
                self.dispatch.pool.process(self.router.target({}).provider)
            except Fault:
                # else a record on standard input may still name another
                if self.text and os.isatty(0):
                    raise

    def read(self) -> list[Record]:
        """The records of standard input, unless requests are among them: those are answered as they come."""
        if not (self.text and records.of_a_loop()):
            self.intake.start(self.options.quiet)
        self.turn(lambda: not self.intake.done)
        if self.intake.fault and not self.filter:
            raise self.intake.fault
        return [line.record for line in self.before]

    def take(self, line: records.Line) -> None:
        kind = line.record["type"]
        if kind == "config":
            self.settings.update({k: v for k, v in line.record.items() if v is not None})
        if kind in ("request", "embed"):
            self.request(line)
        elif self.filter:
            self.out.put(line.raw + b"\n")
        else:
            self.size += len(line.raw)
            if self.size > records.LINE_CAP:
                why = f"line {line.number}: over {records.LINE_CAP >> 20} MiB and no request"
                raise Fault("limit_exceeded", why)
            self.before.append(line)

    def request(self, line: records.Line) -> None:
        """A `request` or `embed` record; with the first, what came before it is passed on."""
        kind = line.record["type"]
        if self.text:
            why = f"line {line.number}: `{kind}` records, and operands: use one of the two"
            raise Fault("invalid_input", why)
        if not self.filter:
            self.filter = True
            for line_before in self.before:
                self.out.put(line_before.raw + b"\n")
            self.before.clear()
        without = ("id",) if kind == "embed" else ("id", "type")
        request = {name: value for name, value in line.record.items() if name not in without}
        id = line.record.get("id")
        self.submit(str(line.number) if id is None else id, request)

    def submit(self, id: Any, request: Record, known: int = 0, kept: Record | None = None) -> None:
        """Send a request with what flags and config records say. known: how many of its messages an earlier run has
        kept. kept: more for its `run` record; None: of a stream."""
        before = len(request.get("messages") or ())
        request = prompt.filled(request, {**self.settings, **self.flags})
        theirs = self.settings.get("provider")
        provider = self.options.provider or theirs
        by_record = self.settings.get("model") if theirs in (None, provider) else None
        found = {"provider": provider, "model": self.options.model or by_record}
        request |= {k: v for k, v in found.items() if v and k not in request}
        call = inflight.Pending(id, request)
        call.known = known and known + len(request["messages"]) - before
        call.run = {"session": ""} if kept is None else kept
        self.dispatch.submit(call)

    def end(self) -> int:
        self.turn(lambda: bool(self.dispatch.open))
        self.dispatch.pool.close()
        if self.intake.fault:
            raise self.intake.fault
        return self.dispatch.sink.status() or int(self.dispatch.unrecorded)

    def turn(self, wanted: Callable[[], bool]) -> None:
        """Turn the loop as long as that is wanted; what was written in a turn goes out at its end."""
        while True:
            self.intake.pump()
            self.out.flush()
            if not wanted():
                break
            self.loop.turn()


def _gone() -> None:
    """The end of whoever reads our output is our end, also while nothing is to be written."""
    raise records.ClosedPipe


class Intake:
    """take(line) gets each record, while room() says yes. Once `done` no more come; `fault` says what was malformed."""

    def __init__(
        self, loop: events.Loop, take: Callable[[records.Line], None], room: Callable[[], bool]
    ) -> None:
        self._loop, self._take, self._room = loop, take, room
        self._splitter, self._lines = Splitter(), deque[tuple[int, bytes]]()
        self._ended, self._watched = True, False  # nothing is read before start()
        self.fault: Fault | None = None
        self.begun = False  # whether anything came at all

    @property
    def done(self) -> bool:
        return self._ended and not self._lines

    def start(self, quiet: bool = False) -> None:
        """Begin to read; a terminal is not read. A pipe that stays silent is spoken of once."""
        if os.isatty(0):
            return
        self._ended = False
        if not quiet and not stat.S_ISREG(os.fstat(0).st_mode):
            self._loop.at(time.monotonic() + records.SILENCE, self._wonder)
        self._watch(True)

    def pump(self) -> None:
        """Hand on what there is room for, and read on only if that was all."""
        while self._lines and self._room():
            number, raw = self._lines.popleft()
            try:
                self._take(records.Line(records.parse(raw, number, records.CURE), raw, number))
            except Fault as fault:
                self._stop(fault)
        self._watch(not self._lines and not self._ended and self._room())

    def _stop(self, fault: Fault | None = None) -> None:
        self.fault, self._ended = fault, True
        if fault:
            self._lines.clear()

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.watch(0, events.IN, self._read)
        elif not wanted:
            self._loop.forget(0)
        self._watched = wanted

    def _read(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:  # another process set our input so: poll was too early
            return
        except OSError as bad:
            self._stop(Fault("invalid_input", f"standard input: {bad.strerror}"))
            return self._watch(False)
        self.begun = True
        try:
            self._lines.extend(self._splitter.feed(data) if data else self._splitter.rest())
        except Fault as fault:
            self._stop(fault)
        if not data:
            self._stop(self.fault)
        self.pump()

    def _wonder(self) -> None:
        if not self.begun and not self._ended:
            stderr.warn("waiting for records on standard input; use </dev/null if there are none")
