"""From a request to what a small model can follow: which tool is next is one question, the answer in words another.

The first prompt has the tools with their examples, and its output is held to one JSON Schema: a call, or that none is
needed. The second is a plain chat, without examples that could slip into the answer. reply.py reads what comes back.
"""

import contextlib
import csv
import json
import os
import re
import tomllib
from difflib import get_close_matches

from agentlib.faults import Fault
from agentlib.messages import material
from agentlib.messages.requests import merged
from agentlib.messages.subschemas import object_schema
from agentlib.messages.transcript import text
from agentlib.messages.validate import INPUT, input_schema
from agentlib.search.rank import describe, ranks, words
from agentlib.types import Any, Collection, NamedTuple, Record

CHAT_TOKENS, CALL_TOKENS = 1024, 512  # max_tokens where the request has none
MOST, FITTING = 24, 10  # tools in one prompt, about 110 tokens each; of more, those that fit best
SYSTEM_CAP, TEXT_CAP = 600, 1600  # characters of the system text of a choice; of a text in JSON
RESULT_CAP, QUOTE_CAP = 500, 4000  # characters of a result that a choice sees, and an answer
CLOSE = 0.8  # of 1, how alike a word is to another that may be meant
LABEL_CAP, REMINDER_CAP = 80, 300  # characters of the label and the request at a result
with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "prompts.toml"), "rb") as _file:
    TEXTS: dict[str, Any] = tomllib.load(_file)
KEYWORDS = (
    "type enum const minimum maximum minItems maxItems minLength maxLength".split()
)  # in llama.cpp
FILE = re.compile(r"[\w./-]*\w\.(?:[A-Za-z]\w{1,4}|[ch])\b")  # the name of a file
GREETING, AGE = (re.compile(TEXTS["requests"][name], re.I) for name in ("greeting", "age"))
FENCES = re.compile(r"<<<([^\n]*) ([0-9a-f]{20})\n(.*?)\n\2 end>>>", re.S)


class Plan(NamedTuple):
    """One prompt: `body` for llama.cpp's chat completions, and the numbers of messages at which its parts end; the
    first is the same for all requests with one system text and the same tools. schema: whether the output is JSON."""

    body: Record
    ends: list[int]
    schema: bool


def spaced(value: Any) -> str:
    """JSON as models write it: a space after each comma and colon."""
    return json.dumps(value, ensure_ascii=False)


def choice(request: Record) -> Plan | None:
    """The prompt that chooses the next tool call; None without tools. Fault for what it cannot do."""
    messages = check(request)
    wanted = request.get("tool_choice", "auto")
    tools = [] if wanted == "none" else offered(request.get("tools") or [], wanted, messages)
    if not tools:
        return None
    name, last = TEXTS["answer"], last_request(messages)  # no tool may have the name
    while any(tool["name"] == name for tool in tools):
        name = f"final_{name}"
    calls = [(t["name"], form) for t in tools for form in arguments_forms(t, last)]
    forms = [object_schema({"tool": {"const": n}, "args": form}) for n, form in calls]
    if wanted == "auto":
        forms.append(object_schema({"tool": {"const": name}}))
    lines = "\n".join([tool_line(tool) for tool in tools])
    uncalled = "\n".join(f"  {text} -> {spaced({'tool': name})}" for text in TEXTS["uncalled"])
    rule = TEXTS["rule"] % (lines, spaced({"tool": name, "description": TEXTS["words"]}), uncalled)
    system = f"{schema_of(system_text(messages))[0][:SYSTEM_CAP]}\n\n{rule}".strip()
    turns = [{"role": "system", "content": system}, *choice_turns(messages, name)]
    return plan(request, turns, {"anyOf": forms} if len(forms) > 1 else forms[0], CALL_TOKENS)


