"""The work of agent-execute: which step may run, how it is run, what becomes of its output."""

import functools
import operator
import os
import queue
import re
import threading
import time

from agentlib import private, records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.launch import command
from agentlib.lock import acquire_for_run, add, mend
from agentlib.messages import material, transcript
from agentlib.patterns import model, plan
from agentlib.policy import flags
from agentlib.types import TYPE_CHECKING, Any, Namespace, Record

if TYPE_CHECKING:
    from agentlib.invoke.toolset import Tools

OUTPUT_CAP = 100_000  # characters of an output that another step gets
ENDED = ("done", "failed", "skipped")
# Kinds of faults that another try would not help.
LASTING = ("tool_denied", "not_found", "invalid_input", "invalid_arguments", "limit_exceeded")


def main(args: Namespace) -> int:
    """Run the plan on standard input; 0 where every step is done, 1 where not."""
    private.undumpable()
    flags.inherit(args)
    run = Execution(args)
    for line in records.read():
        run.take(line.record, line.raw)
    if wrong := plan.problems(list(run.steps.values())):
        raise Fault("invalid_input", f"the plan: {'; '.join(wrong)}")
    return run.run()


class Execution:
    """One run of one plan."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.replanned, self.request = args, not args.replan, ""
        self.steps: dict[str, Record] = {}
        self.tools, self.pieces = list[Record](), list[Record]()
        self.ended: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self.leash, self.began = command.Leash(), time.monotonic()

    def take(self, record: Record, raw: bytes) -> None:
        """Take in one record. Of two steps with one id the later counts, so that a log can follow its plan."""
        kind = record["type"]
        if kind == "step":
            self.steps[str(record.get("id"))] = record
        elif kind == "tool":
            self.tools.append(record)
        elif kind == "plan":
            self.request = str(record.get("request", ""))
        elif kind in material.KINDS or kind == "message":
            self.pieces.append(record)
        if kind not in ("step", "tool") and not self.args.synthesize:
            records.put(raw + b"\n")

    def run(self) -> int:
        self.state = State(self.args.state)
        for step in self.state.steps():
            if step.get("id") in self.steps and step.get("status") == "done":
                self.steps[step["id"]] = step
        running: set[str] = set()
        try:
            while True:
                for step in self.ready(running)[: max(1, self.args.jobs) - len(running)]:
                    running.add(step["id"])
                    threading.Thread(target=self.work, args=(dict(step),), daemon=True).start()
                if not running:
                    break
                step = self.ended.get()
                running.discard(step["id"])
                self.finish(step)
                failure = step.get("error", {}).get("kind")
                if failure not in (None, "limit_exceeded") and not self.replanned and not running:
                    self.replan(step)
        finally:
            self.leash.pull()
        missing = [id for id in self.steps if not self.done(id)]
        if self.args.synthesize:
            self.synthesize(missing)
        return int(bool(missing))

    def ready(self, running: set[str]) -> list[Record]:
        """The open steps whose needs are all done; those whose needs failed are skipped, once no new plan can come."""
        while True:
            steps = [s for s in self.steps.values() if s.get("status") not in ENDED]
            steps = [step for step in steps if step["id"] not in running]
            lost = [s for s in steps if any(map(self.failed, s.get("needs", [])))]
            if not lost or not self.replanned:
                return [step for step in steps if all(map(self.done, step.get("needs", [])))]
            for step in lost:
                self.finish({**step, "status": "skipped"})

    def done(self, id: str) -> bool:
        return self.steps[id].get("status") == "done"

    def failed(self, id: str) -> bool:
        return self.steps[id].get("status") in ("failed", "skipped")

    def finish(self, step: Record) -> None:
        self.steps[step["id"]] = step
        self.state.append(step)
        count = sum(s.get("status") in ENDED for s in self.steps.values())
        self.say(f"{step['status']} {count}/{len(self.steps)} {step['id']}: {step['task']}")
        if not self.args.synthesize:
            records.write(step)

    def say(self, text: str) -> None:
        if not self.args.quiet:
            stderr.say("> " + text[:200])

    def work(self, step: Record) -> None:
        """Run one step to its end, in its thread; whatever happens, the step ends."""
        began = time.monotonic()
        for attempt in range(1, max(0, self.args.retry) + 2):
            step["attempts"] = attempt
            try:
                step |= {"output": self.attempt(step), "status": "done"}
                step.pop("error", None)
                break
            except Exception as bug:  # a step must end, or the run never would
                name = type(bug).__name__
                fault = bug if isinstance(bug, Fault) else Fault("server", f"{name}: {bug}")
                error = {"kind": fault.kind, "message": fault.message}
                step |= {"status": "failed", "error": error}
                if fault is not bug or fault.kind in LASTING:
                    break
        step["duration_ms"] = round((time.monotonic() - began) * 1000)
        self.ended.put(step)

    def attempt(self, step: Record) -> str:
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
            stdin = "\n\n".join(map(_with_heading, needed)).encode()
        argv = [program, *more, step["task"]]
        return command.text(argv, stdin, self.args.timeout, self.leash)

    def agent(self, step: Record, needed: list[Record]) -> str:
        """The output of the agent that a step names; a model may have made the plan, so the policy decides."""
        agent = self.toolset.table.get(str(step["agent"]))
        if agent is None:
            raise Fault("not_found", f"there is no agent {step['agent']!r} on the stream")
        text = step["task"]
        self.say(f"Calling {agent.name} for {text}")
        if agent.invoke == "text":
            text = transcript.text(material.message(text, self.pieces), joint="\n")
            text = "\n\n".join([text, *map(_with_heading, needed)])
        as_text = operator.methodcaller("decode", "utf-8", "replace")  # all of it
        return self.toolset.hand_over(agent, text, self.leash, as_text).strip()

    def stream(self, needed: list[Record]) -> bytes:
        tools = [tool for tool in self.tools if tool.get("kind") != "agent"]
        return b"".join(map(records.line, [*tools, *self.pieces, *map(context, needed)]))

    def call(self, step: Record) -> str:
        """The result of a step that is one tool call (ReWOO); each #ID in it stands for the result of that step."""
        outputs = {id: output(done) for id, done in self.steps.items() if self.done(id)}
        arguments = _filled(step.get("arguments", {}), outputs)
        call = {"id": step["id"], "name": step["tool"], "arguments": arguments}
        message = self.toolset.perform(call, self.leash)
        if message.get("is_error"):
            kind = str((message.get("error") or {}).get("kind", "tool_error"))
            raise Fault(kind, transcript.text(message))
        return transcript.text(message)

    @functools.cached_property
    def toolset(self) -> "Tools":
        """The tools of the stream, under the same consent and in the same sandbox as agent-react's."""
        from agentlib.invoke.runner import Runner
        from agentlib.invoke.toolset import Tools

        depth = int(os.environ.get("AGENT_DEPTH") or 0) + 1
        toolset = Tools(flags.policy(self.args), Runner(self.args.timeout, depth))
        for record in self.tools:
            toolset.add(record)
        return toolset

    def replan(self, failed: Record) -> None:
        self.replanned = True
        self.say(f"Planning anew after {failed['id']}")
        done = {id: step for id, step in self.steps.items() if self.done(id)}
        outputs = "\n\n".join(map(_with_heading, done.values())) or "Nothing is done yet."
        request = (
            f"{self.request or 'Carry out the plan.'}\n\nDone so far:\n{outputs}\n\nThe step {failed['id']} "
            f"({failed['task']}) failed: {failed['error']['message']}\n\n"
            "Plan only what is still to do, another way; use new ids."
        )
        planner = self.planner(max_steps=50, rewoo=False)
        steps = plan.plan(planner, request, [], self.tools, frozenset(done))
        self.steps = done | {step["id"]: step for step in steps}

    def planner(self, **more: Any) -> Namespace:
        from argparse import Namespace

        args = self.args
        return Namespace(model=args.planner or args.model, provider=args.provider, **more)

    def synthesize(self, missing: list[str]) -> None:
        outputs = [context(step) for id, step in self.steps.items() if self.done(id)]
        if missing:
            text = f"Not done: {', '.join(missing)}"
            outputs.append({"type": "context", "source": "missing", "text": text})
        request = self.request or "Sum up the outputs of the steps."
        message = material.message(request, [*self.pieces, *outputs])
        answer = model.call(
            self.planner(), model.prompt("sum_up"), transcript.text(message, joint="\n")
        )
        self.say(f"Synthesis complete: {answer.splitlines()[0] if answer.strip() else 'no answer'}")
        json = self.args.json
        text = answer if json else answer.rstrip("\n") + "\n"
        model.print_result(text, json, bool(missing), self.began, iterations=len(self.steps))


