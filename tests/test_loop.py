"""One run as a generator: cut off anywhere it comes to the same end; long ones are summed up; odd models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlib.faults import Fault
from agentlib.messages import transcript
from agentlib.react import context_window
from agentlib.react.loop import Request, Run, Watcher, Work
from agentlib.react.settings import Setting

Record = dict[str, Any]


class FakeTools:
    """Tools whose results are their arguments; counts what is run."""

    def __init__(self, reads: bool = True) -> None:
        self.reads, self.ran = reads, []  # type: ignore[var-annotated]

    def offered(self) -> list[Record]:
        return [{"name": "t", "description": "", "inputSchema": {}}]

    def harmless(self, calls: list[dict[str, Any]]) -> bool:
        return self.reads

    def perform(self, call: dict[str, Any], scope: object, hook: object, trace: str) -> Record:
        self.ran.append(call["id"])
        return transcript.result(call, f"result of {call['arguments']['n']}")


def drive(run: Run, model: Any) -> Record:
    """Drive a run to its end; model(request) gives the assistant's message, or a Fault."""
    steps, value = run.steps(), None
    while True:
        try:
            step = steps.throw(value) if isinstance(value, Fault) else steps.send(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(step, Work):
            value = [work() for work in step.parts]
        else:
            assert isinstance(step, Request)
            reply = model(step.record)
            value = (
                reply
                if isinstance(reply, Fault)
                else {"message": reply, "usage": {"input_tokens": 1}}
            )


def call(id: str | None, n: Any) -> Record:
    """A call of the one tool."""
    return {**({"id": id} if id else {}), "name": "t", "arguments": {"n": n}}


def scripted(rounds: list[int]) -> Any:
    """A model that makes rounds[i] calls in its i-th turn and then answers with all results."""

    def model(request: Record) -> Record:
        reply = [one for one in request["messages"] if one["role"] != "system"]
        turn = sum(one["role"] == "assistant" for one in reply)
        if turn < len(rounds):
            calls = [call(f"c{turn}.{n}", f"{turn}.{n}") for n in range(rounds[turn])]
            return {"role": "assistant", "content": "", "tool_calls": calls}
        return {
            "role": "assistant",
            "content": "|".join(one["content"] for one in reply if one["role"] == "tool"),
        }

    return model


def bare(messages: list[Record]) -> list[Record]:
    return transcript.wire(messages)


@settings(max_examples=60, deadline=None)
@given(rounds=st.lists(st.integers(1, 4), max_size=4), cut=st.integers(0, 30), reads=st.booleans())
def test_a_transcript_cut_at_any_record_comes_to_the_same_end(
    rounds: list[int], cut: int, reads: bool
) -> None:
    """The messages, the answer, and no call that was answered is made again."""
    complete = Run(Setting(FakeTools(reads), max_iterations=0), [], {"id": "1", "input": "go"})  # type: ignore[arg-type]
    result = drive(complete, scripted(rounds))
    kept = complete.messages[: max(1, cut % (len(complete.messages) + 1))]
    tools = FakeTools(reads)
    again = Run(Setting(tools, max_iterations=0), list(kept))  # type: ignore[arg-type]
    assert drive(again, scripted(rounds))["output"] == result["output"]
    assert bare(again.messages) == bare(complete.messages)
    assert not set(tools.ran) & {one.get("tool_call_id") for one in kept}


def test_a_call_without_result_is_answered_before_a_new_request() -> None:
    """Vendors refuse a call that nothing answers."""
    messages = [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "name": "t", "arguments": {"n": 1}}],
        },
    ]
    run = Run(Setting(FakeTools()), messages, {"id": "1", "input": "something else"})  # type: ignore[arg-type]
    seen: list[Record] = []

    def model(request: Record) -> Record:
        seen.extend(request["messages"])
        return {"role": "assistant", "content": "ok"}

    drive(run, model)
    roles = [one["role"] for one in seen]
    assert roles == ["system", "user", "assistant", "tool", "user"]
    assert seen[3]["is_error"]


def conversation(turns: int, width: int) -> list[Record]:
    """system, first request, and turns of call and result of about `width` characters."""
    out: list[Record] = [
        {"role": "system", "content": "sys"},
        {"role": "user", "content": "the first request"},
    ]
    for n in range(turns):
        out.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": f"a{n}", "name": "t", "arguments": {"n": n}},
                    {"id": f"b{n}", "name": "t", "arguments": {"n": n}},
                ],
            }
        )
        out += [
            {"role": "tool", "tool_call_id": f"{which}{n}", "name": "t", "content": "x" * width}
            for which in "ab"
        ]
    return out


