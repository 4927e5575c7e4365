"""From a request to what a small model can follow: examples as turns, and JSON that is held to a schema.

Small models on llama.cpp do not make native tool calls. With the schemas of all tools as one constraint and a few
examples they choose well (figures: docs/local.md). reply.py reads what comes back.
"""

from __future__ import annotations

import json

from agentlib.faults import Fault
from agentlib.messages.requests import input_schema, merged
from agentlib.messages.transcript import text
from agentlib.search.rank import describe, ranks, words
from agentlib.types import Any, Collection, NamedTuple, Record

RESULT_CAP = 500  # characters of a tool's result that the model sees; the user sees all of it
CHAT_TOKENS, CALL_TOKENS = 1024, 512  # max_tokens where the request has none
MOST = 8  # tools in one prompt; with more a small model chooses worse and reads for seconds longer
EXAMPLES = 10  # examples in one prompt, of all tools together
RULE = (
    'You have tools. Reply with only one JSON object: {"tool": NAME, "args": {...}}. Take the args from the '
    "user's words, exactly as they stand there. When no tool fits, or when the result is known, use the "
    'tool "%s".\nTools:'
)
FORM = "Reply with only one JSON value that fits this JSON Schema: "
ANSWER = "Say something to the user: the final answer, or that no tool fits"
GREETING = "Hello! What can I do for you?"
REFUSAL = "I cannot do that: none of my tools can order a taxi."
# The keywords that llama.cpp's constraints surely support; the caller validates against the complete schema anyway.
KEYWORDS = "type enum const minimum maximum minItems maxItems minLength maxLength".split()
STRING = {"type": "string"}


class Plan(NamedTuple):
    """How one request is put to the model: `body` for llama.cpp's chat completions, and how to read the output.

    answer: the name that stands for "no tool, this text"; None in a plain chat. free: whether the text of an answer is
    prose (not held to the request's schema), so that it can be streamed.
    """

    body: Record
    answer: str | None
    free: bool


def spaced(value: Any) -> str:
    """JSON as models write it: a space after each comma and colon."""
    return json.dumps(value, ensure_ascii=False)


def plan(request: Record, answer_only: bool = False) -> Plan:
    """The plan for a `request` record. answer_only: tools must not be called any more. Fault `invalid_request` names
    what a small local model cannot do."""
    check(request)
    messages = [m for m in request.get("messages") or [] if isinstance(m, dict)]
    choice = request.get("tool_choice", "auto")
    tools = [] if choice == "none" else chosen(request.get("tools") or [], choice, messages)
    if tools:
        may_answer = answer_only or choice == "auto"
        return _plan_with_tools(request, messages, tools, may_answer, not answer_only)
    turns, schema = [plain_turn(m) for m in messages], request.get("schema")
    if not schema:
        return Plan(with_settings({"messages": turns}, request), None, True)
    turns = [turn for turn in turns if turn["role"] != "system"]
    turns.insert(0, system(messages, FORM + spaced(schema)))
    body = {"messages": turns, "response_format": constraint(schema)}
    return Plan(with_settings(body, request), None, False)


def _plan_with_tools(
    request: Record, messages: list[Record], tools: list[Record], may_answer: bool, may_call: bool
) -> Plan:
    answer, schema = answer_name(tools), request.get("schema")
    forms = [call_form(t["name"], subset(arguments_schema(t))) for t in tools] if may_call else []
    if may_answer:
        text_schema = object_schema(text={**STRING, "minLength": 1})
        forms.append(call_form(answer, schema if isinstance(schema, dict) else text_schema))
    turns = [system(messages, instructions(tools, answer)), *few_shot(tools, answer)]
    turns += [tool_turn(m, answer) for m in messages if m.get("role") != "system"]
    form = {"anyOf": forms} if len(forms) > 1 else forms[0]
    body = {"messages": turns, "response_format": constraint(form)}
    return Plan(with_settings(body, request, CALL_TOKENS), answer, not schema)


def check(request: Record) -> None:
    """Refuse what would otherwise be ignored, by a Fault `invalid_request`."""
    if request.get("reasoning"):
        raise Fault("invalid_request", "the local model has no `reasoning`; leave it out")
    if (api := request.get("api")) not in (None, "chat"):
        problem = f'the local model has no api {api!r}; use "chat" or leave it out'
        raise Fault("invalid_request", problem)
    for message in request.get("messages") or []:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if (kind := part.get("type")) not in ("text", "thinking"):
                problem = f"the local model reads text only, not a part of type {kind!r}"
                raise Fault("invalid_request", problem)


