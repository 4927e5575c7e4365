"""The answers of OpenAI's chat completions, whole or in events, and its errors by kind."""

from __future__ import annotations

import io

from agentlib import records
from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider import answer as provider_answer
from agentlib.provider import http_call
from agentlib.types import TYPE_CHECKING, Any, Generator, Iterator, Record

if TYPE_CHECKING:
    from agentlib.provider import sse

STOPS = {  # the words that say that an answer is whole; any other says that it is not
    "stop": "end_turn",
    "eos": "end_turn",
    "eos_token": "end_turn",
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "model_length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "refusal": "refusal",
}
# of a chunk that is an error itself
ERRORS = ("detail", "message", "msg", "error_message", "errors")
CALLS = 1000  # of tools in one answer: each delta is looked up among them


class Gathered:
    """An assistant's turn put together out of one whole message, or of many deltas of it."""

    def __init__(self, name: str) -> None:
        self.name = name  # the provider's
        self.text, self.thinking, self.refusal = io.StringIO(), io.StringIO(), io.StringIO()
        # {"index", "id", "name", "arguments": pieces of text, or an object, "type"}
        self.calls: list[Record] = []
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
        if usage := chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage"):
            self.usage = usage
        self.model = self.model or chunk.get("model") or None
        choices = chunk.get("choices") or ()
        for choice in choices:
            yield from self._choice(choice)
        if error := chunk.get("error") or next(
            (c["error"] for c in choices if c.get("error")), None
        ):
            raise failed(error)
        if not choices and any(name in chunk for name in ERRORS):
            raise failed(chunk)

    def _choice(self, choice: Record) -> Iterator[Record]:
        if choice.get("index") or 0:
            why = "the answer has more than one choice: ask without the option n"
            raise Fault("invalid_request", why)
        self.chosen = True
        if message := choice.get("delta") or choice.get("message"):
            yield from self._message(message)
        self.stop = choice.get("finish_reason") or self.stop
        if choice.get("logprobs"):
            self.logprobs.append(choice["logprobs"])

    def _message(self, message: Record) -> Iterator[Record]:
        content = message.get("content")
        for name in ("reasoning_content", "reasoning"):
            if isinstance(thought := message.get(name), str) and thought:
                self.field = name
                yield self._thought(thought)
                break
        for detail in message.get("reasoning_details") or ():
            self._detail(detail)
        if isinstance(content, list):
            for part in content:
                yield from self._part(part)
        elif content:
            if self.parts:
                self._join({"type": "text", "text": content})
            self.text.write(content)
            yield {"text": content}
        if refusal := message.get("refusal"):
            self.refusal.write(refusal)
            yield {"text": refusal}
        for image in message.get("images") or ():
            self.images.append(image)
        fragments = message.get("tool_calls") or ()
        if not fragments and message.get("function_call"):  # as before 2023-11
            fragments = ({"function": message["function_call"]},)
        taken: list[Record] = []  # those of this very message: two of its fragments are two calls
        for position, fragment in enumerate(fragments):
            if "custom" not in fragment:  # a call of another kind than ours
                taken.append(self._call(fragment, position, taken))

    def _thought(self, text: str) -> Record:
        self.thinking.write(text)
        return {"thinking": text}

    def _part(self, part: Record) -> Iterator[Record]:
        self._join(part)
        if part.get("type") == "thinking":
            inner = part.get("thinking") or ()
            for text in [inner] if isinstance(inner, str) else [p.get("text") or "" for p in inner]:
                yield self._thought(text)
        elif text := part.get("text"):
            self.text.write(text)
            yield {"text": text}

    def _join(self, part: Record) -> None:
        """Add a part to the last one of its kind, so that a stream gives the same parts as a whole answer."""
        last = self.parts[-1] if self.parts else {}
        if last.get("type") != part.get("type"):
            self.parts.append(
                {**part, "thinking": list(part["thinking"])}
                if isinstance(part.get("thinking"), list)
                else dict(part)
            )
        elif isinstance(part.get("thinking"), list):
            merge_thinking(last["thinking"], part["thinking"])
        elif isinstance(part.get("text"), str):
            last["text"] += part["text"]

    def _detail(self, detail: Record) -> None:
        """OpenRouter streams a detail in pieces that share type and index."""
        last = self.details[-1] if self.details else {}
        if (
            last.get("type") != detail.get("type")
            or "index" not in detail
            or last.get("index") != detail["index"]
        ):
            self.details.append(dict(detail))
            return
        for name, value in detail.items():
            if (
                name in ("text", "summary", "data")
                and isinstance(value, str)
                and isinstance(last.get(name), str)
            ):
                last[name] += value
            elif value is not None:
                last[name] = value

    def _call(self, fragment: Record, position: int, taken: list[Record]) -> Record:
        """Take in a piece of a call; the call that it belongs to."""
        function, call = named(fragment), self._begun(fragment, position, taken)
        call["id"] = call["id"] or fragment.get("id")
        call["name"] = call["name"] or function.get("name") or ""
        piece = function.get("arguments")
        if isinstance(piece, str) and isinstance(call["arguments"], list):
            call["arguments"].append(piece)
        elif isinstance(piece, dict):  # as some servers have it
            call["arguments"] = piece
        return call

    def _begun(self, fragment: Record, position: int, taken: list[Record]) -> Record:
        """The call that a fragment continues, by id, index, name and place together; else a new one."""
        id, name, index = fragment.get("id"), named(fragment).get("name"), fragment.get("index")
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
        """The Answer, once all is taken in."""
        if not self.chosen:
            raise Fault("bad_response", "the answer has no choices")
        self.calls.sort(key=lambda c: c["index"] if isinstance(c["index"], int) else 0)
        ids = [call["id"] for call in self.calls]
        calls = [
            _made(call if ids.index(call["id"]) == place else {**call, "id": None})
            for place, call in enumerate(self.calls)
        ]
        refusal, text = self.refusal.getvalue(), self.text.getvalue()
        message = provider_answer.message(
            text or refusal, calls, self.thinking.getvalue(), self._kept(), self.name
        )
        if self.images:
            message["content"] = [*requests.parts(message), *map(_image, self.images)]
        stop = (
            "refusal"
            if refusal
            else provider_answer.stop_reason((self.stop or "stop").lower(), STOPS)
        )
        if calls and stop == "end_turn":
            stop = "tool_use"
        cost = (
            {"cost_usd": self.usage["cost"]}
            if isinstance(self.usage.get("cost"), (int, float))
            else {}
        )
        return {
            "message": message,
            "stop_reason": stop,
            "usage": counted(self.usage),
            "model": self.model,
            **cost,
            **({"logprobs": self.logprobs} if self.logprobs else {}),
        }

    def _kept(self) -> Record:
        """What the vendor wants back with this turn."""
        out: Record = {}
        if self.field:
            out[self.field] = self.thinking.getvalue()
        if self.details:
            out["reasoning_details"] = self.details
        if any(part.get("type") == "thinking" for part in self.parts):
            out["content"] = self.parts
        return out


