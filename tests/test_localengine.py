"""What the engine reads before it answers: always in the same steps, so that the same chat gives the same answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vendors import provider

engine = provider("local")
Cancelled = engine.Cancelled
Engine = engine.Engine
States = engine.States

SYSTEM = {"role": "system", "content": "You are a careful clerk. " * 60}
FIRST = {"role": "user", "content": "How many words are in a.txt?"}
OTHER = {"role": "user", "content": "How many lines are in b.txt?"}
CALL = {"role": "assistant", "content": "call"}
RESULT = {"role": "user", "content": "Result: 7"}


class Llama:
    """Stands for llama.cpp: of each token in memory it knows in which step it was read, since that is what the sums
    depend on. A chat is cut into one token a word."""

    def __init__(self, folder: Path) -> None:
        self.memory: list[
            tuple[str, int, int]
        ] = []  # the token, and the step's first and last place
        self.files, self.read = folder, 0

    def handle_chat_completions(self, text: str, take: Any) -> None:
        body = json.loads(text)
        words = " ".join(f"<{m['role']}> {m['content']} <end>" for m in body["messages"]).split()
        words += ["<assistant>"] if body.get("add_generation_prompt", True) else []
        kept = [token for token, _, _ in self.memory] if body.get("cache_prompt", True) else []
        count = next((n for n, word in enumerate(words) if kept[n : n + 1] != [word]), len(words))
        count = min(count, len(words) - 1)
        self.read += len(words) - count
        step = (count, len(words))
        self.memory = [*self.memory[:count], *((word, *step) for word in words[count:])]
        usage = {
            "prompt_tokens": len(words),
            "completion_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": count},
        }
        choice = {"delta": {"content": "x"}, "finish_reason": "stop"}
        if take(json.dumps({"choices": [choice], "usage": usage})):
            return
        if body.get("max_tokens") != 0:  # what it wrote is in memory too
            self.memory.append(("written", -1, -1))

    def post(self, action: str, name: str) -> bool:
        file = self.files / name
        if action == "save":
            file.write_text(json.dumps(self.memory))
        else:
            self.memory = [tuple(entry) for entry in json.loads(file.read_text())]
        return True


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an engine over a Llama with an empty memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make() -> Engine:
        made = Engine.__new__(Engine)
        made._in_memory, made._states = [], States("no.gguf", "no.sock")
        llama = Llama(Path(made._states.folder))
        made._server = llama
        monkeypatch.setattr(States, "_post", lambda s, a, part: llama.post(a, s._name(part)))
        return made

    return make


def chat(made: Engine, *messages: dict[str, Any], wanted: bool = True) -> list[Any]:
    """What the model answers from: each token, and the step in which it was read."""
    ends = [n for n, m in enumerate(messages, 1) if m["role"] != "assistant"]
    done = made.chat({"messages": list(messages)}, ends, lambda text: None, lambda: wanted)
    assert done.usage["cached_input_tokens"] >= 0
    return [entry for entry in made._server.memory if entry[1] >= 0]


def test_what_was_read_before_makes_no_difference(fresh: Any) -> None:
    for messages in ((SYSTEM, FIRST), (SYSTEM, FIRST, CALL, RESULT), (FIRST,)):
        cold = chat(fresh(), *messages)
        made = fresh()
        for before in ((SYSTEM, OTHER), (OTHER,), messages, (SYSTEM, FIRST, CALL, OTHER)):
            chat(made, *before)
            assert chat(made, *messages) == cold


def test_the_first_part_is_read_once_and_then_from_its_file_by_a_new_process(fresh: Any) -> None:
    made = fresh()
    cold = chat(made, SYSTEM, FIRST)
    assert made._server.read > 240
    again = fresh()
    assert chat(again, SYSTEM, FIRST) == cold
    assert again._server.read < 40


def test_a_short_first_part_is_worth_no_file_and_the_oldest_files_go(
    fresh: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fresh()
    chat(made, {"role": "system", "content": "Be brief."}, FIRST)
    folder = Path(made._states.folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(engine, "MOST_STATES", {False: 2, True: 1})
    long = folder / "all-tools.state"
    long.touch()
    os.truncate(long, engine.LONG_STATE)
    os.utime(long, (1, 1))  # many short ones leave a long one alone, however old it is
    for letter in "abc":
        chat(made, {"role": "system", "content": letter * 2000}, FIRST)
    assert len(list(folder.iterdir())) == 3
    assert long.exists()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_client_that_goes_away_leaves_nothing_half_read_in_use(fresh: Any) -> None:
    cold = chat(fresh(), SYSTEM, FIRST, CALL, RESULT)
    made = fresh()
    chat(made, SYSTEM, FIRST)
    with pytest.raises(Cancelled):
        chat(made, SYSTEM, FIRST, CALL, RESULT, wanted=False)
    assert chat(made, SYSTEM, FIRST, CALL, RESULT) == cold


@pytest.mark.parametrize(
    ("load", "threads"),
    [
        ("0.10 0.00 0.00 1/99 7", 2),
        ("1.60 0.00 0.00 1/99 7", 2),  # it is over
        ("0.20 0.00 0.00 3/99 7", 2),  # for a moment
        ("0.90 0.00 0.00 2/99 7", 1),
        ("9.00 9.00 9.00 12/99 7", 1),
    ],
)
def test_cores_are_busy_where_others_have_run_and_run_now(
    load: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PAUSE", 0)
    monkeypatch.setattr(engine.os, "sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "load").write_text(load)
    assert engine.idle_cores(str(tmp_path / "load")) == threads
