"""What a small model's output means, complete or still growing: a message (prompt.py made the prompt)."""

from __future__ import annotations

import json
import re
import secrets

from agentlib.faults import Fault
from agentlib.local.prompt import Plan, spaced
from agentlib.types import Record

# The beginning of an answer in words, then the complete characters of a JSON string (never half a surrogate pair).
_ANSWER = r'\s*\{\s*"tool"\s*:\s*"%s"\s*,\s*"args"\s*:\s*\{\s*"text"\s*:\s*"'
_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*'
)


def message(raw: str, plan: Plan) -> Record:
    """The assistant's `message` in the output: text, or one tool call. Fault `bad_response` if it is neither."""
    if plan.answer is None:
        return {"role": "assistant", "content": raw}
    try:
        call = json.loads(raw)
        name, args = call["tool"], call["args"]
    except (ValueError, KeyError, TypeError, RecursionError):
        problem = f"the reply is no whole call: {raw[:80]!r}"
        raise Fault("bad_response", problem, retryable=False) from None
    if name == plan.answer:
        content = args.get("text", "") if plan.free else spaced(args)
        return {"role": "assistant", "content": content}
    call = {"id": f"call_{secrets.token_hex(8)}", "name": name, "arguments": args}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def repeats(message: Record, request: Record) -> bool:
    """Whether the message repeats the last call of the request: small models tend to."""
    earlier = [c for m in request.get("messages") or [] for c in m.get("tool_calls") or []]
    calls = message.get("tool_calls") or []
    if not earlier or not calls:
        return False
    return all(calls[0][field] == earlier[-1].get(field) for field in ("name", "arguments"))


def answer_text(raw: str, plan: Plan) -> str:
    """As much of the answer's text as the model's output has so far; "" while it may still become a call."""
    if plan.answer is None:
        return raw
    if not plan.free or not (head := re.match(_ANSWER % plan.answer, raw)):
        return ""
    body = _CHARACTERS.match(raw, head.end())
    assert body is not None  # the pattern matches the empty string too
    return str(json.loads(f'"{body.group()}"', strict=False))
