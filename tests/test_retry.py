"""When to try again, and after how long."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib.llm import inflight


def error(kind: str = "server", **fields: Any) -> dict[str, Any]:
    return {"type": "error", "kind": kind, "message": "x", **fields}


@pytest.mark.parametrize(
    "tries, most", [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (9, 8.0), (5000, 8.0)]
)
def test_the_pause_doubles_up_to_eight_seconds_less_a_quarter_at_most(
    tries: int, most: float
) -> None:
    assert inflight.wait(error(), tries, 10_000, 0.0) == most
    assert inflight.wait(error(), tries, 10_000, 1.0) == most * 0.75


def test_the_retries_run_out() -> None:
    assert inflight.wait(error(), 2, 2, 0.0) is not None
    assert inflight.wait(error(), 3, 2, 0.0) is None
    assert inflight.wait(error(), 1, 0, 0.0) is None


@pytest.mark.parametrize(
    "kind, again",
    [
        ("rate_limit", True),
        ("overloaded", True),
        ("timeout", True),
        ("network", True),
        ("server", True),
        ("auth", False),
        ("bad_response", False),
        ("unheard_of", False),
    ],
)
def test_only_what_may_pass_is_tried_again(kind: str, again: bool) -> None:
    assert (inflight.wait(error(kind), 1, 2, 0.0) is not None) == again


def test_the_service_knows_better_than_the_kind() -> None:
    assert inflight.wait(error("invalid_request", retryable=True), 1, 2, 0.0) is not None
    assert inflight.wait(error("server", retryable=False), 1, 2, 0.0) is None


@pytest.mark.parametrize("seconds", [1, 0.2, 60])
def test_retry_after_is_obeyed(seconds: float) -> None:
    for dice in (0.0, 1.0):
        pause = inflight.wait(error(retry_after=seconds), 1, 2, dice)
        assert pause is not None and seconds <= pause <= seconds + 0.25


@pytest.mark.parametrize("seconds", [-5, 0, None, "soon", True, float("nan")])
def test_a_retry_after_that_says_nothing_is_passed_over(seconds: Any) -> None:
    assert inflight.wait(error(retry_after=seconds), 1, 2, 0.0) == 0.5


def test_more_than_a_minute_is_not_waited_for() -> None:
    assert inflight.wait(error(retry_after=60.1), 1, 2, 0.0) is None
