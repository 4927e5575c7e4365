"""What a format reads, the `run` and `span` records of standard input as trees, and the words for them."""

import time

from agentlib import records, stderr
from agentlib.messages import transcript
from agentlib.records import Line
from agentlib.types import Any, Iterable, Iterator, Record

NUMBER = (int, float)
NEEDED: dict[str, Any] = dict.fromkeys(("id", "trace_id", "kind", "name", "status"), str)
NEEDED |= {"start": NUMBER, "end": NUMBER}
OPTIONAL: dict[str, Any] = dict.fromkeys("parent_id run model provider call_id hook".split(), str)
OPTIONAL |= dict.fromkeys("model_calls tool_calls attempt".split(), int)
OPTIONAL |= {"usage": dict, "error": dict, "cost_usd": NUMBER}


class Parts:
    """All records by their ids; roots: those whose parent is not among them.

    A record that is none of agent-trace's is left out with a message, a field of another type without one."""

    def __init__(self) -> None:
        fitted = map(_fitted, records.read(quiet=bool(stderr.agent)))  # else agent-trace says it
        self.table = {one["id"]: one for one in fitted if one}
        self._below: dict[str, list[Record]] = {}
        for part in sorted(self.table.values(), key=lambda part: part["start"]):
            self._below.setdefault(part["parent_id"], []).append(part)
        self.roots = [one for one in self.table.values() if one["parent_id"] not in self.table]

    def below(self, part: Record) -> list[Record]:
        """The parts directly below this one, in the order in which they began."""
        return self._below.get(part["id"], [])

    def walk(self, part: Record, depth: int = 0) -> Iterator[tuple[Record, int]]:
        """This part and all below it, each with its depth."""
        yield part, depth
        for inner in self.below(part):
            yield from self.walk(inner, depth + 1)


def _fitted(line: Line) -> Record | None:
    """The record in the form that the formats read; None, and a message, where a needed field is wrong."""
    record = line.record
    if record["type"] not in ("run", "span"):
        return None
    for name, kind in NEEDED.items():
        value = record.get(name)
        if not isinstance(value, kind) or kind is NUMBER and not 0 <= value < 1e11:
            why = f"left out: a {record['type']} record with a wrong {name!r}"
            stderr.warn(f"line {line.number}: {why}")
            return None
    made = {k: one for k, one in record.items() if isinstance(one, OPTIONAL.get(k, object))}
    is_model = record["kind"] == "model"
    if is_model:
        made["input"] = objects(record.get("input"))
        made["output"] = record["output"] if isinstance(record.get("output"), dict) else {}
    made |= {name: _messages(made[name], is_model) for name in {"input", "output"} & made.keys()}
    if usage := made.get("usage"):
        made["usage"] = {name: count for name, count in usage.items() if isinstance(count, int)}
    if "result" in record:
        made["result"] = content(record["result"])
    return {"parent_id": None, "run": "", **made}


def objects(value: Any) -> list[Record]:
    """What of a foreign value is a list of objects."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _messages(found: Any, all: bool) -> Any:
    """A message, or a list with some, in their form. all: whatever is an object is one."""
    if isinstance(found, list):
        return [_messages(one, all) for one in found]
    if not isinstance(found, dict) or not (all or "role" in found):
        return found
    fields = {"role": str(found.get("role")), "content": content(found.get("content") or "")}
    return {**found, **fields, "tool_calls": objects(found.get("tool_calls"))}


def content(value: Any) -> Any:
    """Text, or parts; what is neither as JSON."""
    if isinstance(value, list) and all(isinstance(one, dict) and "type" in one for one in value):
        return value
    return value if isinstance(value, str) else records.dumps(value)


def clock(seconds: float) -> str:
    """Local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def calls(runs: Iterable[Record]) -> str:
    """How often models and tools were called: `2+1`."""
    found = [(run.get("model_calls", 0), run.get("tool_calls", 0)) for run in runs]
    return f"{sum([one[0] for one in found])}+{sum([one[1] for one in found])}"


def tokens(runs: Iterable[Record]) -> str:
    """Of input and output together."""
    usages = [usage for run in runs if (usage := run.get("usage"))]
    return f"{sum([one.get('input_tokens', 0) + one.get('output_tokens', 0) for one in usages]):,}"


def cost(parts: Iterable[Record]) -> str:
    """Dollars, `-` where no price is known."""
    known = [price for part in parts if (price := part.get("cost_usd")) is not None]
    return f"${sum(known):.6f}" if known else "-"


def duration(part: Record) -> str:
    """Seconds, or minutes and seconds."""
    minutes, rest = divmod(part["end"] - part["start"], 60)
    return f"{minutes:.0f}m{rest:02.0f}s" if minutes else f"{rest:.2f}s"


def ended(run: Record) -> str:
    """`done`, `incomplete`, `running`, `killed`, or the kind of its error."""
    if run["status"] == "error":
        return str((run.get("error") or {}).get("kind") or "error")
    return "done" if run["status"] == "ok" else str(run["status"])


def one_line(content: Any, width: int) -> str:
    """The text of a message's content with its white space as single blanks, cut to so many characters."""
    words = " ".join(transcript.text({"content": content})[: 4 * width].split())
    return words if len(words) <= width else f"{words[: width - 1]}…"
