"""Plugins: JSON-lines coprocesses that see, change or refuse what passes in a run (docs/protocol.md, "Plugins").

Plugins may be guards: one that ends, does not answer or answers nonsense is never skipped, it stops the run.
"""

import itertools
import os
import shlex
import time

from agentlib import paths
from agentlib.faults import Fault
from agentlib.launch import command, start
from agentlib.process import run
from agentlib.process.coprocess import Coprocess
from agentlib.schema import schemas
from agentlib.types import Callable, Iterable, Record

HOOKS = "install before_run before_model after_model before_tool after_tool after_run".split()
SCHEMA_TIME = 5.0  # seconds for --agent-schema
SCHEMA_CAP = 1 << 20  # bytes of it


class Plugin:
    """One plugin, started. line: its command as the user wrote it. timeout: seconds for an answer. granted: the
    secrets of our environment that it may have; the suite's own get all: redact must know what to hide."""

    def __init__(self, line: str, granted: Iterable[str], timeout: float) -> None:
        self._timeout = timeout
        argv = _command(line)
        env = dict(os.environ) if paths.of_suite(argv[0]) else command.keyless(granted)
        schema = _read_schema(line, argv, env)
        self.name = str(schema.get("name") or os.path.basename(argv[0]))
        hooks = schema.get("hooks")
        self.hooks = hooks if isinstance(hooks, list) else []
        if not self.hooks or any(hook not in HOOKS for hook in self.hooks):
            why = f"plugin {self.name}: `hooks` must be some of {', '.join(HOOKS)}"
            raise Fault("tool_error", why, plugin=self.name)
        args = schema.get("args")
        words = [str(word) for word in args] if isinstance(args, list) else []
        if words and argv[-len(words) :] != words:
            argv = [*argv, *words]
        sandbox = start.sandbox(argv, start.USER, start.TYPED, env=env)
        self._coprocess = Coprocess(f"plugin {self.name}", sandbox.options)

    def run_hook(self, id: str, hook: str, record: Record) -> Record:
        """The record that the plugin returns. Fault `tool_denied`: it refuses; with `plugin`: it is broken."""
        call = {"id": id, "hook": hook, "record": record}
        try:
            answer = self._coprocess.call(id, call, self._timeout)
        except Fault as fault:
            kind = "tool_timeout" if fault.kind == "tool_timeout" else "tool_error"
            raise Fault(kind, f"{fault.message} (at {hook})", plugin=self.name) from None
        if "deny" in answer:
            raise Fault("tool_denied", f"plugin {self.name}: {answer['deny']}", denied=True)
        changed = answer.get("record")
        if not isinstance(changed, dict):
            why = f"plugin {self.name}: its answer at {hook} has neither `record` nor `deny`"
            raise Fault("tool_error", why, plugin=self.name)
        return changed

    def close(self, grace: float) -> None:
        self._coprocess.close(grace)


class Plugins:
    """All plugins of a run, in the order of their options."""

    def __init__(self, lines: list[str], granted: Iterable[str], timeout: float) -> None:
        self._all: list[Plugin] = []
        self._ids = itertools.count(1)
        try:
            for line in lines:
                self._all.append(Plugin(line, granted, timeout))
        except BaseException:
            self.close(0.0)
            raise

    def wants(self, hook: str) -> bool:
        return any(hook in plugin.hooks for plugin in self._all)

    def apply(self, hook: str, record: Record, seen: Callable[..., None] | None = None) -> Record:
        """The record after every plugin that wants the hook has seen it, one after another.

        seen: gets each plugin's name, the hook, how many seconds it took, the Fault with which it ended."""
        for plugin in (one for one in self._all if hook in one.hooks):
            began, fault = time.monotonic(), None
            try:
                record = plugin.run_hook(str(next(self._ids)), hook, record)
            except Fault as bad:
                fault = bad
                raise
            finally:
                if seen:
                    seen(plugin.name, hook, time.monotonic() - began, fault)
        return record

    def close(self, grace: float) -> None:
        for plugin in self._all:
            plugin.close(grace)


def _command(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as bad:
        raise Fault("invalid_input", f"--plugin {line!r}: {bad}") from None
    if not words:
        raise Fault("invalid_input", "--plugin: an empty command")
    folders = (f"{paths.place('data')}/plugins", f"{paths.TOP}/plugins", command.BIN)
    return [command.found(words[0], folders), *words[1:]]


def _read_schema(line: str, argv: list[str], env: dict[str, str]) -> Record:
    cut = argv.index("--") if "--" in argv else len(argv)
    question = [*argv[:cut], "--agent-schema", *argv[cut:]]
    with command.starting(argv):
        sandbox = start.sandbox(question, start.USER, start.TYPED, env=env)
        outcome = run.run(sandbox.options, b"", SCHEMA_TIME, SCHEMA_CAP, run.Scope())
    try:
        found = schemas.answer(outcome)
    except Fault as bad:
        raise Fault("tool_error", f"--plugin {line!r}: {bad}", plugin=line) from None
    plugins = [one for one in found if isinstance(one, dict) and one.get("kind") == "plugin"]
    if not plugins:
        why = f'--plugin {line!r}: its --agent-schema has no line with "kind":"plugin"'
        raise Fault("tool_error", why, plugin=line)
    return plugins[0]
