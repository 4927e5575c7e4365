"""Change a JSON Schema and the schemas inside it, and nothing that only looks like one: values, names of properties."""

from __future__ import annotations

from agentlib.types import Any, Callable

# {name: schema}
BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
VALUES = ("enum", "const", "default", "examples", "required", "allOf")
# Under allOf an object is only told in part: what holds for a whole one does not hold there, so it stays as it is.


def changed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of the schema in which `change` was done to each schema, the innermost first."""
    if isinstance(schema, list):
        return [changed(one, change) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for word, value in schema.items():
        if word in BY_NAME and isinstance(value, dict):
            made[word] = {name: changed(inner, change) for name, inner in value.items()}
        else:
            made[word] = value if word in VALUES else changed(value, change)
    return change(made)
