"""The runtime of a provider in Python: `request` records in, `delta`, `response` and `error` records out, many at once.

A vendor is a file that gives its schema and plain functions to `serve` (docs/write-a-provider.md):

    prepare(request) -> Call            the vendor's request; Fault("invalid_request") names what it cannot carry
    parse(request, body) -> Answer      reads the one JSON object of an answer that was not streamed
    stream(request, items) -> Answer    a generator: fed the items of `Call.frames`, it yields {"text": …} or
                                        {"thinking": …}, and *returns* the Answer; Fault where the stream ends early
    explain(status, headers, body) -> Fault     reads the body (bytes) of a refusal, where refusal.py cannot
    embed(record) -> Call, vectors(record, body) -> Answer      for `embed` records (openai/embeddings.py)

An Answer is a dict: `message` (answer.message), `stop_reason`, `usage` (answer.usage), and `model` where the vendor
names it; of embeddings `vectors`. The rest is worker.py's: one final record a request, bounds of time, ids, costs.
"""

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
    """Be the provider of these functions. models: gives what `--list-models` prints, {"id": …} each. embedding:
    (embed, vectors); its model, where a record names none, is the schema's `embedding_model`."""

    def main(args: list[str]) -> int:
        if args:
            usage = f"{cli.headline(doc)[0]} [--list-models] < requests > answers"
            parser = cli.parser(doc, usage=usage)
            what = "ask the vendor for its models, print one `model` record each"
            parser.add_argument("--list-models", action="store_true", help=what)
            if parser.parse_args(args).list_models:
                if models is None:
                    raise Fault("invalid_request", "this vendor has no list of models")
                for model in models():
                    records.write({"type": "model", **model})
            return 0
        from agentlib.provider.worker import Service

        private.undumpable()
        functions = {"request": (prepare, parse), **({"embed": embedding} if embedding else {})}
        return Service(schema, functions, stream, explain).run()

    cli.start(main, doc, schema)
