"""What a provider makes of a vendor's answer: the message, its calls, its usage; and the key that it sends."""

import os

from agentlib import records
from agentlib.faults import Fault
from agentlib.provider.http_call import Call, Explain
from agentlib.types import Any, Callable, Generator, Iterator, Record

Answer = dict[str, Any]
Headers = dict[str, str]
Calls = list[Record] | None
Prepare = Callable[[Record], Call]
Parse = Callable[[Record, Record], Answer]
Stream = Callable[[Record, Iterator[Any]], Generator[Record, None, Answer]]
Embedding = tuple[Prepare, Parse]  # embed, vectors

COUNTS = ("input", "output", "cached_input", "reasoning", "cache_write_input")  # of tokens
PAGES = 100  # of a list of models; a server may say for ever that there is more


def key(*variables: str) -> str:
    """The key out of the first of these variables that is set; `auth` names them where none is."""
    for variable in variables:
        if value := os.environ.get(variable, "").strip():
            if not value.isascii() or not value.isprintable():
                raise Fault("auth", f"{variable} holds characters that no key has")
            return value
    raise Fault("auth", f"no key: set {' or '.join(variables)}")


def fetch(url: str, headers: Headers, explain: Explain) -> Record:
    """The JSON object that a GET gives, for lists of models."""
    from agentlib.provider.http import Connection, Reply, Watch

    def read(reply: Reply) -> Any:
        if reply.status != 200:
            raise reply.refusal(explain, url)
        return reply.document()

    return Connection().send(Call(url, headers), Watch(False), read)  # type: ignore[no-any-return]


def listed(
    url: str, headers: Headers, explain: Explain, rows: str, following: Callable[[Record], str]
) -> Iterator[Record]:
    """The objects under `rows` on all pages of a list. following: of a page, what is added to the address for the next
    one, "" where there is none."""
    more, seen = "", set[str]()
    while more not in seen and len(seen) < PAGES:
        seen.add(more)
        page = fetch(url + more, headers, explain)
        found = page[rows] if isinstance(page.get(rows), list) else []
        yield from (row for row in found if isinstance(row, dict))
        more = following(page)


def message(
    text: str, calls: Calls = None, thinking: str = "", data: Any = None, name: str = ""
) -> Record:
    """The assistant's message: a string, or parts where there is thinking; `data` is kept for the provider `name`."""
    parts = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": text}]
    parts = parts if text else parts[:1]
    made: Record = {"role": "assistant", "content": parts if thinking else text}
    if calls:
        made["tool_calls"] = calls
    if data:
        made["provider_data"] = {name: data}
    return made


def kept(message: Record, name: str) -> Any:
    """What `message` kept for the provider `name`; None for other vendors' data, which mean nothing to it."""
    data = message.get("provider_data")
    return data.get(name) if isinstance(data, dict) else None


def image(media_type: str, data: str) -> Record:
    return {"type": "image", "media_type": media_type, "data": data}


def checked(made: Answer) -> Answer:
    """An Answer that other programs can read. Fault `bad_response` where a field came that the vendor's API has not."""
    content = made["message"]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [part.get(part["type"], "") for part in parts if part["type"] in ("text", "thinking")]
    if not all(isinstance(text, str) for text in texts):
        raise Fault("bad_response", "the answer's text is no text")
    for call in made["message"].get("tool_calls", ()):
        if not isinstance(call["arguments"], dict | None):
            raise Fault("bad_response", "a call's arguments are no object")
    return made if isinstance(made.get("model"), str | None) else {**made, "model": None}


def stop_reason(word: str | None, known: dict[str, str]) -> str:
    """Our word for why an answer ended. Fault `server` where the vendor's is none that says it is whole."""
    if word in known:
        return known[word]
    if not word:
        raise Fault("bad_response", "the answer does not say why it ends")
    raise Fault("server", f"the vendor broke off the answer: its stop reason is {word!r}")


def usage(*counts: Any) -> Record:
    """The `usage` of an answer, its counts in the order of COUNTS. What the vendor did not count stays out. Input
    includes what was read from and written to a cache, output includes reasoning."""
    numbers = (int, float)  # not bool
    named = [pair for pair in zip(COUNTS, counts, strict=False) if type(pair[1]) in numbers]
    return {f"{name}_tokens": int(count) for name, count in named if 0 <= count < 1 << 53}


def tool_call(id: Any, name: Any, arguments: Any) -> Record:
    """A call of a tool. Arguments that are no JSON object (the limit cut them) are null, their text `arguments_raw`."""
    value = arguments
    if isinstance(arguments, str):
        try:
            value = records.loads(arguments) if arguments.strip() else {}
        except ValueError:
            value = ""
    value = {} if value is None else value  # Groq says "null" for none
    if not isinstance(name, str) or not name:
        name = (
            "unnamed"  # no tool has this name: the model is told so, and the conversation can go on
        )
    if not isinstance(id, str) or not id:
        id = f"call_{os.urandom(8).hex()}"
    made = {"id": id, "name": name}
    if isinstance(value, dict):
        return {**made, "arguments": value}
    return {**made, "arguments": None, "arguments_raw": arguments}


def call_id(id: Any, form: str) -> str:
    """The id where it has the vendor's form (a pattern); else 9 letters that are always the same for it."""
    import re

    if isinstance(id, str) and re.fullmatch(form, id):
        return id
    import hashlib

    return hashlib.sha256(str(id).encode("utf-8", "replace")).hexdigest()[:9]
