"""From a request to what a small model can follow: few-shot turns, and JSON that is held to a schema.

Small models on llama.cpp do not make native tool calls, but with every tool's schema as one constraint and a few
worked examples they choose well (figures: docs/local.md). localreply.py reads what comes back.
"""

from __future__ import annotations

import json

from agentlib.faults import Fault
from agentlib.local.shortlist import fitting, shortlist
from agentlib.messages.requests import input_schema, merged
from agentlib.messages.transcript import text
from agentlib.types import Any, Record

RESULT_CAP = 500  # characters of a tool's result that the model sees; the user sees all of it
CHAT_TOKENS, CALL_TOKENS = 1024, 512  # the most that is written where the request does not say
EXAMPLES = 10  # few-shot turns, over all tools
RULE = (
    'You have tools. Reply with only one JSON object: {"tool": NAME, "args": {...}}. Take the args from the '
    "user's words, exactly as they stand there. When no tool fits, or when the result is known, use the "
    'tool "%s".\nTools:'
)
FORM = "Reply with only one JSON value that fits this JSON Schema: "
ANSWER = "Say something to the user: the final answer, or that no tool fits"
GREETING = "Hello! What can I do for you?"
REFUSAL = "I cannot do that: none of my tools can order a taxi."

# What the constraint engine takes without surprise; the caller validates against the whole schema anyway.
BOUNDS = {"minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength"}
KEYWORDS = {"type", "enum", "const", *BOUNDS}


def spaced(value: Any) -> str:
    """JSON as models write it themselves: a blank after each comma and colon."""
    return json.dumps(value, ensure_ascii=False)


class Plan:
    """How one request is put to the model: `body` for llama.cpp's chat completions, and how to read what comes.

    tools: those that are offered, by name. answer: the name that stands for "no tool, this text"; None in plain chat.
    free: the text of an answer is prose (not held to the request's own schema), so it can be streamed.
    """

    __slots__ = ("body", "tools", "answer", "free")

    def __init__(self, body: Record, tools: list[Record], answer: str | None, free: bool) -> None:
        self.body, self.tools, self.answer, self.free = body, tools, answer, free


def plan(request: Record, answer_only: bool = False) -> Plan:
    """The plan for a `request` record. answer_only: no tool may be called any more. `invalid_request` names what a
    small local model cannot carry."""
    check(request)
    messages = [m for m in request.get("messages") or [] if isinstance(m, dict)]
    choice = request.get("tool_choice", "auto")
    offered = [] if choice == "none" else chosen(request.get("tools") or [], choice, messages)
    if offered:
        return _calls(request, messages, offered, choice == "auto" or answer_only, not answer_only)
    turns, schema = [plain_turn(m) for m in messages], request.get("schema")
    if not schema:
        return Plan(with_settings({"messages": turns}, request), [], None, True)
    others = [turn for turn in turns if turn["role"] != "system"]
    turns = [system(messages, FORM + spaced(schema)), *others]
    body = {"messages": turns, "response_format": constraint(schema)}
    return Plan(with_settings(body, request), [], None, False)


def _calls(
    request: Record, messages: list[Record], tools: list[Record], may_answer: bool, may_call: bool
) -> Plan:
    answer, schema = answer_name(tools), request.get("schema")
    forms = [call_form(t["name"], subset(arguments_schema(t))) for t in tools] if may_call else []
    if may_answer:
        said = schema if isinstance(schema, dict) else one_string("text", minLength=1)
        forms.append(call_form(answer, said))
    turns = [system(messages, instructions(tools, answer)), *few_shot(tools, answer)]
    turns += [turn for m in messages if m.get("role") != "system" for turn in tool_turns(m, answer)]
    form = constraint({"anyOf": forms} if len(forms) > 1 else forms[0])
    body = {"messages": turns, "response_format": form}
    return Plan(with_settings(body, request, CALL_TOKENS), tools, answer, not schema)


