"""JSON Schemas that we make: of an object, and by a change to another and to the schemas inside it."""

from agentlib.types import Any, Callable, Record

# {name: schema}
BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
VALUES = ("enum", "const", "default", "examples", "required", "allOf")
# Under allOf an object is only told in part: what holds for a whole one does not hold there, so it stays as it is.


def object_schema(fields: Record) -> Record:
    """The JSON Schema of an object; every field is required, as strict vendors want it."""
    schema: Record = {"type": "object", "properties": fields, "required": list(fields)}
    return {**schema, "additionalProperties": False}


def changed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of the schema with `change` done to each schema in it, the innermost first, and to nothing else."""
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
