"""Rules of the local model that need no model: flags, the line or row that is meant, differences, short tables."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from localmodel import prompt, reply
from programs import ROOT


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    made = {"id": "c", "name": name, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


def result(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "name": "read_file", "content": content}


@pytest.mark.parametrize(
    "name,flag,with_it,without",
    [
        ("list_files", "recursive", "All files below src", "List all files in src"),
        ("list_files", "recursive", "Every file under src", "Show the files under ./build"),
        ("list_files", "recursive", "What is in docs and its subfolders?", "what is in docs?"),
        ("list_files", "recursive", "List all Python files", "ls docs"),
        ("list_files", "hidden", "files that begin with a dot", "names of the files in src"),
        ("edit_file", "all", "Replace every kg by t in a.csv", "In a.csv replace kg by t"),
        ("fetch_url", "raw", "the HTML of https://x.org", "Fetch https://x.org"),
        ("search_files", "ignore_case", "Search for ink, ignore case", "Which file has ink?"),
        ("write_file", "append", "Add ink to list.txt", "Make list.txt that says: ink"),
        ("read_file", "start", "Show lines 2 to 4 of a.txt", "What is the third item in a.txt?"),
        ("read_file", "end", "The first five lines of a.txt", "Read a.txt"),
    ],
)
def test_a_flag_or_a_number_may_be_set_only_where_the_words_of_the_request_ask_for_it(
    name: str, flag: str, with_it: str, without: str
) -> None:
    program = [str(ROOT / "tools" / name), "--agent-schema"]
    tool = json.loads(subprocess.run(program, stdout=subprocess.PIPE).stdout.splitlines()[0])
    found = [prompt.arguments_forms(tool, request) for request in (with_it, without)]
    assert [any(flag in form["properties"] for form in forms) for forms in found] == [True, False]


CSV = "tower,height_m,built\nAlba,312,1990\nCorda,451,2001\nDune,207,1987\n"
PEOPLE = '[{"name":"Lena","born":"2001-02-03"},{"name":"Omar","born":"1999-12-31"}]'


@pytest.mark.parametrize(
    "content,request_,found",
    [
        ("salt\n\nrice\noil\n", "What is the third thing on the list?", ["The third: oil"]),
        ("salt\nrice\n", "What is the third thing on the list?", []),
        ("salt\nrice\n", "The second word, please", []),
        ("salt\nrice\n", "First read it, then count", []),
        (PEOPLE, "Wer ist der letzte?", ['The last: {"name": "Omar", "born": "1999-12-31"}']),
        (PEOPLE, "Which date is the earliest?", ["The earliest by born: ", '"Omar"']),
        (
            CSV,
            "Which tower is the tallest?",
            ["The tallest by height_m: ", '"Corda"', "by built: "],
        ),
        (PEOPLE, "Who is the youngest?", ['The youngest by born: {"name": "Lena"']),
        (CSV, "How tall is Dune?", []),
        (CSV, "How many towers are there?", ["In all: 3 towers"]),
        (CSV, "How many towers are higher than 300 m?", []),
        (CSV, "How many words has it?", []),
        ("Dear all, hello\nSee you, me\n", "The second line?", ["The second: See you, me"]),
        ('[{"a": 1}, 2]', "the largest?", []),
        ("", "the last?", []),
    ],
)
def test_the_line_or_row_that_a_request_points_at_is_found_without_the_model(
    content: str, request_: str, found: list[str]
) -> None:
    line = prompt.pointed(content, request_)
    assert bool(line) == bool(found)
    assert all(piece in line for piece in found)


@pytest.mark.parametrize(
    "request_,expression",
    [
        ("Subtract the smaller number from the larger", "9 - 4"),
        ("How many more words has b.txt?", "9 - 4"),
        ("Subtract 9 from 4", "4-9"),
    ],
)
def test_a_difference_without_an_order_is_not_below_zero(request_: str, expression: str) -> None:
    raw = '{"tool": "calculator", "args": {"expression": "4-9"}}'
    request = {"messages": [user(request_)], "tools": [{"name": "calculator"}]}
    assert (reply.call(raw, request) or {})["arguments"] == {"expression": expression}


def test_a_short_table_that_a_tool_read_is_not_put_below_the_answer() -> None:
    messages = [user("Who is 29 in a.csv?"), call("read_file", path="a.csv")]
    known = {"messages": [*messages, result("name,age\nLena,29\nOmar,41\n")], "tools": []}
    assert reply.missing("Lena", known) == []
    assert reply.missing("Omar", {**known, "messages": [*messages, result("Lena")]}) == ["Lena"]
