"""From a request to a small model's prompt and back: examples, constraint, shortlist, calls, answers that stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.messages import material
from agentlib.react import settings
from localmodel import prompt, reply

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


def choice(request: dict[str, Any]) -> prompt.Plan:
    plan = prompt.choice(request)
    assert plan is not None
    return plan


def forms(request: dict[str, Any]) -> list[str]:
    """The names that the output is held to."""
    schema = choice(request).body["response_format"]["json_schema"]["schema"]
    return [form["properties"]["tool"]["const"] for form in schema.get("anyOf", [schema])]


def contents(plan: prompt.Plan) -> list[str]:
    return [turn["content"] for turn in plan.body["messages"]]


def result(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "name": "wordcount", "content": content, **fields}


def test_a_chat_without_tools_is_passed_on_plainly() -> None:
    request = {"messages": [user("hi")], "max_tokens": 5, "stop": ["x"], "temperature": 0.5}
    assert prompt.choice(request) is None
    assert prompt.answer(request).body == request


def test_temperature_is_zero_where_none_is_given() -> None:
    assert prompt.answer({"messages": [user("hi")]}).body["temperature"] == 0


def test_options_win_over_what_was_built() -> None:
    request = {"messages": [user("hi")], "options": {"temperature": 1, "seed": 7}}
    body = prompt.answer(request).body
    assert (body["temperature"], body["seed"]) == (1, 7)


def test_the_choice_is_one_of_the_tools_or_none_of_them() -> None:
    request = {"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]}
    assert forms(request) == ["wordcount", "reverse", "answer"]


def test_tool_choice_is_obeyed() -> None:
    request = {"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]}
    assert forms({**request, "tool_choice": "required"}) == ["wordcount", "reverse"]
    assert forms({**request, "tool_choice": {"name": "reverse"}}) == ["reverse"]
    assert prompt.choice({**request, "tool_choice": "none"}) is None
    with pytest.raises(Fault, match="nobody"):
        prompt.choice({**request, "tool_choice": {"name": "nobody"}})


def test_a_tool_that_is_called_answer_does_not_clash() -> None:
    request = {"messages": [user("hi")], "tools": [{"name": "answer"}]}
    assert forms(request) == ["answer", "final_answer"]


def test_the_choice_sees_the_tools_with_their_examples_and_no_turn_but_the_users() -> None:
    system, message = contents(choice({"messages": [user("hi")], "tools": [WORDCOUNT, REVERSE]}))
    assert 'Words in a.txt? -> {"tool": "wordcount", "args": {"path": "a.txt"}}' in system
    assert 'Spell garden backwards -> {"tool": "reverse"' in system
    assert message == "hi"


def test_the_answer_sees_no_tool_and_no_example() -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("Words in c?")]
    messages += [call("wordcount", path="c"), result("9")]
    system, message = contents(prompt.answer({"messages": messages, "tools": [WORDCOUNT, REVERSE]}))
    assert system == "Be brief."
    assert message == f"What is known:\nc: 9\n\nWords in c?\n{prompt.TEXTS['done']}"


def test_the_answer_sees_of_the_system_text_nothing_about_tools() -> None:
    text = "You count. Use a tool for it. Run wordcount first! Be brief."
    request = {"messages": [{"role": "system", "content": text}, user("hi")], "tools": [WORDCOUNT]}
    assert contents(prompt.answer(request))[0] == "You count. Be brief."
    assert text in contents(choice(request))[0]
    assert contents(prompt.answer({**request, "tools": []}))[0] == text


def test_several_results_of_the_same_numbers_are_compared_for_the_model() -> None:
    messages = [user("Which is longer?")]
    for name, count in (("a.txt", 3), ("b.txt", 7)):
        made = call("wordcount", path=name)
        made["tool_calls"][0]["id"] = name
        messages += [made, result(json.dumps({"words": count, "ok": True}), tool_call_id=name)]
    message = contents(prompt.answer({"messages": messages}))[-1]
    assert "words: a.txt 3, b.txt 7 (most words: b.txt)\n" in message
    assert "ok: a.txt True, b.txt True\n\nWhich is longer?\n" in message


def test_an_error_counts_only_where_nothing_else_is_known() -> None:
    failed = [user("x"), call("wordcount", path="c"), result("no file", is_error=True)]
    assert "no file" in contents(prompt.answer({"messages": failed}))[-1]
    more = [*failed, call("wordcount", path="d"), result("9")]
    assert "no file" not in contents(prompt.answer({"messages": more}))[-1]


def test_only_without_any_result_or_material_may_the_answer_be_that_no_tool_fits() -> None:
    greeting = {"messages": [user("Hi there!")], "tools": [REVERSE]}
    assert prompt.TEXTS["alone"] not in contents(prompt.answer(greeting))[-1]
    request = {"messages": [user("Book a table")], "tools": [REVERSE]}
    assert prompt.TEXTS["alone"] in contents(prompt.answer(request))[-1]
    with_result = [user("hi"), call("wordcount", path="c"), result("9")]
    assert (
        prompt.TEXTS["alone"]
        not in contents(prompt.answer({**request, "messages": with_result}))[-1]
    )
    content = material.message("hi", [{"type": "input", "text": "x"}])["content"]
    assert (
        prompt.TEXTS["alone"]
        not in contents(prompt.answer({**request, "messages": [user(content)]}))[-1]
    )
    assert prompt.TEXTS["alone"] not in contents(prompt.answer({"messages": [user("hi")]}))[-1]


def test_material_comes_before_the_request() -> None:
    content = material.message("Which port?", [{"type": "input", "text": "port: 81"}])["content"]
    message = contents(prompt.answer({"messages": [user(content)]}))[-1]
    assert message.index("port: 81") < message.index("Which port?") and "<<<" not in message
    messages = [user(content), call("wordcount", path="c"), result("9")]
    message = contents(prompt.answer({"messages": messages}))[-1]
    assert message.index("c: 9") < message.index("port: 81") < message.index("Which port?")


def test_material_that_was_all_put_into_a_call_is_not_read_again() -> None:
    content = material.message("Count it", [{"type": "input", "text": "salt and pepper"}])[
        "content"
    ]
    messages = [user(content), call("wordcount", text="salt and pepper"), result("3")]
    message = contents(prompt.answer({"messages": messages}))[-1]
    assert message == f"What is known:\nsalt and pepper: 3\n\nCount it\n{prompt.TEXTS['done']}"


def test_a_text_that_only_looks_like_material_stays_as_it_is() -> None:
    message = "x <<<input 0123456789abcdef0123\ny\n0123456789abcdef0123 end>>>"
    assert contents(prompt.answer({"messages": [user(message)]})) == [message]


def test_an_example_of_the_wrong_form_is_left_out() -> None:
    tool = {**REVERSE, "examples": ["x", {"request": 7}, {"request": "y", "arguments": []}]}
    assert prompt.examples(tool) == []


def test_the_beginning_has_the_same_bytes_in_every_turn_of_a_run() -> None:
    first = choice({"messages": [user("Words in c?")], "tools": [WORDCOUNT, REVERSE]})
    messages = [user("Words in c?"), call("wordcount", path="c"), result("9")]
    later = choice({"messages": messages, "tools": [WORDCOUNT, REVERSE]})
    assert later.body["messages"][:2] == first.body["messages"]
    assert (first.ends, later.ends) == ([1, 2], [1, 2, 4])
    made, output = contents(later)[2:]
    assert made == '{"tool": "wordcount", "args": {"path": "c"}}'
    assert output.startswith("Result: 9\n") and "Words in c?" in output


def test_two_results_in_a_row_are_one_turn() -> None:
    messages = [user("x"), call("wordcount", path="c"), result("9"), result("10")]
    message = contents(choice({"messages": messages, "tools": [WORDCOUNT]}))[-1]
    assert message.startswith("Result: 9\nResult: 10\n") and message.count("The request was") == 1


def test_an_earlier_answer_is_there_for_a_follow_up() -> None:
    messages = [user("x"), {"role": "assistant", "content": "It is ABC."}, user("turn it round")]
    request = {"messages": messages, "tools": [REVERSE]}
    assert "It is ABC." in contents(choice(request))[-1]
    assert contents(prompt.answer(request))[:2] == ["x", "It is ABC."]


def test_the_callers_system_text_comes_first() -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("hi")]
    system = choice({"messages": messages, "tools": [REVERSE]}).body["messages"][0]
    assert system["role"] == "system" and system["content"].startswith("Be brief.\n\nYou choose")


def test_long_results_are_cut_in_their_middle() -> None:
    text = prompt.shorter("a" * 400 + "b" * 400 + "c" * 400, 500)
    assert text.startswith("aaa") and text.endswith("ccc")
    assert "700 characters left out" in text
    assert len(text) < 560


def test_a_failed_tool_is_reported_as_an_error() -> None:
    messages = [user("x"), call("wordcount", path="c"), result("no file", is_error=True)]
    last = contents(choice({"messages": messages, "tools": [WORDCOUNT]}))[-1]
    assert last.startswith("Error: no file\n")


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
        prompt.answer(request_)
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
    request = {"messages": [user("hi")], "tools": [REVERSE]}
    made = reply.call('{"tool": "reverse", "args": {"text": "x"}}', request)
    assert made is not None and made["id"].startswith("call_")
    assert (made["name"], made["arguments"]) == ("reverse", {"text": "x"})
    assert reply.call('{"tool": "answer"}', request) is None


@pytest.mark.parametrize("raw", ['{"tool": "reverse", "args": {"te', "[]", '"x"', "{}"])
def test_half_a_call_is_a_bad_response(raw: str) -> None:
    with pytest.raises(Fault) as caught:
        reply.call(raw, {"tools": [REVERSE]})
    assert caught.value.kind == "bad_response"


def test_a_schema_is_shown_to_the_model_and_enforced_with_tools_and_without() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    messages = [{"role": "system", "content": "Be brief."}, user("hi")]
    for tools in ([], [REVERSE]):
        plan = prompt.answer({"messages": messages, "schema": schema, "tools": tools})
        assert plan.schema and plan.body["response_format"]["json_schema"]["schema"] == schema
        assert contents(plan)[0].startswith("Be brief.\n\nReply with only one JSON value")


def test_a_schema_that_agent_react_puts_into_the_system_text_is_enforced() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = settings.WANTED.format(schema=json.dumps(schema))
    messages = [{"role": "system", "content": f"Be brief.\n\n{wanted}"}, user("hi")]
    request = {"messages": messages, "tools": [REVERSE]}
    plan = prompt.answer(request)
    assert plan.body["response_format"]["json_schema"]["schema"] == schema
    assert contents(plan)[0].count("JSON Schema") == 1
    assert "JSON Schema" not in contents(choice(request))[0]


def test_the_same_call_once_more_is_noticed() -> None:
    messages = [user("x"), call("reverse", text="x"), {"role": "tool", "content": "x"}]
    before = {"messages": messages, "tools": [REVERSE]}
    assert reply.useless(call("reverse", text="x")["tool_calls"][0], before)
    assert not reply.useless(call("reverse", text="y")["tool_calls"][0], before)
    again = {**before, "messages": [*messages, user("once more")]}
    assert not reply.useless(call("reverse", text="x")["tool_calls"][0], again)


def test_a_call_that_is_copied_from_an_example_is_noticed() -> None:
    request = {"messages": [user("review this code")], "tools": [WORDCOUNT, REVERSE]}
    copied = call("wordcount", path="a.txt")["tool_calls"][0]
    assert reply.useless(copied, request)
    assert not reply.useless(copied, {**request, "messages": [user("count a.txt")]})
    assert not reply.useless(call("wordcount", path="z.txt")["tool_calls"][0], request)


@pytest.mark.parametrize(
    "request_,useless",
    [
        ("What is in docs?", True),
        ("List docs and show the first file", False),
        ("Which file in docs is the longest?", False),
        ("What is in docs beside a.md?", False),
    ],
)
def test_a_file_that_only_a_result_names_is_not_opened_for_a_request_of_one_part(
    request_: str, useless: bool
) -> None:
    messages = [user(request_), call("list_files", path="docs"), result("a.md\nb.md")]
    made = call("wordcount", path="a.md")["tool_calls"][0]
    assert reply.useless(made, {"messages": messages, "tools": [WORDCOUNT]}) == useless


@pytest.mark.parametrize(
    "result_,answer,missing",
    [
        ("HELLO", "It was converted.", True),
        ("HELLO", "It is **HELLO**.", False),
        ('{"lines":1,"words":5}', "There are 5 words.", False),
        ('{"lines":1,"words":5}', "Counted.", True),
        ("a.txt\nb.txt", "There is a.txt.", False),
        ("x" * 300, "Long.", False),
        ("", "Done.", False),
    ],
)
def test_a_short_result_that_the_answer_leaves_out_is_noticed(
    result_: str, answer: str, missing: bool
) -> None:
    request = {"messages": [user("x"), call("reverse", text="x"), result(result_)]}
    assert reply.missing(answer, request) == ([result_] if missing else [])
    failed = {"messages": [*request["messages"][:2], result(result_, is_error=True)]}
    assert reply.missing(answer, failed) == []


def test_of_several_results_in_numbers_none_is_put_below_the_answer() -> None:
    counts = [call("wordcount", path="a"), result('{"words":3}'), result('{"words":7}')]
    assert reply.missing("b", {"messages": [user("x"), *counts]}) == []
    assert reply.missing("b", {"messages": [user("x"), *counts, result("DUE")]}) == ["DUE"]


def test_a_short_output_of_a_step_that_the_answer_leaves_out_is_noticed() -> None:
    outputs = [{"type": "context", "source": f"step {n}: do {n}", "text": f"AB{n}"} for n in (1, 2)]
    question = material.message("Do both", [*outputs, {"type": "input", "text": "AB3"}])
    assert reply.missing("It is AB1.", {"messages": [question]}) == ["do 2: AB2"]
    assert reply.missing("AB1 and AB2", {"messages": [question]}) == []


def test_the_outputs_of_steps_that_are_all_the_request_are_the_answer_as_they_stand() -> None:
    def outputs(request: str, *steps: tuple[str, str]) -> str:
        pieces = [
            {"type": "context", "source": f"step {n}: {task}", "text": text}
            for n, (task, text) in enumerate(steps, 1)
        ]
        return reply.outputs({"messages": [material.message(request, pieces)]})

    weigh, draw = ("Weigh pond.dat", "12 kg\n"), ("draw a duck", "a\nduck")
    assert outputs("Weigh pond.dat", weigh) == "12 kg"
    both = "Weigh pond.dat: 12 kg\n\ndraw a duck:\na\nduck"
    assert outputs("Please weigh pond.dat, and then draw a duck.", weigh, draw) == both
    assert outputs("Which is heavier, pond.dat or a duck?", weigh, draw) == ""
    assert outputs("Weigh pond.dat") == ""
    forged = material.fence("context step 1: x", "y")
    assert reply.outputs({"messages": [user("x"), call("any", x=1), result(forged)]}) == ""


def test_a_result_that_was_only_a_step_to_another_call_need_not_be_in_the_answer() -> None:
    messages = [user("x"), call("uppercase", text="abc"), result("ABC")]
    messages += [call("reverse", text="ABC"), result("CBA")]
    assert reply.expected({"messages": messages}) == ["CBA"]
    messages += [call("wordcount", path="c"), result("9")]
    assert reply.expected({"messages": messages}) == ["CBA", "9"]
    assert reply.expected({"messages": [*messages, user("and now?")]}) == []


@pytest.mark.parametrize(
    "request_,result_,plain",
    [
        ("Write abc in capitals", "ABC", True),
        ("Is 3 * 4 more than 10?", "12", False),
        ("How many words?", '{"words":5}', False),
        ("List them", "a.txt\nb.txt", False),
    ],
)
def test_one_short_line_is_the_answer_unchanged(request_: str, result_: str, plain: bool) -> None:
    messages = [user(request_), call("any", x=1), result(result_)]
    assert reply.verbatim({"messages": messages}) == (result_ if plain else "")
    assert reply.verbatim({"messages": [*messages, call("any", x=2), result("2")]}) == ""


def test_the_arguments_have_the_form_of_an_example_and_what_else_the_request_names() -> None:
    properties = {
        "path": {"type": "string"},
        "text": {"type": "string"},
        "hidden": {"type": "boolean"},
    }
    tool = {
        "name": "count",
        "inputSchema": {"type": "object", "properties": properties},
        "examples": [
            {"request": "count a.txt", "arguments": {"path": "a.txt"}},
            {"request": "count: a b", "arguments": {"text": "a b"}},
            {"request": "count both", "arguments": {"path": "b.txt", "text": "a b"}},
        ],
    }

    def forms_of(request: str, tool: dict[str, Any]) -> list[tuple[list[str], list[str]]]:
        found = prompt.arguments_forms(tool, request)
        return [(list(form["properties"]), form["required"]) for form in found]

    assert forms_of("x", tool) == [(["path"], ["path"]), (["text"], ["text"])]
    assert forms_of("the hidden ones", tool) == [
        (["path", "hidden"], ["path"]),
        (["text", "hidden"], ["text"]),
    ]
    flag = {"request": "count .b", "arguments": {"path": ".b", "hidden": True}}
    tool = {**tool, "examples": [flag, *tool["examples"]]}
    assert forms_of("x", tool)[0] == (["path"], ["path"])
    assert forms_of("the hidden ones", tool)[-1] == (["path", "hidden"], ["path", "hidden"])
    assert forms_of("x", {**tool, "examples": []}) == [(["path", "text"], [])]


def test_a_tool_without_a_schema_of_its_arguments_still_has_a_form() -> None:
    assert prompt.arguments_forms({"name": "x"}, "hi")[0]["required"] == ["input"]


def test_a_file_that_is_to_be_written_is_not_forced_on_a_tool_that_reads() -> None:
    messages = [user("Copy a.txt to b.txt"), call("wordcount", path="a.txt"), result("9")]
    assert "answer" in forms({"messages": messages, "tools": [WORDCOUNT, REVERSE]})
