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
OPEN, CLOSE = "<think>", "</think>"  # around thinking, as some servers write it
PAGES = 100  # of a list of models; a server may say for ever that there is more


def key(*variables: str) -> str:
    """The key out of the first of these variables that is set; `auth` names them where none is."""
    for variable in variables:
        if value := os.environ.get(variable, "").strip():
            if not value.isascii() or not value.isprintable():
                raise Fault("auth", f"{variable} holds characters that no key has")
            return value
    raise Fault("auth", f"no key: set {' or '.join(variables)}")


def listed(
    url: str, headers: Headers, explain: Explain, rows: str, following: Callable[[Record], str]
) -> Iterator[Record]:
    """The objects under `rows` on all pages of a list. following(page): what the next address adds, "" for none."""
    from agentlib.provider.http import Connection, Reply, Watch

    def read(reply: Reply) -> Any:
        if reply.status != 200:
            raise reply.refusal(explain, url)
        return reply.document()

    more, seen = "", set[str]()
    while more not in seen and len(seen) < PAGES:
        seen.add(more)
        page = Connection().send(Call(url + more, headers), Watch(False), read)
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
        raise Fault("bad_response", "the answer's text is not text")
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
    # no tool is called `unnamed`: the model is told so, and the conversation can go on
    made: Record = {
        "id": id if id and isinstance(id, str) else f"call_{os.urandom(8).hex()}",
        "name": name if name and isinstance(name, str) else "unnamed",
    }
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


class Thoughts:
    """Text in pieces that may begin with the model's thinking, between <think> and </think>."""

    def __init__(self) -> None:
        self._mark = OPEN  # which of the two may come next, "" for none
        self._rest, self._after = "", False  # what is not yet known; whether thinking came

    def parted(self, text: str, last: bool = False) -> Iterator[tuple[str, str]]:
        """("thinking" or "text", piece) of each. last: no more text comes."""
        self._rest += text
        while self._rest and self._mark:
            head, mark = self._rest.lstrip(), self._mark
            if mark == CLOSE:
                thought, closed, rest = self._rest.partition(mark)
                begun = (n for n in range(len(mark) - 1, 0, -1) if thought.endswith(mark[:n]))
                cut = len(thought) if closed or last else len(thought) - next(begun, 0)
                yield "thinking", thought.rstrip() if closed else thought[:cut]
                self._rest = rest if closed else thought[cut:]
                if not closed:
                    return
                self._mark, self._after = OPEN, True
            elif head.startswith(mark):
                self._rest, self._mark = head[len(mark) :], CLOSE
            elif mark.startswith(head) and (not last or self._after and not head):
                return
            else:
                self._rest, self._mark = head if self._after else self._rest, ""
        text, self._rest = self._rest, ""
        yield "text", text


def thoughts_apart(message: Record) -> Record:
    """The message, its thinking taken out of its text into a part of its own."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    at = next((n for n, part in enumerate(parts) if part["type"] == "text"), None)
    if at is None or not parts[at]["text"].lstrip().startswith(OPEN):
        return message
    pieces, made = list(Thoughts().parted(parts[at]["text"], last=True)), []
    for kind in ("thinking", "text"):
        if (text := "".join(piece for name, piece in pieces if name == kind)).strip():
            made.append({"type": kind, kind: text.strip() if kind == "thinking" else text})
    parts = [*parts[:at], *made, *parts[at + 1 :]]
    plain = all(part["type"] == "text" for part in parts)
    return {**message, "content": "".join(p["text"] for p in parts) if plain else parts}
