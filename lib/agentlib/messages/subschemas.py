"""The JSON Schema of a tool's arguments: which it is, and how to change it and the schemas inside it."""

from agentlib.types import Any, Callable, Record

INVOKES = ("json", "text", "argv", "jsonl", "mcp")
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_ARGS = {"type": "array", "items": {"type": "string"}, "description": "its arguments, a word each"}
ARGV = {"type": "object", "properties": {"args": _ARGS, "stdin": {"type": "string"}}}
NAMES = ("inputSchema", "input_schema", "parameters")  # MCP's, Anthropic's, OpenAI's
# {name: schema}
BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
VALUES = ("enum", "const", "default", "examples", "required", "allOf")
# Under allOf an object is only told in part: what holds for a whole one does not hold there, so it stays as it is.


def input_schema(tool: Record, default: Any = None) -> Any:
    """The schema of a tool's arguments, under whichever of its names; without `default`, what its `invoke` needs."""
    if default is None:
        default = ARGV if tool.get("invoke") == "argv" else INPUT
    return next((tool[name] for name in NAMES if tool.get(name) is not None), default)


def object_schema(fields: Record) -> Record:
    """The JSON Schema of an object; every field is required, as strict vendors want it."""
    schema: Record = {"type": "object", "properties": fields, "required": list(fields)}
    return {**schema, "additionalProperties": False}


def changed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of the schema in which `change` was done to each schema, the innermost first, and to nothing that only
    looks like one (values, names of properties)."""
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
