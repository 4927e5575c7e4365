"""The process of an MCP server, which speaks JSON-RPC in lines, and which era of the protocol it has.

Since 2026-07-28 there is no handshake: each request says its version and what we can do. Before that `initialize` came
first. A server is asked `server/discover`; any answer but that era's own, or none, means the older one.
"""

import itertools
import os
import queue
import threading
import time
from contextlib import suppress

from agentlib import __version__, records, stderr
from agentlib.faults import Fault
from agentlib.process.coprocess import Coprocess, Final
from agentlib.process.run import Begin
from agentlib.types import Callable, Record

MODERN, LEGACY = "2026-07-28", "2025-11-25 2025-06-18 2025-03-26 2024-11-05".split()
UNSUPPORTED = -32022  # the error of a server that knows the newer era, but not this version
INFO = {"name": "agentutils", "version": __version__}
PROBE = 3.0  # seconds after which a server that has not answered is asked the older way too
FLOOD = 2 * records.LINE_CAP  # bytes that are no answer, one after another
TAIL = 2000  # bytes of its standard error that an error shows


class Link:
    """begin: starts the server, with its three descriptors. on_message: gets each message that is no answer."""

    def __init__(self, name: str, begin: Begin, on_message: Callable[[Record], None]) -> None:
        self.name, self._ids, self.unrequested = name, itertools.count(1), 0
        self._junk, self._tail = False, b""
        messages, theirs = os.pipe()
        self._listener = threading.Thread(target=self._listen, args=(messages,), daemon=True)
        self._listener.start()
        try:
            self.process = Coprocess(
                name,
                {},
                final=lambda message: "method" not in message,
                passing=on_message,
                parse=self._parse,
                start=lambda _, stdin, stdout, *__: begin(stdin, stdout, theirs),
            )
        finally:
            os.close(theirs)

    def send(self, method: str, params: Record, answer: Callable[[Final], None]) -> str:
        """Send a request; answer(message or Fault) comes once, in another thread. Its id."""
        id = str(next(self._ids))
        if "progressToken" in params.get("_meta", {}):
            params["_meta"]["progressToken"] = id
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        self.process.send(id, message, answer)
        return id

    def notify(self, method: str, params: Record) -> None:
        """Send a notification."""
        self.process.post({"jsonrpc": "2.0", "method": method, "params": params})

    def agree(self, capabilities: Record, seconds: float, newer: bool = True) -> Record:
        """The `_meta` of each request, {} in the older era, if not newer. Faults: no answer, no version, its end."""
        answers: queue.SimpleQueue[tuple[str, Final]] = queue.SimpleQueue()

        def send(method: str, params: Record) -> None:
            self.send(method, params, lambda answer: answers.put((method, answer)))

        fields = {"protocolVersion": MODERN, "clientCapabilities": capabilities, "clientInfo": INFO}
        meta = {f"io.modelcontextprotocol/{name}": value for name, value in fields.items()}
        older = {"protocolVersion": LEGACY[0], "capabilities": capabilities, "clientInfo": INFO}
        until, both = time.monotonic() + seconds, not newer
        send("server/discover", {"_meta": meta}) if newer else send("initialize", older)
        while True:
            left = until - time.monotonic()
            try:
                method, answer = answers.get(timeout=max(0.0, left if both else min(left, PROBE)))
            except queue.Empty:
                if both:
                    why = f"{self.name}: does not answer within {seconds:g} s"
                    raise Fault("tool_timeout", why) from None
                method, answer = "", {}
            if isinstance(answer, Fault):
                raise self.fault(answer)
            result, error = answer.get("result"), answer.get("error")
            if isinstance(result, dict) and MODERN in result.get("supportedVersions", [MODERN]):
                return self._begin(meta if method == "server/discover" else {}, result)
            is_newer = isinstance(error, dict) and error.get("code") == UNSUPPORTED
            too_new = is_newer and not any(version in str(error) for version in LEGACY)
            if method == "initialize" or too_new:
                raise self.refused(method, answer)
            if not both:
                both = True
                send("initialize", older)

    def _begin(self, meta: Record, result: Record) -> Record:
        if not meta:
            if (version := result.get("protocolVersion")) not in LEGACY:
                raise Fault("tool_error", f"{self.name}: speaks MCP {str(version)[:40]} alone")
            self.notify("notifications/initialized", {})
        elif '"listChanged":true' in records.dumps(result.get("capabilities")):
            wanted = {"_meta": meta, "notifications": {"toolsListChanged": True}}
            self.send("subscriptions/listen", wanted, lambda answer: None)
        return meta

    def refused(self, method: str, answer: Record) -> Fault:
        """The fault of an answer without a result, in the server's words."""
        error = answer.get("error")
        why = error.get("message") if isinstance(error, dict) else "an answer without a result"
        return Fault("tool_error", f"{self.name}: {method}: {str(why)[:TAIL]}")

    def fault(self, fault: Fault) -> Fault:
        """The fault; of a server that has ended, with the last that it wrote to its standard error."""
        if self.process.running:
            return fault
        self._listener.join(0.2)
        tail = self._tail.decode("utf-8", "replace").strip()
        last = f". Its standard error ends:\n{tail}" if tail else ""
        return Fault(fault.kind, fault.message + last, exit=fault.status)

    def _parse(self, raw: bytes) -> Record:
        """A message; an empty one for a line that is none, of which the first is shown."""
        self.unrequested += len(raw)
        if self.unrequested > FLOOD:
            raise Fault("limit_exceeded", f"wrote {FLOOD >> 20} MiB that no request asked for")
        with suppress(ValueError):
            if isinstance(message := records.foreign(raw), dict):
                return message
        if not self._junk:
            stderr.warn(f"{self.name}: prints what is no message of MCP; skipped: {raw[:80]!r}")
        self._junk = True
        return {}

    def _listen(self, messages: int) -> None:
        with open(messages, "rb", buffering=0) as stream:
            while data := stream.read(65536):
                self._tail = (self._tail + data)[-TAIL:]
