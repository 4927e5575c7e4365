"""Turns of vendors whose answers are lists of blocks: read into a message, and put back in their own order; and what
Claude models want wherever they run.

Text and calls of tools go into `content` and `tool_calls`, where programs may change them; `provider_data` keeps where
each stood, and blocks that only the vendor understands (signed thinking, say). Its entries: ["text", more],
["call", id, more] and ["own", block]; `more` is what the vendor wants back beside the text or the call.
"""

import re

from agentlib.faults import Fault
from agentlib.messages import subschemas
from agentlib.messages.requests import blob, parts
from agentlib.provider.answer import image, kept
from agentlib.types import Any, Callable, Iterable, Iterator, Record

Blocks = Callable[[Record, int], list[Record]]  # of a message and its number
# tokens of thinking before 4.6; 1024 is the least
BUDGET = {"low": 1024, "medium": 4096, "high": 12288}
BEFORE_4_6 = r"claude-(v?2|3|instant|(opus|sonnet|haiku)-4-([0-5]\b|20\d{6}))"


class Turn:
    """An assistant's turn while it is read."""

    def __init__(self) -> None:
        self.parts: list[Record] = []
        self.calls: list[Record] = []
        self.order: list[list[Any]] = []

    def text(self, text: str, more: Record | None = None) -> None:
        """Text to be shown. Empty text is left out, unless the vendor wants something back with it."""
        if text or more:
            self.parts.append({"type": "text", "text": text})
            self.order.append(["text", more or {}])

    def thinking(self, text: str) -> None:
        """Thinking to be shown; what must be given back of it goes to `block`."""
        if text:
            self.parts.append({"type": "thinking", "thinking": text})

    def image(self, media_type: str, data: str) -> None:
        self.parts.append(image(media_type, data))

    def call(self, call: Record, more: Record | None = None) -> None:
        self.calls.append(call)
        self.order.append(["call", call["id"], more or {}])

    def block(self, block: Record) -> None:
        self.order.append(["own", block])

    def message(self, name: str) -> Record:
        """The message; the order is kept for the provider `name` where there is more in it than text and calls."""
        keep = any(entry[-1] for entry in self.order)
        message: Record = {"role": "assistant", "content": self.parts}
        if all(part["type"] == "text" for part in self.parts) and (len(self.parts) < 2 or not keep):
            message["content"] = "".join(part["text"] for part in self.parts)
        if self.calls:
            message["tool_calls"] = self.calls
        if keep:
            message["provider_data"] = {name: self.order}
        return message


def replay(message: Record, name: str) -> Iterator[tuple[str, Record, Record]]:
    """A turn in its order: ("text", part, more), ("call", call, more), ("own", block, {}). Others follow."""
    texts = parts(message)
    calls = list(message.get("tool_calls") or [])
    for kind, *rest in filter(_entry, kept(message, name) or ()):
        if kind == "own":
            yield kind, rest[0], {}
        elif kind == "text" and texts:
            yield kind, texts.pop(0), rest[0]
        elif kind == "call" and rest[0] in (ids := [call.get("id") for call in calls]):
            yield kind, calls.pop(ids.index(rest[0])), rest[1]
    yield from (("text", part, {}) for part in texts)
    yield from (("call", call, {}) for call in calls)


def _entry(value: Any) -> bool:
    """Whether this is an entry of an order: what others put into a transcript is not trusted to be one."""
    if not isinstance(value, list) or len(value) < (3 if value[:1] == ["call"] else 2):
        return False
    return isinstance(value[-1], dict)


def arguments(call: Record) -> Record:
    """The arguments of a call in the history: always an object, also where the model's were none."""
    if isinstance(value := call.get("arguments"), dict):
        return value
    return {"arguments_raw": call.get("arguments_raw") or value}


