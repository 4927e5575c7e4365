"""OpenAI's Responses, which Azure speaks too. Nothing is stored at the vendor: reasoning travels encrypted."""

import re

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider import answer as provider_answer
from agentlib.provider import http_call, refusal
from agentlib.provider import serve as provider_serve
from agentlib.provider.openai import chat, completion
from agentlib.provider.openai.chat import Vendor
from agentlib.types import Generator, Iterator, NoReturn, Record

# OpenAI's reasoning models, by their names; and those that take tools only here, or speak nothing else.
REASONS = r"(ft:)?(o\d|gpt-([5-9]|\d\d))(?!.*chat)"
TALKS = r"gpt-(5\.[2-9]|5\.\d\d|[6-9]|\d\d)(?!.*chat)"
NEEDED = rf"(ft:)?({TALKS}|(o\d|gpt-\d).*-pro\b|.*(codex|deep-research|computer-use))"

CALL_IDS = r"[\s\S]{1,64}"


def reasons(model: str) -> bool:
    return bool(re.match(REASONS, model))


def limit(model: str) -> str:
    """The field of chat completions that bounds the answer of a model."""
    return "max_completion_tokens" if reasons(model) else "max_tokens"


def wanted(request: Record, vendors: bool) -> bool:
    """Whether a request goes by Responses: it says so, or its model needs it and the address is the vendor's own."""
    if "api" in request:
        return bool(request["api"] == "responses")
    return vendors and bool(re.match(NEEDED, request["model"]))


def serve(doc: str, schema: Record, vendor: Vendor) -> NoReturn:
    def by_responses(request: Record) -> bool:
        return wanted(vendor.fitted(request), vendor.is_vendors())

    def prepare(request: Record) -> http_call.Call:
        headers, fitted = vendor.authorization(), vendor.fitted(request)
        if not by_responses(request):
            return chat.call(vendor, fitted)
        frames = http_call.answers if request.get("stream") else None
        url = vendor.url("responses", fitted["model"])
        return http_call.Call(url, headers, body(vendor, fitted), frames)

    readers = {True: (parse, stream), False: (completion.parse, completion.stream)}
    provider_serve.serve(
        doc,
        schema,
        prepare=prepare,
        parse=lambda request, body: readers[by_responses(request)][0](vendor.name, body),
        stream=lambda request, items: readers[by_responses(request)][1](vendor.name, items),
        models=vendor.models,
        embedding=vendor.embedding(schema),
    )


# From our request to the vendor's.


def body(vendor: Vendor, request: Record) -> Record:
    """The JSON of a response's request; `invalid_request` names what this API cannot carry."""
    if "stop" in request:
        raise Fault("invalid_request", "stop: the Responses API has no stop sequences")
    model = request["model"]
    items = [item for message in request["messages"] for item in _items(vendor, message)]
    out: Record = {"model": model, "input": items, "store": False}
    if reasons(model):
        out["include"] = ["reasoning.encrypted_content"]
    if request.get("stream"):
        out["stream"] = True
    if tools := request.get("tools"):
        functions = map(chat.function, tools)
        out["tools"] = [{"type": "function", **one, "strict": False} for one in functions]
    if choice := requests.choice(request):
        named = {"type": "function", "name": choice["name"]} if isinstance(choice, dict) else None
        out["tool_choice"] = named or choice
    fields = {"max_tokens": "max_output_tokens", "temperature": "temperature"}
    out |= {new: request[old] for old, new in fields.items() if old in request}
    if effort := request.get("reasoning"):
        out["reasoning"] = {"effort": effort}
    if schema := request.get("schema"):
        out["text"] = {"format": {"type": "json_schema", "strict": False, **chat.named(schema)}}
    return requests.merged(out, request.get("options"))


def _items(vendor: Vendor, message: Record) -> Iterator[Record]:
    """The items of a message: one; of an assistant's turn, its text, its calls, and its reasoning in its place."""
    role = message["role"]
    if role == "tool":
        id = provider_answer.call_id(message["tool_call_id"], CALL_IDS)
        yield {"type": "function_call_output", "call_id": id, "output": _content(message)}
    elif role != "assistant":
        if message.get("name"):
            raise Fault("invalid_request", f"name: the Responses API takes no names of {role}s")
        yield {"role": role, "content": _content(message)}
    elif kept := (provider_answer.kept(message, vendor.name) or {}).get("items"):
        for item in kept:
            if "call_id" in item:
                item = {**item, "call_id": provider_answer.call_id(item["call_id"], CALL_IDS)}
            yield item
    else:
        why = "the Responses API takes text alone from the assistant"
        if text := requests.only_text(message, why):
            yield {"role": "assistant", "content": text}
        for call in message.get("tool_calls") or []:
            made = {"name": call["name"], "arguments": chat.arguments_text(call)}
            id = provider_answer.call_id(call.get("id"), CALL_IDS)
            yield {"type": "function_call", "call_id": id, **made}


