"""One pace for many: turns in the order of asking, evenly spaced, whatever became of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentlib.llm import inflight


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "agentutils" / "rate"


def turns(count: int, *paces: inflight.Pace) -> list[float]:
    return [paces[n % len(paces)].turn() for n in range(count)]


def test_turns_of_two_processes_are_evenly_spaced() -> None:
    waits = turns(6, inflight.Pace(2, 1), inflight.Pace(2, 1))
    assert waits == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5], abs=0.1)


def test_a_fifth_of_a_larger_limit_may_go_at_once() -> None:
    waits = turns(6, inflight.Pace(20, 60))
    assert waits == pytest.approx([0, 0, 0, 0, 3, 6], abs=0.1)


def test_turns_that_nobody_took_are_not_saved_up(state: Path) -> None:
    state.parent.mkdir(mode=0o700)
    state.write_bytes(b"0.000001\n")  # the next free turn was long ago
    assert turns(3, inflight.Pace(2, 1)) == pytest.approx([0, 0.5, 1], abs=0.1)


@pytest.mark.parametrize("content", [b"garbage", b"nan", b"-5", b"1e300", b"\xff\x00"])
def test_a_damaged_file_is_reported_and_does_not_free_all(
    content: bytes, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state.parent.mkdir(mode=0o700)
    state.write_bytes(content)
    waits = turns(3, inflight.Pace(2, 1))
    assert waits == pytest.approx([0.5, 1, 1.5], abs=0.1)
    assert capfd.readouterr().err.count("damaged") == 1


def test_a_file_that_cannot_be_used_leaves_each_process_its_own_pace(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state.mkdir(parents=True)
    os.chmod(state.parent, 0o700)
    assert turns(3, inflight.Pace(2, 1)) == pytest.approx([0, 0.5, 1], abs=0.1)
    assert capfd.readouterr().err.count("alone") == 1


@pytest.mark.parametrize(
    "text, interval", [("5/s", 0.2), ("30", 2.0), ("30/m", 2.0), ("3600/h", 1.0), ("0.5/s", 2.0)]
)
def test_a_limit_is_a_number_and_a_unit(text: str, interval: float) -> None:
    assert inflight.pace(text).interval == pytest.approx(interval)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "5/", "5/d", "nan", "inf", "5/s/s"])
def test_anything_else_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError):
        inflight.pace(text)
