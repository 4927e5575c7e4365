"""Arguments against schemas: the official suite, nothing fetched, no pattern without a bound."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.messages.validate import Validator

DATA = os.environ.get("SHARED", Path(__file__).parents[2] / "shared")
SUITE = Path(DATA, "vectors/JSON-Schema-Test-Suite/tests/draft2020-12")
KNOWN = {
    "no validation: invalid number, but it still validates"
}  # wants a vocabulary that is not 2020-12's


def cases() -> list[tuple[Any, Any, bool, str]]:
    """(schema, value, whether it fits, what it is) of every test of the suite."""
    groups = [
        (file.stem, group)
        for file in sorted(SUITE.glob("*.json"))
        for group in json.loads(file.read_text())
    ]
    return [
        (
            group["schema"],
            test["data"],
            test["valid"],
            f"{name}: {group['description']}: {test['description']}",
        )
        for name, group in groups
        for test in group["tests"]
        if test["description"] not in KNOWN
    ]


def reaches_out(schema: Any) -> bool:
    """Whether the schema needs another document than itself and the meta-schemas."""
    try:
        Validator(schema)
    except Fault as fault:
        return "is not present in a registry" in fault.message
    return False


@pytest.mark.skipif(not SUITE.is_dir(), reason="the JSON Schema test suite is not here")
def test_the_official_suite_is_passed_but_for_what_needs_the_network() -> None:
    wrong, outside = [], 0
    for schema, value, valid, what in cases():
        if reaches_out(schema):
            outside += 1
        elif (Validator(schema).problems(value) == []) != valid:
            wrong.append(what)
    assert wrong == []
    assert outside == 44


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/x", "file:///etc/passwd", "//127.0.0.1:{port}/x"]
)
def test_nothing_outside_the_schema_is_fetched(target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        seen: list[object] = []

        def wait() -> None:
            try:
                seen.append(server.accept())
            except TimeoutError:
                pass

        thread = threading.Thread(target=wait)
        thread.start()
        with pytest.raises(Fault) as fault:
            Validator({"$ref": target.format(port=server.getsockname()[1])})
        thread.join()
    assert fault.value.kind == "tool_error"
    assert seen == []


@pytest.mark.parametrize(
    "pattern", [r"^(a+)+$", r"^(?=a)(a|aa)*\1$", r"^(a|aa)+(?<!b)$", r"(.*)*x\1"]
)
def test_a_pattern_ends(pattern: str) -> None:
    began = time.monotonic()
    assert Validator({"pattern": pattern}).problems("a" * 20000 + "b") != []
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    "schema", ["text", 7, None, [], {"type": "objekt"}, {"pattern": "("}, {"$ref": "#/$defs/no"}]
)
def test_what_is_no_schema_is_a_fault_in_words(schema: Any) -> None:
    with pytest.raises(Fault) as fault:
        Validator(schema)
    assert "the schema cannot be used" in fault.value.message
    assert "\n" not in fault.value.message


def test_problems_are_few_and_short_and_say_where() -> None:
    schema = {"type": "object", "properties": {str(n): {"type": "integer"} for n in range(20)}}
    problems = Validator(schema).problems({str(n): "x" * 10000 for n in range(20)})
    assert len(problems) == 5
    assert all(len(problem) < 400 for problem in problems)
    assert problems[0].startswith("at /0: ")


def test_depth_is_no_matter() -> None:
    value: Any = []
    for _ in range(10000):
        value = [value]
    assert isinstance(Validator({"type": "array"}).problems(value), list)
