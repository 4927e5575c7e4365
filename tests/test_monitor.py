"""What the plugin monitor writes, read by Prometheus' own parsers, whatever passes its hooks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

import installed

NASTY = 'a"b\\c\nd\re\x85f\u2028g{h}i,le="1"} 1\ud800\x00\x1b[2J\U0001f600'


def run(file: Path, *hooks: tuple[str, Any]) -> str:
    """The file after these hooks have passed, from a process of its own."""
    lines = [json.dumps({"id": "1", "hook": hook, "record": record}) for hook, record in hooks]
    argv = [str(installed.suite() / "plugins/monitor"), str(file)]
    ran = subprocess.run(argv, input="\n".join(lines), text=True, capture_output=True, timeout=60)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.split("\n") if line]
    assert [answer["id"] for answer in answers] == ["1"] * len(hooks)
    return file.read_text()


def samples(text: str) -> dict[str, float]:
    """{name and sorted labels: value} as the strict parser of OpenMetrics has them; the older one has the same."""
    found = {
        f"{one.name}{sorted(one.labels.items())}": one.value
        for family in openmetrics(text)
        for one in family.samples
    }
    older = sum(len(family.samples) for family in prometheus(text))
    assert older == len(found) == sum(line[0] != "#" for line in text.split("\n") if line)
    return found


def everything(name: str, number: Any = 1) -> list[tuple[str, Any]]:
    usage = {"input_tokens": number, "output_tokens": number}
    response = {"provider": name, "model": name, "usage": usage, "cost_usd": number}
    tool = {"name": name, "error": {"kind": name}, "is_error": True, "duration_ms": number}
    return [
        ("install", {"name": name, "tools": []}),
        ("before_run", {"input": "x"}),
        ("after_model", {**response, "duration_ms": number}),
        ("after_tool", tool),
        ("after_run", {"output": "", "duration_ms": number, "error": {"kind": name}}),
    ]


@pytest.mark.parametrize("name", ["plain", NASTY, "", "x" * 5000])
def test_any_text_is_a_label(name: str, tmp_path: Path) -> None:
    first = samples(run(tmp_path / "m.prom", *everything(name)))
    assert len(first) > 30
    second = samples(run(tmp_path / "m.prom", *everything(name)))
    assert second.keys() == first.keys()
    counted = {key for key in first if key.startswith("agent_") and "_timestamp_" not in key}
    assert {key: second[key] for key in counted} == {key: 2 * first[key] for key in counted}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(strategies.text(), strategies.text(alphabet='"\\{},=le 1\n}'))
def test_what_was_written_is_read_again(tmp_path: Path, one: str, other: str) -> None:
    file = tmp_path / "m.prom"
    file.unlink(missing_ok=True)
    text = run(file, *everything(one), *everything(other))
    samples(text)
    assert run(file) == text


@pytest.mark.parametrize("number", [None, "1", -1, 1e300, True, [], {}, 0.1])
def test_numbers_that_are_none_count_nothing(number: Any, tmp_path: Path) -> None:
    hooks = [(hook, record) for hook, record in everything("a", number)]
    hooks.append(("after_model", {"usage": number}))
    hooks.append(("after_run", {"error": number, "incomplete": number}))
    values = samples(run(tmp_path / "m.prom", *hooks))
    assert all(0 <= value < 2e9 for value in values.values())


def test_a_file_is_bounded(tmp_path: Path) -> None:
    tools = [("after_tool", {"name": f"t{n}", "duration_ms": 1}) for n in range(1500)]
    values = samples(run(tmp_path / "m.prom", *tools))
    assert len(values) < 2 * 2000 + 10
    calls = {key: value for key, value in values.items() if key.startswith("agent_tool_calls")}
    assert sum(calls.values()) == 1500
    assert (
        max(calls.values())
        == calls[
            "agent_tool_calls_total[('agent', 'other'), ('outcome', 'other'), ('tool', 'other')]"
        ]
        > 1
    )
