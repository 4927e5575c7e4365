"""embed records: what the vendors are sent, and how their answers are read (embedding.py, providers/)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.messages import requests
from agentlib.provider.openai import embeddings
from vendors import Record, run, shared, vendor

EMBED: Record = {"type": "embed", "id": "1", "texts": ["a", "b"]}


def rows(*vectors: Any) -> Record:
    return {
        "data": [{"index": n, "embedding": v} for n, v in enumerate(vectors)],
        "model": "m",
        "usage": {},
    }


def answer(body: Record, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps(body).encode()


def test_the_vectors_come_in_the_order_of_the_texts_with_usage_and_model() -> None:
    body = {
        "data": [{"index": 1, "embedding": [2, 3.5]}, {"index": 0, "embedding": [0, 1]}],
        "model": "m-2",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert embeddings.read(EMBED, body) == {
        "vectors": [[0, 1], [2, 3.5]],
        "usage": {"input_tokens": 4},
        "model": "m-2",
    }


@pytest.mark.parametrize(
    "vectors", [([1.0],), ([1.0], [1.0, 2.0]), ([1.0], "x"), ([], []), ([1.0], [None])]
)
def test_vectors_that_are_too_few_or_of_several_lengths_or_no_numbers_are_refused(
    vectors: Any,
) -> None:
    with pytest.raises(Fault) as caught:
        embeddings.read(EMBED, rows(*vectors))
    assert caught.value.kind == "bad_response"


@pytest.mark.parametrize("texts", [None, [], "a", ["a", ""], [1]])
def test_texts_that_no_vendor_takes_are_refused_by_their_field(texts: Any) -> None:
    with pytest.raises(Fault, match="texts: ") as caught:
        requests.checked({**EMBED, "texts": texts}, "m")
    assert caught.value.kind == "invalid_input"


@pytest.mark.parametrize(
    "name, env, where, model",
    [
        (
            "openai",
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "{}/v1"},
            "/v1/embeddings",
            "text-embedding-3-small",
        ),
        (
            "mistral",
            {"MISTRAL_API_KEY": "k", "MISTRAL_BASE_URL": "{}/v1"},
            "/v1/embeddings",
            "mistral-embed",
        ),
        (
            "azure",
            {
                "AZURE_OPENAI_API_KEY": "k",
                "AZURE_OPENAI_ENDPOINT": "{}",
                "OPENAI_API_VERSION": "2024-10-21",
            },
            "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21",
            "text-embedding-3-small",
        ),
        (
            "azure",
            {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "{}/models"},
            "/models/embeddings?api-version=2024-05-01-preview",
            "text-embedding-3-small",
        ),
    ],
)
def test_vendors_of_openais_api_are_sent_the_texts_at_their_address(
    name: str, env: dict[str, str], where: str, model: str
) -> None:
    with vendor(answer(rows([1], [2]))) as (address, seen):
        [reply] = run(name, {key: value.format(address) for key, value in env.items()}, [EMBED])
    assert (seen[0][0], json.loads(seen[0][2])) == (where, {"model": model, "input": ["a", "b"]})
    assert reply["type"] == "embedding" and reply["id"] == "1" and reply["vectors"] == [[1], [2]]
    assert reply["provider"] == name and reply["model"] == "m" and reply["cost_usd"] is None


def test_a_vendors_refusal_is_an_error_of_its_kind() -> None:
    found = {"error": {"message": "This model's maximum context length is 8192 tokens"}}
    with vendor(answer(found, 400)) as (address, _):
        [reply] = run("openai", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": address}, [EMBED])
    assert (reply["type"], reply["kind"]) == ("error", "context_length")


def test_ollama_is_asked_not_to_cut_and_its_answer_is_read() -> None:
    body = {"model": "all-minilm", "embeddings": [[0.5, 1], [1, 0]], "prompt_eval_count": 6}
    with vendor(answer(body)) as (address, seen):
        [reply] = run(
            "ollama", {"OLLAMA_HOST": address}, [{**EMBED, "options": {"keep_alive": "1h"}}]
        )
    sent = json.loads(seen[0][2])
    assert (seen[0][0], reply["vectors"], reply["usage"]) == (
        "/api/embed",
        body["embeddings"],
        {"input_tokens": 6},
    )
    assert sent == {
        "model": "embeddinggemma",
        "input": ["a", "b"],
        "truncate": False,
        "keep_alive": "1h",
    }
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    spec = json.loads(shared("specs/ollama/openapi.json").read_text())
    valid = jsonschema_rs.validator_for(
        {"$ref": "#/components/schemas/EmbedRequest", "components": spec["components"]}
    )
    assert list(valid.iter_errors(sent)) == []


def test_what_is_too_long_for_a_model_of_ollamas_is_reported_as_that() -> None:
    with vendor(answer({"error": "the input length exceeds the context length"}, 400)) as (
        address,
        _,
    ):
        [reply] = run("ollama", {"OLLAMA_HOST": address}, [EMBED])
    assert reply["kind"] == "context_length"


@pytest.mark.parametrize(
    "name, key", [("anthropic", "ANTHROPIC_API_KEY"), ("groq", "GROQ_API_KEY")]
)
def test_a_vendor_that_makes_no_embeddings_says_so(name: str, key: str) -> None:
    [reply] = run(name, {key: "k"}, [EMBED])
    assert (reply["kind"], reply["message"]) == (
        "invalid_request",
        f"embed: {name} makes no embeddings",
    )
