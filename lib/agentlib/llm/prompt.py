"""One request out of standard input and the command line; the filling of what a request leaves open."""

from agentlib import records
from agentlib.faults import Fault
from agentlib.messages import material, transcript
from agentlib.types import Any, Iterable, Mapping, Record

FIELDS = ("temperature", "max_tokens", "stop", "schema", "reasoning")
# no material: settings, deltas of a message that comes whole, tasks for agent-react
SILENT = ("config", "delta", "task")
OF_A_TOOL = ("name", "description", "inputSchema")


def request(stream: Iterable[Record], operands: str) -> Record:
    """The request that the records and the operands make. Fault `invalid_input` if there is none."""
    messages: list[Record] = []
    pieces: list[Record] = []
    tools: list[Record] = []
    for record in stream:
        kind = record["type"]
        if kind == "message":
            messages.append(transcript.check(record))
        elif kind == "tool":
            tools.append({field: record[field] for field in OF_A_TOOL if field in record})
        elif kind in transcript.MATERIAL:
            pieces.append(record)
        elif kind not in SILENT:  # the words of an answer, else all of it
            message = record.get("message")
            text = transcript.text(message) if isinstance(message, dict) else records.dumps(record)
            pieces.append({"type": kind, "text": text})
    messages = transcript.wire(transcript.mend(messages))
    if not operands:
        operands, pieces = _wanted(messages, pieces)
    if operands and pieces:
        messages += transcript.wire([material.message(operands, pieces)])
    elif operands:
        messages.append({"role": "user", "content": operands})
    return {"messages": messages, **({"tools": tools} if tools else {}), "stream": True}


def _wanted(messages: list[Record], pieces: list[Record]) -> tuple[str, list[Record]]:
    """(the request, the material) where no operand asks: the text of the `input` records does, or the conversation."""
    typed = [record for record in pieces if record["type"] == "input"]
    inputs = [record for record in typed if isinstance(record.get("text"), str)]
    if text := "\n".join(record["text"] for record in inputs).strip("\n"):
        return text, [record for record in pieces if record not in inputs]
    if messages and messages[-1]["role"] in ("user", "tool") and not pieces:
        return "", []
    why = "no request: give it as an operand, or `request` records"
    raise Fault("invalid_input", why)


def filled(request: Record, values: Mapping[str, Any]) -> Record:
    """A request with what `values` say where it is silent itself. An `embed` has none of these."""
    if request.get("type") == "embed":
        return dict(request)
    out = {name: values[name] for name in FIELDS if values.get(name) is not None} if values else {}
    out.update(request)
    if options := values.get("options"):
        out["options"] = {**options, **(request.get("options") or {})}
    if (system := values.get("system")) and isinstance(messages := out.get("messages"), list):
        roles = [message.get("role") for message in messages if isinstance(message, dict)]
        if "system" not in roles:
            out["messages"] = [{"role": "system", "content": system}, *messages]
    return out
