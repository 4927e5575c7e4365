"""Where answers go: as records for a filter, as text for a person, as one record; nothing secret on the way out."""

from agentlib import faults, records, stderr
from agentlib.environment import scrub
from agentlib.llm.inflight import Pending
from agentlib.messages import transcript
from agentlib.types import Record

FULL = 64 * 1024  # bytes that are written without waiting for the turn's end
CUT = {
    "max_tokens": "the answer is cut: it reached the limit of tokens (--max-tokens)",
    "content_filter": "the answer was stopped by the provider's content filter",
    "refusal": "the model refused",
}


class Out:
    """Standard output: gathered during one turn of the loop, written at its end."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.secrets: set[bytes] = set()
        self.plain: dict[bytes, str] = {}  # keys that are plain words, and their variables
        self.between = True  # no write is under way, which a signal may end in the middle of a line

    def put(self, data: bytes) -> None:
        self._data += data
        if len(self._data) >= FULL:
            self.flush()

    def flush(self) -> None:
        if self._data:
            data = bytes(self._data)
            self._data.clear()
            self.between = False
            records.put(self.clean(data))
            self.between = True

    def clean(self, data: bytes) -> bytes:
        """The bytes without any secret; says once where a key stays in, for it is a plain word."""
        for word in [word for word in self.plain if word in data]:
            name = self.plain.pop(word)
            stderr.warn(f"{name} is a plain word: it is not taken out of what is written")
        return scrub(data, self.secrets)


class Lines:
    """Every record of the answers, as it came."""

    def __init__(self, out: Out) -> None:
        self.out, self.failures = out, 0

    def delta(self, call: Pending, record: Record, raw: bytes | None) -> bool:
        """Pass a piece of an answer on; whether it holds any. raw: its line, where that can be passed on as it is."""
        self._put(record, raw)
        return any(value for name, value in record.items() if name not in ("type", "id"))

    def final(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self.failures += record["type"] == "error"
        self._put(record, raw)

    def other(self, raw: bytes) -> None:
        self.out.put(raw + b"\n")

    def status(self) -> int:
        return int(self.failures > 0)

    def _put(self, record: Record, raw: bytes | None) -> None:
        self.out.put((raw if raw is not None else records.encode(record)) + b"\n")


class Whole(Lines):
    """One answer as one record."""

    record: Record = {}

    def delta(self, call: Pending, record: Record, raw: bytes | None) -> bool:
        return False

    def final(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self.record = record
        self._put(record, raw)

    def other(self, raw: bytes) -> None:
        """Nothing: one record was asked for."""

    def status(self) -> int:
        if self.record["type"] == "error":
            return faults.of_record(self.record).status
        return 1 if self.record.get("stop_reason") in CUT or is_empty(self.record) else 0


class Text(Whole):
    """One answer as text, as it arrives; thinking is not shown."""

    _last = ""  # the last character written

    def delta(self, call: Pending, record: Record, raw: bytes | None) -> bool:
        text = record.get("text")
        return isinstance(text, str) and self._say(text)

    def final(self, call: Pending, record: Record, raw: bytes | None) -> None:
        self.record = record
        if record["type"] == "response" and not self._last:
            self._say(transcript.text(record["message"]))
        if self._last not in ("", "\n"):
            self._say("\n")

    def status(self) -> int:
        if self.record["type"] == "error":
            raise faults.of_record({**self.record, "message": faults.in_words(self.record)})
        message = self.record["message"]
        names = ", ".join(str(call.get("name")) for call in transcript.calls(message))
        tools = f"the model asks for a tool ({names}): --json shows the call, agent-react runs it"
        reasons = (
            tools if names else "",
            CUT.get(str(self.record.get("stop_reason"))),
            "the answer holds a picture: --json shows it" if has_picture(message) else "",
            "the model's answer is empty" if is_empty(self.record) else "",
        )
        for why in filter(None, reasons):
            stderr.warn(why)
        return super().status()

    def _say(self, text: str) -> bool:
        if text:
            self._last = text[-1]
            self.out.put(text.encode("utf-8", "replace"))
        return bool(text)


def is_empty(record: Record) -> bool:
    """Whether a `response` holds nothing: no text, no call, no picture."""
    if not isinstance(message := record.get("message"), dict):
        return False
    return not (message.get("tool_calls") or has_picture(message) or transcript.text(message))


def has_picture(message: Record) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image" for part in content)
