"""Conversations: what of a message goes to the model, which calls still want a result."""

from agentlib.faults import Fault
from agentlib.types import Any, Record

WIRE = ("role", "content", "tool_calls", "tool_call_id", "name", "is_error", "provider_data")
LOST = "This call was not run: the run was ended before it."
MATERIAL = ("input", "context", "memory")  # the records that are material for a request


def wire(messages: list[Record]) -> list[Record]:
    """The messages as they stand in a `request`: without what was measured or noted for people."""
    return [{field: message[field] for field in WIRE if field in message} for message in messages]


def calls(message: Record) -> list[dict[str, Any]]:
    """The tool calls of a message, [] for none."""
    found = message.get("tool_calls")
    return [call for call in found if isinstance(call, dict)] if isinstance(found, list) else []


def text(message: Record, kind: str = "text", joint: str = "") -> str:
    """The text (or `thinking`) of a message, whether it is a string or parts, which are joined."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content if kind == "text" else ""
    return joint.join(str(part.get(kind) or "") for part in content if part.get("type") == kind)


def pending(messages: list[Record]) -> list[dict[str, Any]]:
    """The calls of the last answer that have no result yet, in their order."""
    answered = set()
    for message in reversed(messages):
        if message.get("role") == "tool":
            answered.add(message.get("tool_call_id"))
        elif message.get("role") == "assistant":
            return [call for call in calls(message) if call.get("id") not in answered]
        else:
            break
    return []


def finished(messages: list[Record]) -> bool:
    """Whether the last word is an answer without calls."""
    return bool(messages) and messages[-1].get("role") == "assistant" and not calls(messages[-1])


def mend(messages: list[Record]) -> list[Record]:
    """The messages with a result for every call that something else follows: vendors refuse a call without one."""
    out: list[Record] = []
    for message in messages:
        if message.get("role") != "tool":
            out += [result(call, LOST, "interrupted") for call in pending(out)]
        out.append(message)
    return out


def result(call: dict[str, Any], content: str | list[Record], kind: str | None = None) -> Record:
    """The `message` record that answers a call; kind: of the error, where it is one."""
    made: Record = {"type": "message", "role": "tool", "tool_call_id": call.get("id")}
    made |= {"name": call.get("name"), "content": content}
    if kind:
        made.update(is_error=True, error={"kind": kind})
    return made


def request(text: str, pieces: list[Record]) -> Record:
    """The `message` record of the user: the request, then its material, fenced."""
    if pieces:
        from agentlib.messages import material  # most requests have none

        return material.message(text, pieces)
    return {"type": "message", "role": "user", "content": text}


def check(record: Record) -> Record:
    """The `message` record as it was read; Fault `invalid_input` where it could not be sent to a model."""
    if record.get("role") not in ("system", "user", "assistant", "tool"):
        why = f"a message with the role {record.get('role')!r}: it must be system, user, assistant or tool"
        raise Fault("invalid_input", why)
    if record["role"] == "tool" and not isinstance(record.get("tool_call_id"), str):
        raise Fault("invalid_input", "a message of a tool without tool_call_id")
    return record
