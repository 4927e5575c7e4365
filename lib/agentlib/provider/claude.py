"""What Claude models want wherever they run: how they are told to think, and the form of their JSON Schemas."""

import re

from agentlib.faults import Fault
from agentlib.messages import subschemas
from agentlib.provider import blocks
from agentlib.types import Callable, Record

# tokens of thinking before 4.6; 1024 is the least
BUDGET = {"low": 1024, "medium": 4096, "high": 12288}
BEFORE_4_6 = r"claude-(v?2|3|instant|(opus|sonnet|haiku)-4-([0-5]\b|20\d{6}))"


def thinking(model: str, effort: str, limit: int | None) -> Record:
    """The fields that make a model think: by effort since 4.6, before by a budget inside max_tokens `limit`."""
    if not re.search(BEFORE_4_6, model):
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    budget, least = BUDGET[effort], BUDGET["low"]
    if limit is not None and limit < 2 * least:
        why = f"reasoning: {model} needs max_tokens of {2 * least} or more to think"
        raise Fault("invalid_request", why)
    tokens = budget if limit is None else min(budget, limit - least)
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def turns(
    messages: list[Record], blocks_of: Callable[[Record, int], list[Record]], result: str
) -> list[Record]:
    """The turns (see blocks.alternating). No Claude takes a last one of the assistant's that ends with white space."""
    made = blocks.alternating(messages, blocks_of, result)
    if made and made[-1]["role"] == "assistant" and (block := made[-1]["content"][-1]).get("text"):
        made[-1]["content"][-1] = {**block, "text": block["text"].rstrip()}
    return made


def closed(schema: Record) -> Record:
    """The schema with `additionalProperties` false where an object says nothing of it: the vendor insists on it."""

    def close(part: Record) -> Record:
        return {"additionalProperties": False, **part} if part.get("type") == "object" else part

    made: Record = subschemas.changed(schema, close)
    return made
