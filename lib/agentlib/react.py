"""agent-react's work after its options are parsed: start the model, read the stream, drive one run or many."""

from __future__ import annotations

import os
import queue
import signal

from agentlib import batch, cli, consent, progress, records, sandbox
from agentlib.calls import Tools
from agentlib.engine import Engine
from agentlib.faults import Fault, Interrupted
from agentlib.loop import Run, Setting
from agentlib.model import Model
from agentlib.reactargs import TO_MODEL, read_schema
from agentlib.stream import Heard, plain
from agentlib.toolrun import Runner
from agentlib.transcript import File
from agentlib.window import Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from agentlib.plugins import Plugins
    from agentlib.records import Record

DEPTH = 5  # agents that may call agents, one inside the other
LEAVE = 2.0  # seconds that agent-llm gets to leave by itself at the end


def main(options: argparse.Namespace, folder: str) -> int:
    """Run agent-react; its exit status."""
    depth = _depth()
    session = Session(options, folder, depth)
    try:
        return session.run()
    finally:
        session.close()


class Session:
    """Everything that one agent-react has: options, model, tools, plugins, runs."""

    def __init__(self, options: argparse.Namespace, folder: str, depth: int) -> None:
        self.options = options
        self.schema = None if options.schema is None else read_schema(options.schema)
        self.ledger = _ledger(options.budget)
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.model = Model(folder, _to_model(options), dict(os.environ), self.events)  # first: it is the slow one
        self.plugins: Plugins | None = None
        self.file: File | None = None
        sandbox.undumpable()
        self.runner = Runner(options.tool_timeout, depth + 1)
        self.tools = Tools(consent.policy(options), self.runner)
        self.engine = Engine(self.model, self.events, options.timeout)
        self.result: Record | None = None
        self.foreign: list[bytes] = []
        self.shown = progress.shown(options.quiet)
        self.grace = LEAVE

    def run(self) -> int:
        """Read, run, print; the exit status."""
        try:
            return self._run()
        except (KeyboardInterrupt, Interrupted) as stop:
            signal.signal(signal.SIGINT, self._at_once)
            self.grace = 0.0
            self.engine.stop(Fault("interrupted", "interrupted by a signal"))
            if self.result is None and self.options.json:
                self._print(
                    {
                        "type": "result",
                        "output": None,
                        "error": {"kind": "interrupted", "message": "interrupted by a signal"},
                    }
                )
            return 128 + (stop.signum if isinstance(stop, Interrupted) else signal.SIGINT)

    def _run(self) -> int:
        options = self.options
        if options.plugin:
            from agentlib.plugins import Plugins

            self.plugins = self.tools.plugins = Plugins(options.plugin, dict(os.environ), options.plugin_timeout)
        if options.transcript:
            self.file = File(options.transcript)
        words = [word for word in options.request if word != "-"]
        stream = plain() if "-" in options.request else records.read()
        heard = Heard(self.tools, self._pass)
        task = heard.until_task(stream)
        self._install()
        if task is not None:
            return batch.run(self, heard, words, task, stream)
        return self._one(heard, words)

    def _one(self, heard: Heard, words: list[str]) -> int:
        messages = [*(self.file.messages() if self.file else []), *heard.messages]
        task = heard.request(words)
        if task is None and not messages:
            raise Fault(
                "invalid_input",
                "no request: give it as an operand, or on standard input "
                f"(see '{self.options.name or cli.program()} --help')",
            )
        if self.options.events:
            self.pass_on()
        if task and _same(messages, task):
            task = None
        self.engine.start(Run(self.setting(heard.config), messages, task, self._message), self._done)
        while self.engine:
            self.engine.turn()
        assert self.result
        status = self._status(self.result)
        return status if not self.file or not self.file.failed else status or 1

    def setting(self, config: Record) -> Setting:
        """What all runs share: a flag goes before a `config` record."""
        options = self.options
        fields = {
            name: value
            for name in ("temperature", "max_tokens", "reasoning")
            if (value := getattr(options, name)) is not None or (value := config.get(name)) is not None
        }
        self.model.hear({name: config[name] for name in ("provider", "model") if name in config})
        name = options.name or config.get("name")
        description = options.description or config.get("description")
        system = (
            options.system
            or config.get("system")
            or (f"You are {name}. {description}" if name and description else None)
        )
        return Setting(
            self.tools,
            self.plugins,
            name=name,
            system=system,
            options={**fields, "stream": False},
            max_iterations=options.max_iterations,
            together=options.max_parallel_tools,
            schema=self.schema,
            window=Window(options.context_window),
            text_react=options.text_react,
        )

    def _install(self) -> None:
        if self.plugins and self.plugins.wants("install"):
            told = {"type": "install", "name": self.options.name, "tools": list(self.tools.table)}
            for tool in self.plugins.apply("install", told).get("tools") or ():
                if isinstance(tool, dict):
                    self.tools.add(tool)

    def _message(self, record: Record) -> None:
        if self.file:
            self.file.append(record)
        if self.options.events:
            records.write(record)
        if self.shown:
            progress.message(record)

    def _done(self, result: Record) -> None:
        self.result = result
        self._print(result)

    def _print(self, result: Record) -> None:
        options, error = self.options, result.get("error")
        if options.json or options.events:
            records.write(result)
        elif not options.quiet and (text := result.get("output")):
            records.put(text.encode("utf-8", "replace") + (b"" if text.endswith("\n") else b"\n"))
        if error and error["kind"] != "interrupted" and not options.quiet:
            cli.say(f"{options.name or cli.program()}: {error['message']}")

    def _status(self, result: Record) -> int:
        if error := result.get("error"):
            return Fault(error["kind"], "").status
        return 1 if result.get("incomplete") else 0

    def _pass(self, raw: bytes) -> None:
        """A line that is not ours goes on to the next program, once it is clear that records are printed at all."""
        self.foreign.append(raw)

    def pass_on(self) -> None:
        """Print what is waiting to be passed on."""
        for raw in self.foreign:
            records.put(raw + b"\n")
        self.foreign.clear()

    def _at_once(self, _signum: int, _frame: object) -> None:
        cli.end(130)

    def close(self) -> None:
        """End everything that was started."""
        self.runner.close(self.grace / 4)
        if self.plugins:
            self.plugins.close(self.grace)
        self.model.close(self.grace)
        if self.ledger:
            os.unlink(self.ledger)