def check(request: Record) -> None:
    """`invalid_request` for what would be dropped in silence otherwise."""
    if request.get("reasoning"):
        raise Fault("invalid_request", "the local model has no `reasoning`; leave it out")
    if request.get("api") not in (None, "chat"):
        why = f'the local model has no api {request["api"]!r}; use "chat" or leave it out'
        raise Fault("invalid_request", why)
    for message in request.get("messages") or []:
        for part in message.get("content") if isinstance(message.get("content"), list) else []:
            if (kind := part.get("type")) not in ("text", "thinking"):
                why = f"the local model reads text only, not a part of type {kind!r}"
                raise Fault("invalid_request", why)


def chosen(tools: list[Record], choice: Any, messages: list[Record]) -> list[Record]:
    """The tools to put before the model: the one that tool_choice names, else the shortlist for the last request."""
    if isinstance(choice, dict):
        named = [t for t in tools if t.get("name") == choice.get("name")]
        if not named:
            why = f"tool_choice names {choice.get('name')!r}, which is not among the tools"
            raise Fault("invalid_request", why)
        return named
    used = {c.get("name") for m in messages for c in m.get("tool_calls") or []}
    request = last_request(messages)
    return [fitting(tool, request) for tool in shortlist(tools, request, used)]


def last_request(messages: list[Record]) -> str:
    """The text of the last user message."""
    return next((text(m, joint="\n") for m in reversed(messages) if m.get("role") == "user"), "")


def answer_name(tools: list[Record]) -> str:
    """The name that stands for "answer in words", one that no tool has."""
    name = "answer"
    while any(t.get("name") == name for t in tools):
        name = "final_" + name
    return name


def with_settings(body: Record, request: Record, most: int = CHAT_TOKENS) -> Record:
    """The request's own settings; its `options` win over what was built."""
    body["temperature"] = request.get("temperature", 0) or 0
    body["max_tokens"] = request.get("max_tokens") or most
    if request.get("stop"):
        body["stop"] = request["stop"]
    return merged(body, request.get("options"))