def answer(request: Record) -> Plan:
    """The prompt for the answer in words, or in JSON that fits the request's `schema`."""
    messages = check(request)
    system, schema = system_text(messages), request.get("schema")
    if not schema:
        system, schema = schema_of(system)
    offers = bool(request.get("tools")) and request.get("tool_choice", "auto") != "none"
    if offers:  # the answer is made without tools, so without the sentences about them
        names = "|".join(re.escape(tool["name"]) for tool in request["tools"])
        about = re.compile(rf"\b(tools?|{names})\b")
        sentences = re.split(r"(?<=[.!?])\s+", system)
        system = " ".join(sentence for sentence in sentences if not about.search(sentence))
    if schema:
        system = f"{system}\n\n{TEXTS['form']}{spaced(schema)}".strip()
    turns = [{"role": "system", "content": system}] if system else []
    turns += answer_turns(messages, offers and not schema)
    return plan(request, turns, bounded(schema), CHAT_TOKENS)


def bounded(schema: Any) -> Any:
    """The schema with an end for each text, which a small model may repeat without one, and with each choice from an
    `enum` needed: what it decides first keeps it from making up what follows."""
    if not isinstance(schema, dict):
        return [bounded(item) for item in schema] if isinstance(schema, list) else schema
    out = {name: bounded(value) for name, value in schema.items()}
    if out.get("type") == "string" and "enum" not in out:
        out.setdefault("maxLength", TEXT_CAP)
    if isinstance(properties := out.get("properties"), dict):
        choices = [n for n, v in properties.items() if isinstance(v, dict) and "enum" in v]
        if choices:
            out["required"] = list(dict.fromkeys([*(out.get("required") or []), *choices]))
    return out


def plan(request: Record, turns: list[Record], schema: Record | None, max_tokens: int) -> Plan:
    """The plan for these turns; the `options` of the request win over what is built here."""
    body: Record = {"messages": turns}
    if schema:  # llama.cpp holds the output to it
        form = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    body["temperature"] = request.get("temperature", 0) or 0
    body["max_tokens"] = request.get("max_tokens") or max_tokens
    if request.get("stop"):
        body["stop"] = request["stop"]
    ends = [number for number, turn in enumerate(turns, 1) if turn["role"] != "assistant"]
    return Plan(merged(body, request.get("options")), ends, bool(schema))


def check(request: Record) -> list[Record]:
    """The messages. Fault `invalid_request` for what would otherwise be ignored."""
    why = ""
    if (api := request.get("api")) not in (None, "chat"):
        why = f'the local model has no api {api!r}; use "chat" or leave it out'
    if request.get("reasoning"):
        why = "the local model has no `reasoning`; leave it out"
    messages: list[Record] = request.get("messages") or []
    contents = [m["content"] for m in messages if isinstance(m.get("content"), list)]
    if other := [p["type"] for c in contents for p in c if p["type"] not in ("text", "thinking")]:
        why = f"the local model reads text only, not a part of type {other[0]!r}"
    if why:
        raise Fault("invalid_request", why)
    return messages


def offered(tools: list[Record], wanted: Any, messages: list[Record]) -> list[Record]:
    """The tool that tool_choice names, else all; of more than MOST the FITTING that were used or match best (BM25)."""
    if isinstance(wanted, dict):
        name = wanted["name"]
        if named := [tool for tool in tools if tool["name"] == name]:
            return named
        raise Fault("invalid_request", f"tool_choice names {name!r}, which is no tool here")
    if len(tools) <= MOST:
        return tools
    used = {call["name"] for m in messages for call in m.get("tool_calls") or []}
    scores = ranks([words(describe(tool)) for tool in tools], words(last_request(messages)))
    places = [(t["name"] not in used, -scores[i], i) for i, t in enumerate(tools)]
    return [tools[i] for i in sorted(i for _, _, i in sorted(places)[:FITTING])]


def last_request(messages: list[Record]) -> str:
    return next((text(m, joint="\n") for m in reversed(messages) if m.get("role") == "user"), "")


def arguments_forms(tool: Record, request: str) -> list[Record]:
    """The forms that a tool's arguments may have, by its examples: a small model fills in every argument it may."""
    schema = subset(arguments_schema(tool))
    properties, needed = schema.get("properties") or {}, schema.get("required") or []
    kinds = {n: s.get("type") for n, s in properties.items() if n not in needed}
    figure = re.search(TEXTS["requests"]["figure"], request, re.I)
    for name, kind in kinds.items():
        if kind == "boolean" and not wants(tool, name, request) or kind == "integer" and not figure:
            del properties[name]
    more = [n for n in properties if kinds.get(n) == "boolean" or {*words(request)} & {*words(n)}]
    uses = {tuple(n for n in properties if n in e["arguments"]) for e in examples(tool)[:2]}
    forms = []
    for use in sorted(uses):
        required = [name for name in properties if name in needed or name in use]
        fit = {k: v for k, v in properties.items() if k in required or k in more}
        forms.append({**schema, "properties": fit, "required": required})
    return forms or [schema]


