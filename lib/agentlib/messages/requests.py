"""The `request` and `embed` records, checked before anything is sent, and the bytes of images and documents."""

import os

from agentlib import records
from agentlib.faults import Fault
from agentlib.messages.validate import input_schema
from agentlib.types import Any, Callable, Record

FILE_CAP = 32 * 1024 * 1024  # bytes of one image or document
ROLES = ("system", "user", "assistant", "tool")
FORMS = ("anyOf", "oneOf", "allOf")  # at the root, where Anthropic and OpenAI refuse them
PARTS = ("text", "image", "document", "thinking")


def checked(request: Record, default_model: str | None = None) -> Record:
    """The request (or `embed` record) with its model; `invalid_input` names the field that no vendor could be sent."""
    out = {name: value for name, value in request.items() if value is not None}
    out.setdefault("model", default_model)
    for name, kinds, fits, what in _RULES:
        value = out.get(name)
        good = isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))
        if name in out and not (good and (fits is None or fits(value))):
            raise Fault("invalid_input", f"{name}: must be {what}, not {value!r:.60}")
    if out.get("type") == "embed":
        if not out.get("texts") or not _words(out["texts"]):
            why = "texts: must be a list of at least one text, none of them empty"
            raise Fault("invalid_input", why)
        return out
    if not out.get("messages"):
        raise Fault("invalid_request", "messages: must be a list of at least one message")
    for number, message in enumerate(out["messages"]):
        _message(message, f"messages[{number}]")
    for number, tool in enumerate(out.get("tools") or []):
        if not isinstance(tool, dict) or not _words([tool.get("name")]):
            raise Fault("invalid_input", f"tools[{number}]: must be a tool with a name")
    return out


def _message(message: Any, at: str) -> None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        roles = ", ".join(ROLES)
        raise Fault("invalid_input", f"{at}: must be a message whose role is one of {roles}")
    content = message.get("content")
    if not isinstance(content, (str, list, type(None))):
        why = f"{at}.content: must be a string or a list of parts, not {content!r:.60}"
        raise Fault("invalid_input", why)
    for number, part in enumerate(content if isinstance(content, list) else []):
        if not isinstance(part, dict) or part.get("type") not in PARTS:
            why = f"{at}.content[{number}]: must be a part of type {', '.join(PARTS)}"
            raise Fault("invalid_input", why)
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise Fault("invalid_input", f"{at}.content[{number}].text: must be a string")
    for call in message.get("tool_calls") or []:
        if not isinstance(call, dict) or not _words([call.get("name")]):
            why = f"{at}.tool_calls: must be calls with id, name and arguments"
            raise Fault("invalid_input", why)
    if message["role"] == "tool" and not _words([message.get("tool_call_id")]):
        raise Fault("invalid_input", f"{at}.tool_call_id: must say which call this answers")


def _words(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(word, str) and word for word in values)


def _choice(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("auto", "none", "required")
    return _words([value.get("name")])


_RULES: tuple[tuple[str, Any, Callable[[Any], bool] | None, str], ...] = (
    ("model", str, bool, "the name of a model"),
    ("messages", list, None, "a list of messages"),
    ("tools", list, None, "a list of tools"),
    ("tool_choice", (str, dict), _choice, '"auto", "none", "required" or {"name": …}'),
    ("temperature", (int, float), lambda v: abs(v) < 1e6, "a number"),
    ("max_tokens", int, lambda v: 0 < v < 2**53, "a whole number above 0"),
    ("stop", list, _words, "a list of strings"),
    ("schema", dict, None, "a JSON Schema object"),
    ("stream", bool, None, "true or false"),
    ("reasoning", str, ("low", "medium", "high").__contains__, '"low", "medium" or "high"'),
    ("api", str, ("chat", "responses").__contains__, '"chat" or "responses"'),
    ("options", dict, None, "an object"),
)


def parts(message: Record) -> list[Record]:
    """The content of a message as parts; thinking, which is the model's own, left out."""
    content = message.get("content") or []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if part["type"] != "thinking"]


URL_SAFE = str.maketrans("-_", "+/")  # the other alphabet of base64 (RFC 4648, section 5)


def blob(part: Record) -> tuple[str, str]:
    """(media type, base64 without white space) of an image or document given by `data` or `path`."""
    import base64

    if isinstance(part.get("data"), str):
        text = part["data"]
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            text = "".join(text.split())
            data = base64.b64decode(text.translate(URL_SAFE), validate=True)
        except ValueError:
            raise Fault("invalid_request", f"{part['type']}: its data is not base64") from None
    elif isinstance(part.get("path"), str):
        where = f"{part['type']} {part['path']}"
        try:
            with open(part["path"], "rb") as file:
                data = file.read(FILE_CAP + 1)
        except (OSError, ValueError) as bad:
            why = getattr(bad, "strerror", None) or bad
            raise Fault("invalid_request", f"{where}: {why}") from None
        if len(data) > FILE_CAP:
            raise Fault("invalid_request", f"{where}: larger than {FILE_CAP >> 20} MiB")
        text = base64.b64encode(data).decode()
    else:
        raise Fault("invalid_input", f"{part['type']}: needs data, path or url")
    if not data:
        raise Fault("invalid_request", f"{part['type']}: it is empty")
    return _media(part, data), text


