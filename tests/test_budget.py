"""What may be spent: one run's budget, and a ledger that processes share."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from agentlib import budget
from agentlib.faults import Fault


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def response(cost: float | None = 0.01, tokens: int = 10) -> dict[str, Any]:
    return {
        "type": "response",
        "model": "m",
        "cost_usd": cost,
        "usage": {"input_tokens": tokens, "output_tokens": 0},
    }


def test_while_nothing_is_known_one_call_goes_at_a_time() -> None:
    one = budget.Budget(usd=1.0)
    assert one.room(0) and not one.room(1)


def test_as_many_calls_go_as_the_largest_so_far_leaves_room_for() -> None:
    one = budget.Budget(usd=0.05)
    one.spend(response(0.01))
    assert one.room(3) and not one.room(4)


def test_what_is_spent_is_refused() -> None:
    one = budget.Budget(tokens=15)
    one.spend(response(tokens=20))
    with pytest.raises(Fault) as caught:
        one.room(0)
    assert caught.value.kind == "limit_exceeded" and "20 tokens" in caught.value.message


def test_an_unknown_price_ends_a_budget_in_dollars_and_none_in_tokens() -> None:
    dollars, tokens = budget.Budget(usd=1.0), budget.Budget(tokens=100)
    for one in (dollars, tokens):
        one.spend(response(None))
    assert tokens.room(0)
    with pytest.raises(Fault, match="price of m is not known"):
        dollars.room(0)


def test_a_ledger_loses_no_entry_of_many_writers() -> None:
    path = budget.create(100.0, None)

    def spend() -> None:
        for _ in range(25):
            budget.Budget(path=path).spend(response(0.01))

    workers = [threading.Thread(target=spend) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    book = budget.ledger(path)
    assert (
        book["spent_usd"] == pytest.approx(1.0)
        and book["spent_tokens"] == 1000
        and book["largest_usd"] == 0.01
    )


DAMAGED = [
    b"",
    b"junk",
    b"[]",
    None,
    b"{}",
    b"null",
    b'{"usd":null}',
    b'{"usd":"9"}',
    b'{"usd":-1}',
]
DAMAGED += [b'{"usd":true}', b'{"usd":NaN}', b'{"usd":1e999}', b'{"usd":1e300}', b'{"USD":1}']
DAMAGED += [
    b'{"usd":1,"spent_usd":%s}' % spent for spent in (b"-5", b"null", b'"0"', b"[]", b"-1e-9")
]
DAMAGED += [b'{"tokens":9,"largest_tokens":-9}', b'{"usd":1,"unpriced":7}', b'{"usd":1,"spent":0}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_ledger_is_refused_not_taken_for_no_budget(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "ledger"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Fault) as caught:
        budget.Budget(path=str(path))
    assert caught.value.kind == "invalid_input" and "agent-llm budget" in caught.value.message


def test_what_a_provider_says_of_its_cost_never_gives_anything_back() -> None:
    for wrong in (-5, "-5", True, [1], 1e300):
        one = budget.Budget(usd=1.0, tokens=100)
        one.spend({"cost_usd": wrong, "usage": {"input_tokens": wrong, "output_tokens": 7}})
        assert one.book["spent_usd"] == 0 and one.book["spent_tokens"] == 7
        with pytest.raises(Fault, match="price of the model is not known"):
            one.room(0)
    one.spend({"cost_usd": 0.5, "usage": "none"})
    assert one.book["spent_usd"] == 0.5
