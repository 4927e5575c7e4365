"""Embeddings: the `embed` record to a vendor's request, its answer to vectors; OpenAI's way, which most have."""

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.messages.vectors import checked
from agentlib.provider import answer, http_call, refusal
from agentlib.provider.openai.vendor import Vendor
from agentlib.types import Any, Record


def functions(vendor: Vendor, schema: Record) -> answer.Embedding | None:
    """(embed, vectors) by OpenAI's API; None without an `embedding_model`."""

    def embed(record: Record) -> http_call.Call:
        model = vendor.fitted(record)["model"]
        body = requests.merged({"model": model, "input": record["texts"]}, record.get("options"))
        return http_call.Call(vendor.url("embeddings", model), vendor.authorization(), body)

    return (embed, read) if schema.get("embedding_model") else None


def read(record: Record, body: Any) -> Record:
    """The vectors of {"data": [{"index", "embedding"}], …}, or of a list, `embeddings` or `embedding`."""
    body = body if isinstance(body, dict) else {"data": body}
    if error := body.get("error"):
        raise refusal.failed(error)
    names = ("data", "embeddings", "embedding")
    rows = next((body[name] for name in names if body.get(name) is not None), None)
    if rows is None:
        raise refusal.failed(body) if refusal.error_of(body) else KeyError("data")
    if all(isinstance(row, dict) and isinstance(row.get("index"), int) for row in rows):
        rows = sorted(rows, key=lambda row: row["index"])  # else they are in order
    vectors = [row["embedding"] if isinstance(row, dict) else row for row in rows]
    if isinstance(body.get("embedding"), list) and not isinstance(vectors[0], list):
        vectors = [vectors]  # one vector alone
    try:
        vectors = [numbers(vector) for vector in vectors]
    except ValueError:
        raise Fault("bad_response", "the answer's vectors hold what is no number") from None
    counted = body.get("usage") or {}
    tokens = counted.get("prompt_tokens", counted.get("total_tokens"))
    return {
        "vectors": checked(vectors, record["texts"]),
        "usage": answer.usage(body.get("prompt_eval_count") if tokens is None else tokens),
        "model": body.get("model"),
    }


def numbers(vector: Any) -> Any:
    """A vector as numbers: from base64 of 32-bit floats, from strings, and out of a list around it."""
    if isinstance(vector, str):
        from array import array
        from base64 import b64decode

        return array("f", b64decode(vector)).tolist()
    if isinstance(vector, list) and len(vector) == 1 and isinstance(vector[0], list):
        return numbers(vector[0])
    strings = isinstance(vector, list) and all(isinstance(x, str) for x in vector)
    return [float(x) for x in vector] if strings else vector