@settings(max_examples=80, deadline=None)
@given(turns=st.integers(0, 12), width=st.integers(0, 2000), window=st.integers(50, 20000))
def test_compaction_never_parts_a_call_from_its_result(turns: int, width: int, window: int) -> None:
    """And it keeps system text and first request, and the last group."""
    messages = conversation(turns, width)
    start, stop = context_window.middle(messages, window)
    left = (
        messages[:start]
        + ([context_window.message("sum", stop - start)] if stop > start else [])
        + messages[stop:]
    )
    assert left[:2] == messages[:2]
    assert left[-1] == messages[-1]
    called = {call["id"] for one in left for call in transcript.calls(one)}
    answered = {one["tool_call_id"] for one in left if one["role"] == "tool"}
    assert called == answered


def test_compaction_is_done_once_and_then_leaves_alone_what_fits() -> None:
    """Summing up a conversation that was summed up changes nothing."""
    messages = conversation(10, 400)
    start, stop = context_window.middle(messages, 2000)
    messages[start:stop] = [context_window.message("sum", stop - start)]
    again = context_window.middle(messages, 2000)
    assert again[1] <= again[0]


def test_a_long_run_is_summed_up_by_the_model_and_goes_on() -> None:
    """The summary stands in the transcript, and a reader of it sees the same conversation."""
    emitted: list[Record] = []
    setting = Setting(FakeTools(), max_iterations=0, context_window=1500)  # type: ignore[arg-type]
    watcher = Watcher()
    watcher.message = emitted.append  # type: ignore[method-assign]
    run = Run(setting, conversation(10, 400), {"id": "1", "input": "and now?"}, watcher)
    before = list(run.messages)

    def model(request: Record) -> Record:
        if "Sum up the conversation" in request["messages"][0]["content"]:
            return {"role": "assistant", "content": "SUMMARY"}
        assert context_window.size(request["messages"]) < 1500
        return {"role": "assistant", "content": "done"}

    result = drive(run, model)
    assert result["output"] == "done"
    assert any(
        "SUMMARY" in str(one["content"]) and one["replaces"]
        for one in emitted
        if one["role"] == "user"
    )
    assert bare(context_window.replaced(before + emitted)) == bare(run.messages)


def test_without_a_model_that_can_sum_up_it_is_done_mechanically() -> None:
    """The run goes on."""
    setting = Setting(FakeTools(), max_iterations=0, context_window=1500)  # type: ignore[arg-type]
    run = Run(setting, conversation(10, 400), {"id": "1", "input": "and now?"})

    def model(request: Record) -> Any:
        if "Sum up the conversation" in request["messages"][0]["content"]:
            return Fault("server", "no")
        return {"role": "assistant", "content": "done"}

    assert drive(run, model)["output"] == "done"
    assert "[calls t" in str(run.messages[2]["content"])


def test_a_context_length_error_sums_up_and_goes_on() -> None:
    """Once; if it does not help the run ends with the error."""
    setting = Setting(FakeTools(), max_iterations=0)  # type: ignore[arg-type]
    reply: list[Any] = [
        Fault("context_length", "too long"),
        {"role": "assistant", "content": "SUMMARY"},
        {"role": "assistant", "content": "done"},
    ]
    run = Run(setting, conversation(10, 400), {"id": "1", "input": "and now?"})
    assert drive(run, lambda request: reply.pop(0))["output"] == "done"
    run = Run(setting, conversation(10, 400), {"id": "1", "input": "and now?"})
    result = drive(run, lambda request: Fault("context_length", "too long"))
    assert result["error"]["kind"] == "context_length"


def test_calls_without_an_id_or_with_one_twice_get_their_own() -> None:
    """Results are matched by id; a small model may leave it out."""
    reply = [
        {"role": "assistant", "tool_calls": [call(None, 1), call("x", 2), call("x", 3)]},
        {"role": "assistant", "content": "done"},
    ]
    run = Run(Setting(FakeTools()), [], {"id": "1", "input": "go"})  # type: ignore[arg-type]
    drive(run, lambda request: reply.pop(0))
    ids = [one["tool_call_id"] for one in run.messages if one["role"] == "tool"]
    assert len(set(ids)) == 3


def test_an_answer_cut_by_the_vendor_is_reported_as_incomplete() -> None:
    """max_tokens is not a whole answer."""
    run = Run(Setting(FakeTools()), [], {"id": "1", "input": "go"})  # type: ignore[arg-type]
    steps = run.steps()
    steps.send(None)
    with pytest.raises(StopIteration) as end:
        steps.send(
            {"message": {"role": "assistant", "content": "half of"}, "stop_reason": "max_tokens"}
        )
    assert end.value.value["incomplete"] and end.value.value["output"] == "half of"


@pytest.mark.parametrize("response", [{}, {"message": None}, {"message": "text"}])
def test_a_response_without_message_is_an_error_result(response: Record) -> None:
    """Never an exception."""
    run = Run(Setting(FakeTools()), [], {"id": "1", "input": "go"})  # type: ignore[arg-type]
    steps = run.steps()
    steps.send(None)
    with pytest.raises(StopIteration) as end:
        steps.send(response)
    assert end.value.value["error"]["kind"] == "bad_response"
