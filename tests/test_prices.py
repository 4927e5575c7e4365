"""The cost of a request: the table that ships, the user's own prices, cached tokens, unknown models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentlib.faults import Fault
from agentlib.provider import prices
from vendors import ROOT, shared

MILLION = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}


@pytest.fixture(autouse=True)
def prices_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home of configuration; the file to write prices to."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    prices.prices.cache_clear()
    prices.users_prices.cache_clear()
    (tmp_path / "agentutils").mkdir()
    return tmp_path / "agentutils" / "config.toml"


def test_a_known_model_costs_its_input_and_output_price() -> None:
    assert prices.cost("anthropic", "claude-sonnet-4-6", MILLION) == 3 + 15


def test_an_unknown_model_costs_none_not_nothing() -> None:
    assert prices.cost("anthropic", "claude-unheard-of", MILLION) is None
    assert prices.cost("nobody", "claude-sonnet-4-6", MILLION) is None


def test_a_price_holds_for_its_own_provider_alone() -> None:
    assert prices.cost("openai", "claude-sonnet-4-6", MILLION) is None


def test_cached_input_is_priced_as_cached_and_not_counted_twice() -> None:
    usage = {
        "input_tokens": 1_000_000,
        "cached_input_tokens": 400_000,
        "cache_write_input_tokens": 100_000,
        "output_tokens": 0,
    }
    assert prices.cost("anthropic", "claude-sonnet-4-6", usage) == pytest.approx(
        0.5 * 3 + 0.4 * 0.3 + 0.1 * 3.75
    )


def test_usage_that_is_missing_counts_as_nothing() -> None:
    assert prices.cost("anthropic", "claude-sonnet-4-6", {"input_tokens": None}) == 0


@pytest.mark.parametrize(
    "provider, model, known",
    [
        ("bedrock", "us.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("bedrock", "global.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1:0"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-6",
            "anthropic.claude-sonnet-4-6",
        ),
        ("gemini", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemini", "gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("openai", "gpt-5.5-2026-12-24", "gpt-5.5"),
        ("anthropic", "claude-sonnet-4-6-20261224", "claude-sonnet-4-6"),
    ],
)
def test_a_dated_regional_or_qualified_name_has_its_models_price(
    provider: str, model: str, known: str
) -> None:
    assert (
        prices.cost(provider, model, MILLION) == prices.cost(provider, known, MILLION) is not None
    )


def test_the_users_own_price_goes_first(prices_file: Path) -> None:
    prices_file.write_text(
        '[prices."claude-sonnet-4-6"]\ninput = 1\noutput = 2\n'
        '[prices."ollama/qwen3"]\ninput = 0.5\noutput = 0\ncached = 0.1\n'
    )
    assert prices.cost("anthropic", "claude-sonnet-4-6", MILLION) == 3
    assert (
        prices.cost("ollama", "qwen3", {"input_tokens": 1_000_000, "cached_input_tokens": 500_000})
        == 0.25 + 0.05
    )
    assert prices.cost("together", "qwen3", MILLION) is None


@pytest.mark.parametrize(
    "entry",
    [
        "input = 1",
        "input = 1\noutput = -2",
        'input = "1"\noutput = 2',
        "input = 1\noutput = inf",
        "input = 1\noutput = 2\ncachd = 3",
        "input = true\noutput = 2",
    ],
)
def test_an_own_price_that_is_none_is_a_fault_that_names_the_model(
    prices_file: Path, entry: str
) -> None:
    prices_file.write_text(f'[prices."my-model"]\n{entry}\n')
    with pytest.raises(Fault, match="my-model") as caught:
        prices.cost("openai", "my-model", MILLION)
    assert caught.value.kind == "invalid_input"


def test_the_table_is_dated_and_says_where_it_comes_from() -> None:
    found = json.loads(Path(prices.FILE).read_text())
    assert found["date"] > "2026" and found["sources"]
    for rows in found["prices"].values():
        assert rows and all(
            2 <= len(row) <= 4 and row[0] >= 0 and row[1] >= 0 for row in rows.values()
        )


def test_the_table_is_what_its_tool_makes_of_the_source() -> None:
    source = shared("specs/model-prices.json")
    date = json.loads(Path(prices.FILE).read_text())["date"]
    made = subprocess.run(
        [sys.executable, ROOT / "tests" / "make_prices.py", source, date],
        check=True,
        capture_output=True,
    )
    assert made.stdout == Path(prices.FILE).read_bytes()
