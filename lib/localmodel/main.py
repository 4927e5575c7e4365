"""The command `agent-llm local`: install a model on this machine, show what is installed, remove it."""

import contextlib
import os
import shutil

from agentlib import paths, stderr
from localmodel import models

DOC = """agent-llm local - put a small language model on this machine, and take it away

A model answers without a key and without the network. Sizes: default (Qwen2.5-Coder-1.5B, 1.1 GB),
small (Qwen2.5-Coder-0.5B, 0.5 GB), tiny (SmolLM2-135M, 0.1 GB: for tests, not an agent);
embeddings (all-MiniLM-L6-v2, 0.1 GB: for agent-memory --semantic; it does not answer requests).
AGENT_LOCAL_MODEL=FILE.gguf takes any other model that llama.cpp can load.
"""
ENDINGS = ("", ".partial", ".LICENSE", ".source")  # of the files of a model


def main(argv: list[str]) -> int:
    from agentlib import cli

    parser = cli.parser(DOC, usage="agent-llm local install|status|remove [--size SIZE]")
    parser.prog = "agent-llm local"
    parser.add_argument("action", choices=["install", "status", "remove"], help="what to do")
    sizes = [*models.SIZES, models.EMBEDDINGS]
    parser.add_argument("--size", choices=sizes, help="which model (install: default; remove: all)")
    args = parser.parse_args(argv)
    if args.action == "status":
        return status()
    if args.action == "remove":
        return remove(args.size)
    from localmodel import fetch

    fetch.install(args.size)
    if args.size != models.EMBEDDINGS:
        _read_tools(args.size or "default")
    return 0


def _read_tools(model: str) -> None:
    """Ask once with all tools of the suite: providers/local keeps what it reads, so that no question waits for it."""
    import subprocess

    from localmodel import prompt

    print("the model reads the suite's tools, once: half a minute; Ctrl-C skips it", flush=True)
    discover, react = (f"{paths.REAL}/bin/agent-{name}" for name in ("discover", "react"))
    options = ["--provider", "local", "--model", model, "--quiet", "--no-history"]
    try:
        tools = subprocess.run([discover, "tools"], stdout=subprocess.PIPE, cwd="/").stdout
        command, nothing = [react, *options, prompt.TEXTS["uncalled"][0]], subprocess.DEVNULL
        subprocess.run(command, input=tools, stdout=nothing, timeout=600, cwd="/")
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        stderr.warn("left out: the first question with all tools takes half a minute longer")


def status() -> int:
    """Print what is installed, one line each; 0 if a model can answer, else 1."""
    installed = models.installed()
    for size, pin in models.pins().items():
        path, state = models.path(pin), "not installed"
        if os.path.isfile(path):
            state = f"installed, {path}"
        elif os.path.isfile(path + ".partial"):
            percent = os.path.getsize(path + ".partial") * 100 // pin["bytes"]
            state += f" ({percent} % fetched; install goes on from there)"
        amount = models.gigabytes(pin["bytes"])
        print(f"{size:8} {pin['title']:20} {amount}  {pin['licence']}  {state}")
    if file := os.environ.get("AGENT_LOCAL_MODEL"):
        print(f"own      AGENT_LOCAL_MODEL={file}" + ("" if installed else ": no such file"))
    state = "installed" if models.embeds() else "not installed"
    print(f"{models.EMBEDDINGS} {models.EMBEDDER}, for agent-memory --semantic: {state}")
    if not models.has_runtime():
        print("runtime  xllamacpp is not installed: agent-llm local install")
        return 1
    print(f"runtime  {models.RUNTIME} is installed")
    return 0 if installed else 1


def remove(size: str | None) -> int:
    """Delete the models, or only the one of this size; 1 if there was nothing to delete."""
    pins = [*models.pins().items(), *((models.EMBEDDINGS, pin) for pin in models.embedder())]
    paths = [models.path(pin) for name, pin in pins if size in (None, name)]
    installed = any([os.path.lexists(path) for path in paths])
    for path in [path + ending for path in paths for ending in ENDINGS]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            print(path)
    models.clear_away()
    if size is None:
        shutil.rmtree(models.states(), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(models.folder(), ".lock"))
        with contextlib.suppress(OSError):  # files of the user may be in the folder
            os.rmdir(models.folder())
    if installed:
        return 0
    print("no model is installed" if size is None else f"the model of size {size} is not installed")
    return 1
