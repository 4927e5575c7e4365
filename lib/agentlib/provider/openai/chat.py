"""OpenAI's chat completions, which most vendors speak: a vendor is its address, its key and its quirks as data."""

import os

from agentlib import records
from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider import answer, http_call, refusal
from agentlib.provider import serve as provider_serve
from agentlib.provider.openai import completion, embeddings
from agentlib.types import Any, Callable, Iterator, NoReturn, Record


class Vendor:
    """What sets one vendor of the dialect apart. base, base_variable, keys: the address, the variables that replace it
    and that hold the key. quirks: other values of the attributes below."""

    prefix = ""  # the path between the address and /chat/completions
    # the field that bounds an answer, or what gives it for a model
    limit: str | Callable[[str], str] = "max_tokens"
    effort = "reasoning_effort"  # or "reasoning" for {"effort": …}
    document: str | None = None  # "file", "document_url", or None for no documents
    required = "required"  # the vendor's word for that tool_choice
    names = schemas = True  # whether these can be sent
    usage_asked = True  # whether usage in a stream must be requested
    call_ids = r"[\s\S]+"  # the form of the ids of calls that it takes (answer.call_id)

    def __init__(
        self, name: str, base: str, base_variable: str, keys: tuple[str, ...], **quirks: Any
    ) -> None:
        self.name, self.base, self.base_variable, self.keys = name, base, base_variable, keys
        for quirk, value in quirks.items():
            getattr(self, quirk)  # AttributeError where there is no such quirk
            setattr(self, quirk, value)

    def limit_of(self, model: str) -> str:
        return self.limit if isinstance(self.limit, str) else self.limit(model)

    def fitted(self, request: Record) -> Record:
        """The request as the vendor's address wants it."""
        return request

    def address(self) -> str:
        """The address in force, up to (without) /chat/completions."""
        base = http_call.base(os.environ.get(self.base_variable) or self.base, self.base_variable)
        return base.removesuffix(self.prefix) + self.prefix

    def url(self, verb: str, model: str) -> str:
        """Where a request goes. verb: chat/completions, responses or embeddings."""
        return f"{self.address()}/{verb}"

    def is_vendors(self) -> bool:
        return self.address() == self.base + self.prefix

    def authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {answer.key(*self.keys)}"}

    def models(self) -> Iterator[Record]:
        return listed(f"{self.address()}/models", self.authorization())

    def embedding(self, schema: Record) -> answer.Embedding | None:
        """(embed, vectors) by OpenAI's API; None without an `embedding_model`."""

        def embed(record: Record) -> http_call.Call:
            model, options = self.fitted(record)["model"], record.get("options")
            body = requests.merged({"model": model, "input": record["texts"]}, options)
            return http_call.Call(self.url("embeddings", model), self.authorization(), body)

        return (embed, embeddings.read) if schema.get("embedding_model") else None


def listed(url: str, headers: dict[str, str]) -> Iterator[Record]:
    """The models of a list, whatever the vendor tells about each."""
    for model in answer.listed(url, headers, refusal.explain, "data", lambda page: ""):
        if isinstance(model.get("id"), str):
            made = {"owned_by": model["owned_by"]} if model.get("owned_by") else {}
            yield {"id": model["id"], **made}


def serve(doc: str, schema: Record, base: str, **quirks: Any) -> NoReturn:
    """Be the provider of a vendor of this dialect; `quirks` are Vendor's, the variables are in the schema's env."""
    keys = tuple(e["name"] for e in schema["env"] if e.get("key"))
    variable = next(e["name"] for e in schema["env"] if not e.get("key"))
    vendor = Vendor(schema["name"], base, variable, keys, **quirks)
    provider_serve.serve(
        doc,
        schema,
        prepare=lambda request: call(vendor, request),
        models=vendor.models,
        parse=lambda request, body: completion.parse(vendor.name, body),
        stream=lambda request, items: completion.stream(vendor.name, items),
        embedding=vendor.embedding(schema),
    )


# From our request to the vendor's.


def call(vendor: Vendor, request: Record) -> http_call.Call:
    url = vendor.url("chat/completions", request["model"])
    frames = http_call.answers if request.get("stream") else None
    return http_call.Call(url, vendor.authorization(), body(vendor, request), frames)


def body(vendor: Vendor, request: Record) -> Record:
    """The JSON of a chat completion; `invalid_request` names what the vendor cannot carry."""
    model = request["model"]
    messages = [_message(vendor, message) for message in _aside(request["messages"])]
    out: Record = {"model": model, "messages": messages}
    if request.get("stream"):
        out["stream"] = True
        if vendor.usage_asked:
            out["stream_options"] = {"include_usage": True}
    if tools := request.get("tools"):
        out["tools"] = [{"type": "function", "function": function(tool)} for tool in tools]
    if choice := requests.choice(request):
        if isinstance(choice, dict):
            choice = {"type": "function", "function": choice}
        out["tool_choice"] = vendor.required if choice == "required" else choice
    if "max_tokens" in request:
        out[vendor.limit_of(model)] = request["max_tokens"]
    out |= {name: request[name] for name in ("temperature", "stop") if name in request}
    if effort := request.get("reasoning"):
        out[vendor.effort] = {"effort": effort} if vendor.effort == "reasoning" else effort
    if schema := request.get("schema"):
        if not vendor.schemas:
            raise Fault("invalid_request", f"schema: {vendor.name} has no structured output by one")
        out["response_format"] = {"type": "json_schema", "json_schema": named(schema)}
    return requests.merged(out, request.get("options"))


