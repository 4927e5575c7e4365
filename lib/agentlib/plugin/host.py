"""Plugins: JSON-lines coprocesses that see, change or refuse what passes in a run (docs/protocol.md, "Plugins").

A plugin is asked `--agent-schema` once, and names there the `hooks` it wants. At each of them it gets
{"id","hook","record"} and answers {"id","record"}, changed or not, or {"id","deny":"why"}. Guards are plugins, so one
that ends, stays silent or answers nonsense is never skipped: it stops the run.
"""

from __future__ import annotations

import itertools
import os
import shlex
import shutil

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.launch import start
from agentlib.process import run, status
from agentlib.process.coprocess import Coprocess
from agentlib.types import Iterable, Record

HOOKS = (
    "install",
    "before_run",
    "before_model",
    "after_model",
    "before_tool",
    "after_tool",
    "after_run",
)
SCHEMA_TIME = 5.0  # seconds for --agent-schema
SCHEMA_CAP = 1 << 20  # bytes of it


class Plugin:
    """One plugin, started. line: its command as the user wrote it. silence: seconds that it may take to answer.

    granted: the secrets of our environment that it may have; the suite's own get all: redact must know what to hide.
    """

    def __init__(self, line: str, granted: Iterable[str], silence: float) -> None:
        self._silence = silence
        command = _command(line)
        env = dict(os.environ) if paths.own(command[0]) else start.keyless(granted)
        schema = _schema(line, command, env)
        self.name = str(schema.get("name") or os.path.basename(command[0]))
        self.hooks = _hooks(self.name, schema)
        own = schema.get("args")
        words = [str(word) for word in own] if isinstance(own, list) else []
        if words and command[-len(words) :] != words:
            command = [*command, *words]
        cell = start.cell(command, start.USER, start.TYPED, env=env)
        options = {**cell.options, "start_new_session": False}  # a guard may ask on our terminal
        self._filter = Coprocess(f"plugin {self.name}", options)

    def ask(self, id: str, hook: str, record: Record) -> Record:
        """Its word on the record. Fault with the field `plugin`: `tool_denied` where it refuses, else it is broken."""
        try:
            answer = self._filter.ask(id, {"id": id, "hook": hook, "record": record}, self._silence)
        except Fault as fault:
            raise self._broken(f"{fault.message} (at {hook})", fault.kind) from None
        if "deny" in answer:
            raise Fault("tool_denied", f"plugin {self.name}: {answer['deny']}", denied=True)
        changed = answer.get("record")
        if not isinstance(changed, dict):
            raise self._broken(
                f"plugin {self.name}: its answer at {hook} has neither `record` nor `deny`",
                "bad_response",
            )
        return changed

    def _broken(self, message: str, kind: str) -> Fault:
        return Fault(
            "tool_timeout" if kind == "tool_timeout" else "tool_error", message, plugin=self.name
        )

    def close(self, grace: float) -> None:
        """End it; it sees the end of its input first."""
        self._filter.close(grace)


class Plugins:
    """All plugins of a run, in the order they were given."""

    def __init__(self, lines: list[str], granted: Iterable[str], silence: float) -> None:
        self._all: list[Plugin] = []
        self._ids = itertools.count(1)
        try:
            for line in lines:
                self._all.append(Plugin(line, granted, silence))
        except BaseException:
            self.close(0.0)
            raise

    def wants(self, hook: str) -> bool:
        """Whether any plugin wants to see this."""
        return any(hook in plugin.hooks for plugin in self._all)

    def apply(self, hook: str, record: Record) -> Record:
        """The record after every plugin that wants the hook has seen it, one after another."""
        for plugin in self._all:
            if hook in plugin.hooks:
                record = plugin.ask(str(next(self._ids)), hook, record)
        return record

    def close(self, grace: float) -> None:
        """End them all."""
        for plugin in self._all:
            plugin.close(grace)


def _command(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as bad:
        raise Fault("invalid_input", f"--plugin {line!r}: {bad}") from None
    if not words:
        raise Fault("invalid_input", "--plugin: an empty command")
    folders = [
        os.path.join(top, part)
        for top, part in (
            (paths.place("data"), "plugins"),
            (paths.TOP, "plugins"),
            (paths.TOP, "bin"),
        )
    ]
    found = shutil.which(
        words[0], path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    )
    if not found:
        raise Fault("not_found", f"--plugin {line!r}: no program {words[0]!r}")
    return [found, *words[1:]]


def _schema(line: str, command: list[str], env: dict[str, str]) -> Record:
    try:
        cell = start.cell([*command, "--agent-schema"], start.USER, start.TYPED, env=env)
        asked = run.run(cell.options, b"", SCHEMA_TIME, SCHEMA_CAP, run.Leash())
        if asked.status:
            raise ValueError(
                asked.err.decode("utf-8", "replace").strip() or status.words(asked.status)
            )
        lines = [records.loads(one) for one in asked.out.splitlines() if one.strip()]
    except (OSError, ValueError) as bad:
        raise Fault(
            "tool_error", f"--plugin {line!r}: no --agent-schema: {bad}", plugin=line
        ) from None
    for schema in lines:
        if isinstance(schema, dict) and schema.get("kind") == "plugin":
            return schema
    raise Fault(
        "tool_error",
        f'--plugin {line!r}: its --agent-schema has no line with "kind":"plugin"',
        plugin=line,
    )


def _hooks(name: str, schema: Record) -> list[str]:
    hooks = schema.get("hooks")
    if not isinstance(hooks, list) or not hooks or any(hook not in HOOKS for hook in hooks):
        raise Fault(
            "tool_error", f"plugin {name}: `hooks` must be some of {', '.join(HOOKS)}", plugin=name
        )
    return hooks
