"""What a provider makes of a vendor's answer: the message, its calls, its usage; and the key it asks with."""

from __future__ import annotations

import os

from agentlib import records
from agentlib.faults import Fault
from agentlib.provider import http_call
from agentlib.types import Any, Callable, Generator, Iterator, Record

Answer = dict[str, Any]


Prepare = Callable[[Record], http_call.Call]


Whole = Callable[[Record, Record], Answer]


Stream = Callable[[Record, Iterator[Any]], Generator[Record, None, Answer]]


Explain = Callable[[int, http_call.Headers, bytes], Fault]


Embedding = tuple[Prepare, Whole]  # embed, vectors


def key(*variables: str) -> str:
    """The key out of the first of these variables that is set; `auth` names them where none is."""
    for variable in variables:
        if value := os.environ.get(variable, "").strip():
            if not value.isascii() or not value.isprintable():
                raise Fault("auth", f"{variable} holds characters that no key has")
            return value
    raise Fault("auth", f"no key: set {' or '.join(variables)}")


def fetch(url: str, headers: dict[str, str], explain: Explain) -> Record:
    """The JSON object that a GET gives, for lists of models."""
    from agentlib.provider.http import Connection, Reply, Watch

    def read(reply: Reply) -> Any:
        if reply.status != 200:
            raise explain(reply.status, reply.headers, reply.beginning())
        return reply.document()

    found: Record = Connection().send(http_call.Call(url, headers), Watch(False), read)
    return found


def message(
    text: str,
    calls: list[Record] | None = None,
    thinking: str = "",
    data: Any = None,
    name: str = "",
) -> Record:
    """The assistant's message: a string, or parts where thinking is shown; `data` is kept for the provider `name`."""
    parts = [
        {"type": "thinking", "thinking": thinking},
        *([{"type": "text", "text": text}] if text else []),
    ]
    said: Record = {"role": "assistant", "content": parts if thinking else text}
    if calls:
        said["tool_calls"] = calls
    if data:
        said["provider_data"] = {name: data}
    return said


def kept(said: Record, name: str) -> Any:
    """What `message` kept for the provider `name`; None for other vendors' data, which mean nothing to it."""
    data = said.get("provider_data")
    return data.get(name) if isinstance(data, dict) else None


def text_of(said: Record, kind: str = "text") -> str:
    """The text (or thinking) of a message, its parts joined."""
    content = said.get("content") or ""
    if isinstance(content, str):
        return content if kind == "text" else ""
    return "".join(part.get(kind) or "" for part in content if part.get("type") == kind)


def usage(
    input: Any = None,
    output: Any = None,
    cached: Any = None,
    reasoning: Any = None,
    cache_write: Any = None,
) -> Record:
    """The `usage` of an answer; input includes what was read from and written to a cache, output includes reasoning.

    What the vendor did not count stays out.
    """
    told = {
        "input_tokens": input,
        "output_tokens": output,
        "cached_input_tokens": cached,
        "reasoning_tokens": reasoning,
        "cache_write_input_tokens": cache_write,
    }
    return {name: int(count) for name, count in told.items() if isinstance(count, (int, float))}


def tool_call(id: Any, name: str, arguments: Any) -> Record:
    """A call of a tool. Arguments that are no JSON object (the limit cut them) are null, their text `arguments_raw`."""
    if isinstance(arguments, str):
        try:
            value = records.loads(arguments) if arguments.strip() else {}
        except ValueError:
            value = ""
    else:
        value = arguments
    if value is None:  # Groq says "null" for none
        value = {}
    if not id:
        import secrets

        id = f"call_{secrets.token_hex(8)}"
    if isinstance(value, dict):
        return {"id": id, "name": name, "arguments": value}
    return {"id": id, "name": name, "arguments": None, "arguments_raw": arguments}