def _depth() -> int:
    text = os.environ.get("AGENT_DEPTH", "0")
    depth = int(text) if text.isdecimal() else 0
    if depth >= DEPTH:
        raise Fault("limit_exceeded", f"agents call agents {depth} deep already: no further (AGENT_DEPTH)")
    return depth


def _to_model(options: argparse.Namespace) -> list[str]:
    """The options that are agent-llm's, in its words."""
    given = {theirs: getattr(options, ours) for ours, theirs in TO_MODEL.items()}
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _ledger(usd: float | None) -> str:
    """The path of a new ledger for --budget, '' for none: the agents that ours calls spend from it as well."""
    if usd is None:
        return ""
    from agentlib import budget

    if budget.VARIABLE in os.environ:
        raise Fault("invalid_input", f"--budget: {budget.VARIABLE} is set already, its ledger is what may be spent")
    os.environ[budget.VARIABLE] = path = budget.create(usd, None)
    return path


def _same(messages: list[Record], task: Record) -> bool:
    """Whether the conversation waits for an answer to this very request: then it is gone on with, not asked twice."""
    from agentlib import material, transcript

    asked = next((one for one in reversed(messages) if one.get("role") == "user" and "replaces" not in one), None)
    if asked is None or transcript.finished(messages):
        return False
    return bool(asked["content"] == material.message(task["input"], task["material"])["content"])