def _content(message: Record) -> str | list[Record]:
    if isinstance(content := message.get("content") or "", str):
        return content
    return [_part(part) for part in requests.parts(message) if part.get("text") != ""] or ""


def _part(part: Record) -> Record:
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    if part["type"] == "image":
        return {"type": "input_image", "image_url": requests.address(part)}
    if "url" in part:
        return {"type": "input_file", "file_url": part["url"]}
    return {"type": "input_file", **chat.file(part)}


# From the vendor's answer to ours.


def parse(name: str, document: Record) -> Record:
    if document.get("status") == "failed" or refusal.error_of(document):
        raise refusal.failed(refusal.error_of(document) or "the vendor says that it failed")
    output = document.get("output")
    if not isinstance(output, list):
        raise Fault("bad_response", f"the answer has no output: {str(document)[:200]!r}")
    texts: list[Record] = []
    calls, thoughts, pictures = [], [], []
    for item in output:
        kind = item.get("type")
        if kind == "message":
            texts += item.get("content") or ()
        elif kind == "function_call":
            id, text = item.get("call_id") or item.get("id"), item.get("arguments") or ""
            calls.append(provider_answer.tool_call(id, item["name"], text))
        elif kind == "reasoning":
            pieces = item.get("summary") or item.get("content") or ()
            thoughts += [part.get("text") or "" for part in pieces]
        elif kind == "image_generation_call" and item.get("result"):
            media = f"image/{item.get('output_format') or 'png'}"
            pictures.append(provider_answer.image(media, item["result"]))
    refused = "".join(part.get("refusal") or "" for part in texts)
    text = "".join(part.get("text") or "" for part in texts) or refused
    thinking = "\n\n".join(filter(None, thoughts))
    message = provider_answer.message(text, calls, thinking, _kept(output), name)
    if pictures:
        message["content"] = [*requests.parts(message), *pictures]
    logprobs = [part["logprobs"] for part in texts if part.get("logprobs")]
    stop = _stop(document) or (refused and "refusal") or (calls and "tool_use") or "end_turn"
    usage = completion.counted(document.get("usage") or {}, "input", "output")
    made = {"message": message, "stop_reason": stop, "usage": usage, "model": document.get("model")}
    return {**made, "logprobs": logprobs} if logprobs else made


def _stop(document: Record) -> str:
    """Why an answer is incomplete, "" where it is whole; Fault `server` where the vendor broke it off."""
    reason = (document.get("incomplete_details") or {}).get("reason")
    status = document.get("status")
    if reason or status == "incomplete":
        known = {"max_output_tokens": "max_tokens", "content_filter": "content_filter"}
        return provider_answer.stop_reason(reason or "max_output_tokens", known)
    if status not in (None, "completed"):
        raise Fault("server", f"the vendor broke off the answer: its status is {status!r}")
    return ""


def _kept(output: list[Record]) -> Record:
    """The items to bring back, where there is reasoning or a phase, in their order; else the content says it all."""
    items = []
    for item in output:
        kind = item.get("type")
        if kind in BACK and (kind != "reasoning" or item.get("encrypted_content")):
            items.append({name: item[name] for name in BACK[kind] if item.get(name) is not None})
    return {"items": items} if any(i["type"] == "reasoning" or "phase" in i for i in items) else {}


BACK = {  # the items that are brought back, and what of them
    "reasoning": ("type", "id", "summary", "encrypted_content"),
    "message": ("type", "id", "role", "status", "content", "phase"),
    "function_call": ("type", "id", "call_id", "name", "arguments", "status"),
}
DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "thinking",
    "response.reasoning_text.delta": "thinking",
}
ENDS = ("response.completed", "response.incomplete", "response.failed")


def stream(name: str, items: Iterator[http_call.Event]) -> Generator[Record, None, Record]:
    output: dict[int, Record] = {}
    seen = False
    for event in items:
        if event.data.strip() == "[DONE]":
            break
        item, seen = http_call.event(event), True
        kind = item.get("type") or event.event
        if kind in DELTAS:
            yield {DELTAS[kind]: item.get("delta") or ""}
        elif kind == "response.reasoning_summary_part.added" and item.get("summary_index"):
            yield {"thinking": "\n\n"}
        elif kind == "response.output_item.done":
            output[item.get("output_index", len(output))] = item["item"]
        elif kind in ENDS:
            final = item.get("response") or {}
            made = final.get("output") or [output[i] for i in sorted(output)]
            return parse(name, {**final, "output": made})
        elif kind == "error" or "type" not in item and refusal.error_of(item):
            raise refusal.failed(item.get("error") or item)
    raise http_call.broke_off(seen)
