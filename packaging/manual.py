"""Manual pages, section 1, in man(7): what mandoc and groff both read without a warning."""

from __future__ import annotations

import itertools
import re
import textwrap

from usage import Option, Usage

SIGNS = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}


def page(program: Usage, version: str, date: str, others: list[str]) -> str:
    """The manual page of a program. date: YYYY-MM-DD. others: programs that SEE ALSO names."""
    lines = [
        f'.TH "{escaped(program.name.upper())}" "1" "{date}" "agentutils {version}" "agentutils"',
        ".SH NAME",
        f"{escaped(program.name)} \\- {escaped(program.purpose)}",
        ".SH SYNOPSIS",
        *literal("\n".join(program.usage)),
        ".SH DESCRIPTION",
        *prose(program.sections.get("", program.purpose)),
    ]
    for title, text in program.sections.items():
        if title:
            lines += [f".SH {escaped(title.upper())}", *prose(text)]
    lines.append(".SH OPTIONS")
    for title, options in program.groups.items():
        if title not in ("options", "positional arguments"):
            lines.append(f".SS {escaped(title[:1].upper() + title[1:])}")
        for option in options:
            lines += [".TP", _spec(option), *wrapped(option.help or "see above")]
    see = [f".BR {escaped(name)} (1)" for name in others if name != program.name]
    lines += [".SH SEE ALSO", *(line + " ," for line in see[:-1]), see[-1]]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text as roff reads it back, in ASCII."""
    return "".join(SIGNS.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)


def prose(text: str) -> list[str]:
    """Paragraphs; indented lines stay as they are."""
    lines: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        for indented, run in itertools.groupby(block.splitlines(), lambda line: line[:2] == "  "):
            some = "\n".join(run)
            if lines:
                lines.append(".PP")
            lines += literal(textwrap.dedent(some)) if indented else wrapped(some)
    return lines


def literal(text: str) -> list[str]:
    """Lines that are not filled."""
    return [".nf", *(_safe(escaped(line)) for line in text.splitlines()), ".fi"]


def wrapped(text: str) -> list[str]:
    """A paragraph in lines of at most 78 bytes; what stands between grave accents is bold."""
    lines = textwrap.wrap(text, 60, break_long_words=False, break_on_hyphens=False)
    joined = escaped("\n".join(lines))
    bold = re.sub(r"\\\(ga(.+?)\\\(ga", r"\\fB\1\\fR", joined, flags=re.S)
    return [_safe(line) for line in bold.splitlines()]


def _safe(line: str) -> str:
    """A line that is no request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _spec(option: Option) -> str:
    """Flags bold, what stands for the value in italics."""
    value = escaped(option.value)
    if not option.flags:
        return f"\\fI{value}\\fR"
    between = "" if option.value.startswith("[=") else " "
    flags = ", ".join(f"\\fB{escaped(flag)}\\fR" for flag in option.flags)
    return flags + (f"{between}\\fI{value}\\fR" if value else "")