def output(step: Record) -> str:
    """A step's output as text."""
    value = step.get("output", "")
    return value if isinstance(value, str) else records.dumps(value)


def context(step: Record) -> Record:
    """A step's output as a `context` record."""
    source = f"step {step['id']}: {step['task']}"
    return {"type": "context", "source": source, "text": output(step)}


def _with_heading(step: Record) -> str:
    return f"Output of the step {step['id']} ({step['task']}):\n{output(step)[:OUTPUT_CAP]}"


def _filled(value: Any, outputs: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"#([A-Za-z0-9_-]+)", lambda m: outputs.get(m[1], m[0]).strip(), value)
    if isinstance(value, list):
        return [_filled(item, outputs) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, outputs) for name, item in value.items()}
    return value


class State:
    """The file of --state, which one run has until its end: read, then appended to. None: no file."""

    def __init__(self, path: str | None) -> None:
        self.file: int | None = None
        self.path = path
        if path:
            mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            with os_errors(f"--state {path}"):
                self.file = os.open(path, mode, 0o600)
            acquire_for_run(self.file, path)

    def steps(self) -> list[Record]:
        """The steps that an earlier run wrote; a last line that is not complete counts as not written."""
        if self.file is None:
            return []
        mend(self.file)
        with open(self.file, "rb", closefd=False) as stream:
            steps = [line.record for line in records.read(stream)]
        return [step for step in steps if step["type"] == "step"]

    def append(self, step: Record) -> None:
        """Write one line; it is on the disk before anything is printed of it."""
        if self.file is not None:
            try:
                add(self.file, records.line(step))
                os.fsync(self.file)
            except OSError as bad:
                bad.filename = self.path
                raise
