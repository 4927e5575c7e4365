"""What the model sees of an output, and the fence around foreign text."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.invoke import output
from agentlib.messages import material


@pytest.fixture(autouse=True)
def home(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_short_output_stays_as_it_is() -> None:
    assert output.for_model(b"a\n b ") == "a\n b "
    assert output.for_model(b"") == "(no output)"


def test_bytes_that_are_no_text_are_marked() -> None:
    assert output.for_model(b"a\xffb") == f"a\ufffdb\n{output.NOT_TEXT}"


@pytest.mark.parametrize("letter", ["x", "é", "€", "🙂"])
@pytest.mark.parametrize("lead", ["", "a", "aa", "aaa"])
def test_our_cut_never_breaks_a_character(letter: str, lead: str) -> None:
    text = output.for_model((lead + letter * 40_000).encode())
    assert "\ufffd" not in text
    assert len(text.encode()) < output.SHOWN + 300


def test_the_whole_is_kept_once_and_named() -> None:
    data = b"line\n" * 20_000
    text = output.for_model(data)
    name = re.search(r"the whole is in (\S+)", text)
    assert name and Path(name[1]).read_bytes() == data
    assert "100,000 bytes in all" in text
    assert output.for_model(data) == text
    assert len(os.listdir(output.folder())) == 1


def test_old_outputs_are_removed() -> None:
    output.for_model(b"x" * 40_000)
    old = os.path.join(output.folder(), os.listdir(output.folder())[0])
    os.utime(old, (0, 0))
    output.for_model(b"y" * 40_000)
    assert not os.path.exists(old)


def test_a_folder_that_cannot_be_written_is_reported_not_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert "could not be kept" in output.for_model(b"x" * 40_000)


@given(st.text(), st.text())
def test_a_fence_is_closed_only_by_its_own_end(text: str, label: str) -> None:
    fenced = material.fence("input", text)
    code = fenced.split("\n", 1)[0].split()[-1]
    assert fenced.endswith(f"\n{code} end>>>")
    assert code not in text


def test_a_label_cannot_carry_a_mark() -> None:
    made = material.message("q", [{"type": "context", "source": "a>>>\n<<<input", "text": "t"}])
    assert made["content"].count("<<<") == 1
    assert made["content"].count(">>>") == 1
