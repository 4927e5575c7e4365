"""The requests in flight of a provider, a thread each; one final record for each, whatever happens."""

import os
import sys
import threading
import time
from _thread import start_new_thread  # threading.Thread waits for it to begin: 0.05 ms each
from collections import deque
from contextlib import suppress

from agentlib import cli, environment, records, stderr
from agentlib.faults import RETRYABLE, Fault, Interrupted
from agentlib.messages import requests, transcript
from agentlib.provider.answer import Answer, Embedding, Stream, Thoughts, checked, thoughts_apart
from agentlib.provider.http import LINGER, Connection, Reply, Watch
from agentlib.provider.http_call import Call, Explain, answers, excerpt, ndjson
from agentlib.types import Any, Generator, Iterator, Record

Functions = dict[str, Embedding]  # by type of record: (prepare, parse), (embed, vectors)

IN_FLIGHT = 1000  # requests at once; the next one is read when one of them is done
STACK = 1024 * 1024  # bytes of a thread's stack: room for JSON as deep as the decoder allows
SPARE_FILES = 16  # open files that are no connections
# the requests that are answered, and which model of the schema is their default
DEFAULTS = {"request": "default_model", "embed": "embedding_model"}
FLUSH_TIMEOUT = 1.0  # seconds that the end by a signal waits for its last records to be read


