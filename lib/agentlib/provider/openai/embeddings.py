"""Vectors out of an answer: OpenAI's form, and those of servers that speak nearly its dialect."""

from agentlib.faults import Fault
from agentlib.messages.requests import vectors as checked
from agentlib.provider import answer, refusal
from agentlib.types import Any, Record


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
    usage = answer.usage(body.get("prompt_eval_count") if tokens is None else tokens)
    made = checked(vectors, record["texts"])
    return {"vectors": made, "usage": usage, "model": body.get("model")}


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
