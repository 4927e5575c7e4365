"""The arguments of a tool call: one JSON object on standard input, checked by the tool's schema."""

import sys

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any

CAP = 16 << 20  # bytes of arguments
_TYPES: dict[str, type] = {"string": str, "boolean": bool, "integer": int, "number": float}
_TYPES |= {"array": list, "object": dict}


def read(schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments of this call. Where `schema` gives a property a `default`, it is there.

    A Fault `invalid_input` where there is no JSON object, `invalid_arguments` where one does not fit the schema.
    """
    if sys.stdin is None or sys.stdin.isatty():
        why = f"give the arguments as JSON on standard input: {_example(schema)}"
        raise Fault("invalid_input", why)
    data = sys.stdin.buffer.read(CAP + 1).removeprefix(b"\xef\xbb\xbf")
    if len(data) > CAP:
        raise Fault("limit_exceeded", f"standard input: more than {CAP >> 20} MiB of arguments")
    try:
        values = records.loads(data)
        if b"\\ud" in data.lower():  # half a surrogate pair can neither be printed nor name a file
            values = records.loads(records.dumps(values))
    except ValueError as bad:
        why = f"standard input is not JSON: {bad}; give {_example(schema)}"
        raise Fault("invalid_input", why) from None
    if not isinstance(values, dict):
        why = f"standard input: line 1 is no JSON object; give {_example(schema)}"
        raise Fault("invalid_input", why)
    return check(values, schema["inputSchema"])


def check(values: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the defaults put in; a Fault that names the first one that does not fit."""
    known = rules["properties"]
    for name in rules.get("required", []):
        if name not in values:
            raise Fault("invalid_arguments", f"the argument {name!r} is missing")
    for name, value in values.items():
        if name not in known:
            why = f"there is no argument {name!r}; it takes {', '.join(known)}"
            raise Fault("invalid_arguments", why)
        if known[name].get("type") == "integer" and isinstance(value, float) and value.is_integer():
            values = {**values, name: int(value)}  # JSON Schema: 2.0 is an integer
        _fit(name, values[name], known[name])
    return {name: rule["default"] for name, rule in known.items() if "default" in rule} | values


def _fit(name: str, value: object, rule: dict[str, Any]) -> None:
    wanted = rule.get("type", "object")
    fits = isinstance(value, _TYPES[wanted]) or (wanted == "number" and isinstance(value, int))
    if not fits or (isinstance(value, bool) and wanted != "boolean"):
        why = f"{name!r} is {records.dumps(value)[:60]}, not of type {wanted}"
        raise Fault("invalid_arguments", why)
    if isinstance(value, int | float):
        low, high = rule.get("minimum", value), rule.get("maximum", value)
        if not low <= value <= high:
            limit = f"under {low}" if value < low else f"over {high}"
            raise Fault("invalid_arguments", f"{name!r} is {value}, {limit}")
    if "enum" in rule and value not in rule["enum"]:
        why = f"{name!r} is {value!r}; it is one of {', '.join(rule['enum'])}"
        raise Fault("invalid_arguments", why)


def only(arguments: dict[str, Any], *names: str) -> str:
    """Which one of these arguments is given; a Fault unless it is exactly one."""
    present = [name for name in names if name in arguments]
    if len(present) != 1:
        why = f"give one of {' and '.join(map(repr, names))}{', not both' if present else ''}"
        raise Fault("invalid_arguments", why)
    return present[0]


def _example(schema: dict[str, Any]) -> str:
    examples = schema.get("examples")
    return records.dumps(examples[0]["arguments"]) if examples else "an object"
