"""Manual pages and completions, as install.sh puts them: read by man, mandoc and groff, used in real shells."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import installed

sys.path.insert(0, str(installed.CHECKOUT / "packaging"))
import completion
import manual
import share
import usage

SHARE = installed.prefix() / "share"
PROGRAMS = sorted(file.name for file in (installed.suite() / "bin").iterdir())
HELPERS = {name for name in PROGRAMS if share.helper(name, PROGRAMS)}
DEADLINE = 60  # seconds for one answer of a shell, on a busy machine
# What a user types before Tab, and the words that are then there. A model's name has a colon.
TYPED = [
    ("agent-react --max-it", "--max-iterations"),
    ("agent-react --provider anthr", "--provider anthropic"),
    ("text-processor -p anthr", "-p anthropic"),
    ("agent-react --reasoning hi", "--reasoning high"),
    ("agent-react --sandbox ne", "--sandbox net"),
    ("agent-react --allow wordc", "--allow wordcount"),
    ("agent-react --provider=anthr", "--provider=anthropic"),
    ("agent-react --plugin red", "--plugin redact"),
    ("agent-trace --to html", "--to html-page"),
    ("agent-react --model fable/tell:lo", "--model fable/tell:long"),
    ("agent-memory --store notesf", "--store notesforme"),
    ("agent-memory reme", "remember"),
    ("agent-schedule remo", "remove"),
    ("agent-llm key", "keys"),
    ("agent-react --transcript tal", "--transcript talk.jsonl"),
    ("agent-every 10m -- monitor-ag", "10m -- monitor-agent"),
    ("agent-eval cases -- text-proc", "cases -- text-processor"),
    ("agent-react --allow calculator:n", "--allow calculator:net"),
    ("agent-react --allow=calculator:wo", "--allow=calculator:work"),
    ("agent-llm local ins", "local install"),
    ("agent-mcp install cur", "install cursor"),
    ("agent-mcp serve wordc", "serve wordcount"),
    ("agent-bundle text-proc", "text-processor"),
]
START = {
    "bash": "bash --norc --noprofile -i",
    "zsh": "zsh -f -i",
    "fish": "fish -i",
}
SETUP = {
    "bash": "bind 'set enable-bracketed-paste off'; PS1='> '; "
    "for f in {share}/bash-completion/completions/*; do . $f; done",
    "zsh": "unset zle_bracketed_paste; PS1='> '; "
    "fpath=({share}/zsh/site-functions $fpath); autoload -U compinit; compinit -D -u",
    "fish": "function fish_prompt; echo '> '; end",
}
FUNCTION = {
    "bash": "{name}() {{ printf 'G%s>' \"OT<$*\"; }}",
    "zsh": "{name}() {{ printf 'G%s>' \"OT<$*\"; }}",
    "fish": "function {name}; printf 'G%s>' \"OT<$argv\"; end",
}


def program(name: str) -> str:
    """The path of a program, or the test is skipped."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user who has a provider, a store and a file."""
    data = tmp_path / ".local/share/agentutils"
    for name in ("providers/fable", "memory/notesforme.db"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("")
    fable = data / "providers/fable"
    answer = '{"name":"fable","description":"Tell","kind":"provider","models":["tell:short","tell:long"]}'
    fable.write_text(f"#!/bin/sh\n# answers --agent-schema\necho '{answer}'\n")
    fable.chmod(0o755)
    (tmp_path / "talk.jsonl").write_text("")
    return tmp_path


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, name: str, home: Path) -> None:
        env = {
            "PATH": f"{installed.prefix()}/bin:{Path(program(name)).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_DATA_DIRS": str(SHARE),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
        }
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(home)
            os.execvpe("env", ["env", *START[name].split()], env)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, b"\x28\x00\xc8\x00\0\0\0\0")
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def wait(self, text: str) -> bool:
        """Whether the terminal shows this text from now on within the deadline."""
        until = time.monotonic() + DEADLINE
        self.shown = ""
        while text not in self.shown and time.monotonic() < until:
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.shown += os.read(self.terminal, 65536).decode("utf-8", "replace")
        return text in self.shown

    def close(self) -> None:
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[Shell]:
    name = request.param
    made = Shell(name, home)
    made.type(SETUP[name].format(share=SHARE) + "; echo RE''ADY\n")
    assert made.wait("READY"), made.shown
    yield made
    made.close()


