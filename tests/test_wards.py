"""Sandboxes that are kept up: which call starts in which, and what becomes of one whose warden is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlib import paths
from agentlib.process.supervised import KILLED
from agentlib.sandbox import cell as sandbox_cell
from agentlib.sandbox.kept import warden, wards

pytestmark = pytest.mark.skipif(
    sandbox_cell.verdict()[0] != "bubblewrap", reason="bubblewrap does not work here"
)


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Iterator[wards.Wards]:
    """Where each call starts in a kept sandbox, but for what a test says."""
    monkeypatch.setattr(wards, "ALONE", 0)
    made = wards.Wards()
    yield made
    made.close()


def call(rooms: wards.Wards, folder: Path, script: str, profile: str = "work") -> int | None:
    """The status of a call; None for one that needs a sandbox of its own."""
    with sandbox_cell.Cell(
        ["/bin/sh", "-c", script], profile, str(folder), env={"PATH": os.defpath}
    ) as cell:
        child = rooms.begin(cell, 0, 1, 2)
        return child.reap() if child else None


def test_two_calls_have_their_own_and_the_others_share_one(tmp_path: Path) -> None:
    rooms = wards.Wards()
    assert [call(rooms, tmp_path, "exit 3") for _ in range(5)] == [None, None, 3, 3, 3]
    assert len(rooms._kept) == 1
    rooms.close()


def test_another_view_is_another_sandbox(
    rooms: wards.Wards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentlib.sandbox.workspace.FRESH", 0.0)
    assert call(rooms, tmp_path, "exit 0") == call(rooms, tmp_path, "exit 0", "read") == 0
    assert len(rooms._kept) == 2
    (tmp_path / ".env").write_text("SECRET")
    assert call(rooms, tmp_path, "grep SECRET .env && exit 1; exit 0") == 0
    assert len(rooms._kept) == 3


def test_a_guarded_file_that_was_replaced_is_guarded_anew(
    rooms: wards.Wards, tmp_path: Path
) -> None:
    guarded, new = tmp_path / "AGENTS.md", tmp_path / "new"
    guarded.write_text("mine")
    assert call(rooms, tmp_path, "echo evil >>AGENTS.md") != 0
    new.write_text("mine too")
    new.replace(guarded)
    assert call(rooms, tmp_path, "echo evil >>AGENTS.md") != 0
    assert guarded.read_text() == "mine too"


def test_a_guarded_folder_that_was_moved_or_made_anew_is_guarded_anew(
    rooms: wards.Wards, tmp_path: Path
) -> None:
    hooks = tmp_path / ".git" / "hooks"
    hooks.mkdir(parents=True)
    assert call(rooms, tmp_path, "echo evil >.git/hooks/pre-commit") != 0
    hooks.rename(tmp_path / "old")
    hooks.mkdir()
    assert call(rooms, tmp_path, "echo evil >.git/hooks/pre-commit") != 0
    hooks.rmdir()
    hooks.mkdir()  # often with the number of the one before
    assert call(rooms, tmp_path, "echo evil >.git/hooks/pre-commit") != 0
    assert not os.listdir(hooks)


def test_a_secret_that_was_written_anew_is_masked_anew(rooms: wards.Wards, tmp_path: Path) -> None:
    secret = tmp_path / ".env"
    for _ in range(2 * wards.MOST):
        secret.write_text("SECRET")
        assert call(rooms, tmp_path, "grep SECRET .env && exit 1; exit 0") == 0
        secret.unlink()


def test_a_warden_that_is_gone_ends_its_calls_and_the_next_have_their_own(
    rooms: wards.Wards, tmp_path: Path
) -> None:
    with sandbox_cell.Cell(
        ["/bin/sleep", "60"], "work", str(tmp_path), env={"PATH": os.defpath}
    ) as cell:
        child = rooms.begin(cell, 0, 1, 2)
        assert child and not child.ended(0.1)
        ward = next(iter(rooms._kept.values()))
        assert ward
        ward._child.signal(9)
        assert ward._child.ended(5)
        assert child.ended(5) and child.reap() == KILLED
    assert call(rooms, tmp_path, "exit 0") is None


def test_where_no_cell_can_be_made_each_call_has_its_own(
    rooms: wards.Wards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentlib.sandbox.kept.ward.WARDEN", str(tmp_path / "warden.py"))
    text = (
        Path(warden.__file__)
        .read_text()
        .replace(
            'os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))',
            repr(paths.TOP + "/lib"),
        )
    )
    (tmp_path / "warden.py").write_text(text)
    assert call(rooms, tmp_path, "exit 3", "read") == 3
    (tmp_path / "warden.py").write_text(text.replace('"/dev/pts"', '"/no/such/place"'))
    assert call(rooms, tmp_path, "exit 0") is None
    assert call(rooms, tmp_path, "exit 0") is None


def test_a_call_that_gets_no_descriptors_is_no_harm_to_the_others(
    rooms: wards.Wards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise OSError(24, "Too many open files")

    with sandbox_cell.Cell(
        ["/bin/sleep", "60"], "work", str(tmp_path), env={"PATH": os.defpath}
    ) as cell:
        child = rooms.begin(cell, 0, 1, 2)
        assert child
        with monkeypatch.context() as patch:
            patch.setattr("socket.socketpair", none)
            with pytest.raises(OSError, match="Too many"):
                call(rooms, tmp_path, "exit 0")
        assert not child.ended(0.1) and call(rooms, tmp_path, "exit 5") == 5
        child.signal(9)
        assert child.reap() == KILLED


def test_a_program_that_cannot_be_started_is_told(
    rooms: wards.Wards, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").write_text("#!/no/such/interpreter\n")
    (tmp_path / "odd").chmod(0o755)
    with sandbox_cell.Cell(
        [str(tmp_path / "odd")], "read", str(tmp_path), env={"PATH": os.defpath}
    ) as cell:
        child = rooms.begin(cell, 0, 1, 2)
        assert child and child.reap() == 126
    assert "odd" in capfd.readouterr().err
