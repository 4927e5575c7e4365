"""The work of agent-execute: which step may run, how it is run, what becomes of its output."""

from __future__ import annotations

import functools
import os
import queue
import re
import threading
import time

from agentlib import private, records, stderr
from agentlib.faults import Fault
from agentlib.launch import command
from agentlib.lock import add, locked, mend
from agentlib.messages import material, transcript
from agentlib.patterns import model
from agentlib.patterns.steps import problems
from agentlib.policy import flags
from agentlib.types import TYPE_CHECKING, Any, Namespace, Record

if TYPE_CHECKING:
    from agentlib.invoke.toolset import Tools

GIVEN = 100_000  # characters of an output that another step is given
SUM_UP = "Answer the request from the outputs of the steps that were carried out for it. Say what is missing."
ENDED = ("done", "failed", "skipped")
LASTING = ("tool_denied", "not_found", "invalid_input", "invalid_arguments")  # no try would help


def main(args: Namespace) -> int:
    """Run the plan on standard input; 0 where every step is done, 1 where not."""
    private.undumpable()
    flags.inherit(args)
    run = Execution(args)
    for line in records.read():
        run.take(line.record, line.raw)
    if wrong := problems(list(run.steps.values())):
        raise Fault("invalid_input", f"the plan: {'; '.join(wrong)}")
    return run.run()


