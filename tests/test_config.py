"""The user's configuration: none is nothing, a wrong one is named with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlib import config
from agentlib.faults import Fault


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "agentutils").mkdir()
    return tmp_path / "agentutils" / "config.toml"


def test_no_file_is_no_table(file: Path) -> None:
    assert config.load() == {}


def test_no_folder_is_no_table(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    assert config.load() == {}


def test_the_tables_of_the_file(file: Path) -> None:
    file.write_text('model = "m"\n[keys]\nopenai = ["pass", "show", "é"]\n')
    assert config.load() == {"model": "m", "keys": {"openai": ["pass", "show", "é"]}}


@pytest.mark.parametrize("value", ['"x"', "-1", "nan", "true", "[]"])
def test_how_much_history_is_kept_is_a_number(file: Path, value: str) -> None:
    file.write_text(f"[history]\ndays = {value}\n")
    with pytest.raises(Fault, match=r"\[history\]: days is a number, not "):
        config.load()


@pytest.mark.parametrize(
    "data, where",
    [
        (b"a = 1\nb = = 2\n", "line 2, column 5"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"a = '\xff'\n", "byte 6 is not UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_a_fault_that_says_where(
    file: Path, data: bytes, where: str
) -> None:
    file.write_bytes(data)
    with pytest.raises(Fault, match=where) as caught:
        config.load()
    assert caught.value.status == 2
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    "text, why",
    [
        ('modle = "m"', "modle is no setting; did you mean model?"),
        ('[key]\nopenai = "x"', "key is no setting; did you mean keys?"),
        ('[discover]\nalow = ["/x"]', r"\[discover\]: alow is no setting; did you mean allow?"),
        ('keys = "pass"', r"keys is a table: \[keys\]"),
        ("zzz = 1", "zzz is no setting; there are: description, discover, history,"),
    ],
)
def test_a_typo_is_a_fault_that_suggests_the_right_word(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    with pytest.raises(Fault, match=f"config.toml: .*{why}".replace("?", r"\?")) as caught:
        config.load()
    assert caught.value.status == 2


def test_a_file_that_cannot_be_read_is_a_fault(file: Path) -> None:
    file.mkdir()
    with pytest.raises(Fault, match="config.toml: Is a directory"):
        config.load()
