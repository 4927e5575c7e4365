"""The history: appended to by many at once, mended, bounded, scrubbed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentlib import history, records
from agentlib.history import earlier
from agentlib.types import Any, Record

NAMES = ("TRACEPARENT", "AGENT_SPAN", "AGENT_DEPTH", "AGENT_HISTORY")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(history, "_around", [])
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return Path(history.folder())


def kept(home: Path) -> list[Record]:
    lines = [line for file in history.files() for line in Path(file).read_text().splitlines()]
    return [json.loads(line) for line in lines if line.strip()]


def test_two_hundred_processes_at_once_lose_and_mix_nothing(home: Path) -> None:
    sizes = (10, 3000, 70_000)
    children = []
    for number in range(200):
        if not (pid := os.fork()):
            made = history.History(True, set(), megabytes=1000)
            for turn, size in enumerate(sizes):
                made.write({"type": "message", "run": number, "turn": turn, "text": "x" * size})
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 200
    found = kept(home)
    assert sorted((r["run"], r["turn"]) for r in found) == [
        (n, t) for n in range(200) for t in range(3)
    ]
    assert all(record["text"] == "x" * sizes[record["turn"]] for record in found)


def test_a_half_line_of_a_dead_writer_is_taken_off_and_a_held_lock_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = history.History(True, set())
    made.write({"type": "message", "n": 1})
    [file] = history.files()
    with open(file, "a") as dead:
        dead.write('{"type":"mess')
    made.write({"type": "message", "n": 2})
    assert [record["n"] for record in kept(home)] == [1, 2]
    import fcntl

    with open(file) as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        began = time.monotonic()
        made.write({"type": "message", "n": 3})
        assert time.monotonic() - began < 40
        with open(file, "a") as dead:
            dead.write('{"type":"mess')
        made.write({"type": "message", "n": 4})
    assert Path(file).read_text().endswith(':3}\n{"type":"mess\n{"type":"message","n":4}\n')


def test_a_half_line_that_is_still_being_written_is_no_half_line(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = history.History(True, set())
    made.write({"type": "message", "n": 1})
    [file] = history.files()
    with open(file, "a") as slow:
        slow.write('{"type":"message",')

    def waited(*_: int) -> None:
        with open(file, "a") as slow:
            slow.write('"n":2}\n')

    monkeypatch.setattr(os, "posix_fallocate", waited)
    made.write({"type": "message", "n": 3})
    assert [record["n"] for record in kept(home)] == [1, 2, 3]


def test_the_part_of_a_record_that_the_full_disk_took_becomes_blanks(home: Path) -> None:
    import resource
    import signal

    if not os.fork():
        made = history.History(True, set())
        made.write({"type": "message", "n": 1})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        made.write({"type": "message", "n": 2, "text": "x" * 9000})
        os._exit(0)
    assert os.wait()[1] == 0
    assert os.path.getsize(history.files()[0]) == 5000
    history.History(True, set()).write({"type": "message", "n": 3})
    assert [record["n"] for record in kept(home)] == [1, 3]


def test_too_old_and_too_much_is_taken_away(home: Path) -> None:
    home.mkdir(parents=True)
    for day, size in (("2020-01-01", 10), ("2020-01-02", 10)):
        (home / f"{day}.jsonl").write_text("x" * size)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - history.DAY))
    (home / f"{yesterday}.jsonl").write_text("x" * 300_000)
    made = history.History(True, set(), megabytes=1, days=30)
    for n in range(6):
        made.write({"type": "message", "n": n, "text": "x" * 200_000})
    names = [os.path.basename(file) for file in history.files()]
    assert names == [f"{today}.2.jsonl", f"{today}.3.jsonl"]
    assert [record["n"] for record in kept(home)] == [2, 3, 4, 5]
    history.History(True, set(), megabytes=1).write({"type": "message", "n": 6})
    names = [os.path.basename(file) for file in history.files()]
    assert names == [f"{today}.3.jsonl", f"{today}.4.jsonl"], "not the name of the first again"
    assert sum(os.path.getsize(file) for file in history.files()) < 1_000_000


def test_a_file_that_was_taken_away_is_made_again(home: Path) -> None:
    made = history.History(True, set())
    made.write({"type": "message", "n": 1})
    os.unlink(history.files()[0])
    made.write({"type": "message", "n": 2})
    assert [record["n"] for record in kept(home)] == [2]


def test_two_that_take_away_the_same_old_file_both_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(parents=True)
    (home / "2020-01-01.jsonl").write_text("{}\n")
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - history.DAY))
    (home / f"{yesterday}.jsonl").write_text('{"n":0}\n')
    real = os.unlink

    def late(path: str) -> None:
        real(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "unlink", late)
    history.History(False, set()).write({"type": "message", "n": 1})
    assert [record["n"] for record in kept(home)] == [0, 1]


def test_what_cannot_be_written_is_reported_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    made = history.History(False, set())
    monkeypatch.setattr(history, "_append", full)
    made.write({"type": "message"})
    made.write({"type": "message"})
    why = f"the history is not kept: {home}: No space left on device"
    assert capfd.readouterr().err.count(why) == 1


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a1" * 18,
        "sk-ant-" + "b2" * 20,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA"
        + "c3" * 300
        + "\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNza" + "d4" * 300,
    ],
)
def test_what_has_the_form_of_a_key_is_not_kept(home: Path, secret: str) -> None:
    history.History(True, set()).write({"type": "message", "content": f"before {secret} after"})
    [record] = kept(home)
    assert record["content"].startswith("before ***")
    assert secret[30:] not in Path(history.files()[0]).read_text()


def test_of_a_long_record_the_shape_stays(home: Path) -> None:
    picture = {"type": "image", "media_type": "image/png", "data": "A" * 2_000_000}
    text = {"type": "text", "text": "a" * 1_500_000 + "z"}
    history.History(True, set()).write({"type": "message", "run": "1", "content": [picture, text]})
    [record] = kept(home)
    assert record["content"][0] == {"type": "text", "text": "[image/png, not kept]"}
    assert record["content"][1]["text"].endswith("z") and len(record["content"][1]["text"]) < 21_000


def test_ids_follow_the_trace_context(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        history._around.clear()

    free = history.identity()
    assert free["parent_id"] == "" and len(free["id"]) == 16 and len(free["trace_id"]) == 32
    around("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    below = history.identity()
    assert (below["trace_id"], below["parent_id"]) == ("a" * 32, "b" * 16) and below["session"]
    around("AGENT_SPAN", f"{'b' * 16}-{'c' * 16}")
    stage = history.identity(named=False)
    assert stage["parent_id"] == "b" * 16 and not stage["session"]
    agent = history.identity(named=True)
    assert (agent["id"], agent["parent_id"]) == ("b" * 16, "c" * 16) and agent["session"]
    assert history.identity(named=True)["parent_id"] == "b" * 16, (
        "a second run of the same agent-react"
    )
    around("TRACEPARENT", "00-nonsense")
    assert history.identity()["parent_id"] == ""


def test_the_ids_of_calls_differ(home: Path) -> None:
    run = "ffffffffffffffff"
    found = [history.span(run, answer, call) for answer in range(40) for call in range(-5, 20)]
    assert len(set(found)) == len(found) and all(len(id) == 16 for id in found)


@pytest.mark.parametrize("before", ["", "\n", "\t", "\r\n", "\x07", "\u2028", "é", "=", "a\\"])
def test_a_key_at_the_beginning_of_a_line_is_taken_out_too(before: str) -> None:
    for key in ("ghp_" + "0" * 36, "sk-ant-" + "0" * 40, "AKIA" + "0" * 16, "hf_" + "a" * 34):
        kept = history.scrubbed(records.line({"type": "x", "text": f"my key:{before}{key}"}), ())
        assert key not in kept.decode()


def test_words_with_the_beginning_of_a_key_inside_do_not_load_what_looks_for_keys() -> None:
    code = """import sys; from agentlib import history
