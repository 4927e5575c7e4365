"""Run the program behind a tool, in its cell, the way its `invoke` says; its output, or what failed, in words."""

from __future__ import annotations

import os
import threading
from functools import partial

from agentlib import paths, records, stderr
from agentlib.faults import Fault
from agentlib.invoke import output
from agentlib.launch import start
from agentlib.process import run as process_run
from agentlib.process import status
from agentlib.process.coprocess import Coprocess
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.kept.wards import Wards
from agentlib.types import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from agentlib.invoke.tool import Tool
    from agentlib.launch.start import Decision
    from agentlib.process.child import Child
    from agentlib.process.run import Leash, Outcome
    from agentlib.sandbox.cell import Cell

TIMEOUT = {"agent": 600.0}  # seconds by kind, where neither the tool nor the user says
OTHERS = 120.0


class Runner:
    """timeout: the user's limit for a call, in seconds, or None. depth: how deep agents called by us stand."""

    def __init__(self, timeout: float | None, depth: int) -> None:
        self._timeout, self._depth = timeout, depth
        self._kept: dict[tuple[str, ...], tuple[Coprocess, Cell]] = {}
        self._wards = Wards()
        self._lock = threading.Lock()
        self._count = 0

    def run(
        self,
        tool: Tool,
        arguments: Any,
        granted: Decision,
        leash: Leash,
        render: Callable[..., str] = output.told,
    ) -> str:
        """The output of a call that went well, as `render` makes it; Fault, in words for the model, for any other."""
        _there(tool)
        try:
            if tool.invoke == "jsonl":
                return self._converse(tool, arguments, granted)
            return self._once(tool, arguments, granted, leash, render)
        except (OSError, ValueError) as bad:
            why = getattr(bad, "strerror", None) or bad
            raise Fault("tool_error", f"{tool.name} could not be started: {why}.") from None

    def close(self, grace: float) -> None:
        """End the coprocesses, and the sandboxes that are kept up."""
        for filter, cell in self._kept.values():
            filter.close(grace)
            cell.close()
        self._wards.close()

    def _once(
        self,
        tool: Tool,
        arguments: Any,
        granted: Decision,
        leash: Leash,
        render: Callable[..., str],
    ) -> str:
        words, given = _handed(tool, arguments)
        limit = self._limit(tool)
        with self._cell(tool, words, granted) as cell:
            done = process_run.run(partial(self._begin, cell), given, limit, output.KEPT, leash)
        noted = _noted(tool, cell.removed)
        if done.left and cell.way == "off":  # where there is a sandbox that is its affair
            stderr.warn(f"{tool.name}: left running, and ended: {done.left}")
        _judge(tool, done, limit)
        return render(done.out) + noted

    def _begin(self, cell: Cell, *given: int) -> Child:
        """Start the tool, with these three descriptors, in a sandbox that stands already or in one of its own."""
        return self._wards.begin(cell, *given) or process_run.start(cell.options, *given)

    def _cell(self, tool: Tool, words: list[str], granted: Decision) -> Cell:
        kept = output.folder()
        read = [kept] if os.path.isdir(kept) else []
        homes = paths.homes() if paths.own(tool.command[0]) else {}
        env = {**sandbox_cell.environment(granted.env), **homes, "AGENT_DEPTH": str(self._depth)}
        return start.cell([*tool.command, *words], tool.origin, granted, env=env, read=read)

    def _limit(self, tool: Tool) -> float:
        own = tool.timeout or self._timeout or TIMEOUT.get(str(tool.record.get("kind")), OTHERS)
        return float(min(own, self._timeout or own))

    def _converse(self, tool: Tool, arguments: Any, granted: Decision) -> str:
        with self._lock:
            self._count += 1
            id = str(self._count)
            filter, cell = self._coprocess(tool, granted)
        answer = filter.ask(
            id, {"id": id, "name": tool.name, "arguments": arguments}, self._limit(tool)
        )
        content = answer.get("content", "")
        text = content if isinstance(content, str) else records.dumps(content)
        shown = output.told(text.encode("utf-8", "replace")) + _noted(tool, cell.settle())
        if answer.get("is_error"):
            raise Fault("tool_error", shown)
        return shown

    def _coprocess(self, tool: Tool, granted: Decision) -> tuple[Coprocess, Cell]:
        """The program behind the tool, kept up for the whole process; started again where it has ended."""
        key = (granted.profile, *tool.command)
        if key in self._kept and not self._kept[key][0].running:
            self._drop(key)
        if key not in self._kept:
            cell = self._cell(tool, [], granted)
            begin = lambda options, *given: self._begin(cell, *given, 2)  # noqa: E731
            self._kept[key] = Coprocess(tool.name, {}, start=begin), cell
        return self._kept[key]

    def _drop(self, key: tuple[str, ...]) -> None:
        filter, cell = self._kept.pop(key)
        filter.close(0.0)
        cell.close()


def _noted(tool: Tool, refused: list[str]) -> str:
    """What the sandbox refused, said to the user, and for the model."""
    for one in refused:
        stderr.warn(f"{tool.name}: {one}")
    return "".join(f"\n[{one}]" for one in refused)


def _there(tool: Tool) -> None:
    """The program is still there, and the one that was found where the record says which bytes it has (`sha256`)."""
    path = tool.command[0]
    if not os.access(path, os.X_OK):
        raise Fault(
            "tool_not_found",
            f"{tool.name} is gone: its program {path} is not there, or cannot be run.",
        )
    if wanted := tool.record.get("sha256"):
        from agentlib.invoke.fingerprint import fingerprint

        if fingerprint(path) != wanted:
            raise Fault(
                "tool_denied",
                f"{tool.name} was not run: its program is not the one that was found.",
            )


def _handed(tool: Tool, arguments: Any) -> tuple[list[str], bytes]:
    """(more words of the command, standard input) for one call."""
    if tool.invoke == "text":
        return [], str(arguments.get("input", "")).encode("utf-8", "replace")
    if tool.invoke == "argv":
        words = [str(word) for word in arguments.get("args") or ()]
        if any("\0" in word for word in words):
            raise Fault(
                "invalid_arguments", f"{tool.name} was not run: an argument holds a NUL character."
            )
        return words, str(arguments.get("stdin") or "").encode("utf-8", "replace")
    try:
        return [], records.line(arguments)
    except RecursionError:
        raise Fault(
            "invalid_arguments", f"{tool.name} was not run: its arguments are nested too deeply."
        ) from None


def _judge(tool: Tool, done: Outcome, limit: float) -> None:
    """Nothing for a success; a Fault with status, end of stderr and output of anything else."""
    if done.late:
        raise Fault(
            "tool_timeout",
            _report(f"{tool.name} timed out after {limit:g} s.", done),
        )
    if done.over:
        raise Fault(
            "limit_exceeded",
            _report(f"{tool.name} was ended, it printed too much. Ask for less.", done),
        )
    if done.status:
        why = f"{tool.name} failed: {status.words(done.status)}."
        raise Fault(status.kind(done.status), _report(why, done))


def _report(what: str, done: Outcome) -> str:
    err = done.err.decode("utf-8", "replace").strip()
    said = [what]
    if err:
        said.append(f"Its standard error ends:\n{err[-2000:]}")
    if done.out:
        said.append(f"Its output:\n{output.told(done.out, done.over)}")
    return "\n".join(said)
