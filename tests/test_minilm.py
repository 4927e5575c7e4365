"""The tokenizer and the model of providers/minilm; the model itself where its weights can be had."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import vendors
from installed import suite
from weights import installed

minilm = vendors.provider("minilm")
WordPiece, words = minilm.WordPiece, minilm.words

Record = dict[str, Any]

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "aff", "able", "!", "中", "e"]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("Çé ÀÉ Straße", ["ce", "ae", "straße"]),
        ("中文字x", ["中", "文", "字", "x"]),
        ("a\x00b\ufffdc\u200bd\te\u00a0f", ["abcd", "e", "f"]),
        ("5$ a_b 9€ «x»", ["5", "$", "a", "_", "b", "9€", "«", "x", "»"]),
        ("", []),
    ],
)
def test_words_are_in_lower_case_without_accents_and_signs_stand_alone(
    text: str, wanted: list[str]
) -> None:
    assert words(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("unaffable", [1, 3, 4, 5, 2]),
        ("Able É!", [1, 7, 10, 8, 2]),
        ("unknown able", [1, 0, 7, 2]),
        ("un" * 51, [1, 0, 2]),
        ("", [1, 2]),
    ],
)
def test_a_word_is_its_longest_known_pieces_or_unknown_as_a_whole(
    text: str, wanted: list[int]
) -> None:
    assert WordPiece(VOCABULARY).encode(text, 10) == wanted


def test_a_long_text_is_cut_at_the_cap_and_still_ends_as_it_should() -> None:
    assert WordPiece(VOCABULARY).encode("able " * 10_000, 6) == [1, 7, 7, 7, 7, 2]


@pytest.fixture(scope="module")
def folder() -> Path:
    """A data folder with the model, fetched once into the user's cache; skipped if it cannot be had."""
    return installed("embeddings")


def ask(folder: Path, *sent: Record, **env: str) -> dict[Any, Record]:
    """What the provider answers, by id."""
    done = subprocess.run(
        [suite() / "providers/minilm"],
        input="".join(json.dumps(record) + "\n" for record in sent),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            **env,
        },
    )
    return {record.get("id"): record for record in map(json.loads, done.stdout.splitlines())}


def embed(id: str, *texts: str, **more: Any) -> Record:
    return {"type": "embed", "id": id, "texts": list(texts), **more}


def near(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[Any, Record]:
    """The answers to several records in one run, without a warm process."""
    texts = (
        "A man is eating food.",
        "A man is eating a piece of bread.",
        "The girl is carrying a baby.",
        "car",
    )
    return ask(
        folder,
        embed("a", *texts),
        embed("alone", texts[0], "automobile", "banana", "word " * 5000, model="all-minilm-l6-v2"),
        embed("empty"),
        embed("other", "x", model="bge"),
        {"type": "note", "id": "note"},
        {"type": "request", "id": "talk", "messages": [{"role": "user", "content": "hi"}]},
        AGENT_WARM_MINUTES="0",
    )


def test_a_vector_has_384_numbers_and_length_1(made: dict[Any, Record]) -> None:
    answer = made["a"]
    assert [len(vector) for vector in answer["vectors"]] == [384] * 4
    assert near(answer["vectors"][0], answer["vectors"][0]) == pytest.approx(1, abs=1e-4)
    assert answer["usage"] == {"input_tokens": 8 + 11 + 9 + 3} and answer["provider"] == "minilm"


def test_the_vectors_are_those_of_the_model_as_its_makers_publish_it(
    made: dict[Any, Record],
) -> None:
    """Their examples' similarities (sbert.net, semantic search), to what int8 leaves of them."""
    first, bread, girl, car = made["a"]["vectors"]
    assert near(first, bread) == pytest.approx(0.755, abs=0.05)
    assert near(first, girl) < 0.2
    automobile, banana = made["alone"]["vectors"][1:3]
    assert near(car, automobile) > 0.8 > 0.5 > near(car, banana)


def test_a_text_has_one_vector_whatever_it_comes_with_and_its_end_is_not_read(
    made: dict[Any, Record],
) -> None:
    assert made["alone"]["vectors"][0] == made["a"]["vectors"][0]
    assert made["alone"]["usage"]["input_tokens"] == 8 + 3 + 3 + 256


def test_what_it_cannot_do_is_one_error_each_and_other_records_pass(
    made: dict[Any, Record],
) -> None:
    assert [made[id]["kind"] for id in ("empty", "other", "talk")] == [
        "invalid_input",
        "not_found",
        "invalid_request",
    ]
    assert made["note"] == {"type": "note", "id": "note"}


def test_without_the_weights_the_cure_is_named(tmp_path: Path) -> None:
    answer = ask(tmp_path, embed("a", "x"))["a"]
    assert (
        answer["kind"] == "not_found"
        and "agent-llm local install --size embeddings" in answer["message"]
    )


def test_the_model_stays_in_memory_and_answers_the_same(
    folder: Path, made: dict[Any, Record], tmp_path: Path
) -> None:
    env = {
        "XDG_RUNTIME_DIR": str(tmp_path),
        "AGENT_WARM_MINUTES": "0.03",
        "XDG_STATE_HOME": str(tmp_path),
    }
    answers = [ask(folder, embed("a", "A man is eating food."), **env)["a"] for _ in range(2)]
    assert [answer["vectors"][0] for answer in answers] == [made["a"]["vectors"][0]] * 2
    sockets = list((tmp_path / "agentutils").glob("minilm-*.sock"))
    assert len(sockets) == 1
    until = time.monotonic() + 60
    while sockets[0].exists():  # it ends itself when it is idle
        assert time.monotonic() < until
        time.sleep(0.1)
