"""agentlib.messages.subschemas: what is a schema inside a schema, and what only looks like one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentlib.messages.subschemas import changed

NOT_ONE = {"type": "object"}


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "closed": True} if schema.get("type") == "object" else schema


def test_schemas_are_changed_wherever_they_stand() -> None:
    inner = {"type": "object"}
    for schema in (
        {"properties": {"default": inner}},
        {"items": inner},
        {"anyOf": [inner]},
        {"$defs": {"enum": inner}},
    ):
        assert str(changed(schema, closed)).count("closed") == 1, schema


def test_values_and_names_and_parts_of_an_object_are_left_as_they_are() -> None:
    for schema in (
        {"enum": [NOT_ONE]},
        {"const": NOT_ONE},
        {"default": NOT_ONE},
        {"allOf": [NOT_ONE]},
        {"properties": {}},
    ):
        assert changed(schema, closed) == schema
    named = {"properties": {"type": {"type": "string"}}, "type": "array"}
    assert changed(named, closed) == named


@given(
    st.recursive(
        st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_change_that_changes_nothing_gives_an_equal_copy(value: Any) -> None:
    assert changed(value, lambda schema: schema) == value
