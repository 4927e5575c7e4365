"""What a terminal shows: every character that it would obey, hide or reorder by, as its code point (\\u001b).

The one writer for terminals: cli.start() puts it in the place of a standard output or error that is one. As a program,
`display.py COMMAND ARGUMENT...` runs a command that is not Python likewise, and ends with its status.
"""

import _thread  # without the module threading, which costs 1 ms at every start
import codecs
import io
import os
import re
import sys
import time

TYPE_CHECKING = False  # agentlib.types cannot be imported by display.py as a program
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Controls, marks of direction, what has no width, line separators, tags: all but tab, line end, and the two joiners
# and the variation selectors where a script or an emoji needs them (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).
_OBEYED = re.compile(
    "\U0001f3f4\U000e0067\U000e0062[\U000e0061-\U000e007a]{3}\U000e007f|"  # the flags of England and its neighbours
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]|"
    "(?<![\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ua800-\uabff\ufe0f\U00010a00-\U0001193f\U0001f000-\U0001faff])"
    "[\u200c\u200d]|"
    "(?<![^A-Za-z\\s\ufe00-\ufe0f])[\ufe00-\ufe0f]|"
    "(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
)
OFTEN = 0.2  # seconds between two states of the line that is redrawn
SELDOM = 10.0  # seconds between two rows where it is not
BLANK = "\u115f\u1160\u2800\u3164\uffa0\U0001d159\U00013441\U00013442"  # letters and signs that show nothing


def code(char: str) -> str:
    """A character as its code point, as JSON writes it; a byte that was no text as that byte."""
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def visible(text: str) -> str:
    """Text for a terminal; in one that holds nothing to be obeyed, nothing is changed."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return _OBEYED.sub(lambda found: found[0] if len(found[0]) > 1 else code(found[0]), text)


def exact(text: str) -> str:
    """Text to consent to, on one line: a letter, number or sign that can be seen as it is, all else as code points,
    accents that stand alone and unusual blanks too."""
    from unicodedata import category

    def visible(char: str) -> str:
        plain = char == " " or category(char)[0] in "LNPS" and char not in BLANK
        return char if plain else code(char)

    return "\\n".join("".join(map(visible, line)) for line in text.split("\n"))


def styled() -> bool:
    """Whether the terminal may get escapes of ours: not a dumb one, nor where NO_COLOR asks for plain text."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dim(text: str) -> str:
    """Text that is less bright than an answer, where that can be shown."""
    return f"\033[2m{text}\033[0m" if styled() else text


class Live:
    """The one line at the bottom of the terminal that is redrawn in place, on standard error. All that goes to a
    terminal goes through write(), which takes the line away first. It is not drawn behind text without a line end."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._text: Callable[[], str] | None = None
        self._drawn = ""  # what is on the screen
        self._rows = False  # it is written again and again, each time on a row of its own
        self._running = False
        self.begun = False  # the cursor stands behind text without a line end

    def show(self, text: "Callable[[], str]", rows: bool = False) -> None:
        """Draw what text() gives, again and again, until hide(); nothing where it gives ''. rows: where standard output
        is a pipe, write it on rows of its own, since who reads the pipe may print to this terminal at any time."""
        self._text, self._rows = text, rows and not os.isatty(1) and not os.path.isfile("/dev/fd/1")
        if not self._running:
            self._running = True
            _thread.start_new_thread(self._redraw, ())

    def hide(self) -> None:
        self._text = None
        with self._lock:
            self._erase()

    def write(self, descriptor: int, data: bytes, apart: bool = False) -> None:
        """Write to a terminal. apart: on a row of its own."""
        with self._lock:
            self._erase()
            if apart and self.begun:
                data = b"\n" + data
            self.begun = data[-1:] != b"\n" if data else self.begun
            while data:
                data = data[os.write(descriptor, data) :]

    def _redraw(self) -> None:
        pause = OFTEN
        while True:
            time.sleep(pause)
            pause = SELDOM if self._rows else OFTEN
            try:
                with self._lock:
                    if (text := self._text) and not self.begun:
                        line = visible(text()).replace("\n", " ")[: _columns() - 1]
                        if line != self._drawn:
                            self._erase()
                            end, self._drawn = ("\n", "") if self._rows else ("", line)
                            os.write(2, f"{dim(line)}{end}".encode("utf-8", "replace"))
            except OSError:  # the terminal is gone
                self._text = None

    def _erase(self) -> None:
        length, self._drawn = len(self._drawn), ""
        above = (length - 1) // _columns()  # rows, where the window was made narrower
        erasure = "\033[A" * above + "\r\033[J" if styled() else f"\r{' ' * length}\r"
        os.write(2, erasure.encode() if length else b"")


def _columns() -> int:
    try:
        return max(2, os.get_terminal_size(2).columns or 80)
    except OSError:
        return 80


live = Live()


class Terminal(io.RawIOBase):
    """A terminal to write UTF-8 to, in pieces cut anywhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._before = ""  # the last character, where one that joins may follow

    def writable(self) -> bool:
        return True

    def text_file(self) -> io.TextIOWrapper:
        buffered = io.BufferedWriter(self)
        return io.TextIOWrapper(buffered, "utf-8", "surrogateescape", line_buffering=True)

    def write(self, data: "Any") -> int:
        self._show(self._decode(bytes(data)))
        return len(data)

    def end(self) -> None:
        self._show(self._decode(b"", True))

    def _show(self, text: str) -> None:
        made, before = visible(self._before + text), len(self._before)
        last = made[-1:]
        self._before = "" if last.isascii() or visible(last) != last else last
        live.write(self._descriptor, made[before:].encode())


def main(argv: list[str]) -> int:
    """Run a command; what it writes to a terminal goes through this process. Its status, 127 where it cannot be run."""
    import select
    import signal
    import subprocess

    terminals = {descriptor: Terminal(descriptor) for descriptor in (1, 2) if os.isatty(descriptor)}
    pipes = [subprocess.PIPE if descriptor in terminals else None for descriptor in (1, 2)]
    try:
        child = subprocess.Popen(argv, stdout=pipes[0], stderr=pipes[1])
    except OSError as bad:
        sys.stderr.write(f"{visible(argv[0])}: {bad.strerror}\n")
        return 127
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command; then we end too
    signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
    sources = {pipe: terminals[at] for at, pipe in ((1, child.stdout), (2, child.stderr)) if pipe}
    while sources:
        for pipe in select.select(sources, [], [])[0]:
            if data := os.read(pipe.fileno(), 65536):
                sources[pipe].write(data)
            else:
                sources.pop(pipe).end()
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
