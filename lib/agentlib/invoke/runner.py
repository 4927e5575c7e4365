"""Run the program behind a tool, in its sandbox, the way its `invoke` says; its output, or what failed, in words."""

import itertools
import os
import threading
from functools import partial

from agentlib import environment, paths, records, stderr
from agentlib.faults import Fault
from agentlib.invoke import output
from agentlib.invoke.tool import Invocation, Tool
from agentlib.launch import start
from agentlib.launch.start import Decision
from agentlib.process import run as process_run
from agentlib.sandbox import prepare
from agentlib.sandbox.kept.pool import SandboxPool
from agentlib.sandbox.prepare import Sandbox
from agentlib.types import Any

TIMEOUT = {"agent": 600.0}  # seconds by kind, where neither the tool nor the user says
OTHERS = 120.0
WORD, LINE = 128 * 1024 - 1, 1 << 20  # bytes of an argument, as Linux takes it, and of them all

_fingerprints: dict[tuple[int, ...], str] = {}  # by what changes when a file is touched


class Runner:
    """timeout: the user's limit for a call, in seconds, or None."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self.pool, self._closed, self._preparing = SandboxPool(), False, threading.Lock()
        # of served.py: what stays up, how often it was started, the ids of requests
        self.coprocesses: dict[tuple[str, ...], tuple[Any, Sandbox]] = {}
        self.starts: dict[tuple[str, ...], int] = {}
        self.ids = itertools.count(1)

    def run(self, call: Invocation) -> str:
        """The output of a call that went well, as `render` makes it; Fault, in words for the model, for any other."""
        tool, limit = call.tool, self.limit(call.tool)
        check_program(tool)
        try:
            words, stdin = _input(tool, call.arguments)
            with self.sandbox(tool, call.decision, words, call.trace) as sandbox:
                begin = partial(self.pool.begin, sandbox)
                outcome = process_run.run(begin, stdin, limit, output.KEPT, call.scope)
        except (OSError, ValueError) as bad:
            why = getattr(bad, "strerror", None) or bad
            raise Fault("tool_error", f"{tool.name} could not be started: {why}.") from None
        notes = warn(tool, sandbox.removed)
        if outcome.left and sandbox.way == "off":  # a sandbox ends them itself
            stderr.warn(f"{tool.name}: left running, and ended: {outcome.left}")
        if outcome.late or outcome.over or outcome.status:
            from agentlib.process import status

            text = output.for_model(outcome.out, outcome.over) if outcome.out else ""
            raise status.fault(tool.name, outcome, limit, text)
        return call.render(outcome.out) + notes

    def prepare(self, tool: Tool, granted: Decision) -> None:
        """Start the kept sandbox that a call of this tool would have. Faults: as of a call."""
        with self._preparing:
            if not self._closed:
                with self.sandbox(tool, granted, []) as sandbox:
                    self.pool.prepare(sandbox)

    def close(self, grace: float) -> None:
        """End the coprocesses, and the kept sandboxes."""
        with self._preparing:
            self._closed = True
        for coprocess, sandbox in self.coprocesses.values():
            coprocess.close(grace)
            sandbox.close()
        self.pool.close()

    def sandbox(self, tool: Tool, decision: Decision, args: list[str], trace: str = "") -> Sandbox:
        """What a call of this tool starts in."""
        outputs = output.folder()
        read = [outputs] if os.path.isdir(outputs) else []
        homes = paths.homes() if paths.of_suite(tool.command[0]) else {}
        env = prepare.environment(decision.env) | homes
        env["AGENT_DEPTH"] = str(environment.depth() + 1)
        env.pop("AGENT_SPAN", None)  # of our script, not of theirs
        if trace:
            env["TRACEPARENT"] = trace
        if decision.profile != "off":
            env["AGENT_HISTORY"] = "off"  # it cannot be written
        return start.sandbox([*tool.command, *args], tool.origin, decision, env=env, read=read)

    def limit(self, tool: Tool) -> float:
        """Seconds that a call may take."""
        wanted = tool.timeout or self._timeout or TIMEOUT.get(str(tool.record.get("kind")), OTHERS)
        return float(min(wanted, self._timeout or wanted))


def warn(tool: Tool, refused: list[str]) -> str:
    """Warn the user of what the sandbox refused; the same for the model."""
    for note in refused:
        stderr.warn(f"{tool.name}: {note}")
    return "".join(f"\n[{note}]" for note in refused)


def check_program(tool: Tool) -> None:
    """Fault where the program is gone, or where its bytes are not those that the record names (`sha256`)."""
    path = tool.command[0]
    if not os.access(path, os.X_OK):
        why = f"{tool.name} is gone: its program {path} is not there, or cannot be run."
        raise Fault("tool_not_found", why)
    wanted = tool.record.get("sha256")
    if wanted and fingerprint(path) != wanted:
        why = f"{tool.name} was not run: its program is not the one that was found."
        raise Fault("tool_denied", why)


def fingerprint(path: str) -> str:
    """The SHA-256 of the file's bytes, in hex; read again only when the file was touched. OSError where it is gone."""
    import hashlib

    with open(path, "rb", buffering=0) as file:
        info = os.fstat(file.fileno())
        key = info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
        if key not in _fingerprints:
            _fingerprints[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _fingerprints[key]


def _input(tool: Tool, arguments: Any) -> tuple[list[str], bytes]:
    if tool.invoke == "text":
        return [], str(arguments.get("input", "")).encode("utf-8", "replace")
    why = ""
    if tool.invoke == "argv":
        words = [str(word) for word in arguments.get("args") or ()]
        sizes = [len(word.encode("utf-8", "replace")) for word in words]
        if any("\0" in word for word in words):
            why = "an argument holds a NUL character."
        elif sum(sizes) > LINE or max(sizes, default=0) > WORD:
            limits = f"{WORD:,} bytes an argument, {LINE:,} in all"
            why = f"its arguments are over {limits}. Give long text as stdin."
        else:
            return words, str(arguments.get("stdin") or "").encode("utf-8", "replace")
    else:
        try:
            return [], records.line(arguments)
        except RecursionError:
            why = "its arguments are nested too deeply."
    raise Fault("invalid_arguments", f"{tool.name} was not run: {why}")