def wants(tool: Record, flag: str, request: str) -> bool:
    """Whether a request has the name of a flag, a third of the words of its description, or others for one of these."""
    about = [flag, str(arguments_schema(tool)["properties"][flag].get("description"))]
    about += [e["request"] for e in examples(tool) if e["arguments"].get(flag) is True]
    stems, wanted = ({*words(FILE.sub("", piece))} for piece in (" ".join(about), request))
    stems -= {*words(str(tool.get("description")))}
    near = {*words(flag)} <= wanted or 3 * len(stems & wanted) >= len(stems) > 0
    others = [rule for word, rule in TEXTS["flags"].items() if word in stems]
    return near or any(re.search(rule, request, re.I | re.S) for rule in others)


def since_request(messages: list[Record]) -> list[Record]:
    """The messages after the last one of the user: calls and results."""
    found: list[Record] = []
    for message in messages:
        found = [] if message.get("role") == "user" else [*found, message]
    return found


def arguments_schema(tool: Record) -> Record:
    schema = input_schema(tool)
    return schema if isinstance(schema, dict) else INPUT


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
        out.update(object_schema(fields))
        out["required"] = [k for k in schema.get("required") or [] if k in properties]
    return out


def resolved(root: Any, ref: str) -> Any:
    """What a reference within the same document points at; None if that does not exist."""
    for step in ref.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        root = root.get(name) if isinstance(root, dict) else None
    return root if ref.startswith("#") else None


def schema_of(system: str) -> tuple[str, Record | None]:
    """(the system text without the JSON Schema at its end, that schema), as agent-react puts it there."""
    head, mark, rest = system.rpartition(TEXTS["wanted"])
    start = head.rstrip().rpartition("\n")[0]
    try:
        schema = json.loads(rest) if mark else None
    except (ValueError, RecursionError):
        schema = None
    return (start.strip(), schema) if isinstance(schema, dict) else (system, None)


def system_text(messages: list[Record]) -> str:
    return "\n\n".join(text(m, joint="\n") for m in messages if m.get("role") == "system")


def tool_line(tool: Record) -> str:
    """A tool as the model reads it: its purpose and arguments, and two examples or what the arguments are for."""
    schema = arguments_schema(tool)
    purpose = str(tool.get("description") or tool.get("title") or "")[:200]
    worked = [(e["request"], e["arguments"]) for e in examples(tool)[:2]]
    args = {}
    for name, spec in (schema.get("properties") or {}).items():
        spec = spec if isinstance(spec, dict) else {}
        args[name] = str(spec.get("type") or "any")
        if isinstance(choices := spec.get("enum"), list):
            args[name] = "one of " + ", ".join(map(str, choices))
        if name not in (schema.get("required") or []):
            args[name] += " (optional)"
        if not worked and spec.get("description"):
            args[name] += f": {spec['description']}"[:102]
    lines = [spaced({"tool": tool["name"], "description": purpose, "args": args})]
    lines += [f"  {r} -> {spaced({'tool': tool['name'], 'args': a})}" for r, a in worked]
    return "\n".join(lines)


def examples(tool: Record) -> list[Record]:
    """The examples of a tool that have the form {"request": str, "arguments": {…}}."""
    found = tool.get("examples")
    found = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    of_form = (e for e in found if isinstance(e.get("request"), str))
    return [e for e in of_form if isinstance(e.get("arguments"), dict)]


