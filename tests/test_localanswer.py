"""The answers of the process that holds the local model, with a model that says what the test wants."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

import vendors
from agentlib.faults import Fault
from localmodel import prompt

local_answer = vendors.provider("local")
Cancelled = local_answer.Cancelled
Completion = local_answer.Completion
Pieces = local_answer.Pieces
TOOL = {
    "name": "reverse",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}
CALL = json.dumps({"tool": "reverse", "args": {"text": "x"}})
USAGE = {"input_tokens": 10, "output_tokens": 2, "cached_input_tokens": 0}


class Model:
    """Stands for Resident: says these texts, one a chat; a fault among them is raised."""

    def __init__(self, *texts: str | BaseException, stop_reason: str = "end_turn") -> None:
        self.texts = list(texts)
        self.stop_reason = stop_reason
        self.bodies = list[Any]()

    def chat(self, path: str, plan: Any, see: Any, wanted: Any, emit: Any) -> Any:
        self.bodies.append(plan.body)
        text = self.texts.pop(0)
        if isinstance(text, BaseException):
            raise text
        for end in range(1, len(text) + 1):
            if not wanted():
                raise Cancelled
            see(text[:end])
        return Completion(text, self.stop_reason, dict(USAGE))


def answer(model: Model, wanted: bool = True, **request: Any) -> tuple[dict[str, Any], list[str]]:
    """(the final record, the texts of the deltas)"""
    sent: list[dict[str, Any]] = []
    messages = [{"role": "user", "content": "hi"}]
    question = {
        "id": "7",
        "model": "toy",
        "model_file": "toy.gguf",
        "messages": messages,
        **request,
    }
    final = local_answer.answer(question, model, sent.append, lambda: wanted)
    assert final["id"] == "7" and all(d["type"] == "delta" and d["id"] == "7" for d in sent)
    return final, [d["text"] for d in sent]


def test_a_plain_answer_is_a_response_and_its_deltas_are_its_text() -> None:
    final, deltas = answer(Model("Hello"), stream=True)
    assert (
        final["message"] == {"role": "assistant", "content": "Hello"} and "".join(deltas) == "Hello"
    )
    assert (final["stop_reason"], final["usage"], final["model"], final["cost_usd"]) == (
        "end_turn",
        USAGE,
        "toy",
        0.0,
    )


def test_without_stream_there_are_no_deltas() -> None:
    assert answer(Model("Hello"))[1] == []


def test_a_call_has_no_deltas_and_ends_for_tool_use() -> None:
    final, deltas = answer(Model(CALL), stream=True, tools=[TOOL])
    assert final["stop_reason"] == "tool_use" and deltas == []
    assert final["message"]["tool_calls"][0]["arguments"] == {"text": "x"}


NONE = json.dumps({"tool": "answer"})
BEFORE = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "name": "reverse", "arguments": {"text": "x"}}],
    },
    {"role": "tool", "name": "reverse", "tool_call_id": "c", "content": "x1x\nx2x"},
]


def test_where_no_call_is_needed_a_second_prompt_gives_the_answer_which_streams() -> None:
    final, deltas = answer(Model(NONE, "It is x1x."), messages=BEFORE, tools=[TOOL], stream=True)
    assert final["message"] == {"role": "assistant", "content": "It is x1x."}
    assert "".join(deltas) == "It is x1x." and len(deltas) > 1
    assert final["usage"] == {name: 2 * count for name, count in USAGE.items()}


def test_a_call_that_repeats_an_earlier_one_becomes_an_answer() -> None:
    model = Model(CALL, "It is x1x.")
    final, _ = answer(model, messages=BEFORE, tools=[TOOL])
    assert final["message"]["content"] == "It is x1x." and final["stop_reason"] == "end_turn"
    assert "response_format" not in model.bodies[1]


def test_a_result_of_one_line_is_the_answer_without_a_second_prompt() -> None:
    messages = [*BEFORE[:2], {**BEFORE[2], "content": "x"}]
    final, deltas = answer(Model(NONE), messages=messages, tools=[TOOL], stream=True)
    assert final["message"]["content"] == "x" == "".join(deltas)


def test_a_short_result_that_the_answer_leaves_out_is_put_below_it() -> None:
    final, deltas = answer(Model(NONE, "Done."), messages=BEFORE, tools=[TOOL], stream=True)
    assert final["message"]["content"] == "Done.\n\nx1x\nx2x" == "".join(deltas)


@pytest.mark.parametrize(
    "wanted,content",
    [
        ("How many words are in: one fish and two fish", "5 words"),
        ("how many lnies has it?", "2 lines"),
        ("word count: one fish", "5 words"),
        ("Combien de mots ?", "5 mots"),
        ("Has it more than 3 words?", "Said."),
        ("How many words has it, and which is the longest?", "Said."),
        ("How many words and lines has it?", "Said."),
        ("How long is it?", "Said."),
    ],
)
def test_the_one_figure_that_is_wanted_is_the_answer(wanted: str, content: str) -> None:
    made = {"id": "c", "name": "reverse", "arguments": {"text": "x"}}
    messages = [
        {"role": "user", "content": wanted},
        {"role": "assistant", "content": "", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c", "content": '{"lines":2,"words":5,"bytes":24}'},
    ]
    final, _ = answer(Model(NONE, "Said."), messages=messages, tools=[TOOL])
    assert final["message"]["content"].partition("\n")[0] == content


def test_what_was_read_before_a_change_is_not_put_below_the_answer() -> None:
    tools = [
        {**TOOL, "name": n, "annotations": {"readOnlyHint": n == "look"}} for n in ("look", "alter")
    ]
    messages = [{"role": "user", "content": "Make it x2x"}]
    for name, content in (("look", "x1x"), ("alter", "changed a.txt")):
        made = {"id": name, "name": name, "arguments": {"text": name}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [made]})
        messages.append({"role": "tool", "tool_call_id": name, "content": content})
    final, _ = answer(Model(NONE, "Done: changed a.txt"), messages=messages, tools=tools)
    assert final["message"]["content"] == "changed a.txt"


def test_an_answer_to_a_schema_is_held_to_it_also_with_tools_and_is_left_as_it_is() -> None:
    schema = {"type": "object"}
    model = Model(NONE, "{}")
    final, deltas = answer(model, messages=BEFORE, tools=[TOOL], schema=schema, stream=True)
    assert final["message"]["content"] == "{}" == "".join(deltas)
    assert model.bodies[1]["response_format"]["json_schema"]["schema"] == schema


def test_an_answer_that_was_cut_keeps_what_there_is() -> None:
    final, _ = answer(Model("The first half", stop_reason="max_tokens"))
    assert (final["type"], final["stop_reason"], final["message"]["content"]) == (
        "response",
        "max_tokens",
        "The first half",
    )


@pytest.mark.parametrize(
    "bad,kind,retryable",
    [
        (Fault("context_length", "too long"), "context_length", False),
        (Cancelled(), "interrupted", False),
        (Fault("server", "gone"), "server", True),
        (KeyError("x"), "server", False),
        ("no JSON at all", "bad_response", False),
    ],
)
def test_whatever_goes_wrong_is_one_error_record(bad: Any, kind: str, retryable: bool) -> None:
    final, _ = answer(Model(bad), tools=[TOOL])
    assert (final["type"], final["kind"], final["retryable"], final["provider"]) == (
        "error",
        kind,
        retryable,
        "local",
    )


def test_an_error_after_deltas_is_partial() -> None:
    class Breaks(Model):
        def chat(self, path: str, plan: Any, see: Any, wanted: Any, emit: Any) -> Any:
            see("Hel")
            raise Fault("server", "gone")

    assert answer(Breaks(), stream=True)[0]["partial"] is True


def test_a_long_silence_is_broken_by_empty_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_answer, "ALIVE", -1.0)
    final, deltas = answer(Model("ab"), stream=True)
    assert deltas == ["", "a", "", "b"]
    assert final["message"]["content"] == "ab"


def test_a_request_that_waits_for_its_turn_can_be_cancelled() -> None:
    resident, before = (
        local_answer.Resident(),
        threading.active_count(),
    )  # other tests of the worker left some
    with resident._turn, pytest.raises(Cancelled):
        resident.chat("x", prompt.answer({}), print, lambda: False, print)
    assert threading.active_count() <= before


def test_llama_cpps_pieces_become_text_usage_and_kind() -> None:
    seen: list[str] = []
    gathered = Pieces(seen.append, lambda: True)
    for piece in (
        {"choices": [{"delta": {"role": "assistant", "content": None}}], "prompt_progress": {}},
        {"choices": [{"delta": {"content": "a"}}]},
        {"choices": [{"delta": {"content": "b"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        },
    ):
        assert gathered.take(json.dumps(piece)) is False
    assert seen == ["a", "ab"]
    assert gathered.completion() == Completion(
        "ab", "max_tokens", {"input_tokens": 9, "output_tokens": 2, "cached_input_tokens": 4}
    )
    failed = Pieces(seen.append, lambda: True)
    assert (
        failed.take('{"error":{"type":"exceed_context_size_error","message":"too long"}}') is True
    )
    with pytest.raises(Fault, match="too long"):
        failed.completion()


def test_an_answer_without_an_end_is_a_fault() -> None:
    with pytest.raises(Fault, match="stopped"):
        Pieces(print, lambda: True).completion()
