"""The answers of OpenAI's chat completions, whole or in events."""

import io
from copy import deepcopy

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider import answer as provider_answer
from agentlib.provider import http_call, refusal
from agentlib.types import Any, Generator, Iterator, Record

_STOPS = {
    "end_turn": "stop eos eos_token end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length model_length max_tokens",
    "tool_use": "tool_calls function_call tool_use",
    "content_filter": "content_filter sensitive",
    "refusal": "refusal",
}
# the words that say that an answer is whole; any other says that it is not
STOPS = {word: reason for reason, words in _STOPS.items() for word in words.split()}
TEXTS = ("text", "summary", "data")  # the fields of a part that come in pieces
CALLS = 1000  # of tools in one answer: each delta is looked up among them


class Gathered:
    """An assistant's turn put together out of one whole message, or of many deltas of it."""

    def __init__(self, name: str) -> None:
        self.name = name  # the provider's
        self.texts = {kind: io.StringIO() for kind in ("text", "thinking", "refusal")}
        self.calls: list[Record] = []  # index, id, name, arguments: pieces of text, or an object
        self.images: list[Record] = []  # of the model's own making
        self.details: list[Record] = []  # reasoning_details, to be brought back
        self.parts: list[Record] = []  # content that came as parts, Mistral's, to be brought back
        self.field = ""  # by which name thinking came
        self.stop: str | None = None
        self.chosen = False  # a choice came
        self.logprobs: list[Record] = []
        self.usage: Record = {}
        self.model: str | None = None

    def take(self, chunk: Record) -> Iterator[Record]:
        """Take in one body or one chunk; yields the deltas in it. The vendor's error is raised after them."""
        self.usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or self.usage
        self.model = self.model or chunk.get("model") or None
        choices = chunk.get("choices") or ()
        for choice in choices:
            if choice.get("index"):
                why = "the answer has more than one choice: ask without the option n"
                raise Fault("invalid_request", why)
            self.chosen = True
            yield from self._message(choice.get("delta") or choice.get("message") or {})
            self.stop = choice.get("finish_reason") or self.stop
            if choice.get("logprobs"):
                self.logprobs.append(choice["logprobs"])
        errors = [chunk.get("error"), *(choice.get("error") for choice in choices)]
        errors += [] if choices else [refusal.error_of(chunk)]
        for error in filter(None, errors):
            raise refusal.failed(error)

    def _message(self, message: Record) -> Iterator[Record]:
        if message.get("audio"):
            raise Fault("invalid_request", "the answer holds audio: ask for text alone")
        yield from self._reasoning(message)
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                yield from self._part(part)
        elif content:
            if self.parts:
                join(self.parts, {"type": "text", "text": content})
            yield self._add("text", content)
        if refused := message.get("refusal"):
            yield self._add("refusal", refused)
        self.images += message.get("images") or ()
        fragments = message.get("tool_calls") or ()
        if not fragments and message.get("function_call"):  # as before 2023-11
            fragments = ({"function": message["function_call"]},)
        taken: list[Record] = []  # those of this very message: two of its fragments are two calls
        for position, fragment in enumerate(fragments):
            if "custom" not in fragment:  # a call of another kind than ours
                taken.append(self._call(fragment, position, taken))

    def _add(self, kind: str, text: str) -> Record:
        self.texts[kind].write(text)
        return {"thinking" if kind == "thinking" else "text": text}

    def _reasoning(self, message: Record) -> Iterator[Record]:
        """Thinking by the fields that servers have for it; one that has two says the same in both."""
        details = message.get("reasoning_details") or ()
        names = ("reasoning_content", "reasoning")
        fields = [name for name in names if message.get(name) and isinstance(message[name], str)]
        if fields:
            self.field = fields[0]
            thoughts = [message[self.field]]
        else:
            thoughts = [detail.get("text") or detail.get("summary") for detail in details]
        for text in thoughts:
            if isinstance(text, str) and text:
                yield self._add("thinking", text)
        for detail in details:  # OpenRouter streams one in pieces that share type and index
            join(self.details, detail, apart="index" not in detail)

    def _part(self, part: Record) -> Iterator[Record]:
        if part.get("type") == "image_url":
            self.images.append(part)
            return
        join(self.parts, part)
        if part.get("type") == "thinking":
            inner = part.get("thinking") or ()
            for text in [inner] if isinstance(inner, str) else [p.get("text") or "" for p in inner]:
                yield self._add("thinking", text)
        elif text := part.get("text"):
            yield self._add("text", text)

    def _call(self, fragment: Record, position: int, taken: list[Record]) -> Record:
        # with some servers name and arguments stand beside `function`
        function = fragment.get("function")
        function = function if isinstance(function, dict) else fragment
        call = self._begun(fragment, function.get("name"), position, taken)
        call["id"] = call["id"] or fragment.get("id")
        call["name"] = call["name"] or function.get("name") or ""
        piece = function.get("arguments")
        if isinstance(piece, str) and isinstance(call["arguments"], list):
            call["arguments"].append(piece)
        elif isinstance(piece, dict):  # as some servers have it
            call["arguments"] = piece
        return call

    def _begun(self, fragment: Record, name: Any, position: int, taken: list[Record]) -> Record:
        """The call that a fragment continues, by id, index, name and place together; else a new one."""
        id, index = fragment.get("id"), fragment.get("index")
        place = position if index is None else index
        call = next((c for c in reversed(self.calls) if c["index"] == place), None)
        if index is None:
            by_id = next((c for c in reversed(self.calls) if id and c["id"] == id), None)
            call = by_id or (call if name or not self.calls else self.calls[-1])
        if call and not any(call is other for other in taken):
            other_id = id and call["id"] and id != call["id"]
            other_name = call["name"] and (name != call["name"] or _is_whole(call))
            if not name or not (other_id or other_name):
                return call
        call = {"index": place, "id": None, "name": "", "arguments": []}
        self.calls.append(call)
        if len(self.calls) > CALLS:
            raise Fault("limit_exceeded", f"the answer has more than {CALLS} calls of tools")
        return call

    def answer(self) -> Record:
        if not self.chosen:
            raise Fault("bad_response", "the answer has no choices")
        text, thinking, refused = (gathered.getvalue() for gathered in self.texts.values())
        back: Record = {self.field: thinking} if self.field else {}
        back |= {"reasoning_details": self.details} if self.details else {}
        if any(part.get("type") == "thinking" for part in self.parts):
            back["content"] = self.parts
        calls, name = self._calls(), self.name
        message = provider_answer.message(text or refused, calls, thinking, back, name)
        if self.images:
            message["content"] = [*requests.parts(message), *map(_image, self.images)]
        word = "refusal" if refused else (self.stop or "stop").lower()
        stop = provider_answer.stop_reason(word, STOPS)
        if calls and stop == "end_turn":
            stop = "tool_use"
        made: Record = {"message": message, "stop_reason": stop, "usage": counted(self.usage)}
        if isinstance(self.usage.get("cost"), (int, float)):
            made["cost_usd"] = self.usage["cost"]
        made |= {"logprobs": self.logprobs} if self.logprobs else {}
        return {**made, "model": self.model}

    def _calls(self) -> list[Record]:
        made: list[Record] = []
        self.calls.sort(key=lambda c: c["index"] if isinstance(c["index"], int) else 0)
        for call in self.calls:
            arguments, id = call["arguments"], call["id"]
            arguments = "".join(arguments) if isinstance(arguments, list) else arguments
            id = None if id in [other["id"] for other in made] else id  # two calls under one id
            made.append(provider_answer.tool_call(id, call["name"], arguments))
        return made


