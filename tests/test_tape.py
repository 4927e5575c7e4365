"""What makes two requests the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.llm import tape


def request(**fields: Any) -> dict[str, Any]:
    return {"type": "request", "id": "1", "messages": [{"role": "user", "content": "hi"}], **fields}


def key(**fields: Any) -> str:
    return tape.key(tape.canonical(request(**fields)))


def test_the_id_the_order_of_fields_and_nulls_do_not_count() -> None:
    turned = dict(reversed(request(id="2", schema=None).items()))
    assert tape.key(tape.canonical(turned)) == key()


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m"},
        {"temperature": 0.1},
        {"options": {"a": 1}},
        {"messages": [{"role": "user", "content": "ho"}]},
        {"tools": [{"name": "t"}]},
    ],
)
def test_everything_that_is_asked_counts(fields: dict[str, Any]) -> None:
    assert key(**fields) != key()


def test_what_was_measured_on_a_message_and_where_a_tool_is_do_not_count() -> None:
    reply = {
        "role": "user",
        "content": "hi",
        "type": "message",
        "time": "t",
        "duration_ms": 5,
        "cost_usd": 1,
        "usage": {},
    }
    assert key(messages=[reply]) == key()
    tool = {"name": "t", "description": "d", "inputSchema": {"type": "object"}}
    assert key(tools=[{**tool, "type": "tool", "command": ["/x/t"], "timeout": 5}]) == key(
        tools=[tool]
    )
    assert key(tools=[{**tool, "description": "other"}]) != key(tools=[tool])


def test_an_exchange_is_found_by_what_it_asks_also_after_its_line_was_edited(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "tape")
    wanted = tape.canonical(request())
    tape.Recorder(path).keep(
        wanted, [{"type": "response", "message": {"role": "assistant", "content": "x"}}]
    )
    text = Path(path).read_text()
    Path(path).write_text(text.replace(tape.key(wanted), "0" * 32).replace('"x"', '"y"'))
    assert tape.Player(path).find(wanted)[0]["message"]["content"] == "y"


def test_other_records_on_a_tape_are_ignored_and_broken_exchanges_reported(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    path.write_text('{"type":"note"}\n{"type":"exchange","key":"x"}\n')
    with pytest.raises(Fault, match="line 2"):
        tape.Player(str(path))


def test_a_cache_keeps_whole_answers_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache, wanted = tape.Cache(), tape.canonical(request())
    cache.keep(wanted, [{"type": "error", "kind": "server"}])
    assert cache.find(wanted) is None
    cache.keep(wanted, [{"type": "delta", "text": "x"}, {"type": "response"}])
    assert cache.find(wanted) == [{"type": "delta", "text": "x"}, {"type": "response"}]


def test_an_answer_is_found_again_streamed_or_not() -> None:
    assert key(stream=True) == key(stream=False) == key()
