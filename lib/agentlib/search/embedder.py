"""Vectors of texts, by a provider that agent-llm is asked for."""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from operator import mul

from agentlib import paths
from agentlib.faults import Fault
from agentlib.messages.vectors import checked
from agentlib.process.child import Direct, bound
from agentlib.process.coprocess import Coprocess
from agentlib.types import Any, Iterable, Iterator, Record

DEFAULT = (
    "minilm"  # on this machine: what is remembered goes to a service only where the user names one
)
BATCH = 50  # texts in one record
READ = 4000  # characters of a memory that its vector is made of
SHORTEST = 200  # characters below which a text that is too long for a model is not cut any more
LEAST = (
    0.25  # cosine below which a memory is not near, by all-MiniLM-L6-v2 and text-embedding-3-small
)
PATIENCE = 1800.0  # seconds for a batch; agent-llm has its own, shorter limits


class Embedder:
    """An agent-llm beside us that is given `embed` records. spec: PROVIDER or PROVIDER/MODEL."""

    def __init__(self, spec: str) -> None:
        provider, slash, model = spec.partition("/")
        command = [
            os.path.join(paths.TOP, "bin", "agent-llm"),
            "--provider",
            provider,
            *(["--model", model] if slash else []),
        ]
        self._filter = Coprocess(
            "agent-llm", {"args": bound(command)}, _final, kind="server", start=Direct
        )
        self._spec, self._count = spec, 0
        self.model = ""  # PROVIDER/MODEL as the last answer says

    def vectors(self, texts: list[str]) -> list[bytes]:
        """The vector of each text. A model that finds them too long gets half of them, and so on."""
        self._count += 1
        id = str(self._count)
        answer = self._filter.ask(id, {"type": "embed", "id": id, "texts": texts}, PATIENCE)
        if answer["type"] == "error":
            longest = max(map(len, texts))
            if answer.get("kind") == "context_length" and longest > SHORTEST:
                return self.vectors([text[: longest // 2] for text in texts])
            why = f"--semantic={self._spec}: {answer.get('message')}"
            raise Fault(str(answer.get("kind")), why)
        self.model = f"{answer.get('provider')}/{answer.get('model')}"
        return [packed(numbers) for numbers in checked(answer.get("vectors"), texts)]

    def close(self) -> None:
        """End agent-llm."""
        self._filter.close(2.0)


def _final(record: Record) -> bool:
    return record.get("type") in ("embedding", "error")


@contextmanager
def opened(spec: str) -> Iterator[Embedder]:
    """An embedder for the time of a `with`; spec "": AGENT_EMBEDDINGS, else the one on this machine."""
    embedder = Embedder(spec or os.environ.get("AGENT_EMBEDDINGS") or DEFAULT)
    try:
        yield embedder
    finally:
        embedder.close()


def nearest(spec: str, wanted: str, texts: list[str]) -> list[tuple[float, int]]:
    """(cosine, place in `texts`) of those that are near, the nearest first; no vector is kept."""
    with opened(spec) as embedder:
        pages = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        [query] = embedder.vectors([wanted[:READ]])
        vectors = [vector for page in pages for vector in embedder.vectors(page)]
    near = zip(products(vectors, query), range(len(texts)), strict=True)
    return sorted((one for one in near if one[0] >= LEAST), reverse=True)


FEW = 512  # that are compared before numpy has been imported


def packed(numbers: Iterable[float]) -> bytes:
    """A vector of length 1 in the direction of these numbers; of zeros where they are all zero."""
    floats = list(numbers)
    length = sum(map(mul, floats, floats)) ** 0.5 or 1.0
    return struct.pack(f"<{len(floats)}f", *(x / length for x in floats))


def products(vectors: list[bytes], query: bytes) -> list[float]:
    """The product of each vector with the query: the cosine of the angle between them."""
    if len(vectors) > FEW and (numpy := _numpy()):
        together = numpy.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)
        products: list[float] = (together @ numpy.frombuffer(query, "<f4")).tolist()
        return products
    numbers = struct.Struct(f"<{len(query) // 4}f")
    wanted = numbers.unpack(query)
    return [sum(map(mul, wanted, numbers.unpack(vector))) for vector in vectors]


def _numpy() -> Any:
    """numpy where it is installed, else None."""
    from importlib import import_module

    from agentlib import packages
    from agentlib.faults import Fault

    try:
        packages.need("numpy")
        return import_module("numpy")
    except (Fault, ImportError):
        return None
