"""Vectors in an answer: what every provider of embeddings must give."""

from agentlib.faults import Fault
from agentlib.types import Any


def checked(vectors: Any, texts: list[str]) -> list[list[float]]:
    """The vectors, if there is one of numbers for each text and all are of one length; else `bad_response`."""
    if not isinstance(vectors, list) or len(vectors) != len(texts):
        count = len(vectors) if isinstance(vectors, list) else "no"
        raise Fault("bad_response", f"{count} vectors came for {len(texts)} texts")
    if not all(isinstance(v, list) and v and len(v) == len(vectors[0]) for v in vectors):
        raise Fault("bad_response", "the answer's vectors are not lists of one length")
    if not all(isinstance(x, (int, float)) for v in vectors for x in v):
        raise Fault("bad_response", "the answer's vectors hold what is no number")
    return vectors
