"""Which call must come next for a small model, and which is far-fetched."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from agentlib.messages import material
from localmodel import due, edits, prompt

Record = dict[str, Any]


def tool(name: str, description: str, path: bool = True, reads: bool = True) -> Record:
    properties = {"path": {"type": "string"}} if path else {"text": {"type": "string"}}
    return {
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": properties},
        "annotations": {"readOnlyHint": reads},
    }


TOOLS = [
    tool("read_file", "Read a text file"),
    tool("json_query", "Pick out of a JSON file"),
    tool("edit_file", "Replace a piece of a text file", reads=False),
    tool("reverse", "Turn a text around", path=False),
]
READS, WRITES = ["read_file", "json_query"], ["edit_file"]


def call(name: str, **arguments: str) -> Record:
    made = {"id": name, "name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


def result(name: str, content: str, is_error: bool = False) -> Record:
    return {"role": "tool", "tool_call_id": name, "content": content, "is_error": is_error}


def calls(request: str, *messages: Record) -> tuple[list[str], list[str]]:
    return due.calls(
        {"messages": [{"role": "user", "content": request}, *messages], "tools": TOOLS}
    )


@pytest.mark.parametrize(
    "request_,tools",
    [
        ("Who is named in crew.json?", [*READS, *WRITES]),
        ("Which files are here?", READS),
        ("Make a file crew.txt that says: Ines", WRITES),
        ("What is a file?", []),
        ("Good morning!", []),
        ("Put crew.json back to front", ["read_file"]),
        ("Turn the word crew around", ["reverse"]),
        ("In crew.txt change Tom to Ines", ["read_file"]),
        ("What is example.com?", []),
    ],
)
def test_a_request_about_files_is_not_answered_before_a_call(
    request_: str, tools: list[str]
) -> None:
    assert calls(request_)[0] == tools


def test_a_file_of_a_list_is_not_forgotten_and_is_for_the_tool_that_read_the_one_before() -> None:
    made = [call("json_query", path="x.txt"), result("json_query", "9")]
    wanted = (["json_query"], ["y.md", "z.txt"])
    assert calls("How long are x.txt, y.md and z.txt?", *made) == wanted
    assert calls("Query x.txt, then say what is in y.md", *made) == ([], [])
    assert calls("Copy x.txt to y.md", *made) == ([], [])
    assert calls("How many more has x.txt than y.md?", *made) == (["json_query"], ["y.md"])
    more = [call("json_query", path="y.md"), result("json_query", "7")]
    assert calls("How long are x.txt and y.md?", *made, *more) == ([], [])


def test_a_file_that_is_material_already_needs_no_call() -> None:
    piece = {"type": "context", "source": "crew.json", "text": "{}"}
    text = material.message("Who is named in crew.json?", [piece])["content"]
    assert calls(text) == ([], [])
    text = material.message("Write it back to front", [piece])["content"]
    assert calls(text) == (["reverse"], [])


def test_what_the_request_needs_comes_in_its_order_and_once() -> None:
    tools = [*TOOLS, tool("uppercase", "Capitals", path=False)]

    def due_after(request: str, *messages: Record) -> list[str]:
        conversation = [{"role": "user", "content": request}, *messages]
        return due.calls({"messages": conversation, "tools": tools})[0]

    request = "Reverse the word crew, then write it in capitals"
    first = [call("reverse", text="crew"), result("reverse", "werc")]
    second = [call("uppercase", text="werc"), result("uppercase", "WERC")]
    assert due_after(request) == ["reverse"]
    assert due_after(request, *first) == ["uppercase"]
    assert due_after(request, *first, *second) == []
    failed = [call("reverse", text="crew"), result("reverse", "no text", True)]
    assert due_after(request, *failed) == []
    assert due_after("Write crew in capitals and reverse it") == ["uppercase"]


@pytest.mark.parametrize(
    "content,is_error,reads",
    [
        ("null", False, True),
        ("nothing found", False, True),
        ("no such key", True, True),
        ('{"count": 3}', False, True),
        ('{"captain": "Ines"}', False, False),
        ("it was not run: the user has not allowed it", True, False),
    ],
)
def test_where_a_tool_found_nothing_in_a_file_it_is_read(
    content: str, is_error: bool, reads: bool
) -> None:
    made = [call("json_query", path="crew.json"), result("json_query", content, is_error)]
    wanted = (["read_file"], ["crew.json"]) if reads else ([], [])
    assert calls("Which part has Ines in crew.json?", *made) == wanted


def test_a_change_is_made_before_it_is_reported() -> None:
    request = "In crew.txt change Tom to Ines"
    assert calls(request)[1] == ["crew.txt"]  # what stands in it is read first
    failed = [
        call("edit_file", path="crew.txt"),
        result("edit_file", "it is not in the file", True),
    ]
    assert calls(request, *failed) == (["read_file"], ["crew.txt"])
    read = [*failed, call("read_file", path="crew.txt"), result("read_file", "Tim")]
    assert calls(request, *read) == (WRITES, [])
    assert calls(request, *read, call("edit_file"), result("edit_file", "changed")) == ([], [])
    assert calls(request, *read, *failed, *failed) == ([], [])  # three tries are enough
    refused = result("edit_file", "it was not run: the user has not allowed it", True)
    assert calls(request, call("edit_file", path="crew.txt"), refused)[1] == []


LIST = [tool(name, name) for name in ("list_files", "wordcount", "read_file")]
LISTED = [call("list_files", path="logs/"), result("list_files", "a.txt\nb.txt\nold/\n")]
COUNTED = [call("wordcount", path="logs/a.txt"), result("wordcount", '{"words":3}')]
COUNTED += [call("wordcount", path="logs/b.txt"), result("wordcount", '{"words":2}')]


@pytest.mark.parametrize(
    "request_,messages,wanted",
    [
        ("Which file in logs has the most words?", [], (["list_files"], [])),
        (
            "Which file in logs has the most words?",
            LISTED,
            (["wordcount"], ["logs/a.txt", "logs/b.txt"]),
        ),
        (
            "Which file in logs has the most words?",
            [*LISTED, *COUNTED[:2]],
            (["wordcount"], ["logs/b.txt"]),
        ),
        ("Which file in logs has the most words?", [*LISTED, *COUNTED], ([], [])),
        (
            "Which file in logs mentions Ines?",
            LISTED,
            (["read_file"], ["logs/a.txt", "logs/b.txt"]),
        ),
        ("Which day had the most visitors in a.csv?", [], (["read_file"], [])),
    ],
)
def test_each_file_of_a_folder_is_looked_at_where_one_of_them_is_wanted(
    request_: str, messages: list[Record], wanted: tuple[list[str], list[str]]
) -> None:
    model_request = {"messages": [{"role": "user", "content": request_}, *messages], "tools": LIST}
    assert due.calls(model_request) == wanted


def form(name: str, *fields: str) -> Record:
    args = {"properties": {f: {"type": "string"} for f in fields}, "required": [*fields]}
    return {"properties": {"tool": {"const": name}, "args": args}}


def narrowed(request: str, forms: list[Record], *messages: Record) -> list[Record]:
    """The arguments of the calls that are left."""
    conversation = [{"role": "user", "content": request}, *messages]
    schema = due.narrow({"anyOf": deepcopy(forms)}, {"messages": conversation, "tools": TOOLS})
    return [f["properties"]["args"]["properties"] for f in schema.get("anyOf", [schema])]


def test_the_output_must_be_one_of_the_calls_that_must_come() -> None:
    forms = [form("read_file", "path"), form("read_file", "text"), form("reverse", "text")]
    made = [call("json_query", path="crew.json"), result("json_query", "null")]
    assert narrowed("Who is in crew.json?", forms, *made) == [{"path": {"enum": ["crew.json"]}}]
    assert len(narrowed("Good morning!", forms)) == 3


def test_a_call_takes_the_material_or_the_last_result_as_it_is() -> None:
    forms = [form("reverse", "text")]
    piece = {"type": "input", "source": "stdin", "text": "a b\n"}
    text = material.message("Reverse it", [piece])["content"]
    assert narrowed(text, forms) == [{"text": {"enum": ["a b\n"]}}]
    either = form("reverse", "text")  # an argument that the words of the request seem to want
    either["properties"]["args"]["properties"]["path"] = {"type": "string"}
    assert narrowed(text, [either]) == [{"text": {"enum": ["a b\n"]}}]
    made = [call("read_file", path="a.txt"), result("read_file", "abc\n")]
    assert narrowed("Read a.txt and reverse it", forms, *made) == [{"text": {"enum": ["abc"]}}]
    assert narrowed("Reverse the word abc", forms) == [{"text": {"type": "string"}}]


@pytest.mark.parametrize(
    "wanted",
    ["Reverse the word abc", "Write 'abc' backwards", "Reverse this: abc", "Drehe das Wort abc um"],
)
def test_a_call_takes_the_requests_own_text_though_there_is_material(wanted: str) -> None:
    piece = {"type": "context", "source": "shop.txt", "text": "rope\npaint\n"}
    text = material.message(wanted, [piece])["content"]
    assert narrowed(text, [form("reverse", "text")]) == [{"text": {"type": "string"}}]


def test_a_text_in_a_file_is_no_text_of_the_request() -> None:
    piece = {"type": "context", "source": "shop.txt", "text": "rope\n"}
    text = material.message("Reverse the word in shop.txt", [piece])["content"]
    assert narrowed(text, [form("reverse", "text")]) == [{"text": {"enum": ["rope\n"]}}]


def test_a_search_that_is_typed_without_capitals_finds_both() -> None:
    forms = [form("search_files", "text"), form("reverse", "text")]
    assert narrowed("which file has the todo", forms)[0]["ignore_case"] == {"const": True}
    assert "ignore_case" not in narrowed("Which file has the TODO?", forms)[0]


APPEND = form("write_file", "path", "content")
APPEND["properties"]["args"]["properties"]["append"] = {"type": "boolean"}


@pytest.mark.parametrize(
    "request_,append",
    [
        ("Add the line tea to list.txt", {"const": True}),
        ("Please append tea to list.txt", {"const": True}),
        ("Make a file list.txt that says tea", None),
    ],
)
def test_what_is_added_to_a_file_does_not_replace_it(request_: str, append: Record | None) -> None:
    tools = [*TOOLS, tool("write_file", "Write a text to a file", reads=False)]
    model_request = {"messages": [{"role": "user", "content": request_}], "tools": tools}
    left = due.narrow({"anyOf": [deepcopy(APPEND), form("reverse", "text")]}, model_request)
    assert left["properties"]["args"]["properties"].get("append") == append


INI = "[lamp]\nhost: a.example\nport: 80\nname = 'Tom'\n"


@pytest.mark.parametrize(
    "content,request_,pairs",
    [
        (INI, "Change the port in a.ini to 90", [("port: 80", "port: 90")]),
        (INI, "In a.ini set name to 'Ines'", [("name = 'Tom'", "name = 'Ines'")]),
        ('{"port":80,"a":1}', "Set port to 90 in a.json", [('"port":80', '"port":90')]),
        ('{"port":80,"a":1}', "In a.json set the port to 90", [('"port":80', '"port":90')]),
        ("tea\nmilk\n", "In a.txt replace milk by cream", [("milk", None)]),
        ("tea\nmilk\nmilk rice\n", "Remove milk from a.txt", [("milk\n", "")]),
        ("say('hi')\n# the end\n", "In a.py change hi to the word hey", [("hi", None)]),
        ("green tea\n", "Swap green tea for water in a.txt", [("green tea", None)]),
        ("tea\n", "Make a.txt shorter", []),
    ],
)
def test_what_is_replaced_is_in_the_file(
    content: str, request_: str, pairs: list[tuple[str, str | None]]
) -> None:
    assert edits.pieces(content, request_) == pairs


def test_a_change_takes_its_old_text_from_what_was_read() -> None:
    made = [call("read_file", path="a.ini"), result("read_file", INI)]
    forms = [form("edit_file", "path", "old", "new"), form("write_file", "path", "content")]
    (left,) = narrowed("In a.ini set the port to 90", forms, *made)
    assert (left["old"], left["new"]) == ({"const": "port: 80"}, {"const": "port: 90"})


@pytest.mark.parametrize(
    "request_,name,far",
    [
        ("Which is the deepest of the lakes?", "reverse", True),
        ("Turn the word lake around", "reverse", False),
        ("What is the last word of the song?", "reverse", True),
        ("revrse the last word", "reverse", False),
        ("Was ist der tiefste See?", "reverse", False),  # the words of tools are English
        ("Is 3 more than 2?", "reverse", False),
    ],
)
def test_a_call_without_a_word_of_the_request_is_far_fetched(
    request_: str, name: str, far: bool
) -> None:
    many = [*TOOLS, *(tool(f"t{n}", "x") for n in range(due.FEW))]
    many[3] = {**many[3], "description": "Turn a word around"}
    request = {"messages": [{"role": "user", "content": request_}], "tools": many}
    assert due.far_fetched({"name": name}, request) == far
    assert not due.far_fetched({"name": name}, {**request, "tools": TOOLS})


def test_of_the_figures_of_one_result_those_that_are_wanted_are_printed() -> None:
    def answer(request: str) -> str:
        made = [
            call("wordcount", path="a.txt"),
            result("wordcount", '{"lines":0,"words":3,"bytes":9}'),
        ]
        messages = [{"role": "user", "content": request}, *made]
        return str(prompt.answer({"messages": messages}).body["messages"][-1]["content"])

    assert "What is known:\nwords: 3\n" in answer("Count the words of a.txt")
    assert "What is known:\nwords: 3\n" in answer("how many wrods has a.txt")
    assert "What is known:\nmots: 3\n" in answer("Combien de mots dans a.txt ?")
    assert "What is known:\nzeilen: 0\n" in answer("Wie viele Zeilen hat a.txt?")
    assert "What is known:\ncharacters: 9\n" in answer("How many characters has a.txt?")
    assert '{"lines":0,"words":3,"bytes":9}' in answer("How long is a.txt?")


def test_the_figures_of_several_files_are_compared_beside_the_list_of_the_files() -> None:
    made = [call("list_files", path="."), result("list_files", "a.txt\nb.txt\n")]
    for name, count in (("a.txt", 3), ("b.txt", 7)):
        one = call("wordcount", path=name)
        one["tool_calls"][0]["id"] = name
        made += [one, result(name, f'{{"lines":0,"words":{count}}}')]
    messages = [{"role": "user", "content": "Which file here has the most words?"}, *made]
    content = prompt.answer({"messages": messages}).body["messages"][-1]["content"]
    assert "(most words: b.txt)" in content
    messages[0] = {"role": "user", "content": "How many more words has b.txt than a.txt?"}
    content = prompt.answer({"messages": messages}).body["messages"][-1]["content"]
    assert "difference words: 4)" in content


def test_that_a_file_is_missing_is_known_only_where_the_request_names_it() -> None:
    def answer(request: str) -> str:
        made = [
            call("read_file", path="shop.md"),
            result("read_file", "shop.md: No such file", True),
        ]
        messages = [{"role": "user", "content": request}, *made]
        return str(
            prompt.answer({"messages": messages, "tools": TOOLS}).body["messages"][-1]["content"]
        )

    assert "No such file" in answer("What does shop.md say?")
    assert "No such file" not in answer("Our shop is slow. What should we change?")


@pytest.mark.parametrize(
    "request_,text",
    [
        ("dans quel fichier est définie la fonction wind", "wind"),
        ("Where is the class called Harbour used?", "Harbour"),
        ("Which file defines the function that adds?", None),
    ],
)
def test_a_search_for_something_with_a_name_is_for_that_name(
    request_: str, text: str | None
) -> None:
    form = {"tool": {"const": "search_files"}}
    form["args"] = {"properties": {"text": {"type": "string"}, "path": {}}, "required": ["text"]}
    tools = [tool("search_files", "Search files")]
    request = {"messages": [{"role": "user", "content": request_}], "tools": tools}
    fields = due.narrow({"properties": deepcopy(form)}, request)["properties"]["args"]["properties"]
    assert fields["text"] == ({"const": text} if text else {"type": "string"})


FILES = [*TOOLS, tool("column_stats", "Figures of a column"), tool("uppercase", "Capitals", False)]
FILES += [tool("calculator", "Evaluate an expression", False)]


@pytest.mark.parametrize(
    "request_,tools",
    [
        ("In rivers.csv, which river is the longest?", ["read_file"]),
        ("tell me who has the largest share in crew.csv", ["read_file"]),
        ("Welcher Fluss in rivers.csv ist der kürzeste?", ["read_file"]),
        ("Who is the oldest in crew.json?", ["read_file"]),
        ("What's the third thing in list.txt?", ["read_file"]),
        ("What is the highest price in prices.csv?", ["column_stats"]),
        ("Could you please change the port to 9000 in app.toml?", ["read_file"]),
        ("Supprime la ligne rice de list.txt", ["read_file"]),
        ("Would you add 'salt' to list.txt", WRITES),
        ("I'd like you to create notes.md with the text: hello", WRITES),
        ("Write the text of a.txt in capitals", ["read_file"]),
        ("Subtract the smaller number from the larger", ["calculator"]),
        ("What does the function multiply do?", []),
    ],
)
def test_polite_forms_and_other_languages_need_the_same_tools(
    request_: str, tools: list[str]
) -> None:
    request = {"messages": [{"role": "user", "content": request_}], "tools": FILES}
    assert due.calls(request)[0] == tools


PIECE = {"type": "context", "source": "shop.txt", "text": "rice\nsalt\n"}
TEXTS = [tool("reverse", "Turn around", False), tool("uppercase", "Capitals", False)]


@pytest.mark.parametrize(
    "request_,text",
    [
        ("Turn the word lamp around and write shop.txt in capitals", {"enum": ["rice\nsalt\n"]}),
        ("Turn shop.txt around and write the word lamp in capitals", {"type": "string"}),
        ("Turn the word lamp around and write it in capitals", {"enum": ["pmal"]}),
    ],
)
def test_the_second_of_two_tasks_has_its_text_and_not_the_result_of_the_first(
    request_: str, text: Record
) -> None:
    question = material.message(request_, [PIECE])
    messages = [question, call("reverse", text="lamp"), result("reverse", "pmal")]
    args = {"properties": {"text": {"type": "string"}}, "required": ["text"]}
    schema = {"properties": {"tool": {"const": "uppercase"}, "args": args}}
    left = due.narrow(schema, {"messages": messages, "tools": TEXTS})
    assert left["properties"]["args"]["properties"]["text"] == text
