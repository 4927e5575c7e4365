"""What a run reads from files and leaves in them: its conversation (--transcript), fields of the answer (--field)."""

import os
import stat

from agentlib import records, stderr
from agentlib.faults import Fault, os_errors
from agentlib.lock import replace
from agentlib.messages import transcript
from agentlib.react.context_window import replaced
from agentlib.react.loop import error_of
from agentlib.records.tail import acquire_for_run, add, mend
from agentlib.types import Record


class File:
    """The transcript of --transcript: read, then appended to, under a lock until the program ends."""

    def __init__(self, path: str) -> None:
        with os_errors(path):
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            raise Fault("invalid_input", f"{path}: a transcript must be an ordinary file")
        self.path, self.failed = path, False
        acquire_for_run(self._handle, path)

    def messages(self) -> list[Record]:
        """The messages in the file. A last line that was cut off (a crash while it was written) is taken away."""
        size = os.fstat(self._handle).st_size
        try:
            if mend(self._handle) < size:
                stderr.warn(f"{self.path}: its last line was cut off and is dropped")
            with open(f"/proc/self/fd/{self._handle}", "rb") as stream:  # from its beginning
                found = [line.record for line in records.read(stream)]
            return replaced([transcript.check(one) for one in found if one["type"] == "message"])
        except (OSError, Fault) as bad:
            why = bad.message if isinstance(bad, Fault) else bad.strerror
            raise Fault("invalid_input", f"{self.path}: {why}") from None

    def append(self, record: Record) -> None:
        """Write one record; where that fails the run goes on, and `failed` is set."""
        if self.failed:
            return
        try:
            add(self._handle, records.line(record))
        except OSError as bad:
            self.failed = True
            stderr.warn(f"{self.path}: the transcript is not whole: {bad.strerror}")


def pick(result: Record, fields: list[str]) -> None:
    """Put in the output's place what --field wants of it, but for the fields that go to files."""
    printed = []
    for name, _, file in (field.partition("=") for field in fields):
        try:
            value = records.loads(result["output"])
            value = value if name == "." else value[name]
        except (ValueError, TypeError, LookupError):
            why = f"the answer is no JSON object with a field {name!r}"
            result |= {"output": "", "error": error_of(Fault("bad_response", why))}
            return
        text = value if isinstance(value, str) else records.dumps(value)
        if file:
            replace(file, (text.rstrip("\n") + "\n").encode("utf-8", "replace"), 0o644)
        else:
            printed.append(text)
    result["output"] = "\n".join(printed)
