"""What a small model's output means: a call or none, and whether an answer holds the result it was made from."""

import json
import re
import secrets

from agentlib.faults import Fault
from agentlib.messages import material
from agentlib.messages.transcript import text
from agentlib.types import Any, Record
from localmodel import prompt
from localmodel.prompt import FENCES, FILE, examples, last_request, since_request, spaced, tokens

SHORT, STEP_CAP = (
    200,
    40,
)  # characters of a result, and of a step's output, that an answer must hold
STEP = re.compile(r"context step [^:]*: ")
LINKS = {*prompt.TEXTS["links"].split()}  # words of a request that none of its parts needs
DIFFERENCE = re.compile(prompt.TEXTS["requests"]["difference"], re.I)
PARTS = re.compile(r"\b(and|then|each|every|all|which|say|says|first|last|\w+est)\b|[,;]", re.I)
YES_OR_NO = re.compile(r"\s*(is|are|was|were|do|does|did|has|have|had|should)\b", re.I)


def call(raw: str, request: Record) -> Record | None:
    """The tool call in the output; None if it says that none is needed. Fault `bad_response` if it is neither."""
    try:
        reply = json.loads(raw)
        name, args = reply["tool"], reply.get("args")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Fault("bad_response", f"no whole call: {raw[:80]!r}", retryable=False) from None
    if args is None or all(tool.get("name") != name for tool in request.get("tools") or []):
        return None
    pair = re.fullmatch(r"\s*([\d.]+)\s*-\s*([\d.]+)\s*", str(args.get("expression")))
    positive = pair and DIFFERENCE.search(last_request(request["messages"]))
    if pair and positive and float(pair[1]) < float(pair[2]):
        args = {**args, "expression": f"{pair[2]} - {pair[1]}"}
    return {"id": f"call_{secrets.token_hex(8)}", "name": name, "arguments": args}


def useless(made: Record, request: Record) -> bool:
    """Whether the call was made before for the same request, copies a file's name from an example, or is about a file
    or folder that only a result names, where the request wants one thing: small models tend to all three."""
    messages = request["messages"]
    run, wanted = since_request(messages), last_request(messages)
    earlier = [old for message in run for old in message.get("tool_calls") or []]
    if any(all(made[f] == old.get(f) for f in ("name", "arguments")) for old in earlier):
        return True
    tool = next(tool for tool in request["tools"] if tool["name"] == made["name"])
    copies = [leaf for e in examples(tool) for leaf in leaves(e["arguments"])]
    known, values = spaced(messages), leaves(made["arguments"])
    if any(v in copies and v not in known for v in values if FILE.search(str(v))):
        return True
    results = spaced([m.get("content") for m in run if m["role"] == "tool"])
    files = [str(v) for v in values if FILE.fullmatch(str(v)) or str(v).endswith("/")]
    return not PARTS.search(wanted) and any(f in results and f not in wanted for f in files)


def expected(request: Record) -> list[str]:
    """The results that belong into the answer: short ones, not only steps to another call, and none before a change."""
    found: list[str] = []
    tools = request.get("tools") or []
    reads = [t["name"] for t in tools if (t.get("annotations") or {}).get("readOnlyHint")]
    for message in since_request(request["messages"]):
        for made in message.get("tool_calls") or []:
            used = tokens(spaced(made.get("arguments")))
            found = [result for result in found if not tokens(result) <= used]
            found = found if not reads or made["name"] in reads else []
        result = text(message, joint="\n").strip()
        if message.get("role") == "tool" and not message.get("is_error"):
            found += [result] if 0 < len(result) <= SHORT and not prompt.rows_of(result) else []
    return found


def verbatim(request: Record) -> str:
    """The result that is the answer as it stands: the only one, of one line, and the request wants no yes or no."""
    results, messages = expected(request), request["messages"]
    if len(results) != 1 or text(messages[-1], joint="\n").strip() != results[0]:
        return ""
    wanted = last_request(messages)
    plain = "\n" not in results[0] and pieces(results[0]) == results
    return results[0] if plain and not YES_OR_NO.match(wanted) else ""


def outputs(request: Record) -> str:
    """The outputs of a plan's steps as they stand, each with its task, where the tasks have all words of the request;
    else "". Small models retype badly; where a request wants more than its steps (which is larger?), they must."""
    last = request["messages"][-1]
    content = text(last, joint="\n") if last.get("role") == "user" else ""
    wanted = tokens(content.partition(material.RULE)[0].lower())
    steps = [
        (STEP.sub("", n), out.strip()) for n, _, out in FENCES.findall(content) if STEP.match(n)
    ]
    if not steps or not wanted <= LINKS | tokens(" ".join(task for task, _ in steps).lower()):
        return ""
    if len(steps) == 1:
        return str(steps[0][1])
    return "\n\n".join(f"{task}:{chr(10) if chr(10) in out else ' '}{out}" for task, out in steps)


def missing(answer: str, request: Record) -> list[str]:
    """The expected results of which the answer holds nothing. Of several, not those in JSON: they were compared."""
    plain, results = bare(answer), expected(request)
    lacking = [r for r in results if not any(bare(piece) in plain for piece in pieces(r))]
    lacking = [r for r in lacking if len(results) == 1 or r in pieces(r)]
    # and the short outputs of a plan's steps, which agent-execute puts into the material
    for name, _, output in FENCES.findall(text(request["messages"][-1], joint="\n")):
        short = STEP.match(name) and 0 < len(output.strip()) <= STEP_CAP
        if short and not tokens(output) <= tokens(answer):
            lacking.append(f"{name.partition(': ')[2]}: {output.strip()}")
    return lacking


def pieces(result: str) -> list[str]:
    """What of a result an answer may hold: all of it, or a value of its JSON, or one of its lines."""
    try:
        value = json.loads(result)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        return [str(leaf) for leaf in leaves(value)]
    return [result] if "\n" not in result else [result, *filter(None, result.split("\n"))]


def leaves(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [leaf for item in inner for leaf in leaves(item)]


def bare(piece: str) -> str:
    """A text without quotes and with single blanks, to be compared."""
    return " ".join(re.sub(r"[\"'`*,]", "", piece).split())