def chosen(tools: list[Record], choice: Any, messages: list[Record]) -> list[Record]:
    """The tools to offer: the one that tool_choice names, else the shortlist for the last message of the user."""
    if isinstance(choice, dict):
        name = choice.get("name")
        if named := [tool for tool in tools if tool.get("name") == name]:
            return named
        problem = f"tool_choice names {name!r}, which is not among the tools"
        raise Fault("invalid_request", problem)
    used = {c.get("name") for m in messages for c in m.get("tool_calls") or []}
    request = next((text(m, joint="\n") for m in reversed(messages) if m.get("role") == "user"), "")
    return [fitting(tool, request) for tool in shortlist(tools, request, used)]


def shortlist(tools: list[Record], request: str, keep: Collection[Any] = ()) -> list[Record]:
    """At most MOST of the tools, in their order: those in `keep`, then those whose words the request has (BM25)."""
    if len(tools) <= MOST:
        return tools
    scores = ranks([words(describe(tool)) for tool in tools], words(request))

    def place(i: int) -> tuple[bool, float, int]:
        return tools[i].get("name") not in keep, -scores[i], i

    best = sorted(range(len(tools)), key=place)[:MOST]
    return [tools[i] for i in sorted(best)]


def fitting(tool: Record, request: str) -> Record:
    """The tool without the optional arguments that neither its examples use nor the request names: a small model fills
    in every argument it sees. A tool without examples keeps them all."""
    schema = tool.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    examples = [e for e in tool.get("examples") or [] if isinstance(e, dict)]
    if not examples or not isinstance(schema, dict) or not isinstance(properties, dict):
        return tool
    used = {name for example in examples for name in example.get("arguments") or {}}
    used.update(schema.get("required") or [])
    wanted = set(words(request))
    fit = {k: v for k, v in properties.items() if k in used or wanted & set(words(k))}
    return {**tool, "inputSchema": {**schema, "properties": fit}}


def answer_name(tools: list[Record]) -> str:
    """The name that stands for "answer in words"; no tool has it."""
    name = "answer"
    while any(tool.get("name") == name for tool in tools):
        name = "final_" + name
    return name


def with_settings(body: Record, request: Record, max_tokens: int = CHAT_TOKENS) -> Record:
    """The body with the settings of the request; its `options` win over what was built."""
    body["temperature"] = request.get("temperature", 0) or 0
    body["max_tokens"] = request.get("max_tokens") or max_tokens
    if request.get("stop"):
        body["stop"] = request["stop"]
    return merged(body, request.get("options"))


