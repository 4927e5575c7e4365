"""Of very many tools a small model is offered those that meet the request."""

from __future__ import annotations

from typing import Any

import pytest

from localmodel import prompt
from localmodel.prompt import FITTING, MOST
from test_localprompt import call, user


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
    about |= {"other" + "s" * count: "Something else" for count in range(MOST)}
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
        ("get https://example.com/ please", "fetch_url"),
        ("SHOUT this in capitals", "uppercase"),
    ],
)
def test_of_very_many_tools_those_whose_words_meet_the_request_are_offered(
    request_: str, wanted: str
) -> None:
    found = [tool["name"] for tool in prompt.offered(many(), "auto", [user(request_)])]
    assert wanted in found and len(found) == FITTING
    names = [tool["name"] for tool in many()]
    assert found == sorted(found, key=names.index)


def test_the_shortlist_keeps_what_was_called_already() -> None:
    messages = [user("what time is it?"), call("others", x=1)]
    assert "others" in [tool["name"] for tool in prompt.offered(many(), "auto", messages)]


def test_a_suites_worth_of_tools_is_offered_whole() -> None:
    assert prompt.offered(many()[:MOST], "auto", [user("anything")]) == many()[:MOST]