def named(fragment: Record) -> Record:
    """Where a call's name and arguments stand: in `function`, or, with some servers, beside it."""
    function = fragment.get("function")
    return function if isinstance(function, dict) else fragment


def _image(part: Record) -> Record:
    """An image of the model's, as our part."""
    url = str((part.get("image_url") or {}).get("url") or "")
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return {"type": "image", "media_type": head.removeprefix("data:"), "data": data}
    return {"type": "image", "url": url}


def _is_whole(call: Record) -> bool:
    """Whether the arguments that came so far are a JSON object."""
    if isinstance(call["arguments"], dict):
        return True
    try:
        return isinstance(records.loads("".join(call["arguments"])), dict)
    except ValueError:
        return False


def _made(call: Record) -> Record:
    arguments = call["arguments"]
    return provider_answer.tool_call(
        call["id"], call["name"], "".join(arguments) if isinstance(arguments, list) else arguments
    )


def merge_thinking(into: list[Record], pieces: list[Record]) -> None:
    """Add pieces of text to the last text of a list."""
    for piece in pieces:
        if into and into[-1].get("type") == piece.get("type") == "text":
            into[-1] = {**into[-1], "text": into[-1]["text"] + piece["text"]}
        else:
            into.append(piece)


def parse(name: str, body: Record) -> Record:
    """The Answer of a completion that came whole."""
    turn = Gathered(name)
    for _ in turn.take(body):
        pass
    return turn.answer()


