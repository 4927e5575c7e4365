"""all-MiniLM-L6-v2, quantized to int8, on onnxruntime: where it lies (docs/provider-minilm.md)."""

import os

from agentlib import records
from localmodel import models

# Wheels that need no others for this; 151 MB unpacked.
RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6")
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "minilm.json")
TITLE = "all-MiniLM-L6-v2"


def pins() -> list[models.Pin]:
    """The pinned files, each like a model of models.json: the weights, then the vocabulary."""
    with open(PINS, "rb") as file:
        return records.loads(file.read())  # type: ignore[no-any-return]


def installed() -> bool:
    there = all(os.path.isfile(models.path(pin)) for pin in pins())
    return there and models.has_runtime("onnxruntime", "numpy")
