"""Embeddings: the `embed` record to a vendor's request, its answer to vectors; OpenAI's way, which most have."""

from __future__ import annotations

from agentlib.messages import requests
from agentlib.messages.vectors import checked
from agentlib.provider import answer, http_call
from agentlib.types import TYPE_CHECKING, Callable, Record

if TYPE_CHECKING:
    from agentlib.provider.openai.vendor import Vendor


def functions(
    vendor: Vendor, schema: Record, url: Callable[[str, str], str] | None = None
) -> answer.Embedding | None:
    """The two functions for `provider.serve`, by OpenAI's API; None where the schema names no `embedding_model`.
    url: of ("embeddings", model), where that is not simply below the vendor's address."""

    def embed(record: Record) -> http_call.Call:
        where = url("embeddings", record["model"]) if url else f"{vendor.address()}/embeddings"
        body = requests.merged(
            {"model": record["model"], "input": record["texts"]}, record.get("options")
        )
        return http_call.Call(where, vendor.authorization(), body)

    return (embed, read) if schema.get("embedding_model") else None


def read(record: Record, body: Record) -> Record:
    """What OpenAI's answer says: {"data": [{"index", "embedding"}], "model", "usage"}."""
    if body.get("error"):
        from agentlib.provider.openai.completion import failed

        raise failed(body["error"])
    rows = body["data"]
    if all(isinstance(row.get("index"), int) for row in rows):  # else they are in order
        rows = sorted(rows, key=lambda row: row["index"])
    counted = body.get("usage") or {}
    return {
        "vectors": checked([row["embedding"] for row in rows], record["texts"]),
        "usage": answer.usage(counted.get("prompt_tokens", counted.get("total_tokens"))),
        "model": body.get("model"),
    }
