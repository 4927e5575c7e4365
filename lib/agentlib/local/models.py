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
DOC = """agent-llm local - put a small language model on this machine, and take it away

A model answers without a key and without the network. Sizes: default (Qwen2.5-Coder-1.5B, 1.1 GB),
small (Qwen2.5-Coder-0.5B, 0.5 GB), tiny (SmolLM2-135M, 0.1 GB: for tests, not an agent);
embeddings (all-MiniLM-L6-v2, 0.1 GB: for agent-memory --semantic, it talks not at all).
AGENT_LOCAL_MODEL=FILE.gguf takes any other model that llama.cpp can load.
"""


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
    raise Fault(
        "not_found",
        f"no local model {pin['title']} is here; `agent-llm local install` fetches it: {cost}",
    )


def gigabytes(count: int) -> str:
    """`1.12 GB`, `0.2 MB`"""
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def main(argv: list[str]) -> int:
    """`agent-llm local install|status|remove`; the exit status."""
    from agentlib import cli

    parser = cli.parser(DOC, usage="agent-llm local install|status|remove [--size SIZE]")
    parser.prog = "agent-llm local"
    parser.add_argument("action", choices=["install", "status", "remove"], help="what to do")
    parser.add_argument(
        "--size", choices=[*SIZES, EMBEDDINGS], help="which model (install: default; remove: all)"
    )
    args = parser.parse_args(argv)
    if args.action == "status":
        return status()
    if args.action == "remove":
        return remove(args.size)
    from agentlib.local import fetch

    return fetch.install(args.size)


def status() -> int:
    """What is here, one line each; 0 if a model can be asked, else 1."""
    here = {model.path for model in installed()}
    for size, pin in pins().items():
        path = os.path.join(folder(), pin["file"])
        state = (
            f"installed, {path}"
            if os.path.isfile(path)
            else "not installed" + _begun(path + ".partial", pin)
        )
        print(f"{size:8} {pin['title']:20} {gigabytes(pin['bytes'])}  {pin['licence']}  {state}")
    if own := os.environ.get("AGENT_LOCAL_MODEL"):
        print(f"own      AGENT_LOCAL_MODEL={own}" + ("" if here else ": no such file"))
    from agentlib.local import minilm

    print(
        f"{EMBEDDINGS} {minilm.TITLE}, for agent-memory --semantic: {'' if minilm.installed() else 'not '}installed"
    )
    ready = has_runtime()
    print(
        "runtime  "
        + (
            RUNTIME + " is installed"
            if ready
            else "xllamacpp is not installed: agent-llm local install"
        )
    )
    return 0 if here and ready else 1


def _begun(partial: str, pin: Pin) -> str:
    try:
        return f" ({os.path.getsize(partial) * 100 // pin['bytes']} % fetched; install goes on from there)"
    except OSError:
        return ""


def has_runtime() -> bool:
    """Whether the package that runs models can be imported."""
    from agentlib import packages

    try:
        packages.need("xllamacpp")
    except Fault:
        return False
    return True


def remove(size: str | None) -> int:
    """Delete the models, or the one of this size; 1 where there was nothing to delete."""
    from agentlib.local import minilm

    gone = 0
    for name, pin in [*pins().items(), *((EMBEDDINGS, pin) for pin in minilm.pins())]:
        path = os.path.join(folder(), pin["file"])
        if size in (None, name):
            for ending in ("", ".partial", ".LICENSE", ".source"):
                try:
                    os.unlink(path + ending)
                    gone += not ending
                    print(path + ending)
                except FileNotFoundError:
                    pass
    clear_away()
    if size is None:
        _remove_empty(folder())
    if not gone:
        print(
            "no model is installed"
            if size is None
            else f"the model of size {size} is not installed"
        )
    return 0 if gone else 1


def clear_away() -> None:
    """Delete what a killed install left: folders with one wheel in them."""
    import shutil

    for name in os.listdir(folder()) if os.path.isdir(folder()) else []:
        if name.startswith(WHEEL):
            shutil.rmtree(os.path.join(folder(), name), ignore_errors=True)


def _remove_empty(path: str) -> None:
    try:
        os.unlink(os.path.join(path, ".lock"))
    except FileNotFoundError:
        pass
    try:
        os.rmdir(path)
    except OSError:
        pass  # something of the user's is in there
