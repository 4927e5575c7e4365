"""What a terminal is shown: every character that it would obey, hide or reorder by, as its code point (\\u001b).

The one writer for terminals. cli.start() puts it in the place of a standard output or error that is a terminal; what
goes to a pipe or file never comes here. As a program, `display.py COMMAND ARGUMENT...` runs a command that is not
Python, with what it writes to a terminal made visible, and ends with its status.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys

TYPE_CHECKING = False  # agentlib.types cannot be imported by display.py as a program
if TYPE_CHECKING:
    from typing import Any

# Controls, marks of direction, what has no width, line separators, tags: all but tab, line end, and the two joiners
# and the variation selectors where a script or an emoji needs them (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).
_OBEYED = re.compile(
    "\U0001f3f4\U000e0067\U000e0062[\U000e0061-\U000e007a]{3}\U000e007f|"  # the flags of England and its neighbours
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]|"
    "(?<![\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ua800-\uabff\ufe0f\U00010a00-\U0001193f\U0001f000-\U0001faff])"
    "[\u200c\u200d]|"
    "(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
)
BLANK = "\u115f\u1160\u2800\u3164\uffa0\U0001d159\U00013441\U00013442"  # letters and signs that show nothing


def _code(found: re.Match[str]) -> str:
    text = found[0]
    return text if len(text) > 1 else code(text)


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
    return _OBEYED.sub(_code, text.replace("\r\n", "\n"))


def exact(text: str) -> str:
    """Text to consent to, on one line: a letter, number or sign that can be seen as it is, all else as code points,
    accents that stand alone and unusual blanks too."""
    from unicodedata import category

    def visible(char: str) -> str:
        if char == "\n":
            return "\\n"
        plain = char == " " or category(char)[0] in "LNPS" and char not in BLANK
        return char if plain else code(char)

    return "".join(map(visible, text))


class Terminal(io.RawIOBase):
    """A terminal to write UTF-8 to, in pieces cut anywhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._before = ""  # the last character, where one that joins may follow

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._show(self._decode(bytes(data)))
        return len(data)

    def end(self) -> None:
        """Show a character that was begun and never ended."""
        self._show(self._decode(b"", True))

    def _show(self, text: str) -> None:
        visible_text = visible(self._before + text)
        rest = visible_text[len(self._before) :].encode()
        last = visible_text[-1:]
        self._before = "" if last.isascii() or visible(last) != last else last
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def text_file(terminal: Terminal) -> io.TextIOWrapper:
    """The terminal as what may take the place of sys.stdout or sys.stderr."""
    buffered = io.BufferedWriter(terminal)
    return io.TextIOWrapper(buffered, "utf-8", "surrogateescape", line_buffering=True)


def main(argv: list[str]) -> int:
    """Run a command; what it writes to a terminal goes by way of us. Its status, 127 where it cannot be run."""
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
