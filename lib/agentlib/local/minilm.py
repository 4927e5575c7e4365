"""all-MiniLM-L6-v2, quantized to int8, on onnxruntime: turns a text into 384 numbers (docs/provider-minilm.md).

Texts go through one at a time: the int8 model scales all texts of a batch together, so a text in a batch would get
another vector than the text alone, and a batch is no faster on a processor.
"""

import os
from importlib import import_module

from agentlib import records
from agentlib.faults import Fault
from agentlib.local import models
from agentlib.local.wordpiece import WordPiece
from agentlib.types import Any

# Wheels that need no others for this; 151 MB unpacked.
RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6")
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "minilm.json")
TITLE = "all-MiniLM-L6-v2"
TOKENS = 256  # of a text; the model was trained on no more, and the rest of a text is ignored


def pins() -> list[models.Pin]:
    """The pinned files, each like a model of models.json: the weights, then the vocabulary."""
    with open(PINS, "rb") as file:
        return records.loads(file.read())  # type: ignore[no-any-return]


def installed() -> bool:
    there = all(os.path.isfile(models.path(pin)) for pin in pins())
    return there and models.has_runtime("onnxruntime", "numpy")


def absent() -> Fault:
    cost = "0.15 GB of download, 0.17 GB of disk, licence Apache-2.0, no key needed"
    cure = f"`agent-llm local install --size embeddings` fetches it: {cost}"
    return Fault("not_found", f"{TITLE} is not on this machine; {cure}", retryable=False)


class MiniLM:
    """The model in memory (0.26 GB with its runtime); several threads may use it at once."""

    def __init__(self) -> None:
        if not installed():
            raise absent()
        self._numpy: Any = import_module("numpy")
        onnxruntime: Any = import_module("onnxruntime")
        weights, vocabulary = (models.path(pin) for pin in pins())
        with open(vocabulary, encoding="utf-8") as file:
            self._tokens = WordPiece(file.read().split("\n"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        processors = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(weights, options, providers=processors)

    def vector(self, text: str) -> tuple[list[float], int]:
        """(384 numbers, a vector of length 1; how many tokens were read). The vector is the mean over the tokens."""
        ids = self._tokens.encode(text, TOKENS)
        row = self._numpy.array([ids], dtype="int64")
        inputs = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
        mean = self._session.run(None, inputs)[0][0].mean(axis=0)
        unit = mean / self._numpy.linalg.norm(mean)
        return [round(x, 7) for x in unit.tolist()], len(ids)
