"""A server that nobody here wrote, llama.cpp's with a tiny model, behind providers/openai: protocol, never wording."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installed import suite
from raw_server import ROOT, ask
from weights import installed

Record = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Path:
    """The tiny model, fetched once into the user's cache; skipped where it, or the engine, cannot be had."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    return next(installed("tiny").glob("agentutils/models/*.gguf"))


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[tuple[str, list[Record]]]:
    """(the server's address, the errors of the provider's first tries, until the model was loaded)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address, errors = f"http://127.0.0.1:{port}/v1", []
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests/llama_server.py", model, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while (reply := ask(address, max_tokens=1).final)["type"] == "error":
            errors.append(reply)
            assert time.monotonic() < until and server.poll() is None, reply
        yield address, errors
    finally:
        assert server.stdin
        server.stdin.close()
        server.kill()
        server.wait()


def test_while_it_loads_every_error_may_be_tried_again(served: tuple[str, list[Record]]) -> None:
    assert all(reply["retryable"] for reply in served[1])
    assert {(reply["kind"], reply.get("status")) for reply in served[1]} <= {
        ("network", None),
        ("server", 503),
        ("overloaded", 503),
    }
    assert any(reply.get("status") == 503 and "oading" in reply["message"] for reply in served[1])


def test_it_chats(served: tuple[str, list[Record]]) -> None:
    final = ask(served[0], max_tokens=8, temperature=0).final
    assert final["message"]["content"] and final["stop_reason"] in ("end_turn", "max_tokens")
    assert final["usage"]["input_tokens"] > 0 and 0 < final["usage"]["output_tokens"] <= 8


def test_it_streams(served: tuple[str, list[Record]]) -> None:
    reply = ask(served[0], stream=True, max_tokens=8, temperature=0)
    deltas = [r for r in reply.records if r["type"] == "delta"]
    assert (
        len(deltas) > 1
        and reply.text == reply.final["message"]["content"]
        and reply.final["usage"]["output_tokens"] <= 8
    )


def test_it_answers_by_a_schema(served: tuple[str, list[Record]]) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    final = ask(served[0], schema=schema, max_tokens=40, temperature=0).final
    assert list(json.loads(final["message"]["content"])) == ["n"]


def test_a_prompt_that_is_too_long_is_reported_as_that(served: tuple[str, list[Record]]) -> None:
    final = ask(
        served[0], messages=[{"role": "user", "content": "word " * 4000}], max_tokens=1
    ).final
    assert (final["type"], final["kind"], final["retryable"]) == ("error", "context_length", False)


def test_it_lists_its_models(served: tuple[str, list[Record]]) -> None:
    done = subprocess.run(
        [suite() / "providers/openai", "--list-models"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENAI_BASE_URL": served[0], "OPENAI_API_KEY": "none"},
    )
    assert json.loads(done.stdout.splitlines()[0])["type"] == "model"