class Execution:
    """One run of one plan."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.request = ""
        self.steps: dict[str, Record] = {}
        self.tools: list[Record] = []
        self.pieces: list[Record] = []
        self.ended: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self.leash = command.Leash()
        self.replanned = not args.replan
        self.began = time.monotonic()

    def take(self, record: Record, raw: bytes) -> None:
        """One record of the stream. Of two steps with one id the later counts, so that a log can follow its plan."""
        kind = record["type"]
        if kind == "step":
            self.steps[str(record.get("id"))] = record
            return
        if kind == "tool":
            self.tools.append(record)
            return
        if kind == "plan":
            self.request = str(record.get("request", ""))
        elif kind in material.KINDS or kind == "message":
            self.pieces.append(record)
        if not self.args.synthesize:
            records.put(raw + b"\n")

    def run(self) -> int:
        """All steps, then the end."""
        for step in read_state(self.args.state):
            if step.get("id") in self.steps and step.get("status") == "done":
                self.steps[step["id"]] = step
        try:
            self.loop()
        finally:
            self.leash.pull()
        missing = [s["id"] for s in self.steps.values() if s.get("status") != "done"]
        if self.args.synthesize:
            self.synthesize(missing)
        return 1 if missing else 0

    def loop(self) -> None:
        """Start what is ready, wait for one to end, again."""
        running: set[str] = set()
        while True:
            for step in self.ready(running)[: max(1, self.args.jobs) - len(running)]:
                running.add(step["id"])
                threading.Thread(target=self.work, args=(dict(step),), daemon=True).start()
            if not running:
                break
            step = self.ended.get()
            running.discard(step["id"])
            self.finish(step)
            if step["status"] == "failed" and not self.replanned and not running:
                self.replan(step)

    def ready(self, running: set[str]) -> list[Record]:
        """The open steps whose needs are all done; those that never can be are told as skipped."""
        while lost := [
            s for s in self.open(running) if any(self.over(n) for n in s.get("needs", []))
        ]:
            if not self.replanned:
                break
            for step in lost:
                self.finish({**step, "status": "skipped"})
        return [s for s in self.open(running) if all(self.done(n) for n in s.get("needs", []))]

    def open(self, running: set[str]) -> list[Record]:
        return [
            s
            for s in self.steps.values()
            if s.get("status") not in ENDED and s["id"] not in running
        ]

    def done(self, id: str) -> bool:
        return self.steps[id].get("status") == "done"

    def over(self, id: str) -> bool:
        return self.steps[id].get("status") in ("failed", "skipped")

    def finish(self, step: Record) -> None:
        """A step has ended: keep it, print it."""
        self.steps[step["id"]] = step
        append_state(self.args.state, step)
        count = sum(s.get("status") in ENDED for s in self.steps.values())
        self.say(f"{step['status']} {count}/{len(self.steps)} {step['id']}: {step['task']}")
        if not self.args.synthesize:
            records.write(step)

    def say(self, text: str) -> None:
        if not self.args.quiet:
            stderr.say("> " + text[:200])

    def work(self, step: Record) -> None:
        """Run one step to its end, in a thread of its own; whatever happens, it ends."""
        began = time.monotonic()
        for attempt in range(1, max(0, self.args.retry) + 2):
            step["attempts"] = attempt
            try:
                step["output"] = self.attempt(step)
                step["status"] = "done"
                step.pop("error", None)
                break
            except Fault as bad:
                step |= {"status": "failed", "error": {"kind": bad.kind, "message": bad.message}}
                if bad.kind in LASTING:
                    break
            except Exception as bug:  # a step must end, or the run never would
                step |= {
                    "status": "failed",
                    "error": {"kind": "server", "message": f"{type(bug).__name__}: {bug}"},
                }
                break
        step["duration_ms"] = round((time.monotonic() - began) * 1000)
        self.ended.put(step)

    def attempt(self, step: Record) -> str:
        """The output of a step, by its tool, its agent, or the command."""
        if step.get("tool"):
            return self.call(step)
        needed = [self.steps[n] for n in step.get("needs", [])]
        if step.get("agent"):
            return self.agent(step, needed)
        program, *more = self.args.command or ["agent-react", *model.words(self.args)]
        if os.path.basename(program) == "agent-react":  # works under the same flags
            more = [*flags.words(self.args), *more]
        if os.path.basename(program) in ("agent-react", "agent-llm"):
            stdin = self.stream(needed)
        else:
            stdin = "\n\n".join(map(told, needed)).encode()
        argv = [program, *more, step["task"]]
        return command.text(argv, stdin, self.args.timeout, self.leash)

    def agent(self, step: Record, needed: list[Record]) -> str:
        """The output of the program that a step names; the plan may be a model's, so policy has its word."""
        agent = self.hands.table.get(str(step["agent"]))
        if agent is None:
            raise Fault("not_found", f"there is no agent {step['agent']!r} on the stream")
        self.say(f"Calling {agent.name} for {step['task']}")
        text = step["task"]
        if agent.invoke == "text":
            text = transcript.text(material.message(text, self.pieces), joint="\n")
            text = "\n\n".join([text, *map(told, needed)])
        return self.hands.hand_over(agent, text, self.leash, plain).strip()

    def stream(self, needed: list[Record]) -> bytes:
        """The tools, the material and the needed outputs as records."""
        outputs = [
            {"type": "context", "source": f"step {s['id']}: {s['task']}", "text": output(s)}
            for s in needed
        ]
        hands = [t for t in self.tools if t.get("kind") != "agent"]
        return b"".join(records.line(r) for r in (*hands, *self.pieces, *outputs))

    def call(self, step: Record) -> str:
        """The one tool call that a step is (ReWOO), its #ID replaced by the results they stand for."""
        outputs = {id: output(s) for id, s in self.steps.items() if s.get("status") == "done"}
        call = {
            "id": step["id"],
            "name": step["tool"],
            "arguments": filled(step.get("arguments", {}), outputs),
        }
        message = self.hands.perform(call, self.leash)
        if message.get("is_error"):
            raise Fault(
                str((message.get("error") or {}).get("kind", "tool_error")), str(message["content"])
            )
        return str(message["content"])

    @functools.cached_property
    def hands(self) -> Tools:
        """The tools of the stream, under the same consent and in the same sandbox as agent-react's."""
        from agentlib.invoke.runner import Runner
        from agentlib.invoke.toolset import Tools

        made = Tools(
            flags.policy(self.args),
            Runner(self.args.timeout, int(os.environ.get("AGENT_DEPTH") or 0) + 1),
        )
        for record in self.tools:
            made.add(record)
        return made

    def replan(self, failed: Record) -> None:
        """Let the planner replace what is not done, once."""
        from agentlib.patterns import plan

        self.replanned = True
        self.say(f"Planning anew after {failed['id']}")
        kept = [s for s in self.steps.values() if s.get("status") == "done"]
        story = "\n\n".join(map(told, kept)) or "Nothing is done yet."
        asked = (
            f"{self.request or 'Carry out the plan.'}\n\nDone so far:\n{story}\n\nThe step {failed['id']} "
            f"({failed['task']}) failed: {failed['error']['message']}\n\n"
            "Plan only what is still to do, another way; use new ids."
        )
        planner = self.planner(max_steps=50, rewoo=False)
        known = frozenset(s["id"] for s in kept)
        fresh = plan.plan(planner, asked, [], self.tools, known)
        self.steps = {s["id"]: s for s in (*kept, *fresh)}

    def planner(self, **more: Any) -> Namespace:
        from argparse import Namespace

        return Namespace(
            model=self.args.planner or self.args.model, provider=self.args.provider, **more
        )

    def synthesize(self, missing: list[str]) -> None:
        """Print the answer made of the outputs."""
        done = [
            {"type": "context", "source": f"step {s['id']}: {s['task']}", "text": output(s)}
            for s in self.steps.values()
            if s.get("status") == "done"
        ]
        if missing:
            done.append(
                {"type": "context", "source": "missing", "text": f"Not done: {', '.join(missing)}"}
            )
        message = material.message(
            self.request or "Sum up the outputs of the steps.", [*self.pieces, *done]
        )
        answer = model.ask(self.planner(), SUM_UP, transcript.text(message, joint="\n"))
        self.say(f"Synthesis complete: {answer.splitlines()[0] if answer.strip() else 'no answer'}")
        if not self.args.json:
            return records.put(answer.rstrip("\n").encode("utf-8", "replace") + b"\n")
        result = {
            "type": "result",
            "output": answer,
            "incomplete": bool(missing),
            "iterations": len(self.steps),
        }
        return records.write(
            {**result, "duration_ms": round((time.monotonic() - self.began) * 1000)}
        )