def address(part: Record) -> str:
    """The part as an address: its own url, else a data URL."""
    if isinstance(part.get("url"), str):
        return str(part["url"])
    media, data = blob(part)
    return f"data:{media};base64,{data}"


def file_name(part: Record) -> str | None:
    """The name of a document: its own, or the end of its path."""
    path = part.get("path")
    return part.get("name") or (os.path.basename(path) if isinstance(path, str) else None)


_MAGIC = {  # how a file of each media type begins
    rb"\x89PNG": "image/png",
    rb"\xff\xd8\xff": "image/jpeg",
    rb"GIF8[79]a": "image/gif",
    rb"(?s)RIFF....WEBP": "image/webp",
    rb"(?s)....ftyphei": "image/heic",
    rb"(?s)....ftypmif1": "image/heif",
    rb"(?s)....ftypavif": "image/avif",
    rb"BM": "image/bmp",
    rb"%PDF": "application/pdf",
}


def sniffed(data: bytes) -> str:
    """The media type that the first bytes show; "" for none that is known."""
    import re

    return next((media for magic, media in _MAGIC.items() if re.match(magic, data)), "")


def _media(part: Record, data: bytes) -> str:
    """The media type: by the first bytes, as it is called, by the name."""
    if found := sniffed(data):
        return found
    import mimetypes

    other = "application/octet-stream" if b"\0" in data else "text/plain"
    other = "image/png" if part["type"] == "image" else other
    by_name = part.get("media_type") or mimetypes.guess_type(file_name(part) or "")[0]
    return str(by_name or other)


def merged(body: Record, options: Record | None) -> Record:
    """The body with the request's options merged in deeply; an option wins over what was built, null takes it out."""
    for name, value in (options or {}).items():
        if isinstance(value, dict) and isinstance(body.get(name), dict):
            merged(body[name], value)
        elif value is None:
            body.pop(name, None)
        else:
            body[name] = value
    return body


def estimated(request: Record, message: Record) -> Record:
    """The usage of an answer whose vendor does not count: a token for four characters, marked `estimated`."""
    texts = [request.get("messages"), request.get("tools") or "", message]
    prompt, tools, answered = (len(records.dumps(text)) for text in texts)
    counts = {"input_tokens": (prompt + tools) // 4, "output_tokens": answered // 4}
    return {**{name: max(1, count) for name, count in counts.items()}, "estimated": True}


def schema_of(tool: Record) -> Any:
    """The schema of a tool's arguments, under whichever of its names; with the type and the properties that vendors
    want, unless it says that it is of another type or stands elsewhere."""
    schema = input_schema(tool, {})
    if not isinstance(schema, dict) or "$ref" in schema:
        return schema
    if schema.get("type") not in (None, "object"):
        return schema
    forms = [form for word in FORMS for form in schema.get(word) or ()]
    properties: Record = {}
    for form in (*forms, schema):
        named = form.get("properties") if isinstance(form, dict) else None
        properties |= named if isinstance(named, dict) else {}
    rest = {word: value for word, value in schema.items() if word not in FORMS}
    return {"type": "object", **rest} | {"type": "object", "properties": properties}


def choice(request: Record) -> Any:
    """tool_choice, where there are tools to choose from; `invalid_input` where one is demanded that is not there."""
    wanted, tools = request.get("tool_choice"), request.get("tools") or []
    missing = "required" if wanted == "required" and not tools else ""
    if isinstance(wanted, dict) and wanted["name"] not in [tool["name"] for tool in tools]:
        missing = repr(wanted["name"])
    if missing:
        raise Fault("invalid_input", f"tool_choice: {missing} is not among the tools")
    return wanted if tools else None


def only_text(message: Record, why: str) -> str:
    """The text of a message that can hold nothing else; `invalid_request` with the reason where it does."""
    found = parts(message)
    for part in found:
        if part["type"] != "text":
            raise Fault("invalid_request", f"{part['type']}: {why}")
    return "\n".join(part["text"] for part in found)


def vectors(found: Any, texts: list[str]) -> list[list[float]]:
    """The vectors of an answer; `bad_response` unless there is one of numbers for each text, all of one length."""
    if not isinstance(found, list) or len(found) != len(texts):
        count = len(found) if isinstance(found, list) else "no"
        raise Fault("bad_response", f"{count} vectors came for {len(texts)} texts")
    if not all(isinstance(v, list) and v and len(v) == len(found[0]) for v in found):
        raise Fault("bad_response", "the answer's vectors are not lists of one length")
    if not all(isinstance(x, (int, float)) for v in found for x in v):
        raise Fault("bad_response", "the answer's vectors hold what is no number")
    return found
