"""What agent-react prints: the answer as it is made, records; person.py has what else is seen at a terminal."""

import os

from agentlib import faults, records, stderr
from agentlib.messages import transcript
from agentlib.react.loop import Watcher
from agentlib.types import TYPE_CHECKING, Namespace, Record

if TYPE_CHECKING:
    from agentlib.plugin.host import Plugins
    from agentlib.react.files import File


def visible(quiet: bool) -> bool:
    """Whether a person at a terminal sees standard error, and wants to."""
    return not quiet and os.isatty(2)


class Output(Watcher):
    """The output of a session. file: the transcript, where there is one. model: its name until a response says it."""

    file: "File | None" = None
    model = "the model"
    streaming = False  # deltas that come all the same are not printed

    def __init__(self, options: Namespace) -> None:
        self._options, self._watched = options, visible(options.quiet)
        self.traced = bool(options.events)
        self._text = ""  # of the present answer, as far as it went out
        self._printed: list[str] = []  # answers that went out as they were made

    def streams(self, plugins: "Plugins | None", tools: bool, many: bool) -> bool:
        """Whether text goes out as it is made. What went out cannot be taken back: so not where a plugin, a schema or a
        field may change it, nor where what a model says before it calls a tool would go down a pipe."""
        options = self._options
        wants = plugins.wants if plugins else lambda hook: False
        if options.quiet or options.json or options.text_react or wants("after_model"):
            return False
        if options.events or many:
            return bool(options.events)
        if options.schema is not None or options.field or wants("after_run"):
            return False
        return os.isatty(1) or not tools

    def waits(self, what: str) -> None:
        """Show a person what the run waits for, and for how long."""
        if self._watched:
            from agentlib.react import person

            person.waits(what or self.model)

    def delta(self, record: Record) -> None:
        """Print a piece of the answer."""
        text = record.get("text") if self.streaming else None
        if not text and not (self._options.events and record.get("thinking")):
            return
        self._quiet_down()
        if self._options.events:
            records.write(record)
        elif isinstance(text, str):
            self._text += text
            records.put(text.encode("utf-8", "replace"))

    def message(self, record: Record) -> None:
        """Keep and print a message; a person sees a line for each call and each result."""
        if self.file:
            self.file.append(record)
        if self._options.events:
            self._quiet_down()  # who reads the records may print to this terminal
            records.write(record)
        calls = transcript.calls(record)
        if calls and self._text:  # what went out was no answer: calls come after it
            records.put(b"" if self._text.endswith("\n") else b"\n")
            self._printed.append(self._text)
            self._text = ""
        if self._watched:
            from agentlib.react import person

            person.message(record, calls)

    def done(self, result: Record) -> None:
        """Print the result of the one run, the way the user wants it."""
        self._quiet_down()
        options, complete = self._options, not result.get("incomplete")
        if options.field and not result.get("error") and (complete or result.get("output")):
            from agentlib.react import files

            files.pick(result, options.field)
        error, text = result.get("error"), str(result.get("output") or "")
        if options.json or options.events:
            records.write(result)
        elif not options.quiet and not (error and options.schema) and text not in self._printed:
            rest = text.removeprefix(self._text) if text.startswith(self._text) else ""
            self._text += rest
            rest += "\n" if self._text and not self._text.endswith("\n") else ""
            records.put(rest.encode("utf-8", "replace"))
        if complete and not (error or text or options.field):
            stderr.warn("the model's answer is empty")
        if error and error["kind"] != "interrupted" and not options.quiet:
            cut = " (the answer above is not whole)" if self._text and not text else ""
            stderr.warn(faults.in_words(error) + cut)
        if self._watched and result.get("iterations"):
            from agentlib.react import person

            person.cost(result)

    def _quiet_down(self) -> None:
        if self._watched:
            from agentlib import display

            display.live.hide()
