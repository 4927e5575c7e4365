"""The JSON Schema of a tool's arguments, and what is wrong with a value by one: jsonschema-rs, which fetches nothing.

Chosen by figures: draft 2020-12's own suite has 1,299 cases. jsonschema-rs fails only the 44 that need a document
from the network, which we refuse by rule, and one about a custom vocabulary; it starts in 26 ms of CPU and its
regular expressions are linear, or end at a limit. jsonschema: 5 more failures, 63 ms, patterns without a bound.
fastjsonschema: 264 failures, code made from data.
"""

from agentlib.faults import Fault
from agentlib.types import Any, Record

INVOKES = ("json", "text", "argv", "jsonl", "mcp")
INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_ARGS = {"type": "array", "items": {"type": "string"}, "description": "its arguments, a word each"}
ARGV = {"type": "object", "properties": {"args": _ARGS, "stdin": {"type": "string"}}}
NAMES = ("inputSchema", "input_schema", "parameters")  # MCP's, Anthropic's, OpenAI's
BACKTRACKS = 100_000  # steps of a pattern that cannot be run in linear time; about 2 ms
SHOWN = 5  # problems told at once
WIDTH = 300  # characters of one problem


def input_schema(tool: Record, default: Any = None) -> Any:
    """The schema of a tool's arguments, under whichever of its names; without `default`, what its `invoke` needs."""
    if default is None:
        default = ARGV if tool.get("invoke") == "argv" else INPUT
    return next((tool[name] for name in NAMES if tool.get(name) is not None), default)


class Validator:
    """One schema, made ready. Fault `tool_error` where it is no schema, or refers to something outside itself."""

    def __init__(self, schema: Any) -> None:
        if not isinstance(schema, dict | bool):
            raise Fault("tool_error", "the schema cannot be used: it is not an object")
        from agentlib.packages import need

        need("jsonschema_rs")
        import jsonschema_rs

        patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS)
        options: dict[str, Any] = {"offline": True, "pattern_options": patterns}
        try:
            try:
                self._made: Any = jsonschema_rs.validator_for(schema, **options)
            except ValueError as bad:
                if "Unknown meta-schema" not in str(bad):
                    raise
                self._made = jsonschema_rs.Draft202012Validator(schema, **options)
        except (ValueError, RecursionError) as bad:
            why = _line(bad) if isinstance(bad, ValueError) else "it is nested too deeply"
            raise Fault("tool_error", f"the schema cannot be used: {why}") from None

    def problems(self, value: Any) -> list[str]:
        """What is wrong with the value, in words, at most SHOWN of them; [] where it fits."""
        found = []
        try:
            for problem in self._made.iter_errors(value):
                where = "".join(f"/{step}" for step in problem.instance_path)
                found.append((f"at {where}: " if where else "") + _line(problem))
                if len(found) == SHOWN:
                    break
        except (ValueError, RecursionError) as bad:
            found.append(_line(bad))
        return found


def _line(problem: Exception) -> str:
    text = str(getattr(problem, "message", problem) or problem).splitlines()[0]
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} … {text[-WIDTH // 2 :]}"
