"""Call a tool of an MCP server: one connection a server and run, in the server's cell."""

from agentlib.faults import Fault
from agentlib.invoke import output, runner
from agentlib.invoke.runner import Runner
from agentlib.invoke.tool import Invocation, Tool
from agentlib.launch.start import Decision
from agentlib.mcp import content, form, offer
from agentlib.mcp.session import Session
from agentlib.sandbox.cell import Cell
from agentlib.types import Any, Callable, Record

STARTS = 2  # of a server in one run: again where it has ended, but not for ever


def call(tools: Any, runs: Runner, call: Invocation) -> str | list[Record]:
    """What the server returns: a text, or parts where there are pictures. Faults as of Runner.run().

    tools: the toolset, whose tools are made anew where the server says that they are others.
    """
    tool, text, pictures = call.tool, "", list[Record]()
    name = str(tool.record.get("server", tool.name))
    session, cell = connected(runs, tool, call.decision, tools.ask)
    params = {"name": str(tool.record.get("tool", tool.name)), "arguments": call.arguments}
    params |= {"_meta": {"traceparent": call.trace}} if call.trace else {}
    try:
        result = session.request("tools/call", params, runs.limit(tool), call.leash)
        text, pictures = content.of_result(result)
        if session.changed:
            session.changed = False
            found = session.every("tools/list", "tools")
            for old in [old for old, one in tools.table.items() if one.command == tool.command]:
                del tools.table[old]
            shared = {key: tool.record[key] for key in offer.SHARED if key in tool.record}
            for record in offer.records_of(found, shared, set(tools.table)):
                tools.add(record)
    except (AttributeError, KeyError, TypeError):
        raise Fault("bad_response", f"{name}: its answer is not of the form of MCP") from None
    finally:
        notes = runner.warn(tool, cell.settle())
    data = text.encode("utf-8", "replace")
    over = (True,) if len(data) > output.KEPT else ()
    text = call.render(data[: output.KEPT], *over) + notes
    if result.get("isError"):
        raise Fault("tool_error", text)
    return [{"type": "text", "text": text}, *pictures] if pictures else text


def connected(
    runs: Runner, tool: Tool, decision: Decision, ask: bool = False
) -> tuple[Session, Cell]:
    """The connection to the server of a tool. ask: whether it may put questions to the person at the terminal."""
    name = str(tool.record.get("server", tool.name))

    def made(begin: Callable[..., Any]) -> Session:
        return Session(name, begin, form.ask if ask else None)

    runner.check_program(tool)
    try:
        return runs.kept(tool, decision, made, STARTS)
    except (OSError, ValueError) as bad:
        raise Fault("tool_error", f"{name} could not be started: {bad}.") from None
