"""The pages say what is so: every console block is run, every list is compared with what it lists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import docs
from agentlib import environment
from docs import ROOT

SECTIONS = [
    "Name",
    "Synopsis",
    "Description",
    "Options",
    "Input",
    "Output",
    "Input and output",
    "Exit status",
    "Environment",
    "Files",
    "Examples",
    "See also",
]
PROGRAMS = {p.name: p for folder in ("bin", "providers") for p in docs.executables(folder)}
PAGES = {p.stem.removeprefix("provider-"): p.read_text() for p in docs.pages() if p.exists()}
MANUAL = {
    name: text for name, text in PAGES.items() if "\n## Synopsis\n" in text
}  # the pages of programs


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""


def codes(text: str) -> set[str]:
    """The exit codes that a page's section tells: at the start of a table's row, or of a part of a sentence."""
    listed_codes = section(text, "Exit status")
    return set(re.findall(r"(?:^|[|;,:.] )`?(\d+)`?\b(?![.,]\d)", listed_codes, re.M))


def names(text: str) -> set[str]:
    return set(re.findall(r"\bAGENT_[A-Z_]*[A-Z]\b", text))


@pytest.mark.parametrize("page", docs.pages(), ids=lambda p: p.name)
def test_the_console_blocks_show_what_happens(page: Path) -> None:
    text = page.read_text()
    assert docs.difference(page, text, docs.replayed(text)) == ""


@pytest.mark.parametrize("page", docs.pages(), ids=lambda p: p.name)
def test_what_a_machine_writes_is_current(page: Path) -> None:
    text = page.read_text()
    assert docs.difference(page, text, docs.written(page)) == "", (
        "tests/docs.py --write brings it up to date"
    )


def test_the_help_that_agents_print_is_that_of_agent_react() -> None:
    assert docs.AGENT_HELP.read_text() == docs.agents_help(), "tests/docs.py --write README.md"


def test_the_readme_has_a_table_of_the_programs() -> None:
    assert "bin" in {m[2] or "bin" for m in docs.PROGRAMS.finditer(PAGES["README"])}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_page_with_its_purpose_and_help(program: str) -> None:
    if program not in MANUAL and b"bash" in PROGRAMS[program].read_bytes().partition(b"\n")[0]:
        assert f"| `{program}` |" in PAGES["agents"]  # a small agent; its options are agent-react's
        return
    assert program in MANUAL, f"docs/{program}.md, with a section Synopsis, is not there"
    text = MANUAL[program]
    assert section(text, "Name").strip() == " - ".join(docs.line_two(PROGRAMS[program]))
    assert f"<!-- help: {program} -->" in section(text, "Options")


@pytest.mark.parametrize("page", MANUAL)
def test_every_help_begins_with_usage_purpose_and_the_same_options(page: str) -> None:
    block = re.search(r"^<!-- help: .*? -->\n```text\n(.*?)^```", MANUAL[page], re.M | re.S)
    assert block is not None
    usage, purpose = block[1].split("\n\n")[:2]
    assert usage.startswith("usage: ")
    assert purpose == " - ".join(docs.line_two(PROGRAMS[page]))
    flags = re.findall(r"^  (?:-\w(?: \S+)?, )?(--[a-z-]+)", block[1], re.M)
    assert flags[:3] == ["--help", "--version", "--agent-schema"]


@pytest.mark.parametrize("page", MANUAL)
def test_every_manual_page_has_a_program_and_its_sections_in_order(page: str) -> None:
    assert page in PROGRAMS
    titles = re.findall(
        r"^## (.*)$", re.sub(r"^```.*?^```", "", MANUAL[page], flags=re.M | re.S), re.M
    )
    known = [t for t in titles if t in SECTIONS]
    assert known == sorted(known, key=SECTIONS.index)
    assert {"Name", "Synopsis", "Description", "Options", "Exit status", "See also"} <= set(titles)


@pytest.mark.parametrize("page", MANUAL)
def test_the_exit_codes_of_a_page_are_those_of_the_protocol(page: str) -> None:
    listed_codes = {
        code for code in codes(MANUAL[page]) if int(code) <= 128
    }  # 128+N: ended by signal N
    assert listed_codes, "no exit code is told"
    assert listed_codes <= codes(PAGES["protocol"])


def test_the_error_kinds_of_the_protocol_end_with_the_codes_it_says() -> None:
    from agentlib.faults import KINDS

    rows = re.findall(
        r"^\| (\d+) \|.*?\|([^|]*)\|$", section(PAGES["protocol"], "Exit status"), re.M
    )
    assert {
        kind: int(code) for code, kinds in rows for kind in re.findall(r"`(\w+)`", kinds)
    } == KINDS


def test_the_environment_of_the_protocol_is_what_the_sources_read() -> None:
    folders = ("bin", "lib", "plugins", "providers", "tools", "formats")
    sources = [p for folder in folders for p in (ROOT / folder).rglob("*")]
    sources.append(ROOT / "install.sh")
    read = set().union(
        *(
            names(p.read_text())
            for p in sources
            if p.is_file() and p.suffix not in (".json", ".pyc")
        )
    )
    listed = names(section(PAGES["protocol"], "Environment"))
    assert listed == read
    assert environment.RUN == {name for name in listed if name.startswith("AGENT_")}


@pytest.mark.parametrize("page", docs.pages(), ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert [t for t in targets if t and "://" not in t and not (page.parent / t).exists()] == []


def test_a_page_that_shows_what_does_not_happen_is_found(tmp_path: Path) -> None:
    page = "```console\n$ echo one; false\none\n$ cat <<END\n> two\n> END\ntwo\n```\n"
    assert docs.replayed(page) == page.replace("one\n$ cat", "one\n[1]\n$ cat")
    assert docs.replayed(page.replace("two\n```", "three\n```")) == docs.replayed(page)


def test_a_page_has_a_new_home_its_model_and_the_files_that_its_reader_saves() -> None:
    model = "<!-- needs: curl -->\n<!-- model\ndef reply(body):\n    return 'well'\n-->\n"
    file = "```sh file=made/it\n#!/bin/sh\necho $((6 * 7))\n```\n"
    ask = (
        'curl -s "$OPENAI_BASE_URL/chat/completions" -d "{}" | jq -r ".choices[0].message.content"'
    )
    page_text = (
        f"```console\n$ made/it; ls; echo ~; ls ~; {ask}\n42\nmade\n/home/you\ntry\nwell\n```\n"
    )
    assert docs.replayed(model + file + page_text) == model + file + page_text


def test_a_page_has_nothing_of_the_checkout_and_no_program_of_tests_alone() -> None:
    page_text = (
        "```console\n$ command -v agent-llm; echo ${PATH%%:*}; bash -c 'command -v jq wordcount node'\n"
        "/home/you/.local/bin/agent-llm\n/home/you/.local/bin\n[1]\n"
        "$ agent-discover wordcount | jq -r '.command[0]'; env | grep -c "
        f"{docs.ROOT}/lib\n/home/you/.local/lib/agentutils/tools/wordcount\n0\n[1]\n```\n"
    )
    assert docs.replayed(page_text) == page_text


def test_the_glossary_has_an_example_of_every_type_of_record() -> None:
    rows = re.findall(
        r"^\| `(\w+)`.*? \| `(\{.*\})` \|$", section(PAGES["protocol"], "Words"), re.M
    )
    examples = [json.loads(text) for _, text in rows]
    assert [record["type"] for record in examples] == [name for name, _ in rows]
    known = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section(PAGES["protocol"], "Records"), re.M)
    assert {name for name, _ in rows} == {name for row in known for name in re.findall(r"\w+", row)}
    assert all(
        {"command", "name", "description"} <= set(r) for r in examples if r["type"] == "tool"
    )