class Exchange:
    """One request in flight: its deltas and its one final record, written from whichever thread comes first."""

    def __init__(self, request: Record, id: Any) -> None:
        self.request, self.id = request, id
        self.watch = Watch(bool(request.get("stream")))
        self.partial = self.done = False
        self._head = b'{"type":"delta","id":' + records.encode(id)
        self._lock = threading.Lock()

    def delta(self, kind: str, text: str) -> None:
        """Write a delta at once, unless the final record has gone out already. kind: `text` or `thinking`."""
        # the one record that comes by the thousand
        line = b'%b,"%b":%b}\n' % (self._head, kind.encode(), records.encode(text))
        with self._lock:
            if not self.done:
                self.partial = True
                _put(line)
            self.watch.active = time.monotonic()

    def body(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The body as it arrives. Each of its lines breaks the silence, for a server that keeps a queue sends
        comments; now and then such a line is an empty delta."""
        for chunk in chunks:
            if b"\n" in chunk or b"\0" in chunk:
                now = time.monotonic()
                if self.request.get("stream") and now - self.watch.active > self.watch.silence / 4:
                    self.delta("text", "")
                self.watch.active = now
            yield chunk

    def final(self, record: Record, overdue: bool = False) -> bool:
        """Write the final record if none went out; with overdue, only if the bounds of time still say so."""
        with self._lock:
            if self.done or overdue and self.watch.due() > time.monotonic():
                return False
            if record["type"] == "error":
                record["partial"] = self.partial
            self.done = True
            _put(records.line(record))
            return True


def _put(line: bytes) -> None:
    """Write a line. Where nobody reads, or nothing can be written, the whole program ends."""
    try:
        records.put(line)
    except records.ClosedPipe:
        os._exit(141)  # as cli.end does it, but for the signal: a thread cannot restore it
    except OSError as bad:
        stderr.warn(f"standard output: {bad.strerror}")
        cli.end(111)


def streamed(exchange: Exchange, deltas: Generator[Record, None, Answer]) -> Answer:
    """The answer at the end of the deltas, which are written as they come; a character cut in two is joined."""
    wanted, thoughts = exchange.request.get("stream"), Thoughts()
    halves = {"text": "", "thinking": ""}  # of a character: the rest is in the next delta

    def write(kind: str, text: str, last: bool = False) -> None:
        text, halves[kind] = halves[kind] + text, ""
        if not text.isascii():  # surrogate halves that met made one character
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if "\ud800" <= text[-1] <= "\udbff" and not last:
                text, halves[kind] = text[:-1], text[-1]
        pieces = thoughts.parted(text, last) if kind == "text" else [(kind, text)]
        for name, piece in pieces:
            if piece and wanted:
                exchange.delta(name, piece)

    while True:
        try:
            delta = next(deltas)
        except StopIteration as end:
            for kind in halves:
                write(kind, "", last=True)
            answer: Answer = end.value
            return answer
        if delta.get("ended"):  # whole; what else is due (its usage) is waited for a moment
            exchange.watch.read = LINGER
            continue
        for kind, text in delta.items():
            write(kind, text)


class Service:
    """The requests in flight, a thread each. Their connections are kept for the next ones."""

    def __init__(
        self, schema: Record, functions: Functions, stream: Stream, explain: Explain
    ) -> None:
        self.schema, self.name, self.functions = schema, schema["name"], functions
        self.stream, self.explain = stream, explain
        names = [entry["name"] for entry in schema.get("env") or [] if entry.get("key")]
        keys = [os.environ.get(name, "").strip() for name in names]
        self.secrets = [key for key in keys if environment.looks_secret(key)]
        self.running: set[Exchange] = set()
        self.changed = threading.Condition()
        self.connections: deque[Connection] = deque()  # that no request has
        self.watched = False

    def run(self) -> int:
        """Answer all of standard input; a stream that is malformed ends after the answers to what came before."""
        if sys.stdin.isatty():
            return 0
        threading.stack_size(STACK)
        wrong = None
        try:
            try:
                self._requests(_room())
            except Fault as fault:
                wrong = fault
            self._wait(1)
        except (Interrupted, KeyboardInterrupt):
            # where nobody reads the records, the end does not wait for them
            last = threading.Thread(target=self._interrupt, daemon=True)
            last.start()
            last.join(FLUSH_TIMEOUT)
            raise
        if wrong:
            raise wrong
        return 0

    def _requests(self, limit: int) -> None:
        begun = 0
        for line in records.read(sys.stdin.buffer):
            if line.record["type"] not in DEFAULTS:
                records.put(line.raw + b"\n")
                continue
            id = line.record.get("id")
            self._wait(limit)
            self._begin(Exchange(line.record, str(line.number) if id is None else id))
            begun += 1
            if begun == 2:  # no one-shot; its import fits in the wait for the first answers
                records.take_over()

    def _wait(self, room: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: len(self.running) < room)

    def _interrupt(self) -> None:
        for exchange in list(self.running):
            self._fail(exchange, Fault("interrupted", "a signal ended the provider"))

    def _begin(self, exchange: Exchange) -> None:
        self.running.add(exchange)
        try:
            if not self.watched:
                start_new_thread(self._watch, ())
                self.watched = True
            start_new_thread(self._answer, (exchange,))
        except RuntimeError:
            self._fail(exchange, Fault("limit_exceeded", "the system gives no more threads"))
            self._leave(exchange)

    def _leave(self, exchange: Exchange) -> None:
        with self.changed:
            self.running.discard(exchange)
            self.changed.notify_all()

    def _watch(self) -> None:
        """End what is overdue. Nothing that begins while this sleeps is due before it wakes: it has all its time."""
        while True:
            watches = [Watch(True), *(exchange.watch for exchange in list(self.running))]
            due = min(watch.due() for watch in watches)
            time.sleep(min(max(0.01, due - time.monotonic()), 3600))
            for exchange in list(self.running):
                if exchange.watch.due() > time.monotonic():
                    continue
                if self._fail(exchange, exchange.watch.fault(), overdue=True):
                    exchange.watch.cut()
                    self._leave(exchange)

    def _answer(self, exchange: Exchange) -> None:
        kind = exchange.request["type"]
        default = self.schema.get(DEFAULTS[kind])
        connection = Connection()
        with suppress(IndexError):
            connection = self.connections.pop()

        def read(reply: Reply) -> None:
            answer = self._read(exchange, request, call, reply)
            model = answer.get("model") or exchange.request.get("model") or default
            exchange.final(self._response(exchange, answer, model))
            if call.frames:
                reply.rest(exchange.watch)

        try:
            if kind not in self.functions:
                raise Fault("invalid_request", f"{kind}: {self.name} makes no embeddings")
            request = requests.checked(exchange.request, default)
            call = self.functions[kind][0](request)
            connection.send(call, exchange.watch, read)
        except Exception as bad:
            self._fail(exchange, _fault(bad))
        self.connections.append(connection)
        self._leave(exchange)

    def _read(self, exchange: Exchange, request: Record, call: Call, reply: Reply) -> Answer:
        if not 200 <= reply.status < 300:
            raise reply.refusal(self.explain, call.url)
        first, chunks = reply.begun()
        if reply.media == "text/html" and first not in (b"{", b"["):
            page = excerpt(reply.beginning(chunks))
            raise Fault("bad_response", f"the answer is a web page: {page!r}", status=reply.status)
        frames = _frames(call, reply.media, first)
        if frames:
            answer = streamed(exchange, self.stream(request, frames(exchange.body(chunks))))
        else:
            _, parse = self.functions[request["type"]]
            lists = request["type"] == "embed" or bool(call.frames)
            answer = parse(request, reply.document(lists, chunks))
        if "vectors" in answer:
            return answer
        answer = checked(answer)
        answer["message"] = thoughts_apart(answer["message"])
        if request.get("stream") and not frames:  # the vendor did not stream
            for kind in ("thinking", "text"):
                if text := transcript.text(answer["message"], kind):
                    exchange.delta(kind, text)
        return answer

    def _response(self, exchange: Exchange, answer: Answer, model: Any) -> Record:
        embeds = "vectors" in answer
        usage, cost = answer.get("usage") or {}, answer.get("cost_usd")
        if not embeds and not {"input_tokens", "output_tokens"} & usage.keys():
            usage = {**usage, **requests.estimated(exchange.request, answer["message"])}
        elif cost is None:
            from agentlib.provider import prices

            cost = prices.cost(self.name, model, usage)
        fields = ("vectors",) if embeds else ("message", "stop_reason", "logprobs")
        return {
            "type": "embedding" if embeds else "response",
            "id": exchange.id,
            **{name: answer[name] for name in fields if name in answer},
            "usage": usage,
            "model": model,
            "provider": self.name,
            "cost_usd": cost,
            "duration_ms": round((time.monotonic() - exchange.watch.started) * 1000),
        }

    def _fail(self, exchange: Exchange, fault: Fault, overdue: bool = False) -> bool:
        """Answer with an error; whether it went out (see Exchange.final)."""
        record = {**fault.record(exchange.id), "provider": self.name}
        record.setdefault("retryable", fault.kind in RETRYABLE)
        for secret in self.secrets:
            record["message"] = record["message"].replace(secret, "***")
        record["message"] = record["message"][:4000]
        return exchange.final(record, overdue)


def _fault(bad: Exception) -> Fault:
    """What a request's failure is called; a vendor's function that stumbles over an answer of another form, too."""
    if isinstance(bad, Fault):
        return bad
    if isinstance(bad, MemoryError):
        return Fault("limit_exceeded", "out of memory")
    if os.environ.get("AGENT_DEBUG"):
        import traceback

        traceback.print_exception(bad)
    lacks = isinstance(bad, KeyError)
    what = f"it lacks {bad.args[0]!r}" if lacks else "a field is of another type"
    return Fault("bad_response", f"the answer is not of the vendor's form: {what}")


def _room() -> int:
    """How many requests may be in flight: IN_FLIGHT, or what the limit of open files (raised) leaves room for."""
    import resource

    (soft, hard), most = resource.getrlimit(resource.RLIMIT_NOFILE), IN_FLIGHT + SPARE_FILES
    if 0 <= soft < most:  # -1: no limit
        most = most if hard < 0 else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, most - SPARE_FILES)


def _frames(call: Call, media: str, first: bytes) -> Any:
    """What makes items of the body, None where it is one JSON document: by its first byte, whatever it is called."""
    if call.frames not in (None, answers):
        return None if media == "application/json" and call.frames is not ndjson else call.frames
    if not first:
        return call.frames
    return answers if first in b":deir" else None  # a comment, data: event: id: retry:
