"""Everything that one agent-react has: options, model, tools, plugins, and the one run."""

import os
import queue
import signal
import time
from shlex import quote

from agentlib import cli, history, private, records, stderr
from agentlib.faults import KINDS, Fault, Interrupted
from agentlib.invoke.runner import Runner
from agentlib.invoke.toolset import Tools
from agentlib.messages.transcript import File, replaced
from agentlib.policy import flags
from agentlib.policy.rules import Rule
from agentlib.react.engine import Engine, Model
from agentlib.react.loop import Run, failed, interrupted
from agentlib.react.output import Output
from agentlib.react.settings import Setting
from agentlib.react.stdin import Input, continues, lines
from agentlib.types import TYPE_CHECKING, Any, Callable, Namespace, Record, Sequence

if TYPE_CHECKING:
    from agentlib.plugin.host import Plugins

LEAVE = 2.0  # seconds that agent-llm gets to leave by itself at the end
KEEP = 60.0  # seconds for agent-memory to remember the runs
BY_ENV = ("AGENT_MODEL", "LLM_MODEL", "AGENT_PROVIDER", "LLM_PROVIDER")
# options that agent-llm takes, but for --retry
TO_MODEL = "provider model rate_limit max_total_tokens fallback record replay".split()
SHARED = "max_iterations max_parallel_tools schema context_window text_react".split()
REQUEST = ("temperature", "max_tokens", "reasoning")  # options that are fields of each request


class Session:
    """Everything that one agent-react has. folder: where agent-llm lies. depth: how deep agents have called agents."""

    plugins: "Plugins | None" = None
    result: Record | None = None

    def __init__(self, options: Namespace, folder: str, depth: int) -> None:
        private.undumpable()
        self.options, self.policy = options, flags.policy(options)
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.model = Model(folder, _to_model(options), self.events)  # first: it is the slow one
        self.output = Output(options)
        self.history = None if options.no_history else history.opened(options.quiet, set())
        self.runner = Runner(options.tool_timeout, depth + 1)
        self.tools = Tools(self.policy, self.runner)
        self.engine = Engine(self.model, self.events, options.timeout)
        self.foreign: list[bytes] = []  # lines that are not ours, for the next program
        self.input = Input(self.tools, self.foreign.append)
        self.continues = ""  # the id of an earlier run
        self.words = [word for word in options.request if word != "-"]
        self.runs: list[Record] = []  # to be remembered
        self.grace = LEAVE

    def run(self, many: Callable[..., int]) -> int:
        """Read, run, print; the exit status. many: runs the tasks, where the stream has any (batch.run)."""
        try:
            return self._run(many)
        except Fault as fault:
            if self.result is not None or not self.options.json:
                raise
            self._done(failed(fault, name=self.options.name))
            return fault.status
        except (KeyboardInterrupt, Interrupted) as stop:
            signal.signal(signal.SIGINT, self._at_once)
            self.grace = 0.0
            self.engine.stop(interrupted())
            if self.result is None and self.options.json:
                self._done(failed(interrupted(), name=self.options.name))
            return 128 + (stop.signum if isinstance(stop, Interrupted) else signal.SIGINT)

    def _run(self, many: Callable[..., int]) -> int:
        options = self.options
        if options.plugin or options.memory:
            from agentlib.plugin.host import Plugins

            memory = [f"agent-memory --store {quote(options.memory)}"] if options.memory else []
            plugins = [*options.plugin, *memory]
            self.plugins = Plugins(plugins, self.policy.env, options.plugin_timeout)
        if options.transcript:
            self.output.file = File(options.transcript)
        if not os.isatty(0):
            self.output.waits("standard input")
        stream = lines(options.request, options.quiet)
        task = self.input.until_task(stream)
        if options.earlier:
            self._take_up(task)
        self._install()
        self.engine.beside = self.tools.prepare if self.tools.table else None
        return self._one() if task is None else many(self, task, stream)

    def _one(self) -> int:
        file = self.output.file
        messages = [*(file.messages() if file else []), *self.input.messages]
        material = any(str(record.get("text", "x")).strip() for record in self.input.material)
        if len(self.words) == 1 and self.words[0].isalpha() and not material:
            from agentlib.policy import terminal

            terminal.check_request(self.words, stderr.program(), {})
        task = self.input.request(self.words, self.options.task)
        if task is None and not messages:
            why = "no request: give it as an operand, or on standard input"
            raise Fault("invalid_input", f"{why}; see '{stderr.program()} --help'")
        if self.options.events:
            self.pass_on()
        if task and continues(messages, task):
            task = None
        run = Run(self.setting(), messages, task, self.output)
        self.engine.start(run, lambda result: self._done(self.kept(task or {}, result)))
        while self.engine:
            self.engine.turn()
        result = self.result or {}
        if error := result.get("error"):
            return KINDS.get(error["kind"], 100)
        done = result.get("output") and not self.input.unfinished
        return 1 if not done or file and file.failed else 0

    def setting(self, many: bool = False) -> Setting:
        """What all runs share: an option goes before a `config` record. many: the runs are tasks."""
        options, config = self.options, self.input.config
        model: Record = {name: config[name] for name in ("provider", "model") if name in config}
        self.model.configure(model)
        model |= _set(options, ("provider", "model"))
        by_env = [os.environ.get(name) for name in BY_ENV]
        names = (model.get("model"), *by_env[:2], model.get("provider"), *by_env[2:])
        self.output.model = next(filter(None, names), "the model")
        values = {**config, **_set(options, (*REQUEST, "name", "description", "system"))}
        name, description = values.get("name"), values.get("description")
        introduction = f"You are {name}. {description}" if name and description else None
        tools = bool(self.tools.table)
        stream = self.output.streaming = self.output.streams(self.plugins, tools, many)
        request = {field: values[field] for field in REQUEST if field in values}
        kept = {"program": "agent-react", "name": name, "system": values.get("system"), **model}
        kept["continues"] = self.continues
        kept["tools"] = [] if many else [tool.record for tool in self.tools.table.values()]
        return Setting(
            self.tools,
            plugins=self.plugins,
            name=name,
            system=values.get("system") or introduction,
            history=self.history,
            kept=kept,
            options={**request, "stream": stream},
            **{name: getattr(options, name) for name in SHARED},
        )

    def _take_up(self, task: Record | None) -> None:
        """Go on with an earlier conversation: its messages, instructions and model, and its tools where none came."""
        if task or self.output.file:
            raise Fault("invalid_input", "--continue goes with neither tasks nor --transcript")
        run, messages, self.words = history.earlier(self.words, self.options.name)
        self.continues = run["id"]
        self.input.messages[:0] = replaced(messages)
        known = {name: run[name] for name in ("provider", "model", "system") if run.get(name)}
        self.input.config = {**known, **self.input.config}
        for tool in () if self.tools.table else run.get("tools") or ():
            self.tools.add(tool)

    def _install(self) -> None:
        if not self.plugins or not self.plugins.wants("install"):
            return
        record = {"type": "install", "name": self.options.name, "tools": list(self.tools.table)}
        for tool in self.plugins.apply("install", record).get("tools") or ():
            if isinstance(tool, dict):
                self.tools.add(tool)
        if self.options.memory and "remember" not in record["tools"]:
            self.policy.rules.append(Rule(("remember",), verdict="allow", reason="--memory"))

    def kept(self, task: Record, result: Record) -> Record:
        """The result; with --memory, the run is remembered at the end, where it has an answer."""
        if self.options.memory and task and result["output"] and "error" not in result:
            key = f"run {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {os.urandom(3).hex()}"
            value = {"request": task["input"], "answer": result["output"]}
            self.runs.append({"type": "memory", "key": key, "value": value})
        return result

    def _done(self, result: Record) -> None:
        self.result = result
        if self.input.unfinished:
            result["incomplete"] = True
        self.output.done(result)

    def pass_on(self) -> None:
        """Print what is waiting to be passed on."""
        if not self.options.quiet:
            records.put(b"".join(raw + b"\n" for raw in self.foreign))
        self.foreign.clear()

    def _at_once(self, _signum: int, _frame: object) -> None:
        """A second Ctrl-C: no more results, but no tool is left either."""
        self.engine.kill()
        cli.end(130)

    def close(self) -> None:
        if self.runs:
            from agentlib.launch import command

            data = b"".join(map(records.line, self.runs))
            words = ["agent-memory", "save", "--store", self.options.memory]
            try:
                command.text(words, data, KEEP, command.Leash())
            except Fault as fault:
                stderr.warn(f"the run is not remembered: {fault.message}")
        self.runner.close(self.grace)
        if self.plugins:
            self.plugins.close(self.grace)
        self.model.close(self.grace)


def _set(options: Namespace, names: Sequence[str]) -> Record:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _to_model(options: Namespace) -> list[str]:
    values = _set(options, TO_MODEL)
    values |= {} if options.retry is None else {"retries": options.retry}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    words.append("--no-history")  # it is ours
    return [*words, "--quiet"] if options.quiet else words
