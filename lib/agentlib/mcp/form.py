"""A server's question to the person at the terminal (elicitation): a form, field by field."""

from contextlib import suppress

from agentlib import records
from agentlib.messages.validate import Validator
from agentlib.policy import terminal
from agentlib.types import Any, Record

FIELDS, TRIES = 20, 3
MEANING = {"y": "true", "yes": "true", "n": "false", "no": "false"}


def ask(server: str, params: Record) -> Record:
    """What the person says: `accept` with the content, `decline`, or `cancel` where nobody answers."""
    schema = params.get("requestedSchema")
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if params.get("mode", "form") != "form" or not isinstance(fields, dict) or len(fields) > FIELDS:
        return {"action": "decline"}
    text = terminal.shortened(str(params.get("message", "")))
    lines = ["", f"The server {server} asks: {text}", "  It gets what you type: no secrets."]
    typed = terminal.question(lines, "Answer it? y(es), anything else is no: ")
    if typed not in ("y", "yes"):
        return {"action": "cancel" if typed is None else "decline"}
    values = {name: _field(name, rule) for name, rule in fields.items()}
    content = {name: value for name, value in values.items() if value is not None}
    if set(params["requestedSchema"].get("required") or ()) - content.keys():
        return {"action": "cancel"}
    return {"action": "accept", "content": content}


def _field(name: str, rule: Record) -> Any:
    about = ["title", "description", "type", "enum", "oneOf", "default"]
    words = "; ".join(f"{key}: {rule[key]}" for key in about if key in rule)
    lines: list[str] = []
    for _ in range(TRIES):
        typed = terminal.question(lines, terminal.shortened(f"{name} ({words}): "))
        if not typed:
            return rule.get("default")
        value: Any = typed
        if rule.get("type") == "array":
            value = [word.strip() for word in typed.split(",")]
        elif rule.get("type") != "string":
            with suppress(ValueError):
                value = records.loads(MEANING.get(typed, typed))
        if not (lines := Validator(rule).problems(value)):
            return value
    return None