def constraint(schema: Record) -> Record:
    """The response_format that makes llama.cpp hold the output to a JSON Schema."""
    reply = {"name": "reply", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": reply}


def call_form(name: str, args: Record) -> Record:
    """The schema of one object {"tool": name, "args": …}."""
    return object_schema(tool={"const": name}, args=args)


def object_schema(**properties: Record) -> Record:
    """The schema of an object that has exactly these properties."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {**schema, "additionalProperties": False}


def arguments_schema(tool: Record) -> Record:
    """The schema of a tool's arguments, under any of its three names."""
    schema = input_schema(tool)
    return schema if isinstance(schema, dict) else object_schema(input=STRING)


def subset(schema: Any, root: Any = None, depth: int = 0) -> Record:
    """The schema with only the keywords that are surely supported; {} (anything) if nothing useful is left."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > 8:
        return {}
    if isinstance(ref := schema.get("$ref"), str):
        return subset(resolved(root, ref), root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list) and "properties" not in schema:
            return {"anyOf": [subset(s, root, depth + 1) for s in schema[keyword]]}
    out: Record = {k: v for k, v in schema.items() if k in KEYWORDS}
    if isinstance(schema.get("items"), dict):
        out["items"] = subset(schema["items"], root, depth + 1)
    if isinstance(properties := schema.get("properties"), dict):
        fields = {k: subset(v, root, depth + 1) for k, v in properties.items()}
        out.update(object_schema(**fields))
        out["required"] = [k for k in schema.get("required") or [] if k in properties]
    return out


def resolved(root: Any, ref: str) -> Any:
    """What a reference within the same document points at; None if that does not exist."""
    if not ref.startswith("#"):
        return None
    path = ref[1:].strip("/")
    for step in path.split("/") if path else []:
        step = step.replace("~1", "/").replace("~0", "~")
        root = root.get(step) if isinstance(root, dict) else None
    return root


def system(messages: list[Record], rule: str) -> Record:
    """The system turn: the caller's system messages, then the rule."""
    texts = [text(m, joint="\n") for m in messages if m.get("role") == "system"]
    return {"role": "system", "content": "\n\n".join([*texts, rule])}


def instructions(tools: list[Record], answer: str) -> str:
    """The rule, and one line of JSON for each tool. The same tools give the same bytes, so that the model's prompt
    cache is valid for all turns of a run."""
    lines = [tool_line(tool) for tool in tools]
    lines.append(spaced({"tool": answer, "description": ANSWER, "args": {"text": "string"}}))
    return "\n".join([RULE % answer, *lines])


def tool_line(tool: Record) -> str:
    """A tool as the model reads it, short: of the arguments only types and purposes."""
    schema = arguments_schema(tool)
    required = schema.get("required") or []
    properties = schema.get("properties") or {}
    args = {name: brief(spec, name in required) for name, spec in properties.items()}
    purpose = str(tool.get("description") or tool.get("title") or "")[:200]
    return spaced({"tool": tool["name"], "description": purpose, "args": args})


def brief(spec: Any, required: bool) -> str:
    """`string: path of the file` or `integer (optional)`."""
    spec = spec if isinstance(spec, dict) else {}
    kind = str(spec.get("type") or "any")
    if isinstance(choices := spec.get("enum"), list):
        kind = "one of " + ", ".join(map(str, choices))
    purpose = str(spec.get("description") or "")[:100]
    return kind + ("" if required else " (optional)") + (f": {purpose}" if purpose else "")


def few_shot(tools: list[Record], answer: str) -> list[Record]:
    """Turns from the tools' `examples`, the first of each tool before the second of any. With a greeting and a refusal
    among them, since a small model that sees only calls always calls a tool."""
    turns: list[Record] = []
    lists = [(t["name"], [e for e in t.get("examples") or [] if usable(e)]) for t in tools]
    pairs = [(name, found[n]) for n in range(3) for name, found in lists if n < len(found)]
    pairs = pairs[:EXAMPLES]
    for number, (name, example) in enumerate(pairs):
        turns += exchange(example["request"], name, example["arguments"])
        if "result" in example and "answer" in example:
            result = result_text(str(example["result"]))
            turns += exchange(result, answer, {"text": example["answer"]})
        if number == 1 or len(pairs) == 1:
            turns += exchange("Hi there", answer, {"text": GREETING})
    return turns + (exchange("Order a taxi for me", answer, {"text": REFUSAL}) if pairs else [])


def usable(example: Any) -> bool:
    """Whether an entry of `examples` has the form {"request": str, "arguments": {…}}."""
    if not isinstance(example, dict) or not isinstance(example.get("request"), str):
        return False
    return isinstance(example.get("arguments"), dict)


def exchange(request: str, tool: str, args: Record) -> list[Record]:
    """A user's turn and the call that answers it."""
    call = spaced({"tool": tool, "args": args})
    return [{"role": "user", "content": request}, {"role": "assistant", "content": call}]


def plain_turn(message: Record) -> Record:
    """The turn of a message in a chat without tools; earlier calls and results become words."""
    role, content = message.get("role"), text(message, joint="\n")
    if role == "tool":
        return {"role": "user", "content": result_text(content, bool(message.get("is_error")))}
    lines = [content] if content else []
    for call in message.get("tool_calls") or []:
        lines.append(f"(called {call.get('name')} with {spaced(call.get('arguments'))})")
    return {"role": role, "content": "\n".join(lines)}


def tool_turn(message: Record, answer: str) -> Record:
    """The turn of a message in the form of the examples."""
    if message.get("role") != "assistant":
        return plain_turn(message)
    earlier = message.get("tool_calls") or []
    calls = [{"tool": call.get("name"), "args": call.get("arguments")} for call in earlier]
    calls = calls or [{"tool": answer, "args": {"text": text(message, joint="\n")}}]
    return {"role": "assistant", "content": "\n".join(map(spaced, calls))}


def result_text(result: str, failed: bool = False) -> str:
    """A tool's result as a user's turn, cut in its middle to RESULT_CAP."""
    result = result.strip()
    if len(result) > RESULT_CAP:
        head = RESULT_CAP * 3 // 4
        cut = len(result) - RESULT_CAP
        result = f"{result[:head]}\n[… {cut} characters left out …]\n{result[head - RESULT_CAP :]}"
    return f"{'Error' if failed else 'Result'}: {result}"
