"""Conversations: what of a message goes to the model, which calls still want a result, the file that keeps them."""

import os
import stat

from agentlib import records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.types import Any, Record

WIRE = ("role", "content", "tool_calls", "tool_call_id", "name", "is_error", "provider_data")
LOST = "This call was not run: the run was ended before it."


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


def check(record: Record) -> Record:
    """The `message` record as it was read; Fault `invalid_input` where it could not be sent to a model."""
    if record.get("role") not in ("system", "user", "assistant", "tool"):
        why = f"a message with the role {record.get('role')!r}: it must be system, user, assistant or tool"
        raise Fault("invalid_input", why)
    if record["role"] == "tool" and not isinstance(record.get("tool_call_id"), str):
        raise Fault("invalid_input", "a message of a tool without tool_call_id")
    return record


class File:
    """The transcript of --transcript: read, then appended to, under a lock until the program ends."""

    def __init__(self, path: str) -> None:
        from agentlib.lock import acquire_for_run

        with os_errors(path):
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            raise Fault("invalid_input", f"{path}: a transcript must be an ordinary file")
        self.path, self.failed = path, False
        acquire_for_run(self._handle, path)

    def messages(self) -> list[Record]:
        """The messages in the file. A last line that was cut off (a crash while it was written) is taken away."""
        from agentlib.records.tail import mend

        size = os.fstat(self._handle).st_size
        try:
            if mend(self._handle) < size:
                stderr.warn(f"{self.path}: its last line was cut off and is dropped")
            with open(f"/proc/self/fd/{self._handle}", "rb") as stream:  # from its beginning
                found = [line.record for line in records.read(stream)]
            return replaced([check(one) for one in found if one["type"] == "message"])
        except (OSError, Fault) as bad:
            why = bad.message if isinstance(bad, Fault) else bad.strerror
            raise Fault("invalid_input", f"{self.path}: {why}") from None

    def append(self, record: Record) -> None:
        """Write one record; where that fails the run goes on, and `failed` is set."""
        if self.failed:
            return
        from agentlib.records.tail import add

        try:
            add(self._handle, records.line(record))
        except OSError as bad:
            self.failed = True
            stderr.warn(f"{self.path}: the transcript is not whole: {bad.strerror}")


def replaced(messages: list[Record]) -> list[Record]:
    """The messages with each summary put in the place of those it `replaces` (react/context_window.py)."""
    out: list[Record] = []
    for message in messages:
        count = message.get("replaces")
        if isinstance(count, int) and not isinstance(count, bool) and 0 < count < len(out):
            start = head(out)
            out[start : start + count] = [message]
        else:
            out.append(message)
    return out


def head(messages: list[Record]) -> int:
    """How many messages stand before the part that may be summed up: system messages and the first request."""
    systems = [message.get("role") == "system" for message in messages]
    return systems.index(False) + 1 if False in systems else len(messages)
