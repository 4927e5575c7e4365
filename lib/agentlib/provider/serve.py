"""The runtime of a provider in Python: `request` records in, `delta`, `response` and `error` records out, many at once.

A vendor is a file that gives its schema and plain functions to `serve` (docs/write-a-provider.md). The rest is
worker.py's: one final record a request, bounds of time, ids, costs.
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
    """Be the provider of these functions.

    prepare(request): the vendor's Call; Fault `invalid_request` names what it cannot carry. parse(request, body): the
    Answer out of one JSON object. stream(request, items): a generator, fed the items of `Call.frames`, that yields
    {"text": …} or {"thinking": …} and returns the Answer. explain(status, headers, body): the Fault of a refusal.
    models: gives what `--list-models` prints, {"id": …} each. embedding: (embed, vectors), as prepare and parse; its
    model, where a record names none, is the schema's `embedding_model`.

    An Answer: `message` (answer.message), `stop_reason`, `usage` (answer.usage), `model` where the vendor names it; of
    embeddings `vectors`.
    """

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
