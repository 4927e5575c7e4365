"""Call a tool whose program stays up: a coprocess in JSON lines, or an MCP server. A run has one of each."""

import threading
from functools import partial

from agentlib import records
from agentlib.faults import Fault
from agentlib.invoke import output, runner
from agentlib.invoke.runner import Runner
from agentlib.invoke.tool import Invocation, Tool
from agentlib.launch.start import Decision
from agentlib.mcp.content import of_result
from agentlib.mcp.session import Session
from agentlib.process.coprocess import Coprocess
from agentlib.sandbox.prepare import Sandbox
from agentlib.types import Any, Callable, Record

STARTS = 2  # of a server in one run: again where it has ended, but not for ever
_starting = threading.Lock()


def converse(runs: Runner, call: Invocation) -> str:
    """The answer of a tool that speaks JSON lines and stays up. Faults as of Runner.run()."""
    name = call.tool.name
    made = lambda begin: Coprocess(name, {}, start=lambda _, *pipes: begin(*pipes))  # noqa: E731
    coprocess, sandbox = started(runs, call.tool, call.decision, made)
    record = {"id": str(next(runs.ids)), "name": name, "arguments": call.arguments}
    answer = coprocess.call(record["id"], record, runs.limit(call.tool))
    content = answer.get("content", "")
    text = content if isinstance(content, str) else records.dumps(content)
    data = text.encode("utf-8", "replace")
    text = output.for_model(data) + runner.warn(call.tool, sandbox.settle())
    if answer.get("is_error"):
        raise Fault("tool_error", text)
    return text


def call(tools: Any, runs: Runner, call: Invocation) -> str | list[Record]:
    """What the server returns: a text, or parts with pictures. Faults as of Runner.run(). tools: the toolset,
    whose tools are read again where the server says that they have changed."""
    tool, text, pictures = call.tool, "", list[Record]()
    name = str(tool.record.get("server", tool.name))
    session, sandbox = connected(runs, tool, call.decision, tools.ask)
    params = {"name": str(tool.record.get("tool", tool.name)), "arguments": call.arguments}
    params |= {"_meta": {"traceparent": call.trace}} if call.trace else {}
    try:
        result = session.request("tools/call", params, runs.limit(tool), call.scope)
        text, pictures = of_result(result)
        if session.changed:
            from agentlib.mcp import offer

            session.changed = False
            found = session.every("tools/list", "tools")
            for old in [old for old, one in tools.table.items() if one.command == tool.command]:
                del tools.table[old]
            shared = {key: tool.record[key] for key in offer.SHARED if key in tool.record}
            for record in offer.records_of(found, shared, set(tools.table)):
                tools.add(record)
    except (AttributeError, KeyError, TypeError):
        raise Fault("bad_response", f"{name}: its answer is not valid MCP") from None
    finally:
        notes = runner.warn(tool, sandbox.settle())
    data = text.encode("utf-8", "replace")
    over = (True,) if len(data) > output.KEPT else ()
    text = call.render(data[: output.KEPT], *over) + notes
    if result.get("isError"):
        raise Fault("tool_error", text)
    return [{"type": "text", "text": text}, *pictures] if pictures else text


def connected(
    runs: Runner, tool: Tool, decision: Decision, ask: bool = False
) -> tuple[Session, Sandbox]:
    """The connection to the server of a tool. ask: whether it may put questions to the person at the terminal."""
    name = str(tool.record.get("server", tool.name))
    return started(runs, tool, decision, partial(Session, name, ask), STARTS)


def started(
    runs: Runner, tool: Tool, decision: Decision, make: Callable[..., Any], most: float = 1e9
) -> tuple[Any, Sandbox]:
    """What speaks with the program behind the tool, which runs as long as `runs` does; and its sandbox. make: starts
    it, again where it has ended, `most` times in all."""
    runner.check_program(tool)
    name, key = tool.record.get("server", tool.name), (decision.profile, *tool.command)
    with _starting:
        if key in runs.coprocesses:
            coprocess, sandbox = runs.coprocesses[key]
            if coprocess.running:
                return coprocess, sandbox
            del runs.coprocesses[key]
            coprocess.close(0.0)
            sandbox.close()
        runs.starts[key] = runs.starts.get(key, 0) + 1
        if runs.starts[key] > most:
            raise Fault("tool_error", f"{name}: its server has ended again; it stays down")
        try:
            sandbox = runs.sandbox(tool, decision, [])
            runs.coprocesses[key] = make(partial(runs.pool.begin, sandbox)), sandbox
        except (OSError, ValueError) as bad:
            why = getattr(bad, "strerror", None) or bad
            raise Fault("tool_error", f"{name} could not be started: {why}.") from None
        return runs.coprocesses[key]