def choice_turns(messages: list[Record], name: str) -> list[Record]:
    """The conversation as the choice of a tool sees it: requests, calls, results; of answers the text."""
    turns: list[Record] = []
    answered, reminder = "", TEXTS["next"] % ("", name)
    for message in messages:
        role, content = message["role"], text(message, joint="\n")
        calls = message.get("tool_calls") or []
        if role == "user":
            before = f"(Your answer to the last request was: {answered})\n\n" if answered else ""
            turns.append({"role": "user", "content": before + reordered(content)})
            line = " ".join(reordered(content).rpartition(TEXTS["request"])[2].split())
            answered, reminder = "", TEXTS["next"] % (line[:REMINDER_CAP], name)
        elif role == "tool":
            lines = f"{'Error' if message.get('is_error') else 'Result'}: {shorter(content)}\n"
            if turns and turns[-1]["role"] == "user":
                lines = turns.pop()["content"].removesuffix(reminder) + lines
            turns.append({"role": "user", "content": lines + reminder})
        elif role == "assistant":
            made = [spaced({"tool": c["name"], "args": c.get("arguments")}) for c in calls]
            answered = "" if calls else content[:RESULT_CAP]
            content = "\n".join(made or [spaced({"tool": name})])
            turns.append({"role": "assistant", "content": content})
    return turns


def answer_turns(messages: list[Record], offers: bool) -> list[Record]:
    """The conversation as the answer sees it: earlier requests and answers, then what is known and the last request.
    offers: whether there are tools, so that without any result it may be content that none fits."""
    turns: list[Record] = []
    run = since_request(messages)
    used = tokens(spaced([m.get("tool_calls") for m in run if m.get("tool_calls")]))
    for message in messages:
        role, content = message["role"], text(message, joint="\n")
        if role == "user":
            turns.append({"role": "user", "content": reordered(content, used)})
        elif role == "assistant" and content and not message.get("tool_calls"):
            turns.append({"role": "assistant", "content": content})
    last = turns[-1] if turns else {"role": "", "content": TEXTS["material"]}
    content = last["content"]
    if last["role"] == "user" and (found := facts(run, content)):
        last["content"] = f"{TEXTS['known']}\n{found}\n\n{content}\n{TEXTS['done']}"
    elif offers and TEXTS["material"] not in content and not GREETING.match(content):
        last["content"] += f"\n\n({TEXTS['alone']})"
    return turns


def facts(run: list[Record], request: str) -> str:
    """The results of calls, each under what it was made from. Errors only where nothing else is known, and not that a
    file is missing which the request does not name."""
    labels = {c.get("id"): label(c) for m in run for c in m.get("tool_calls") or []}
    results = [m for m in run if m["role"] == "tool"]
    results = [m for m in results if not m.get("is_error")] or results
    guessed = [m for m in results if m.get("is_error") and "No such file" in text(m)]
    known = [(m, labels.get(m["tool_call_id"], "")) for m in results]
    known = [(m, name) for m, name in known if m not in guessed or name in request]
    pairs = [(name, text(m, joint="\n")) for m, name in known]
    parts = (piece_text(n, shorter(c, QUOTE_CAP)) + pointed(c, request) for n, c in pairs)
    return table(pairs, request) or "\n\n".join(parts)


def label(call: Record) -> str:
    """What a call was made from, in short: the values of its arguments, or the name of the tool."""
    values = call.get("arguments")
    line = ", ".join(map(str, values.values())) if isinstance(values, dict) else ""
    return " ".join((line or str(call.get("name"))).split())[:LABEL_CAP]


def table(pairs: list[tuple[str, str]], request: str) -> str:
    """Results of the same numbers, a line a number, with most, fewest and sum; else "". Small models compare badly, so
    they see only the number and the comparison that the request names, where it names one."""
    rows = {}
    for made, content in pairs:
        with contextlib.suppress(ValueError, RecursionError):
            rows[made] = json.loads(content)
    values = list(rows.values())
    few = len(rows) < min(2, len(pairs))  # beside a list of the files, those of more than one
    if few or not rows or not all(isinstance(r, dict) and [*r] == [*values[0]] for r in values):
        return ""
    wanted = tokens(request.lower())
    names = [name for name in values[0] if figure(str(name), wanted)]
    if len(rows) == 1:
        figures = all(isinstance(value, int | float) for value in values[0].values())
        return "\n".join(f"{figure(n, wanted)}: {values[0][n]}" for n in names if figures)
    lines = []
    for name in names or values[0]:
        line = f"{name}: " + ", ".join(f"{made} {row[name]}" for made, row in rows.items())
        numbers = {m: row[name] for m, row in rows.items() if isinstance(row[name], int | float)}
        if len(numbers) == len(rows) and len({*numbers.values()}) > 1:
            most, *_, fewest = sorted(numbers, key=numbers.__getitem__, reverse=True)
            more = {"most": most, "fewest": fewest, "together": sum(numbers.values())}
            more["difference"] = numbers[most] - numbers[fewest]
            more = {k: v for k, v in more.items() if wanted & {*TEXTS["comparisons"][k]}} or more
            line += " (" + "; ".join(f"{k} {name}: {v}" for k, v in more.items()) + ")"
        lines.append(line)
    return "\n".join(lines)


