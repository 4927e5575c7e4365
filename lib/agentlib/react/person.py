"""What a person at a terminal sees of a run: what it waits for, its calls and results, what it has cost."""

import time

from agentlib import display, records
from agentlib.messages import transcript
from agentlib.types import Record

WIDTH = 100  # characters of the line for a call, or for its result
SOON = 0.15  # seconds without a sign of life, before a line says what the run waits for


def waits(name: str) -> None:
    """The model or the tools that the run waits for from now on, and for how long."""
    since = time.monotonic()

    def text() -> str:
        seconds = time.monotonic() - since
        return f"waiting for {name}, {seconds:.0f} s" if seconds > SOON else ""

    display.live.show(text)


def message(record: Record, calls: list[Record]) -> None:
    """A line for each call of a message, or for the result that it is."""
    for call in calls:
        arguments = call.get("arguments")
        text = arguments if isinstance(arguments, str) else records.dumps(arguments)
        _show(f"→ {call.get('name')} {text}")
    if record.get("role") == "tool":
        lines = transcript.text(record).strip().splitlines() or [""]
        more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
        _show(f"{'✗' if record.get('is_error') else '←'} {lines[0]}", more)


def _show(text: str, end: str = "") -> None:
    line = display.visible(text).replace("\n", " ")
    width = WIDTH - len(end)
    line = (line if len(line) <= width else f"{line[: width - 1]}…") + end
    try:
        display.live.write(2, f"{display.dim(line)}\n".encode("utf-8", "replace"), apart=True)
    except OSError:
        pass


def cost(result: Record) -> None:
    """What a run has cost: tokens, money where the price is known, time."""
    usage, cost = result.get("usage") or {}, result.get("cost_usd")
    tokens = f"{usage.get('input_tokens', 0):,} tokens in, {usage.get('output_tokens', 0):,} out"
    money = "" if cost is None else f", ${cost:.6f}"
    estimated = " (estimated)" if usage.get("estimated") else ""
    _show(f"{tokens}{money}{estimated}, {result['duration_ms'] / 1000:.1f} s")
