"""Conversations of the history: what is kept of a long record, and how one is found again to be gone on with."""

from __future__ import annotations

from agentlib.types import Any

KEPT = 20_000  # characters of each text in a long record


def shortened(value: Any) -> Any:
    """A record without its pictures, with its long texts cut in the middle."""
    if isinstance(value, str) and len(value) > KEPT:
        half = KEPT // 2
        return f"{value[:half]}\n[{len(value) - KEPT} characters are not kept]\n{value[-half:]}"
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("data"), str) and "media_type" in value:
        return {"type": "text", "text": f"[{value['media_type']}, not kept]"}
    return {name: shortened(item) for name, item in value.items()}
