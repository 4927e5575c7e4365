"""What a program's --help says, taken apart: manual pages and completions are made of it, whatever its language."""

from __future__ import annotations

import re
from typing import NamedTuple

ITEM = re.compile(r"  (\S(?: ?\S+)*)(?: {2,}(\S.*))?$")
COMMAND = re.compile(r"^  ([a-z]+(?:, [a-z]+)*)(?: |$)", re.M)


class Option(NamedTuple):
    """An option, or an operand where it has no flags.

    value: what stands for its value, "" for a switch, `[=NAME]` where it may be left out. choices: its only values.
    """

    flags: list[str]
    value: str
    choices: list[str]
    help: str


class Usage(NamedTuple):
    """groups: title to its options, in their order. sections: title ("" for what comes first) to text."""

    name: str
    purpose: str
    usage: list[str]
    groups: dict[str, list[Option]]
    sections: dict[str, str]

    def options(self) -> list[Option]:
        """The options of all groups."""
        return [one for group in self.groups.values() for one in group if one.flags]

    def commands(self) -> list[str]:
        """The words of the section Commands with which its lines begin."""
        found = COMMAND.findall(self.sections.get("Commands", ""))
        return [word for words in found for word in words.split(", ")]


def parse(text: str) -> Usage:
    """What a help says: usage, `name - purpose`, groups of options, then text."""
    head, _, rest = text.partition("\n\n")
    first, _, body = rest.partition("\n")
    name, _, purpose = first.partition(" - ")
    lines = [line.strip().removeprefix("usage: ") for line in head.splitlines()]
    groups: dict[str, list[Option]] = {}
    texts: list[str] = []
    for block in re.split(r"\n{2,}", body.strip("\n")):
        title, _, items = block.partition("\n")
        if block.startswith("  -"):
            title, items = "options:", block
        if title == "positional arguments:" or title.endswith(":") and items.startswith("  -"):
            groups.setdefault(title[:-1], []).extend(_items(items))
        else:
            texts.append(block)
    return Usage(name, purpose, lines, groups, _sections(texts))


def _items(text: str) -> list[Option]:
    found: list[Option] = []
    for line in text.splitlines():
        if item := ITEM.match(line):
            found.append(_option(item[1], item[2] or ""))
        else:
            last = found.pop()
            found.append(last._replace(help=f"{last.help} {line.strip()}".strip()))
    return found


def _option(spec: str, help: str) -> Option:
    parts = [part.partition(" ") for part in re.split(r", (?=-)", spec)]
    value = parts[-1][2] if spec.startswith("-") else spec
    choices = value[1:-1].split(",") if value.startswith("{") else []
    flags = [flag for flag, _, _ in parts if flag.startswith("-")]
    return Option(flags, value, choices, help)


def _sections(blocks: list[str]) -> dict[str, str]:
    """A block whose first line is one word and a colon, before indented lines, begins a section."""
    sections: dict[str, list[str]] = {"": []}
    title = ""
    for block in blocks:
        first, _, more = block.partition("\n")
        if re.fullmatch(r"[A-Z][a-z]+:", first) and more.startswith("  "):
            title, block = first[:-1], more
        elif not block.startswith(" "):
            title = ""
        sections.setdefault(title, []).append(block)
    return {name: "\n\n".join(texts) for name, texts in sections.items() if texts}
