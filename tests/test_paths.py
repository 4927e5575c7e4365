"""Paths: the user's XDG folders, the search paths, a runtime folder of the user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentlib import paths
from agentlib.faults import Fault
from vendors import ROOT

FOLDERS = {"config": ".config", "data": ".local/share", "state": ".local/state", "cache": ".cache"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [*os.environ]:
        if name.startswith(("XDG_", "AGENT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_where_xdg_says_and_a_relative_value_is_ignored(
    kind: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"XDG_{kind.upper()}_HOME"
    default = home / FOLDERS[kind] / "agentutils"
    assert paths.place(kind) == str(default)
    for wrong in ("", "relative/x"):
        monkeypatch.setenv(variable, wrong)
        assert paths.place(kind) == str(default)
    monkeypatch.setenv(variable, "/elsewhere")
    assert paths.place(kind) == "/elsewhere/agentutils"


def test_the_home_is_known_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert os.path.isabs(paths.place("data"))


def test_the_checkout_is_the_root() -> None:
    assert paths.TOP == str(ROOT)


@pytest.mark.parametrize(
    "kind, variable", [("tools", "AGENT_TOOL_PATH"), ("providers", "AGENT_PROVIDER_PATH")]
)
def test_a_search_path_is_the_variables_else_the_users_then_the_suites(
    kind: str, variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.folders(variable, kind) == [
        f"{home}/.local/share/agentutils/{kind}",
        f"{ROOT}/{kind}",
    ]
    monkeypatch.setenv(variable, "/a::/b c:")
    assert paths.folders(variable, kind) == ["/a", "/b c"]


def test_the_runtime_folder_is_made_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = paths.runtime()
    assert made == str(tmp_path / "agentutils")
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o700
    assert paths.runtime() == made


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_runtime_folder_that_others_reach_is_refused(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "agentutils").mkdir()
    (tmp_path / "agentutils").chmod(mode)
    with pytest.raises(Fault, match="not a folder of yours alone"):
        paths.runtime()


def test_a_link_in_place_of_the_runtime_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "agentutils").symlink_to("theirs")
    with pytest.raises(Fault, match="not a folder of yours alone"):
        paths.runtime()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match="file/x: cannot make this folder"):
        paths.private(str(tmp_path / "file" / "x"))
