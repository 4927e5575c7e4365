"""The runtime of a provider in Python: `request` records in, `delta`, `response` and `error` records out, many at once.

A vendor is a file that gives its schema and four plain functions to `serve`:

    prepare(request) -> http.Call       the vendor's request; Fault("invalid_request") names what the vendor cannot
                                        carry, Fault("auth") the variable to set (see `key`)
    whole(request, body) -> Answer      reads the one JSON object of an answer that was not streamed
    stream(request, items) -> Answer    a generator: fed the items of `Call.frames`, it yields deltas, {"text": …} or
                                        {"thinking": …}, and *returns* the Answer; Fault where the stream ends early
    explain(status, headers, body) -> Fault     reads the body (bytes) of an HTTP status that is no success

An Answer is a dict: `message` (see `message`), `stop_reason`, `usage` (see `usage`), and `model` where the vendor names
it. What only the vendor understands goes into message["provider_data"] under the provider's own name (see `kept`).
A vendor that makes embeddings gives two more, for `embed` records (see embedding.py):

    embed(record) -> http.Call      the vendor's request
    vectors(record, body) -> Made   reads the JSON object of the answer: `vectors`, `usage`, and `model` where told

The runtime (desk.py) sees to the rest: one final record a request, bounds of time, ids, costs, and no key in a message.
"""

from __future__ import annotations

import os

from agentlib import cli, records
from agentlib.faults import Fault
from agentlib.provider import http_call
from agentlib.types import Any, Callable, Generator, Iterable, Iterator, NoReturn, Record

Answer = dict[str, Any]

Prepare = Callable[[Record], http_call.Call]

Whole = Callable[[Record, Record], Answer]

Stream = Callable[[Record, Iterator[Any]], Generator[Record, None, Answer]]

Explain = Callable[[int, http_call.Headers, bytes], Fault]

Embedding = tuple[Prepare, Whole]  # embed, vectors


def serve(
    doc: str,
    schema: Record,
    *,
    prepare: Prepare,
    whole: Whole,
    stream: Stream,
    explain: Explain,
    models: Callable[[], Iterable[Record]] | None = None,
    embedding: Embedding | None = None,
) -> NoReturn:
    """Be the provider of these functions. `models` asks the vendor for what `--list-models` prints: {"id": …} each.
    `embedding`: (embed, vectors); its model, where a record names none, is the schema's `embedding_model`."""

    def main(args: list[str]) -> int:
        if args:
            return _options(args, doc, models)
        from agentlib.provider.worker import Desk

        return Desk(schema, prepare, whole, stream, explain, embedding).run()

    cli.start(main, doc, schema)


def _options(args: list[str], doc: str, models: Callable[[], Iterable[Record]] | None) -> int:
    parser = cli.parser(doc, usage=f"{cli.headline(doc)[0]} [--list-models] < requests > answers")
    parser.add_argument(
        "--list-models",
        action="store_true",
        help="ask the vendor for its models, print one `model` record each",
    )
    if parser.parse_args(args).list_models:
        if models is None:
            raise Fault("invalid_request", "this vendor has no list of models")
        for model in models():
            records.write({"type": "model", **model})
    return 0


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
