"""The command `agent-llm local`: put a model on this machine, say what is here, take it away."""

from __future__ import annotations

import os

from agentlib.local import models

DOC = """agent-llm local - put a small language model on this machine, and take it away

A model answers without a key and without the network. Sizes: default (Qwen2.5-Coder-1.5B, 1.1 GB),
small (Qwen2.5-Coder-0.5B, 0.5 GB), tiny (SmolLM2-135M, 0.1 GB: for tests, not an agent);
embeddings (all-MiniLM-L6-v2, 0.1 GB: for agent-memory --semantic, it talks not at all).
AGENT_LOCAL_MODEL=FILE.gguf takes any other model that llama.cpp can load.
"""


def main(argv: list[str]) -> int:
    """`agent-llm local install|status|remove`; the exit status."""
    from agentlib import cli

    parser = cli.parser(DOC, usage="agent-llm local install|status|remove [--size SIZE]")
    parser.prog = "agent-llm local"
    parser.add_argument("action", choices=["install", "status", "remove"], help="what to do")
    parser.add_argument(
        "--size",
        choices=[*models.SIZES, models.EMBEDDINGS],
        help="which model (install: default; remove: all)",
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
    here = {model.path for model in models.installed()}
    for size, pin in models.pins().items():
        path = os.path.join(models.folder(), pin["file"])
        state = (
            f"installed, {path}"
            if os.path.isfile(path)
            else "not installed" + _begun(path + ".partial", pin)
        )
        print(
            f"{size:8} {pin['title']:20} {models.gigabytes(pin['bytes'])}  {pin['licence']}  {state}"
        )
    if own := os.environ.get("AGENT_LOCAL_MODEL"):
        print(f"own      AGENT_LOCAL_MODEL={own}" + ("" if here else ": no such file"))
    from agentlib.local import minilm

    there = "" if minilm.installed() else "not "
    print(f"{models.EMBEDDINGS} {minilm.TITLE}, for agent-memory --semantic: {there}installed")
    ready = models.has_runtime()
    print(
        "runtime  "
        + (
            models.RUNTIME + " is installed"
            if ready
            else "xllamacpp is not installed: agent-llm local install"
        )
    )
    return 0 if here and ready else 1


def _begun(partial: str, pin: models.Pin) -> str:
    try:
        return f" ({os.path.getsize(partial) * 100 // pin['bytes']} % fetched; install goes on from there)"
    except OSError:
        return ""


def remove(size: str | None) -> int:
    """Delete the models, or the one of this size; 1 where there was nothing to delete."""
    from agentlib.local import minilm

    gone = 0
    for name, pin in [*models.pins().items(), *((models.EMBEDDINGS, pin) for pin in minilm.pins())]:
        path = os.path.join(models.folder(), pin["file"])
        if size in (None, name):
            for ending in ("", ".partial", ".LICENSE", ".source"):
                try:
                    os.unlink(path + ending)
                    gone += not ending
                    print(path + ending)
                except FileNotFoundError:
                    pass
    models.clear_away()
    if size is None:
        _remove_empty(models.folder())
    if not gone:
        print(
            "no model is installed"
            if size is None
            else f"the model of size {size} is not installed"
        )
    return 0 if gone else 1


def _remove_empty(path: str) -> None:
    try:
        os.unlink(os.path.join(path, ".lock"))
    except FileNotFoundError:
        pass
    try:
        os.rmdir(path)
    except OSError:
        pass  # something of the user's is in there