def stream(name: str, items: Iterator[sse.Event]) -> Generator[Record, None, Record]:
    """The Answer of a completion that comes in events."""
    turn, seen = Gathered(name), False
    for item in _until_ended(turn, items):
        if item.data.strip() == "[DONE]" and seen:
            return turn.answer()
        chunk = http_call.decoded(item.data, f"event {item.event!r} of the stream")
        if item.event == "error" and "error" not in chunk:
            chunk = {"error": chunk}
        seen = True
        ended = turn.stop
        yield from turn.take(chunk)
        if turn.stop and not ended:
            yield {"ended": True}
    if turn.stop:  # it said why it ended, though not [DONE]
        return turn.answer()
    raise (
        Fault("network", "the stream broke off before its end")
        if seen
        else Fault("bad_response", "the stream is empty", retryable=True)
    )


def _until_ended(turn: Gathered, items: Iterator[sse.Event]) -> Iterator[sse.Event]:
    """The events; once the turn has ended, a connection that breaks or stays silent is the end of them."""
    try:
        yield from items
    except Exception as bad:
        if not turn.stop or getattr(bad, "kind", "network") not in ("network", "timeout"):
            raise


def counted(usage: Record) -> Record:
    """Our usage out of the dialect's."""
    inputs = usage.get("prompt_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or {}
    cached = inputs.get(
        "cached_tokens", usage.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))
    )
    return provider_answer.usage(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        cached,
        outputs.get("reasoning_tokens"),
    )


WORDS = {  # the first kind of which a word stands in error.code, error.type or error.message, in lower case
    "context_length": "context_length|maximum context length|context window|context size|prompt is too long"
    "|input is too long|too many tokens|max_new_tokens",
    "not_found": "model_not_found|deploymentnotfound|not_found_error",
    "auth": "invalid_api_key|authentication_error|permission_error|permission_denied",
    "rate_limit": "insufficient_quota|rate_limit|ratelimitreached|too many requests|quota_exceeded",
    "overloaded": "overloaded|service_unavailable",
    "server": "server_error|internal_error",
}


def cause(error: Any) -> str:
    """The most specific words that an error object has: those of the vendor behind it, and what it could not read."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else records.dumps(error)
    words = next((error[name] for name in ("message", *ERRORS, "error") if error.get(name)), None)
    text = cause(words) if words else records.dumps(error)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw.strip():  # OpenRouter: the answer of the vendor behind it
        try:
            raw = records.foreign(raw)
        except ValueError:
            pass
    if raw:
        text = f"{text}: {cause(raw.get('error') or raw) if isinstance(raw, dict) else cause(raw)}"
    if isinstance(written := error.get("failed_generation"), str) and written:  # Groq
        text = f"{text} (the model wrote {written[:300]!r})"
    return text


def failed(
    error: Any, status: int | None = None, headers: http_call.Headers | None = None
) -> Fault:
    """The fault of the dialect's `error` object (or string), with the HTTP status it came with, or names itself."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    message = cause(error)
    codes = [str(error.get(name) or "") for name in ("code", "type", "status_code", "error_type")]
    number = status or next(
        (int(word) for word in (codes[2], codes[0]) if word.isdigit() and len(word) == 3), 0
    )
    text = " ".join([*codes, message]).lower()
    kind = next(
        (kind for kind, words in WORDS.items() if any(word in text for word in words.split("|"))),
        None,
    )
    if number in (401, 403) and kind != "context_length" or number == 413 and kind == "rate_limit":
        kind = None  # the status says it better
    elif (
        kind is None and status is None and number in (0, 400)
    ):  # in a stream: the request was accepted
        kind = "invalid_request" if "invalid_request" in text else "server"
    fault = http_call.refusal(number, headers or {}, message, kind)
    if not number:
        fault.fields.pop("status")
    if number == 402 or "insufficient_quota" in text:  # money, which waiting does not bring
        fault.kind, fault.fields["retryable"] = "rate_limit", False
    return fault


def explain(status: int, headers: http_call.Headers, body: bytes) -> Fault:
    """The fault of a refused request."""
    try:
        document = records.foreign(body)
    except ValueError:
        document = None
    if 300 <= status < 400 or not isinstance(document, dict):
        return http_call.refusal(
            status, headers, f"HTTP {status}: {http_call.excerpt(body)}" if body.strip() else ""
        )
    return failed(document.get("error") or document, status, headers)