@pytest.mark.parametrize("shell", START, indirect=True)
def test_tab_completes_options_and_their_values(
    shell: Shell, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["shell"]
    for command in sorted({typed.split()[0] for typed, _ in TYPED}):
        shell.type(FUNCTION[name].format(name=command) + "\n")
    for typed, wanted in TYPED:
        shell.type(f"{typed}\t\n")
        assert shell.wait("GOT<") and (wanted + ">" in shell.shown or shell.wait(">")), typed
        got = shell.shown.partition("GOT<")[2].partition(">")[0].strip()
        assert got.endswith(wanted), (typed, shell.shown[-500:])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"], indirect=True)
def test_tools_are_operands_of_agent_discover(shell: Shell) -> None:
    shell.type("agent-discover wordc\t </dev/null\n")
    assert shell.wait('"name":"wordcount"'), shell.shown


def test_every_program_has_a_manual_page_that_man_finds_by_the_path() -> None:
    program("man")
    env = {"PATH": f"{installed.prefix()}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    for name in PROGRAMS:
        done = subprocess.run(["man", "-w", name], env=env, capture_output=True, text=True)
        assert done.stdout.strip().endswith(f"man1/{name}.1"), done.stderr


def pages() -> list[str]:
    return [str(SHARE / f"man/man1/{name}.1") for name in PROGRAMS]


def test_manual_pages_pass_mandocs_lint() -> None:
    done = subprocess.run(
        [program("mandoc"), "-T", "lint", *pages()], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_groff_has_no_warning_for_manual_pages() -> None:
    argv = [program("groff"), "-man", "-ww", "-z", "-Tutf8"]
    for page in pages():
        assert subprocess.run([*argv, page], capture_output=True, text=True).stderr == ""


def test_a_manual_page_says_what_the_help_says() -> None:
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MANWIDTH": "300", "MAN_KEEP_FORMATTING": ""}
    for name in ("agent-react", "agent-memory", "architect", "agent-new"):
        parsed = usage.parse(help_of(name))
        argv = [program("man"), "-l", str(SHARE / f"man/man1/{name}.1")]
        text = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
        flat = " ".join(text.split())
        for option in parsed.options():
            assert option.flags[0] in flat
            assert " ".join(option.help.replace("`", "").split()) in flat
        for section in parsed.sections.values():
            assert " ".join(section.replace("`", "").split()) in flat


def help_of(name: str) -> str:
    argv = [str(installed.prefix() / "bin" / name), "--help"]
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def test_what_another_program_starts_has_a_page_alone_and_is_named_on_no_other() -> None:
    assert {"agent-mcp-hold", "agent-parallel-worker"} <= HELPERS < set(PROGRAMS)
    folders = "bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d"
    files = [file for folder in folders for file in (SHARE / folder).iterdir()]
    completed = {file.stem.lstrip("_") for file in files}
    assert completed == set(PROGRAMS) - HELPERS
    assert "agent\\-mcp\\-hold" not in (SHARE / "man/man1/agent-mcp.1").read_text().split(".SH")[-1]


def test_all_options_of_all_programs_are_in_page_and_completions() -> None:
    for name in sorted(set(PROGRAMS) - HELPERS):
        flags = [flag for one in usage.parse(help_of(name)).options() for flag in one.flags]
        assert {"--help", "--version", "--agent-schema"} <= set(flags)
        page = (SHARE / f"man/man1/{name}.1").read_text().replace("\\-", "-")
        bash = (SHARE / f"bash-completion/completions/{name}").read_text()
        zsh = (SHARE / f"zsh/site-functions/_{name}").read_text()
        fish = (SHARE / f"fish/vendor_completions.d/{name}.fish").read_text()
        for flag in flags:
            assert all(flag in text for text in (page, bash, zsh))
            assert f" {'-l' if flag[:2] == '--' else '-s'} {flag.strip('-')} " in fish


def test_the_words_that_completion_knows_by_itself_are_in_the_help() -> None:
    for name, words in completion.OPERANDS.items():
        assert all(word in help_of(name) for word in words)
    for name, behind in completion.BEHIND.items():
        assert all(word in help_of(name) for words in behind.values() for word in words)
    every = " ".join(map(help_of, PROGRAMS))
    assert all(flag in every for flag in completion.OF_OPTION)
    assert all(word in help_of("agent-react") for word in completion.WORDS["PROFILE"])


def test_text_is_no_roff() -> None:
    parsed = usage.Usage("x", "y", ["x"], {}, {"": ".so /etc/passwd\n\n  'no \\fB-… `a' b`\n  .no"})
    page = manual.page(parsed, "1", "2026-01-01", ["y"])
    assert "\n\\&.so /etc/passwd\n" in page
    assert "\n\\(aqno \\efB\\-\\[u2026] \\(gaa\\(aq b\\(ga\n\\&.no\n" in page
    assert page.isascii()


def test_text_is_no_shell() -> None:
    option = usage.Option(["--x"], "N", [], "it's $(rm -r x) `a` [b]: \\")
    parsed = usage.Usage("x-y", "z", ["x-y"], {"options": [option]}, {})
    for name, text in (("zsh", completion.zsh(parsed)), ("fish", completion.fish(parsed))):
        argv = [program(name), "-n", "/dev/stdin"]
        assert subprocess.run(argv, input=text, text=True).returncode == 0
    assert "[it'\"'\"'s $(rm -r x) `a` \\[b\\]\\: \\\\]" in completion.zsh(parsed)
    assert "'it\\'s $(rm -r x) `a` [b]: \\\\'" in completion.fish(parsed)
