"""Vectors of texts, made by a provider through agent-llm."""

import os
import struct
from contextlib import closing, suppress
from importlib import import_module
from operator import mul

from agentlib import packages, paths
from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.process.child import Direct, bound
from agentlib.process.coprocess import Coprocess
from agentlib.types import Any, Iterable, Record

DEFAULT = "minilm"  # on this machine: memories go to a service only if the user names one
BATCH = 50  # texts in one record
READ = 4000  # characters of a text that its vector is made of
SHORTEST = 200  # characters below which a text that is too long for a model is not cut any more
LEAST = 0.25  # cosine from which texts are near, for all-MiniLM-L6-v2 and text-embedding-3-small
BATCH_TIMEOUT = 1800.0  # seconds for a batch; agent-llm has its own, shorter limits
FEW = 512  # vectors that are compared without numpy, whose import takes longer


class Embedder:
    """An agent-llm process that answers `embed` records. spec: PROVIDER or PROVIDER/MODEL."""

    def __init__(self, spec: str) -> None:
        provider, slash, model = spec.partition("/")
        command = [os.path.join(paths.TOP, "bin", "agent-llm"), "--provider", provider]
        if slash:
            command += ["--model", model]
        options = {"args": command, "env": bound()}
        self._filter = Coprocess("agent-llm", options, _is_final, kind="server", start=Direct)
        self._spec, self._count = spec, 0
        self.model = ""  # PROVIDER/MODEL of the last answer

    def vectors(self, texts: list[str]) -> list[bytes]:
        """The vector of each text. Where the model finds them too long, of their first half, and so on."""
        self._count += 1
        id = str(self._count)
        answer = self._filter.call(id, {"type": "embed", "id": id, "texts": texts}, BATCH_TIMEOUT)
        if answer["type"] == "error":
            longest, kind = max(map(len, texts)), str(answer.get("kind"))
            if kind == "context_length" and longest > SHORTEST:
                return self.vectors([text[: longest // 2] for text in texts])
            why = f"--semantic={self._spec}: {answer.get('message')}"
            raise Fault(kind, why, answer.get("exit"))
        self.model = f"{answer.get('provider')}/{answer.get('model')}"
        return [packed(numbers) for numbers in requests.vectors(answer.get("vectors"), texts)]

    def close(self) -> None:
        self._filter.close(2.0)


def _is_final(record: Record) -> bool:
    return record.get("type") in ("embedding", "error")


def opened(spec: str) -> closing[Embedder]:
    """An embedder for a `with` block. Without a spec: AGENT_EMBEDDINGS, else DEFAULT."""
    return closing(Embedder(spec or os.environ.get("AGENT_EMBEDDINGS") or DEFAULT))


def nearest(spec: str, query: str, texts: list[str]) -> list[tuple[float, int]]:
    """(cosine, index in `texts`) of the texts near to the query, the nearest first. No vector is stored."""
    with opened(spec) as embedder:
        [query_vector] = embedder.vectors([query[:READ]])
        batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        vectors = [vector for batch in batches for vector in embedder.vectors(batch)]
    cosines = zip(products(vectors, query_vector), range(len(texts)), strict=True)
    return sorted((pair for pair in cosines if pair[0] >= LEAST), reverse=True)


def packed(numbers: Iterable[float]) -> bytes:
    """The vector of length 1 in the direction of these numbers; zeros if they are all zero."""
    floats = list(numbers)
    length = sum(map(mul, floats, floats)) ** 0.5 or 1.0
    return struct.pack(f"<{len(floats)}f", *(x / length for x in floats))


def products(vectors: list[bytes], query: bytes) -> list[float]:
    """The product of each vector with the query: the cosine of the angle between them."""
    if len(vectors) > FEW:
        with suppress(Fault, ImportError):
            packages.need("numpy")
            numpy: Any = import_module("numpy")
            matrix = numpy.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)
            return list((matrix @ numpy.frombuffer(query, "<f4")).tolist())
    numbers = struct.Struct(f"<{len(query) // 4}f")
    query_numbers = numbers.unpack(query)
    return [sum(map(mul, query_numbers, numbers.unpack(vector))) for vector in vectors]
