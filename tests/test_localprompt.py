"""From a request to a small model's prompt and back: examples, constraint, shortlist, calls, answers that stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.local import prompt, reply
from agentlib.local.prompt import MOST, fitting, shortlist

WORDCOUNT = {
    "name": "wordcount",
    "description": "Count words",
    "inputSchema": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "the file"},
            "lines": {"type": "boolean"},
        },
        "required": ["path"],
    },
    "examples": [
        {
            "request": "Words in a.txt?",
            "arguments": {"path": "a.txt"},
            "result": "7",
            "answer": "It has 7.",
        },
        {"request": "count b.md", "arguments": {"path": "b.md"}},
    ],
}
REVERSE = {
    "name": "reverse",
    "description": "Turn a text around",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
    "examples": [{"request": "Spell garden backwards", "arguments": {"text": "garden"}}],
}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "name": name, "arguments": arguments}],
    }


def turns(request: dict[str, Any]) -> list[dict[str, Any]]:
    return list(prompt.plan(request).body["messages"])


def forms(request: dict[str, Any], **more: Any) -> list[str]:
    """The names that the output is held to."""
    schema = prompt.plan(request, **more).body["response_format"]["json_schema"]["schema"]
    return [form["properties"]["tool"]["const"] for form in schema.get("anyOf", [schema])]


def test_a_chat_without_tools_is_passed_on_plainly() -> None:
    body = prompt.plan(
        {"messages": [user("hi")], "max_tokens": 5, "stop": ["x"], "temperature": 0.5}
    ).body
    assert body == {"messages": [user("hi")], "max_tokens": 5, "stop": ["x"], "temperature": 0.5}


def test_temperature_is_zero_where_none_is_given() -> None:
    assert prompt.plan({"messages": [user("hi")]}).body["temperature"] == 0


def test_options_win_over_what_was_built() -> None:
    body = prompt.plan({"messages": [user("hi")], "options": {"temperature": 1, "seed": 7}}).body
    assert (body["temperature"], body["seed"]) == (1, 7)


def test_the_output_is_held_to_the_tools_and_an_answer() -> None:
    assert forms({"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]}) == [
        "wordcount",
        "reverse",
        "answer",
    ]


def test_tool_choice_is_obeyed() -> None:
    request = {"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]}
    assert forms({**request, "tool_choice": "required"}) == ["wordcount", "reverse"]
    assert forms({**request, "tool_choice": {"name": "reverse"}}) == ["reverse"]
    assert "response_format" not in prompt.plan({**request, "tool_choice": "none"}).body
    with pytest.raises(Fault, match="nobody"):
        prompt.plan({**request, "tool_choice": {"name": "nobody"}})


def test_an_answer_can_be_made_the_only_way_out() -> None:
    assert forms({"messages": [user("hi")], "tools": [WORDCOUNT]}, answer_only=True) == ["answer"]


def test_a_tool_that_is_called_answer_does_not_clash() -> None:
    assert forms({"messages": [user("hi")], "tools": [{"name": "answer"}]}) == [
        "answer",
        "final_answer",
    ]


def test_examples_become_turns_before_the_request() -> None:
    said = [t["content"] for t in turns({"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]})]
    first = said.index("Words in a.txt?")
    assert said[first + 1] == '{"tool": "wordcount", "args": {"path": "a.txt"}}'
    assert said[first + 2 : first + 4] == [
        "Result: 7",
        '{"tool": "answer", "args": {"text": "It has 7."}}',
    ]
    assert said.index("Spell garden backwards") < said.index("count b.md")
    assert said[-1] == "hi"


def test_an_example_of_the_wrong_form_is_left_out() -> None:
    tool = {**REVERSE, "examples": ["x", {"request": 7}, {"request": "y", "arguments": []}]}
    assert len(turns({"messages": [user("hi")], "tools": [tool]})) == 2


def test_the_beginning_has_the_same_bytes_in_every_turn_of_a_run() -> None:
    first = turns({"messages": [user("Words in c?")], "tools": [WORDCOUNT, REVERSE]})
    later = turns(
        {
            "messages": [
                user("Words in c?"),
                call("wordcount", path="c"),
                {"role": "tool", "name": "wordcount", "content": "9"},
            ],
            "tools": [WORDCOUNT, REVERSE],
        }
    )
    assert later[: len(first)] == first
    assert [t["content"] for t in later[len(first) :]] == [
        '{"tool": "wordcount", "args": {"path": "c"}}',
        "Result: 9",
    ]


def test_the_callers_system_text_comes_first() -> None:
    system = turns(
        {"messages": [{"role": "system", "content": "Be brief."}, user("hi")], "tools": [REVERSE]}
    )[0]
    assert system["role"] == "system" and system["content"].startswith(
        "Be brief.\n\nYou have tools."
    )


def test_long_results_are_cut_in_their_middle() -> None:
    text = prompt.result_text("a" * 400 + "b" * 400 + "c" * 400)
    assert text.startswith("Result: aaa") and text.endswith("ccc")
    assert "700 characters left out" in text
    assert len(text) < prompt.RESULT_CAP + 60


def test_a_failed_tool_is_told_as_an_error() -> None:
    assert prompt.result_text("no such file", failed=True) == "Error: no such file"


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": [{"role": "user", "content": [{"type": "image", "data": ""}]}]},
        {"messages": [user("hi")], "reasoning": "high"},
        {"messages": [user("hi")], "api": "responses"},
    ],
)
def test_what_a_small_model_cannot_carry_is_refused_by_name(request_: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        prompt.plan(request_)
    assert caught.value.kind == "invalid_request"
    assert any(word in caught.value.message for word in ("image", "reasoning", "responses"))


def test_a_schema_is_reduced_to_what_the_constraint_knows() -> None:
    schema = {
        "type": "object",
        "$defs": {"n": {"type": "integer", "minimum": 1, "format": "odd"}},
        "properties": {
            "n": {"$ref": "#/$defs/n"},
            "s": {"type": "string", "pattern": "(?<=x)y"},
            "l": {"type": "array", "items": {"enum": ["a", "b"]}},
        },
        "required": ["n", "ghost"],
        "patternProperties": {"^x": {}},
    }
    assert prompt.subset(schema) == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1},
            "s": {"type": "string"},
            "l": {"type": "array", "items": {"enum": ["a", "b"]}},
        },
        "required": ["n"],
        "additionalProperties": False,
    }


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert prompt.subset({"properties": {"child": {"$ref": "#"}}})["type"] == "object"


def test_a_call_comes_out_as_an_ordinary_tool_call() -> None:
    plan = prompt.plan({"messages": [user("hi")], "tools": [REVERSE]})
    said = reply.message('{"tool": "reverse", "args": {"text": "x"}}', plan)
    assert said["tool_calls"][0]["name"] == "reverse" and said["tool_calls"][0]["arguments"] == {
        "text": "x"
    }
    assert said["tool_calls"][0]["id"].startswith("call_")
    said = reply.message('{"tool": "answer", "args": {"text": "x"}}', plan)
    assert said == {"role": "assistant", "content": "x"}


def test_half_a_call_is_a_bad_response() -> None:
    plan = prompt.plan({"messages": [user("hi")], "tools": [REVERSE]})
    with pytest.raises(Fault) as caught:
        reply.message('{"tool": "reverse", "args": {"te', plan)
    assert caught.value.kind == "bad_response"


def test_an_answer_streams_while_it_grows_and_never_shows_half_a_character() -> None:
    plan = prompt.plan({"messages": [user("hi")], "tools": [REVERSE]})
    text = 'He said "ä\\" \n\t\U0001f600 end'
    for whole in (
        json.dumps({"tool": "answer", "args": {"text": text}}, ensure_ascii=a)
        for a in (True, False)
    ):
        seen = [reply.answer_text(whole[:n], plan) for n in range(len(whole) + 1)]
        assert seen[-1] == text
        assert all(text.startswith(s) for s in seen)
        assert seen == sorted(seen, key=len)


def test_a_call_shows_no_text_while_it_grows() -> None:
    plan = prompt.plan({"messages": [user("hi")], "tools": [REVERSE]})
    whole = '{"tool": "reverse", "args": {"text": "answer"}}'
    assert {reply.answer_text(whole[:n], plan) for n in range(len(whole) + 1)} == {""}


def test_a_schema_without_tools_is_told_and_enforced() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    messages = [{"role": "system", "content": "Be brief."}, user("hi")]
    body = prompt.plan({"messages": messages, "schema": schema}).body
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert [t["role"] for t in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"].startswith("Be brief.\n\nReply with only one JSON value")


def test_with_a_schema_and_tools_the_answer_has_the_schemas_form() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    plan = prompt.plan({"messages": [user("hi")], "tools": [REVERSE], "schema": schema})
    assert not plan.free
    assert reply.message('{"tool": "answer", "args": {"n": 3}}', plan)["content"] == '{"n": 3}'


def test_the_same_call_once_more_is_noticed() -> None:
    before = {"messages": [user("x"), call("reverse", text="x"), {"role": "tool", "content": "x"}]}
    assert reply.repeats(call("reverse", text="x"), before)
    assert not reply.repeats(call("reverse", text="y"), before)
    assert not reply.repeats({"role": "assistant", "content": "x"}, before)


def many() -> list[dict[str, Any]]:
    about = {
        "wordcount": "Count lines, words and bytes of a text or a file",
        "uppercase": "Turn a text into capital letters",
        "calculator": "Evaluate an arithmetic expression",
        "read_file": "Read a text file, whole or a range of lines",
        "list_files": "List the files in a folder",
        "search_files": "Search files for a pattern",
        "write_file": "Write a text to a file",
        "edit_file": "Replace an exact text in a file",
        "run_command": "Run a program with arguments",
        "fetch_url": "Fetch a page of the web by its address",
        "json_query": "Query JSON with jq",
        "current_time": "Tell the date and time in a time zone",
    }
    return [
        {"name": name, "description": text, "inputSchema": {"type": "object"}}
        for name, text in about.items()
    ]


@pytest.mark.parametrize(
    "request_,wanted",
    [
        ("How many words are in README.md?", "wordcount"),
        ("What is 3 * 4?", "calculator"),
        ("What time is it in Tokyo?", "current_time"),
        ("list the files in src", "list_files"),
        ("get https://example.com/ please", "fetch_url"),
        ("put hello into out.txt", "write_file"),
        ("SHOUT this in capitals", "uppercase"),
        ("cat /etc/hostname", "read_file"),
        ("see ./build", "list_files"),
    ],
)
def test_of_many_tools_those_whose_words_meet_the_request_are_offered(
    request_: str, wanted: str
) -> None:
    found = [tool["name"] for tool in shortlist(many(), request_)]
    assert wanted in found and len(found) == MOST


def test_the_shortlist_keeps_the_order_and_what_was_called_already() -> None:
    names = [tool["name"] for tool in many()]
    found = [tool["name"] for tool in shortlist(many(), "what time is it?", {"json_query"})]
    assert "json_query" in found
    assert found == sorted(found, key=names.index)


def test_eight_tools_or_fewer_are_all_offered() -> None:
    assert shortlist(many()[:MOST], "anything") == many()[:MOST]


def test_an_optional_argument_is_shown_where_an_example_uses_it_or_the_request_names_it() -> None:
    tool = {
        "name": "list_files",
        "inputSchema": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "hidden": {"type": "boolean"},
                "recursive": {"type": "boolean"},
            },
        },
        "examples": [{"request": "what is in docs?", "arguments": {"path": "docs"}}],
    }

    def shown(request: str, tool: dict[str, Any]) -> list[str]:
        return list(fitting(tool, request)["inputSchema"]["properties"])

    assert shown("List the files in src", tool) == ["path"]
    assert shown("List the hidden files in src", tool) == ["path", "hidden"]
    assert shown("List the files in src", {**tool, "examples": []}) == [
        "path",
        "hidden",
        "recursive",
    ]