def named(schema: Record) -> Record:
    """The schema with the name that the vendor wants, and `strict` where it keeps the rules of strict schemas."""
    strict = {"strict": True} if is_strict(schema) else {}
    return {"name": "answer", "schema": schema, **strict}


# what OpenAI's strict mode reads ("Structured outputs", supported schemas); a schema with another word is not strict
STRICT = frozenset(
    "type enum const properties required additionalProperties items anyOf $ref $defs definitions title description "
    "pattern format multipleOf maximum minimum exclusiveMaximum exclusiveMinimum minItems maxItems".split()
)
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")


def is_strict(schema: Any, root: bool = True) -> bool:
    """Whether OpenAI's strict mode takes a schema: its root an object, every object closed and all of it required."""
    if not isinstance(schema, dict) or not STRICT.issuperset(schema):
        return False
    kind, properties = schema.get("type"), schema.get("properties") or {}
    closed = schema.get("additionalProperties") is False
    complete = closed and set(schema.get("required") or []) == set(properties)
    rules = (
        not root or kind == "object" and "anyOf" not in schema,
        {"type", "enum", "const", "anyOf", "$ref"} & schema.keys(),
        schema.get("format", "date") in FORMATS,
        complete or not (kind == "object" or properties),
    )
    defined = [*(schema.get("$defs") or {}).values(), *(schema.get("definitions") or {}).values()]
    inner = [*properties.values(), *(schema.get("anyOf") or []), *defined]
    inner += [schema["items"]] if "items" in schema else []
    return all(rules) and all(is_strict(part, root=False) for part in inner)


def function(tool: Record) -> Record:
    described = {"description": tool["description"]} if tool.get("description") else {}
    return {"name": tool["name"], **described, "parameters": requests.schema_of(tool)}


def _aside(messages: list[Record]) -> Iterator[Record]:
    """The messages; pictures of tools' results, which hold text alone here, follow their round as the user's."""
    pictures: list[Record] = []
    for message in [*messages, {"role": ""}]:
        if pictures and message["role"] != "tool":
            yield {"role": "user", "content": pictures}
            pictures = []
        if message["role"] == "tool" and isinstance(message.get("content"), list):
            pictures += [part for part in message["content"] if part["type"] == "image"]
            texts = [part for part in message["content"] if part["type"] != "image"]
            message = {**message, "content": texts}
        if message["role"]:
            yield message


def _message(vendor: Vendor, message: Record) -> Record:
    role = message["role"]
    out: Record = {"role": role}
    if message.get("name") and role != "tool":
        if not vendor.names:
            raise Fault("invalid_request", f"name: {vendor.name} takes no names of {role}s")
        out["name"] = message["name"]
    if role == "tool":
        out["tool_call_id"] = answer.call_id(message["tool_call_id"], vendor.call_ids)
    if role != "user":
        why = f"{vendor.name} takes text alone in messages of the role {role}"
        out["content"] = requests.only_text(message, why)
    elif isinstance(message.get("content"), str):
        out["content"] = message["content"]
    else:
        parts = [part for part in requests.parts(message) if part.get("text") != ""]
        out["content"] = [_part(vendor, part) for part in parts] or ""
    for call in message.get("tool_calls") or ():
        made = {"name": call["name"], "arguments": arguments_text(call)}
        id = answer.call_id(call.get("id"), vendor.call_ids)
        one = {"id": id, "type": "function", "function": made}
        out.setdefault("tool_calls", []).append(one)
    data = answer.kept(message, vendor.name)
    if role == "assistant" and isinstance(data, dict):
        # reasoning is wanted back where calls hang on it, signed reasoning always
        back = ["reasoning_details", "content"]
        back += ["reasoning_content", "reasoning"] if "tool_calls" in out else []
        out.update((k, v) for k, v in data.items() if k in back)
    return out


def arguments_text(call: Record) -> str:
    """The arguments of a call as the string that the dialect wants, a broken one as the model wrote it."""
    if call.get("arguments") is None:
        return str(call.get("arguments_raw") or "{}")
    return records.dumps(call["arguments"])


def file(part: Record) -> Record:
    return {"filename": requests.file_name(part) or "document", "file_data": requests.address(part)}


def _part(vendor: Vendor, part: Record) -> Record:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": requests.address(part)}}
    if kind == "document" and vendor.document == "file":
        return {"type": "file", "file": file(part)}
    if kind == "document" and vendor.document:
        made = {"type": "document_url", "document_url": requests.address(part)}
        name = requests.file_name(part)
        return {**made, "document_name": name} if name else made
    raise Fault("invalid_request", f"{kind}: {vendor.name} takes no {kind}s")