def _image(part: Record) -> Record:
    address = part.get("image_url") or {}
    url = str(address.get("url") if isinstance(address, dict) else address)
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return provider_answer.image(head.removeprefix("data:"), data)
    return {"type": "image", "url": url}


def _is_whole(call: Record) -> bool:
    found = call["arguments"]
    return isinstance(http_call.lenient("".join(found)) if isinstance(found, list) else found, dict)


def join(parts: list[Any], piece: Any, apart: bool = False) -> None:
    """Add a piece to the last part of its kind, so that a stream makes the same parts as a whole answer."""
    last = parts[-1] if parts and isinstance(piece, dict) else None
    if last is None or apart or any(last.get(k) != piece.get(k) for k in ("type", "index")):
        return parts.append(deepcopy(piece))
    for name, value in piece.items():
        if isinstance(value, list) and isinstance(last.get(name), list):
            for inner in value:
                join(last[name], inner)
        elif name in TEXTS and isinstance(value, str) and isinstance(last.get(name), str):
            last[name] += value
        elif value is not None:
            last[name] = value


def parse(name: str, body: Record) -> Record:
    turn = Gathered(name)
    list(turn.take(body))
    return turn.answer()


def stream(name: str, items: Iterator[http_call.Event]) -> Generator[Record, None, Record]:
    turn, seen = Gathered(name), False
    for item in _until_ended(turn, items):
        if item.data.strip() == "[DONE]" and seen:
            return turn.answer()
        chunk = http_call.event(item)
        seen, ended = True, turn.stop
        yield from turn.take(chunk)
        if turn.stop and not ended:
            yield {"ended": True}
    if not turn.stop:
        raise http_call.broke_off(seen)
    return turn.answer()  # it said why it ended, though not [DONE]


def _until_ended(turn: Gathered, items: Iterator[http_call.Event]) -> Iterator[http_call.Event]:
    """The events; once the turn has ended, a connection that breaks or stays silent is the end of them."""
    try:
        yield from items
    except Exception as bad:
        if not turn.stop or getattr(bad, "kind", "network") not in ("network", "timeout"):
            raise


def counted(usage: Record, read: str = "prompt", written: str = "completion") -> Record:
    """Our usage out of the dialect's, by what it calls the two sides."""
    inputs: Any = usage.get(f"{read}_tokens_details") or {}
    outputs: Any = usage.get(f"{written}_tokens_details") or {}
    others = usage.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))
    cached, thought = inputs.get("cached_tokens", others), outputs.get("reasoning_tokens")
    counts = usage.get(f"{read}_tokens"), usage.get(f"{written}_tokens")
    return provider_answer.usage(*counts, cached, thought)
