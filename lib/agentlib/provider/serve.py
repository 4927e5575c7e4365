"""The runtime of a provider in Python: `request` records in, `delta`, `response` and `error` records out, many at once.

A vendor is a file that gives its schema and three or four plain functions to `serve`:

    prepare(request) -> Call            the vendor's request; Fault("invalid_request") names what the vendor cannot
                                        carry, Fault("auth") the variable to set (see answer.key)
    parse(request, body) -> Answer      reads the one JSON object of an answer that was not streamed
    stream(request, items) -> Answer    a generator: fed the items of `Call.frames`, it yields deltas, {"text": …} or
                                        {"thinking": …}, and *returns* the Answer; Fault where the stream ends early
    explain(status, headers, body) -> Fault     reads the body (bytes) of an HTTP status that is no success; may be
                                        left out where refusal.py knows the vendor's words

An Answer is a dict: `message` (see answer.message), `stop_reason`, `usage` (see answer.usage), and `model` where the
vendor names it. What only the vendor understands goes into message["provider_data"] under the provider's own name (see
answer.kept).
A vendor that makes embeddings gives two more, for `embed` records (see openai/embeddings.py):

    embed(record) -> Call           the vendor's request
    vectors(record, body) -> Answer   reads the JSON object of the answer: `vectors`, `usage`, and `model` where told

The runtime (worker.py) sees to the rest: one final record a request, bounds of time, ids, costs, no key in a message.
"""

from __future__ import annotations

from agentlib import cli, private, records
from agentlib.faults import Fault
from agentlib.provider import http_call, refusal
from agentlib.provider.answer import Embedding, Parse, Prepare, Stream
from agentlib.types import Callable, Iterable, NoReturn, Record


def serve(
    doc: str,
    schema: Record,
    *,
    prepare: Prepare,
    parse: Parse,
    stream: Stream,
    explain: http_call.Explain = refusal.explain,
    models: Callable[[], Iterable[Record]] | None = None,
    embedding: Embedding | None = None,
) -> NoReturn:
    """Be the provider of these functions. models: gives what `--list-models` prints, {"id": …} each.

    embedding: (embed, vectors); its model, where a record names none, is the schema's `embedding_model`.
    """

    def main(args: list[str]) -> int:
        if args:
            return _options(args, doc, models)
        from agentlib.provider.worker import Service

        private.undumpable()
        functions = {"request": (prepare, parse), "embed": embedding}
        return Service(schema, functions, stream, explain).run()

    cli.start(main, doc, schema)


def _options(args: list[str], doc: str, models: Callable[[], Iterable[Record]] | None) -> int:
    parser = cli.parser(doc, usage=f"{cli.headline(doc)[0]} [--list-models] < requests > answers")
    what = "ask the vendor for its models, print one `model` record each"
    parser.add_argument("--list-models", action="store_true", help=what)
    if parser.parse_args(args).list_models:
        if models is None:
            raise Fault("invalid_request", "this vendor has no list of models")
        for model in models():
            records.write({"type": "model", **model})
    return 0