history.scrubbed(b'{"text":"task-1 risk-free task_live_ \\\\\\\\u00e9"}', ())
sys.exit('agentlib.secrets' in sys.modules)"""
    lib = str(Path(history.__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": lib}).returncode == 0


def test_a_clock_that_was_wrong_once_costs_nothing_that_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept_at(day: float) -> set[str]:
        monkeypatch.setattr(time, "time", lambda: day * 86400.0)
        history.History(True, set(), days=5).write({"type": "x"})
        return {os.path.basename(file)[:10] for file in history.files()}

    days = kept_at(20_000) | kept_at(20_001)
    for wrong in (30_000, 3, 20_002):
        assert days <= kept_at(wrong)
    assert days <= kept_at(20_009)  # nothing was asked for a week: the next day takes them
    assert kept_at(20_010) == {"2024-10-13", "2024-10-14", "2052-02-20"}


def test_a_run_across_midnight_is_in_two_files_and_goes_on_the_next_morning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = time.time() // history.DAY * history.DAY - history.DAY / 2
    at = [noon + history.DAY / 2 - 1]
    monkeypatch.setattr(time, "time", lambda: at[0])
    made, ids = history.History(True, set()), history.identity()
    message = {"type": "message", "run": ids["id"], "role": "user"}
    made.write(history.begun(ids, {}), {**message, "time": history.now(), "content": "before"})
    at[0] += 2
    made.write({**message, "time": history.now(), "content": "after"})
    days = [time.strftime("%F.jsonl", time.gmtime(noon + n * history.DAY)) for n in (0, 1)]
    assert [os.path.basename(file) for file in history.files()] == days
    at[0] += history.DAY / 3
    assert [one["content"] for one in earlier.conversation(["more"])[1]] == ["before", "after"]


def test_the_last_conversation_is_the_last_one_too_where_the_clock_was_ahead(home: Path) -> None:
    ids = {"session": history.session(), "host": os.uname().nodename}
    home.mkdir(parents=True)
    for day, ticks, word in (("2999-01-01", "900", "ahead"), (history.now()[:10], "1000", "last")):
        run = {"type": "run", "id": word * 4, "time": f"{day}T00:00:00.000Z", **ids, "ticks": ticks}
        message = {"type": "message", "run": word * 4, "role": "user", "content": word}
        (home / f"{day}.jsonl").write_bytes(records.line(run) + records.line(message))
    assert [one["content"] for one in earlier.conversation(["more"])[1]] == ["last"]
    (home / f"{history.now()[:10]}.jsonl").unlink()
    assert [one["content"] for one in earlier.conversation(["more"])[1]] == ["ahead"]