def figure(name: str, wanted: Collection[str]) -> str:
    """The word of the request for this figure, also in another language or with a letter wrong; "" without one."""
    known = TEXTS["figures"].get(name, [name, name.removesuffix("s")])
    close = [word for word in known if get_close_matches(word, wanted, 1, CLOSE)]
    return next((w for w in close if w in wanted and w[:4] != name[:4]), name if close else "")


def reordered(content: str, used: Collection[str] = ()) -> str:
    """The user's text with its material first and the request last. used: material of only these words is left out."""
    request, mark, rest = content.partition(f"\n\n{material.RULE}")
    if not mark or not (pieces := FENCES.findall(rest)):
        return content
    left = [(label, piece) for label, _, piece in pieces if not tokens(piece) <= {*used}]
    if not left:
        return request
    parts = [piece_text(label, piece) + pointed(piece, request) for label, piece in left]
    return "\n\n".join([TEXTS["material"], *parts, f"{TEXTS['request']}{request}"])


def rows_of(content: str) -> list[Record]:
    """The rows of a CSV file or of a JSON list of objects; [] for another text."""
    content = content.strip()[:100_000]  # less than the longest field that csv reads
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError):
        mark = re.match(r"[^\n]*?([\t;,])(?! )", content)  # in the line of the headings
        rows = [*csv.DictReader(content.splitlines(), delimiter=mark[1])] if mark else []
    rows = rows if isinstance(rows, list) and len(rows) > 1 else []
    return rows if all(isinstance(r, dict) and [*r] == [*rows[0]] for r in rows) else []


def pointed(content: str, request: str) -> str:
    """What the request points at in lines or rows, the third or the largest: small models count and compare badly."""
    request, rows = request.rpartition(TEXTS["request"])[2], rows_of(content)
    lines = [spaced(row) for row in rows] or [one for one in content.splitlines() if one.strip()]
    places = [(n, p) for n, (p, rule) in TEXTS["places"].items() if re.search(rule, request, re.I)]
    found = [f"\nThe {n}: {lines[p - (p > 0)]}" for n, p in places if lines and p <= len(lines)]
    many = rows and re.search(TEXTS["requests"]["many"], request, re.I)
    if many and {*words(many[1])} & {*words(" ".join(["row entry", *map(str, rows[0])]))}:
        found.append(f"\nIn all: {len(rows)} {many[1]}")
    ends = [(end, re.search(rule, request, re.I)) for end, rule in TEXTS["ends"].items() if rows]
    for end, word, column in [(end, m[0], column) for end, m in ends if m for column in rows[0]]:
        high = (end == "largest") != bool(AGE.search(f"{column} {word}"))
        with contextlib.suppress(ValueError):  # a column without numbers and dates
            values = [float(re.sub(r"(?<=\d)-", "", str(row[column]))) for row in rows]
            best = values.index(max(values) if high else min(values))
            found.append(f"\nThe {word} by {column}: {lines[best]}")
    return "".join(found)


def tokens(piece: str) -> set[str]:
    return set(re.findall(r"\w+", piece.replace("\\n", " ")))


def piece_text(label: str, piece: str) -> str:
    name = label.removeprefix("context ")
    return f"{name}:\n```\n{piece}\n```" if "\n" in piece.strip() else f"{name}: {piece.strip()}"


def shorter(result: str, cap: int = RESULT_CAP) -> str:
    """A text cut in its middle to `cap` characters."""
    result = result.strip()
    if len(result) <= cap:
        return result
    head, gone = cap * 3 // 4, len(result) - cap
    return f"{result[:head]}\n[… {gone} characters left out …]\n{result[head - cap :]}"
