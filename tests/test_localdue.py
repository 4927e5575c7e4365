"""Which call must come next for a small model, and which is far-fetched."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib.local import due
from agentlib.messages import material

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
        ("What is example.com?", []),
    ],
)
def test_a_request_about_files_is_not_answered_before_a_call(
    request_: str, tools: list[str]
) -> None:
    assert calls(request_)[0] == tools


def test_a_file_that_is_material_already_needs_no_call() -> None:
    piece = {"type": "context", "source": "crew.json", "text": "{}"}
    text = material.message("Who is named in crew.json?", [piece])["content"]
    assert calls(text) == ([], [])


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


def test_a_change_is_made_before_it_is_told() -> None:
    request = "In crew.txt change Tom to Ines"
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


def test_the_output_is_held_to_the_calls_that_must_come() -> None:
    def form(name: str) -> Record:
        args = {"properties": {"path": {"type": "string"}}}
        return {"properties": {"tool": {"const": name}, "args": args}}

    schema = {"anyOf": [form("read_file"), form("reverse")]}
    (left,) = due.narrow(schema, ["read_file"], ["a.txt"])["anyOf"]
    assert left["properties"]["args"]["properties"]["path"] == {"enum": ["a.txt"]}
    assert due.narrow(schema, ["json_query"], []) is schema


@pytest.mark.parametrize(
    "request_,name,far",
    [
        ("Which is the deepest of the lakes?", "reverse", True),
        ("Turn the word lake around", "reverse", False),
        ("Was ist der tiefste See?", "reverse", False),  # the words of tools are English
        ("Is 3 more than 2?", "reverse", False),
    ],
)
def test_a_call_without_a_word_of_the_request_is_far_fetched(
    request_: str, name: str, far: bool
) -> None:
    many = [*TOOLS, *(tool(f"t{n}", "x") for n in range(due.FEW))]
    request = {"messages": [{"role": "user", "content": request_}], "tools": many}
    assert due.far_fetched({"name": name}, request) == far
    assert not due.far_fetched({"name": name}, {**request, "tools": TOOLS})
