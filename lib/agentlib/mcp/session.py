"""A connection to one MCP server, in both eras of the protocol: requests, their time, and the server's questions."""

import queue
import threading
import time
from functools import partial

from agentlib import stderr
from agentlib.faults import Fault
from agentlib.mcp.link import Link
from agentlib.process.run import Begin, Scope
from agentlib.types import Any, Record

SECONDS = 60.0  # for a request that is no call, and to start: `npx` may first fetch the server
LONGEST = 10  # times its seconds, for a call whose server reports progress
ASKING = 330.0  # seconds more for a call while a person is asked
ROUNDS = 5  # questions to a person in one call
ITEMS = 10_000  # tools, resources or prompts of one server


class Wait(queue.SimpleQueue[Any]):
    """Where the answer to a request comes in. In the place of a process, it ends with the scope of a run."""

    handle, left = -1, ""

    def signal(self, signum: int) -> None:
        self.put(Fault("interrupted", "the call was given up"))

    def ended(self, seconds: float) -> bool:
        return True

    def reap(self) -> int:
        return 0


class Session:
    """name: of the server, in messages. ask: whether its questions go to the person. begin: starts it. changed: whether
    it said that its tools are others now. seconds: for a request, where it does not say."""

    seconds = SECONDS

    def __init__(self, name: str, ask: bool, begin: Begin) -> None:
        self.changed, self._ask = False, ask
        self._open: dict[str, Wait] = {}
        self._meta: Record | None = None  # of each request; None until the era is known
        self._agreeing, self._questions = threading.Lock(), 0
        self._start: Any = partial(Link, name, begin, self._on_message)
        self._link: Link = self._start()
        self.close: Any = lambda grace: self._link.process.close(grace)

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._link.process.running

    def every(self, method: str, field: str) -> list[Record]:
        """All items of a list in pages: `tools/list` and its field `tools`, and so on."""
        found: list[Record] = []
        seen: set[str] = set()
        cursor: Any = None
        while True:
            page = self.request(method, {"cursor": cursor} if cursor else {})
            if not isinstance(items := page.get(field), list):
                why = f"{self._link.name}: {method}: its answer has no list of {field}"
                raise Fault("bad_response", why)
            found += [one for one in items if isinstance(one, dict)]
            if len(found) + len(seen) > ITEMS:
                stderr.warn(f"{self._link.name}: {method}: the first {ITEMS:,} are taken, of more")
                return found[:ITEMS]
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or cursor in seen:
                return found
            seen.add(cursor)

    def request(
        self, method: str, params: Record, seconds: float = 0.0, scope: Scope | None = None
    ) -> Record:
        """The result. Faults: `tool_timeout`, `interrupted` (the scope ended), `tool_error` in the server's words,
        and as the server ended. A question of the server goes to the person."""
        with self._agreeing:
            if self._meta is None:
                self._meta = self._agreed({"elicitation": {"form": {}}} if self._ask else {})
        self._questions = 0
        for _ in range(ROUNDS + 1):
            result = self._exchange(method, params, seconds or self.seconds, scope)
            if result.get("resultType") != "input_required":
                return result
            questions = result.get("inputRequests") or {}
            answers = {key: self._answer(one) for key, one in questions.items()}
            params = {**params, "inputResponses": answers}
            params |= {"requestState": result["requestState"]} if "requestState" in result else {}
        why = f"{self._link.name}: asks for input again and again; the call was ended"
        raise Fault("tool_error", why)

    def _agreed(self, able: Record) -> Record:
        try:
            return self._link.agree(able, self.seconds)
        except Fault:
            if self.running:
                raise
        self.close(0.0)  # one of the older era alone may end where another message comes first
        self._link = self._start()
        return self._link.agree(able, self.seconds, newer=False)

    def _exchange(self, method: str, params: Record, seconds: float, scope: Scope | None) -> Record:
        wait, meta = Wait(), {**(self._meta or {}), **params.get("_meta", {})}
        if scope:
            scope.start(lambda: wait)
            meta["progressToken"] = ""
        id = self._link.send(method, {**params, **({"_meta": meta} if meta else {})}, wait.put)
        self._open[id] = wait
        try:
            answer = self._answered(wait, seconds)
        except Fault as fault:
            if fault.kind in ("tool_timeout", "interrupted"):
                self._link.process.forget(id)
                self._link.notify("notifications/cancelled", {"requestId": id})
            raise self._link.fault(fault) from None
        finally:
            del self._open[id]
            if scope:
                scope.drop(wait)
        self._link.unrequested = 0
        if isinstance(result := answer.get("result"), dict):
            return result
        raise self._link.refused(method, answer)

    def _answered(self, wait: Wait, seconds: float) -> Record:
        """The answer; a number is a sign of life, and seconds that the request may take from now on."""
        until = time.monotonic() + seconds
        last = until + (LONGEST - 1) * seconds
        while True:
            try:
                answer = wait.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                why = f"{self._link.name}: no answer within {seconds:g} s"
                raise Fault("tool_timeout", why) from None
            if isinstance(answer, Fault):
                raise answer
            if not isinstance(answer, float):
                return dict(answer)
            until = min(time.monotonic() + max(seconds, answer), last + answer)

    def _on_message(self, message: Record) -> None:
        method, params = message.get("method"), message.get("params")
        if method == "notifications/progress" and isinstance(params, dict):
            if wait := self._open.get(str(params.get("progressToken"))):
                wait.put(0.0)
        elif method == "notifications/tools/list_changed":
            self.changed = True
        elif method and "id" in message:
            if method == "elicitation/create" and self._ask and self._questions < ROUNDS:
                # a person takes time, and this thread is the one that reads the answers
                threading.Thread(target=self._reply, args=(message,), daemon=True).start()
            else:
                self._reply(message)

    def _reply(self, message: Record) -> None:
        head = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            result = {} if message["method"] == "ping" else self._answer(message)
            self._link.process.post({**head, "result": result})
        except (Fault, AttributeError, KeyError, TypeError) as bad:
            error = {"code": -32601, "message": str(bad)}
            self._link.process.post({**head, "error": error})

    def _answer(self, message: Record) -> Record:
        if message.get("method") != "elicitation/create":
            why = f"asks for {str(message.get('method'))[:80]}, which is not done"
            raise Fault("tool_error", f"{self._link.name}: {why}")
        self._questions += 1
        if not self._ask or self._questions > ROUNDS:
            return {"action": "decline"}
        from agentlib.mcp import form

        for wait in list(self._open.values()):
            wait.put(ASKING)
        return form.ask(self._link.name, message.get("params") or {})