def constraint(schema: Record) -> Record:
    """llama.cpp's way to hold the output to a JSON Schema."""
    named = {"name": "reply", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def call_form(name: str, args: Record) -> Record:
    """The schema of one object {"tool": name, "args": …}."""
    return closed({"tool": {"const": name}, "args": args})


def closed(properties: Record) -> Record:
    """The schema of an object with these properties, all of them and no others."""
    rules = {"required": [*properties], "additionalProperties": False}
    return {"type": "object", "properties": properties, **rules}


def arguments_schema(tool: Record) -> Record:
    """The schema of a tool's arguments, under whichever of the three names it came."""
    found = input_schema(tool)
    return found if isinstance(found, dict) else one_string("input")


def one_string(name: str, **more: Any) -> Record:
    """The schema of an object with one string."""
    return closed({name: {"type": "string", **more}})


def subset(schema: Any, root: Any = None, depth: int = 0) -> Record:
    """The schema with only what the constraint engine surely knows; {} (anything) where that says too little."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > 8:
        return {}
    if isinstance(ref := schema.get("$ref"), str):
        return subset(inside(root, ref), root, depth + 1)
    out: Record = {k: v for k, v in schema.items() if k in KEYWORDS}
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list) and "properties" not in schema:
            return {"anyOf": [subset(s, root, depth + 1) for s in schema[word]]}
    if isinstance(schema.get("items"), dict):
        out["items"] = subset(schema["items"], root, depth + 1)
    if isinstance(properties := schema.get("properties"), dict):
        out["type"] = "object"
        out["properties"] = {k: subset(v, root, depth + 1) for k, v in properties.items()}
        out["required"] = [k for k in schema.get("required") or [] if k in properties]
        out["additionalProperties"] = False
    return out


def inside(root: Any, ref: str) -> Any:
    """What a reference within the same document points at; None where nothing is there."""
    if not ref.startswith("#"):
        return None
    for step in ref[1:].strip("/").split("/") if ref.strip("#/") else []:
        name = step.replace("~1", "/").replace("~0", "~")
        root = root.get(name) if isinstance(root, dict) else None
    return root


def system(messages: list[Record], rule: str) -> Record:
    """The system turn: the caller's own words, then the rule."""
    own = [text(m, joint="\n") for m in messages if m.get("role") == "system"]
    return {"role": "system", "content": "\n\n".join([*own, rule])}


def instructions(tools: list[Record], answer: str) -> str:
    """The rule, and one line of JSON a tool. The same bytes for the same tools, so that the model's prompt cache holds
    over the turns of a run."""
    lines = [tool_line(t) for t in tools]
    lines.append(spaced({"tool": answer, "description": ANSWER, "args": {"text": "string"}}))
    return "\n".join([RULE % answer, *lines])


def tool_line(tool: Record) -> str:
    """One tool as the model reads it: short, types and purposes of the arguments only."""
    schema = arguments_schema(tool)
    needed = schema.get("required") or []
    args = {
        name: brief(spec if isinstance(spec, dict) else {}, name in needed)
        for name, spec in (schema.get("properties") or {}).items()
    }
    purpose = str(tool.get("description") or tool.get("title") or "")[:200]
    return spaced({"tool": tool["name"], "description": purpose, "args": args})


def brief(spec: Record, needed: bool) -> str:
    """`string, path of the file` or `integer (optional)`."""
    choices = spec.get("enum")
    kind = str(spec.get("type") or "any")
    if isinstance(choices, list):
        kind = "one of " + ", ".join(map(str, choices))
    purpose = str(spec.get("description") or "")[:100]
    return kind + ("" if needed else " (optional)") + (f": {purpose}" if purpose else "")


def few_shot(tools: list[Record], answer: str) -> list[Record]:
    """Worked turns from the tools' own `examples`, the first of each tool before the second of any; a greeting and a
    refusal among them, since without these a small model always calls something."""
    turns: list[Record] = []
    given = [(t["name"], [e for e in t.get("examples") or [] if usable(e)]) for t in tools]
    pairs = [(name, found[n]) for n in range(3) for name, found in given if n < len(found)]
    for number, (name, example) in enumerate(pairs[:EXAMPLES]):
        turns += turn_pair(example["request"], name, example["arguments"])
        if "result" in example and "answer" in example:
            result = result_text(str(example["result"]))
            turns += turn_pair(result, answer, {"text": example["answer"]})
        if number == 1 or len(pairs) == 1:
            turns += turn_pair("Hi there", answer, {"text": GREETING})
    return turns + (turn_pair("Order a taxi for me", answer, {"text": REFUSAL}) if pairs else [])


def usable(example: Any) -> bool:
    """Whether an entry of `examples` has the form {"request": str, "arguments": {…}}."""
    if not isinstance(example, dict):
        return False
    return isinstance(example.get("request"), str) and isinstance(example.get("arguments"), dict)


def turn_pair(asked: str, tool: str, args: Record) -> list[Record]:
    """A user's turn and the call that answers it."""
    call = spaced({"tool": tool, "args": args})
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": call}]


def plain_turn(message: Record) -> Record:
    """A message for a chat without tools; earlier calls and results are told in words."""
    role, said = message.get("role"), text(message, joint="\n")
    if role == "tool":
        return {"role": "user", "content": result_text(said, bool(message.get("is_error")))}
    made = [(c.get("name"), spaced(c.get("arguments"))) for c in message.get("tool_calls") or []]
    calls = [f"(called {name} with {args})" for name, args in made]
    return {"role": role, "content": "\n".join([said, *calls] if said else calls or [""])}


def tool_turns(message: Record, answer: str) -> list[Record]:
    """The turns of one message in the form of the few-shot examples."""
    if message.get("role") != "assistant":
        return [plain_turn(message)]
    calls = message.get("tool_calls") or []
    said = [{"tool": c.get("name"), "args": c.get("arguments")} for c in calls]
    said = said or [{"tool": answer, "args": {"text": text(message, joint="\n")}}]
    return [{"role": "assistant", "content": "\n".join(map(spaced, said))}]


def result_text(result: str, failed: bool = False) -> str:
    """A tool's result as a user's turn, cut in its middle to RESULT_CAP."""
    result = result.strip()
    if len(result) > RESULT_CAP:
        head = RESULT_CAP * 3 // 4
        cut = len(result) - RESULT_CAP
        result = f"{result[:head]}\n[… {cut} characters left out …]\n{result[head - RESULT_CAP :]}"
    return f"{'Error' if failed else 'Result'}: {result}"
