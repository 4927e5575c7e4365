"""From a small model's output, whole or still growing, to the message that it means (see localprompt.py)."""

from __future__ import annotations

import json
import re
import secrets

from agentlib.faults import Fault
from agentlib.local import prompt
from agentlib.types import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from agentlib.local.prompt import Plan


# The beginning of an answer in words, and as much of a JSON string as is whole (no half of a surrogate pair).
_ANSWER = r'\s*\{\s*"tool"\s*:\s*"%s"\s*,\s*"args"\s*:\s*\{\s*"text"\s*:\s*"'
_WHOLE = re.compile(
    r'(?:[^"\\]|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*'
)


def message(raw: str, plan: Plan) -> Record:
    """The assistant's `message` in the model's output: text, or one tool call. `bad_response` where it is neither."""
    if plan.answer is None:
        return {"role": "assistant", "content": raw}
    try:
        said = json.loads(raw)
        name, args = said["tool"], said["args"]
    except (ValueError, KeyError, TypeError, RecursionError):
        why = f"the reply is no whole call: {raw[:80]!r}"
        raise Fault("bad_response", why, retryable=False) from None
    if name == plan.answer:
        return {
            "role": "assistant",
            "content": args.get("text", "") if plan.free else prompt.spaced(args),
        }
    call = {"id": f"call_{secrets.token_hex(8)}", "name": name, "arguments": args}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def repeats(said: Record, request: Record) -> bool:
    """Whether a call is the very one that was made just before: small models go round in circles."""
    before = [c for m in request.get("messages") or [] for c in m.get("tool_calls") or []][-1:]
    calls = said.get("tool_calls") or []
    return bool(before and calls) and all(
        calls[0][k] == before[0].get(k) for k in ("name", "arguments")
    )


def answered(raw: str, plan: Plan) -> str:
    """As much of the answer's text as the model's output holds so far, "" while it may yet be a call."""
    if plan.answer is None:
        return raw
    if not plan.free or not (head := re.match(_ANSWER % plan.answer, raw)):
        return ""
    body = _WHOLE.match(raw, head.end())
    assert body is not None  # the pattern matches the empty string too
    return str(json.loads(f'"{body.group()}"', strict=False))