def output(step: Record) -> str:
    """A step's output as text."""
    held = step.get("output", "")
    return held if isinstance(held, str) else records.dumps(held)


def plain(data: bytes) -> str:
    """The whole output of an agent, as text."""
    return data.decode("utf-8", "replace")


def told(step: Record) -> str:
    """A step and its output in words, for a program that reads text."""
    return f"Output of the step {step['id']} ({step['task']}):\n{output(step)[:GIVEN]}"


def filled(value: Any, outputs: dict[str, str]) -> Any:
    """The value with each #ID in its texts replaced by that step's output."""
    if isinstance(value, str):
        return re.sub(
            r"#([A-Za-z0-9_-]+)",
            lambda m: outputs[m[1]].strip() if m[1] in outputs else m[0],
            value,
        )
    if isinstance(value, list):
        return [filled(v, outputs) for v in value]
    return {k: filled(v, outputs) for k, v in value.items()} if isinstance(value, dict) else value


def read_state(file: str | None) -> list[Record]:
    """The steps that an earlier run wrote; a last line that was cut off by its end counts as not written."""
    if not file or not os.path.exists(file):
        return []
    with locked(file, os.O_RDWR | os.O_APPEND) as state:
        mend(state)
        with open(state, "rb", closefd=False) as stream:
            steps = [line.record for line in records.read(stream)]
    return [s for s in steps if s["type"] == "step"]


def append_state(file: str | None, step: Record) -> None:
    """One line more, on the disk before anything is said of it."""
    if file:
        with locked(file, os.O_RDWR | os.O_CREAT | os.O_APPEND) as state:
            add(state, records.line(step))
            os.fsync(state)
