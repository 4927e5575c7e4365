"""What agent-react reads from standard input: tools, material, a conversation, settings, tasks."""

from agentlib import records, stderr
from agentlib.faults import Fault
from agentlib.invoke.toolset import Tools
from agentlib.messages import transcript
from agentlib.records import Line
from agentlib.types import Callable, Iterator, Record

UNREAD = ("invalid_input", "limit_exceeded")  # errors of a stage that could not read its material
CONFIG = ("name", "description", "provider", "model", "temperature", "max_tokens", "system")


class Input:
    """The records that were read so far. tools: get each `tool` record. other: gets the lines that are not for us."""

    def __init__(self, tools: Tools, other: Callable[[bytes], None]) -> None:
        self._tools, self._other = tools, other
        self.config: Record = {}
        self.material: list[Record] = []
        self.messages: list[Record] = []
        self.unfinished: list[str] = []  # the ids of steps that were not done

    def until_task(self, stream: Iterator[Line]) -> Record | None:
        """Read on to the first `task` record, and give it; None at the end of the stream."""
        for line in stream:
            if line.record["type"] == "task":
                return line.record
            self.take(line)
        return None

    def take(self, line: Line) -> None:
        """One record that is not a task."""
        record, kind = line.record, line.record["type"]
        if kind == "tool":
            self._tools.add(record)
        elif kind in transcript.MATERIAL:
            self.material.append(record)
        elif kind == "step":
            self._step(record)
        elif kind == "message":
            try:
                self.messages.append(transcript.check(record))
            except Fault as fault:
                raise Fault("invalid_input", f"line {line.number}: {fault.message}") from None
            if "replaces" in record:
                from agentlib.react import context_window

                self.messages = context_window.replaced(self.messages)
        elif kind == "config":
            self.config |= {name: record[name] for name in CONFIG if record.get(name) is not None}
        elif kind != "delta":  # its message comes whole
            if kind == "error":
                if record.get("kind") in UNREAD and "id" not in record:
                    raise Fault(record["kind"], f"no model was called: {record.get('message')}")
                stderr.warn(f"an error came down the pipe: {record.get('message')}")
            self._other(line.raw)

    def _step(self, step: Record) -> None:
        done = step.get("status") == "done"
        if not done:
            self.unfinished.append(str(step.get("id")))
        text = str(step.get("output", "")) if done else f"Not done: {step.get('status')}"
        source = f"step {step.get('id')}: {step.get('task')}"
        self.material.append({"type": "context", "source": source, "text": text})

    def request(self, words: list[str], standing: str | None = None) -> Record | None:
        """The task of a single run: the operands with the material, or the `input` records alone; None for neither.
        standing: the task where there are no operands, and all `input` is material (--task)."""
        pieces = self.material
        words = words if "".join(words).strip() else []
        texts = [str(one.get("text", "")) for one in pieces if one["type"] == "input"]
        some = any(text.strip() for text in texts)  # else none, or an empty standard input
        if standing and not words and (some or any(one["type"] == "context" for one in pieces)):
            words = [standing]
        if not words and not some:
            return None
        if not words:
            words = ["\n\n".join(texts)]
            pieces = [piece for piece in pieces if piece["type"] != "input"]
        return {"type": "task", "input": " ".join(words), "material": pieces}


def lines(operands: list[str], quiet: bool) -> Iterator[Line]:
    """The records of standard input; the operand - makes one `input` record of it. With a request as operand, the rest
    of a list that a shell's loop is reading is left alone."""
    if "-" not in operands and not (operands and records.of_a_loop()):
        yield from records.read(quiet=quiet, cure=records.CURE)
    elif "-" in operands and (record := records.plain())["text"]:
        yield records.Line(record, b"", 1)


def continues(messages: list[Record], task: Record) -> bool:
    """Whether the conversation waits for an answer to this very request: it goes on, and the request is not added."""
    requests = [one for one in messages if one.get("role") == "user" and "replaces" not in one]
    if not requests or transcript.finished(messages):
        return False
    wanted = transcript.request(task["input"], task["material"])["content"]
    return bool(requests[-1]["content"] == wanted)
