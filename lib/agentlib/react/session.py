"""Everything that one agent-react has: options, model, tools, plugins, and the one run."""

from __future__ import annotations

import os
import queue
import signal

from agentlib import cli, faults, private, records, stderr
from agentlib.faults import KINDS, Fault, Interrupted
from agentlib.invoke.runner import Runner
from agentlib.invoke.toolset import Tools
from agentlib.lock import replace
from agentlib.messages.transcript import File
from agentlib.react import progress
from agentlib.react.args import TO_MODEL
from agentlib.react.engine import Engine
from agentlib.react.loop import Run, error_of, failed
from agentlib.react.model import Model
from agentlib.react.settings import Setting
from agentlib.react.stdin import Heard, plain, same
from agentlib.react.window import Window
from agentlib.types import TYPE_CHECKING, Any, Callable, Namespace, Record

if TYPE_CHECKING:
    from agentlib.plugin.host import Plugins
    from agentlib.policy.rules import Policy

LEAVE = 2.0  # seconds that agent-llm gets to leave by itself at the end
FIELDS = ("temperature", "max_tokens", "reasoning")  # of each request


class Session:
    """Everything that one agent-react has: options, model, tools, plugins, runs."""

    def __init__(self, options: Namespace, folder: str, policy: Policy, depth: int) -> None:
        private.undumpable()
        self.options, self.policy = options, policy
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # first: it is the slow one
        self.model = Model(folder, _to_model(options), dict(os.environ), self.events)
        self.runner = Runner(options.tool_timeout, depth + 1)
        self.tools = Tools(policy, self.runner)
        self.engine = Engine(self.model, self.events, options.timeout)
        self.plugins: Plugins | None = None
        self.file: File | None = None
        self.result: Record | None = None
        self.unfinished: list[str] = []  # steps of a plan that were not done
        self.foreign: list[bytes] = []  # lines that are not ours, for the next program
        self.watched = progress.visible(options.quiet)
        self.grace = LEAVE

    def run(self, many: Callable[..., int]) -> int:
        """Read, run, print; the exit status. many: runs the tasks, where the stream has any (batch.run)."""
        try:
            return self._run(many)
        except Fault as fault:
            if self.result is not None or not self.options.json:
                raise
            self._done(failed(fault))
            return fault.status
        except (KeyboardInterrupt, Interrupted) as stop:
            signal.signal(signal.SIGINT, self._at_once)
            self.grace = 0.0
            end = Fault("interrupted", "interrupted by a signal")
            self.engine.stop(end)
            if self.result is None and self.options.json:
                self._done(failed(end))
            return 128 + (stop.signum if isinstance(stop, Interrupted) else signal.SIGINT)

    def _run(self, many: Callable[..., int]) -> int:
        options = self.options
        if options.plugin:
            from agentlib.plugin.host import Plugins

            self.plugins = Plugins(options.plugin, self.policy.env, options.plugin_timeout)
        if options.transcript:
            self.file = File(options.transcript)
        words = [word for word in options.request if word != "-"]
        stream = plain() if "-" in options.request else records.read()
        heard = Heard(self.tools, self.foreign.append)
        self.unfinished = heard.unfinished
        task = heard.until_task(stream)
        self._install()
        self.engine.beside = self.tools.prepare if self.tools.table else None
        if task is not None:
            return many(self, heard, words, task, stream)
        return self._one(heard, words)

    def _one(self, heard: Heard, words: list[str]) -> int:
        options = self.options
        messages = [*(self.file.messages() if self.file else []), *heard.messages]
        if not any(str(record.get("text", "x")).strip() for record in heard.material):
            from agentlib.policy import terminal

            terminal.check_request(words, stderr.program(), {})
        task = heard.request(words, options.task)
        if task is None and not messages:
            name = stderr.program()
            why = f"no request: give it as an operand, or on standard input; see '{name} --help'"
            raise Fault("invalid_input", why)
        if options.events:
            self.pass_on()
        if task and same(messages, task):
            task = None
        self.engine.start(
            Run(self.setting(heard.config), messages, task, self._message), self._done
        )
        while self.engine:
            self.engine.turn()
        result = self.result or {}
        error = result.get("error")
        if error:
            return KINDS.get(error["kind"], 100)
        done = result.get("output") and not self.unfinished
        return 1 if not done or self.file and self.file.failed else 0

    def setting(self, config: Record) -> Setting:
        """What all runs share: an option goes before a `config` record."""
        options = self.options
        self.model.hear(
            {field: config[field] for field in ("provider", "model") if field in config}
        )
        flags = {
            field: getattr(options, field, None)
            for field in (*FIELDS, "name", "description", "system")
        }
        values = {
            field: config.get(field) if value is None else value for field, value in flags.items()
        }
        introduced = (
            f"You are {values['name']}. {values['description']}"
            if values["name"] and values["description"]
            else None
        )
        return Setting(
            self.tools,
            plugins=self.plugins,
            name=values["name"],
            system=values["system"] or introduced,
            options={
                **{field: values[field] for field in FIELDS if values[field] is not None},
                "stream": False,
            },
            max_iterations=options.max_iterations,
            together=options.max_parallel_tools,
            schema=options.schema,
            window=Window(options.context_window),
            text_react=options.text_react,
        )

    def _install(self) -> None:
        if self.plugins and self.plugins.wants("install"):
            record = {"type": "install", "name": self.options.name, "tools": list(self.tools.table)}
            for tool in self.plugins.apply("install", record).get("tools") or ():
                if isinstance(tool, dict):
                    self.tools.add(tool)

    def _message(self, record: Record) -> None:
        if self.file:
            self.file.append(record)
        if self.options.events:
            records.write(record)
        if self.watched:
            progress.message(record)

    def _done(self, result: Record) -> None:
        """Print the result of the one run, the way the user wants it."""
        self.result = result
        options = self.options
        if self.unfinished:
            result["incomplete"] = True
        if options.field and result.get("output") and not result.get("error"):
            self._pick(result)
        error = result.get("error")
        if options.json or options.events:
            records.write(result)
        elif (
            not options.quiet and (text := result.get("output")) and not (error and options.schema)
        ):
            end = "" if not text or text.endswith("\n") else "\n"
            records.put((text + end).encode("utf-8", "replace"))
        if not error and not result.get("output") and not result.get("incomplete"):
            stderr.warn("the model's answer is empty")
        if error and error["kind"] != "interrupted" and not options.quiet:
            stderr.warn(faults.in_words(error))

    def _pick(self, result: Record) -> None:
        """Put in the output's place what --field wants of it."""
        try:
            result["output"] = _fields(result["output"], self.options.field)
        except Fault as fault:
            result |= {"output": None, "error": error_of(fault)}

    def pass_on(self) -> None:
        """Print what is waiting to be passed on."""
        for raw in self.foreign:
            records.put(raw + b"\n")
        self.foreign.clear()

    def _at_once(self, _signum: int, _frame: object) -> None:
        """A second Ctrl-C: no more results, but no tool is left either."""
        self.engine.kill()
        cli.end(130)

    def close(self) -> None:
        """End everything that was started."""
        closes: list[Callable[[float], None]] = [self.runner.close, self.model.close]
        if self.plugins:
            closes.insert(1, self.plugins.close)
        for close in closes:
            close(self.grace)


def _fields(answer: str, wanted: list[str]) -> str:
    """What --field picks out of the answer, line after line, but for the fields that go to files."""
    printed = []
    for name, _, file in (one.partition("=") for one in wanted):
        try:
            value = records.loads(answer)
            value = value if name == "." else value[name]
        except (ValueError, TypeError, LookupError):
            why = f"the answer is no JSON object with a field {name!r}"
            raise Fault("bad_response", why) from None
        text = value if isinstance(value, str) else records.dumps(value)
        if file:
            replace(file, (text.rstrip("\n") + "\n").encode("utf-8", "replace"), 0o644)
        else:
            printed.append(text)
    return "\n".join(printed)


def _to_model(options: Namespace) -> list[str]:
    """The options that are agent-llm's, in its words."""
    options_of_model = {theirs: getattr(options, ours) for ours, theirs in TO_MODEL.items()}
    return [f"--{name}={value}" for name, value in options_of_model.items() if value is not None]
