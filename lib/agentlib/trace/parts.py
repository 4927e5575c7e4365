"""What a format reads, the `run` and `span` records of standard input as trees, and the words for them."""

from __future__ import annotations

import time

from agentlib import records
from agentlib.messages import transcript
from agentlib.types import Any, Iterable, Iterator, Record


class Parts:
    """All records by their ids; roots: those whose parent is not among them."""

    def __init__(self) -> None:
        found = (line.record for line in records.read())
        self.table = {one["id"]: one for one in found if one["type"] in ("run", "span")}
        self._below: dict[str, list[Record]] = {}
        for part in sorted(self.table.values(), key=lambda part: part["start"]):
            self._below.setdefault(part["parent_id"], []).append(part)
        self.roots = [one for one in self.table.values() if one["parent_id"] not in self.table]

    def below(self, part: Record) -> list[Record]:
        """What hangs below it, in the order in which it began."""
        return self._below.get(part["id"], [])

    def walk(self, part: Record, depth: int = 0) -> Iterator[tuple[Record, int]]:
        """It and all below it, with how deep each stands."""
        yield part, depth
        for inner in self.below(part):
            yield from self.walk(inner, depth + 1)

    def runs(self, part: Record) -> list[Record]:
        """The runs among it and all below it."""
        return [one for one, _ in self.walk(part) if one["type"] == "run"]


def clock(seconds: float) -> str:
    """Local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def calls(runs: Iterable[Record]) -> str:
    """How often models and tools were called: `2+1`."""
    found = [(run.get("model_calls", 0), run.get("tool_calls", 0)) for run in runs]
    return f"{sum(one[0] for one in found)}+{sum(one[1] for one in found)}"


def tokens(runs: Iterable[Record]) -> str:
    """Of input and output together."""
    usages = [run.get("usage") or {} for run in runs]
    return f"{sum(one.get('input_tokens', 0) + one.get('output_tokens', 0) for one in usages):,}"


def cost(parts: Iterable[Record]) -> str:
    """Dollars, `-` where no price is known."""
    known = [part["cost_usd"] for part in parts if "cost_usd" in part]
    return f"${sum(known):.6f}" if known else "-"


def duration(part: Record) -> str:
    """Seconds, or minutes and seconds."""
    minutes, rest = divmod(part["end"] - part["start"], 60)
    return f"{minutes:.0f}m{rest:02.0f}s" if minutes else f"{rest:.2f}s"


def ended(run: Record) -> str:
    """`done`, `incomplete`, `running`, `killed`, or the kind of its error."""
    if run["status"] == "error":
        return str(run["error"].get("kind") or "error")
    return "done" if run["status"] == "ok" else str(run["status"])


def text(content: Any) -> str:
    """The text of a message's content."""
    return transcript.text({"content": content})


def one_line(text: str, width: int) -> str:
    """Text with its white space as single blanks, cut to so many characters."""
    words = " ".join(text[: 4 * width].split())
    return words if len(words) <= width else f"{words[: width - 1]}…"
