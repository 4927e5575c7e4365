"""Requests in flight: each goes to its provider, is tried again or elsewhere, and ends in one final record."""

import os
import select
import time
from collections import deque
from contextlib import suppress
from functools import partial

from agentlib import history, records, stderr
from agentlib.environment import scrub
from agentlib.faults import Fault
from agentlib.llm import inflight, keys, prompt
from agentlib.llm.inflight import Limits, Pending
from agentlib.llm.output import CUT, Lines, Out, Whole
from agentlib.llm.pool import Pool
from agentlib.llm.routing import Provider, Router
from agentlib.messages import requests
from agentlib.process import events
from agentlib.types import Record

IN_FLIGHT = 1000  # requests at once
START = 2.0  # seconds that, at a pace, the second request waits at most for a sign of the provider
LASTING = ("invalid_input", "limit_exceeded", "interrupted")  # no other model would help


class Dispatch:
    """Takes requests with submit(); everything else happens in the loop. defaults: for what a request does not say."""

    def __init__(
        self, loop: events.Loop, router: Router, limits: Limits, defaults: Record, quiet: bool
    ) -> None:
        self.loop, self.router, self.limits, self.defaults = loop, router, limits, defaults
        self.out = out = Out()
        self.sink: Lines | Whole = Lines(out)
        self.pool = Pool(loop, self, out, router.providers.config, limits.silence, quiet)
        self.open: set[Pending] = set()
        self.history: history.History | None = None
        self.unrecorded = False  # an answer that should be on the tape is not
        self._in_flight = 0
        self._unpaid: deque[Pending] = deque()  # wait for the budget
        self._paced: deque[Pending] = deque()  # wait for their turn
        self._begun = 0.0  # when the first turn came
        self._warm = False  # a provider has shown that it runs

    @property
    def room(self) -> bool:
        return len(self.open) < IN_FLIGHT and self.pool.room

    def submit(self, call: Pending) -> None:
        """Answer this request; it ends in exactly one final record."""
        self.open.add(call)
        try:
            requests.checked({**call.request, "model": call.request.get("model") or "-"})
            if self.history and not call.embeds:
                self._keep_question(self.history, call)
            if not self._recalled(call):
                self._go(call)
        except Fault as fault:
            self._finish(call, fault.record())

    def _recalled(self, call: Pending) -> bool:
        """Whether tape or cache had the answer. If not, `kept` says where it will be kept."""
        limits, found = self.limits, None
        if not (limits.player or limits.recorder or limits.cache):
            return False
        from agentlib.llm import tape

        request = tape.canonical(call.request)
        if limits.player:
            found = limits.player.find(request)
        if limits.recorder:
            call.kept[limits.recorder] = request
        if limits.cache:  # as it goes out, and to whom: another model's answer is another answer
            target = self.router.target(call.request)
            places = [e["name"] for e in keys.entries(target.provider.schema) if not e.get("key")]
            address = {name: os.environ[name] for name in places if name in os.environ}
            about = {"address": address, "model": target.model, "provider": target.provider.name}
            filled = {**prompt.filled(call.request, self.defaults), **about}
            call.kept[limits.cache] = request = tape.canonical(filled)
            found = limits.cache.find(request)
        if not found:
            return False
        *deltas, last = ({"type": one.get("type"), "id": call.id, **one} for one in found)
        for delta in deltas if call.request.get("stream") else ():
            self.sink.delta(call, delta, None)
        self._close(call, last, None)
        return True

    # -- out

    def _go(self, call: Pending) -> None:
        """Send the next try as soon as the budget and the pace allow it."""
        try:
            # 0: at its turn, when all may be spent
            others = 0 if call.in_flight else self._in_flight
            if not all([budget.room(others) for budget in self.limits.budgets]):
                return self._unpaid.append(call)
        except Fault as fault:
            return self._finish(call, fault.record())
        turn, call.in_flight = call.in_flight, True
        self._in_flight += not turn
        if turn or self.limits.pace is None:
            return self._send(call)
        self._paced.append(call)
        if len(self._paced) <= (self.limits.pace.ahead if self._warm else not self._begun):
            self._take_turn(self.limits.pace)

    def _take_turn(self, pace: inflight.Pace) -> None:
        def come() -> None:
            if not self._begun:
                self._begun = time.monotonic()
                self.loop.at(self._begun + START, self._started)
            warm = self._warm
            self._go(self._paced.popleft())
            if self._paced and warm and pace.ahead == 1:
                self._take_turn(pace)

        pace.at_turn(self.loop, come)

    def _started(self) -> None:
        """Note that a provider runs. Requests sent before that would have reached the service all at once. If the first
        one may have gone out more than one interval ago, take one more turn for it."""
        pace = self.limits.pace
        if self._warm or not self._begun or not pace:
            return
        self._warm = True
        if time.monotonic() - self._begun > pace.interval:
            pace.turn()
        for _ in list(self._paced)[: pace.ahead]:
            self._take_turn(pace)

    def _send(self, call: Pending) -> None:
        call.due = call.due or time.monotonic() + self.limits.timeout
        call.tries += 1
        call.sent = time.monotonic()
        try:
            call.target = None
            call.target = target = self.router.target(call.request, call.at)
            self.router.explain(target)
            request = prompt.filled(call.request, self.defaults)
            request.pop("provider", None)
            if target.model:
                request["model"] = target.model
            self.pool.send(call, target.provider, request)
        except Fault as fault:
            self.failed(call, fault.record())

    # -- what comes back from the pool

    def delta(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self._started()
        for kind in ("text", "thinking"):
            text = record.get(kind)
            if isinstance(text, str) and text and self.out.secrets:
                before = call.tails.pop(kind, "")
                text, tail = keys.parted(before + text, self.out.secrets)
                if tail:
                    call.tails[kind] = tail
                if before or tail:
                    record, raw = {**record, kind: text}, None
        self._pass_on(call, record, raw)

    def _pass_on(self, call: Pending, record: Record, raw: bytes | None) -> None:
        if call.kept:
            call.deltas.append(record)
        if self.sink.delta(call, record, raw):
            call.partial = True

    def other(self, raw: bytes) -> None:
        self.sink.other(raw)

    def answered(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self._started()
        assert call.target
        for kind, tail in call.tails.items():  # it was the beginning of no secret
            self._pass_on(call, {"type": "delta", "id": call.id, kind: tail}, None)
        call.tails.clear()
        if "provider" not in record:
            record["provider"], raw = call.target.provider.name, None
        usage = record.get("usage") or {}
        if "message" in record and not {"input_tokens", "output_tokens"} & set(usage):
            usage = requests.estimated(call.request, record["message"])
            record["usage"], raw = usage, None
        for budget in self.limits.budgets:
            try:
                in_usd = budget.book.get("usd")  # else no guess: what is not known is not counted
                budget.spend(priced(record, call.target.provider) if in_usd else record)
            except Fault as fault:
                stderr.warn(fault.message)
        self._finish(call, record, raw)

    def failed(self, call: Pending, error: Record) -> None:
        """Note the failed try; try again after a pause if that may help, or at once with the next model."""
        self._started()
        self._land(call)
        if call.target:
            error.setdefault("provider", call.target.provider.name)
        now = time.monotonic()
        found = {**error, "model": call.target.model if call.target else None}
        found |= {"time": history.now(), "duration_ms": round((now - call.sent) * 1000)}
        names = "provider model kind status message time duration_ms".split()
        call.failed.append({name: found[name] for name in names if found.get(name) is not None})
        if call.partial or error.get("kind") in LASTING:
            return self._finish(call, error)
        pause = inflight.wait(error, call.tries, self.limits.retries, os.urandom(1)[0] / 256)
        if pause is None or now + pause >= call.due:
            if call.at + 1 >= self.router.count or now >= call.due or call.embeds:
                return self._finish(call, error)
            pause, call.at, call.tries = 0.0, call.at + 1, 0
        call.deltas.clear()
        call.tails.clear()
        self.loop.at(now + pause, lambda: self._go(call))

    # -- the end

    def _finish(self, call: Pending, record: Record, raw: bytes | None = None) -> None:
        """Write the final record, with what only we know, and keep it on the tape and in the cache if they are used."""
        if record["type"] == "error":
            record["partial"] = call.partial
        if call.failed:
            record["attempts"] = call.failed
        if record["type"] == "error" or call.failed:
            record, raw = {"type": record["type"], "id": call.id, **record}, None
        answer = [{k: v for k, v in one.items() if k != "id"} for one in [*call.deltas, record]]
        for store, request in call.kept.items():
            clean = scrub(records.encode([request, answer]), self.out.secrets)
            try:
                store.keep(*records.loads(clean))
            except OSError as bad:
                self.unrecorded |= store is self.limits.recorder
                why = f"{bad.filename or 'the file'}: {bad.strerror or bad}"
                stderr.warn(f"this answer is not kept: {why}")
        self._close(call, record, raw)

    def _close(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self._land(call)
        self.open.discard(call)
        self._keep_answer(call, record)
        self.sink.final(call, record, raw)

    def _land(self, call: Pending) -> None:
        """Count it as ended: requests that wait for the budget try again."""
        if not call.in_flight:
            return
        call.in_flight = False
        self._in_flight -= 1
        for _ in range(len(self._unpaid)):
            self.loop.at(0, partial(self._go, self._unpaid.popleft()))

    def _keep_question(self, kept: history.History, call: Pending) -> None:
        ids, time = history.identity(False), history.now()
        fields = {name: call.request.get(name) for name in ("provider", "model", "tools")}
        if not self.limits.player:
            with suppress(Fault):  # it is reported, or another model requested, when it is sent
                target = self.router.target(call.request)
                fields |= {"provider": target.provider.name, "model": target.model}
        run = history.begun(ids, {"program": "agent-llm", **fields, **call.run})
        head = {"type": "message", "run": ids["id"], "time": time}
        new = [{**head, **one} for one in call.request["messages"][call.known :]]
        call.run = {"id": ids["id"], "soon": "session" in call.run}
        kept.write(run, *new, soon=call.run["soon"])

    def _keep_answer(self, call: Pending, record: Record) -> None:
        if self.history is None or "id" not in call.run:
            return
        run, time, soon = call.run["id"], history.now(), call.run["soon"]
        measured = {name: record[name] for name in history.MEASURED if name in record}
        result = {"type": "result", "run": run, "time": time, "calls": 0}
        if record["type"] == "error":
            error = {k: v for k, v in record.items() if k not in ("type", "id")}
            return self.history.write({**result, "iterations": 0, "error": error}, soon=soon)
        message = {"type": "message", "run": run, **record["message"], **measured, "time": time}
        result |= {**measured, "iterations": 1, "incomplete": record.get("stop_reason") in CUT}
        self.history.write(message, result, soon=soon)

    def interrupt(self) -> None:
        """Write `interrupted` errors for what is open, as far as standard output takes them without waiting."""
        ready = select.poll()
        ready.register(1, select.POLLOUT)
        for call in list(self.open):
            if not any(event & select.POLLOUT for _, event in ready.poll(0)):
                break
            if not self.out.between:  # the signal may have cut a line: end it
                self.sink.other(b"")
            fault = Fault("interrupted", "ended by a signal", partial=call.partial)
            self._keep_answer(call, fault.record())
            self.sink.final(call, {"type": "error", "id": call.id, **fault.record()}, None)
            self.out.flush()


def priced(response: Record, provider: Provider) -> Record:
    """The response with a cost: its own, else by the prices of the provider's schema."""
    from agentlib import budget

    capabilities = provider.schema.get("capabilities")
    rates = capabilities.get("cost_per_1k_tokens") if isinstance(capabilities, dict) else None
    if response.get("cost_usd") is not None or not isinstance(rates, dict):
        return response
    rate = {side: rates.get(side) or 0 for side in ("input", "output")}
    if not all(map(budget.is_amount, rate.values())):
        return response
    cost = sum(budget.count(response, f"{side}_tokens") * rate[side] / 1000 for side in rate)
    return {**response, "cost_usd": cost}