def split(messages: list[Record]) -> tuple[list[str], list[Record]]:
    """(the texts of the system messages, the other messages), for vendors that take the system text apart."""
    systems = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    system = [part_text(part, "a system message") for one in systems for part in parts(one)]
    return [text for text in system if text.strip()], others


def alternating(messages: list[Record], blocks_of: Blocks, result: str) -> list[Record]:
    """The turns of vendors where user and assistant alternate: [{"role", "content": blocks}], by blocks_of(message,
    number). All results of a round stand in one user turn, before its text; `result` is the key or type of a result."""
    out: list[Record] = []
    for number, message in enumerate(messages):
        role = "assistant" if message["role"] == "assistant" else "user"
        if not (blocks := blocks_of(message, number)):
            continue
        if not out or out[-1]["role"] != role:
            out.append({"role": role, "content": []})
        content = out[-1]["content"]
        first = sum(result in block or block.get("type") == result for block in content)
        at = first if message["role"] == "tool" else len(content)
        content[at:at] = blocks
    return out


def renamed(request: Record, **names: str) -> Record:
    """These fields of a request, where it has them, by the vendor's names."""
    return {new: request[old] for old, new in names.items() if old in request}


def part_text(part: Record, where: str) -> str:
    """The text of a part; `invalid_request` where it is an image or a document."""
    if part["type"] != "text":
        why = f"{where}: holds {part['type']}, and this vendor takes only text there"
        raise Fault("invalid_request", why)
    return str(part["text"])


def media(part: Record) -> tuple[str, str] | None:
    """(media type, base64) of an image or document, read from its file or data URL; None where it is an address."""
    url = part.get("url")
    if not isinstance(url, str) or part.get("data"):
        return blob(part)
    if not url.startswith("data:"):
        return None
    head, _, data = url[5:].partition(",")
    if not head.endswith(";base64"):
        raise Fault("invalid_request", f"{part['type']}: a data URL that is not base64")
    return head.partition(";")[0], data


def refuse(request: Record, vendor: str, fields: Iterable[str] = ()) -> None:
    """`invalid_request` for what the vendor cannot carry: `api`, names of speakers, a choice of no tools, `fields`."""
    for field in ("api", *fields):
        if request.get(field) is not None:
            raise Fault("invalid_request", f"{field}: {vendor} has nothing like it")
    for number, message in enumerate(request["messages"]):
        if message.get("name") and message["role"] != "tool":
            why = f"messages[{number}].name: {vendor} has no names of speakers"
            raise Fault("invalid_request", why)
    if not request.get("tools") and request.get("tool_choice", "auto") not in ("auto", "none"):
        raise Fault("invalid_request", "tool_choice: there are no tools to choose from")


# What Claude models want wherever they run.


def claude_thinking(model: str, effort: str, limit: int | None) -> Record:
    """The fields that make a model think: by effort since 4.6, before by a budget inside max_tokens `limit`."""
    if not re.search(BEFORE_4_6, model):
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    budget, least = BUDGET[effort], BUDGET["low"]
    if limit is not None and limit < 2 * least:
        why = f"reasoning: {model} needs max_tokens of {2 * least} or more to think"
        raise Fault("invalid_request", why)
    tokens = budget if limit is None else min(budget, limit - least)
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def claude_turns(messages: list[Record], blocks_of: Blocks, result: str) -> list[Record]:
    """The turns (see alternating). No Claude takes a last one of the assistant's that ends with white space."""
    made = alternating(messages, blocks_of, result)
    if made and made[-1]["role"] == "assistant" and (block := made[-1]["content"][-1]).get("text"):
        made[-1]["content"][-1] = {**block, "text": block["text"].rstrip()}
    return made


def claude_schema(schema: Record) -> Record:
    """The schema with `additionalProperties` false where an object says nothing of it: the vendor insists on it."""

    def close(part: Record) -> Record:
        return {"additionalProperties": False, **part} if part.get("type") == "object" else part

    made: Record = subschemas.changed(schema, close)
    return made
