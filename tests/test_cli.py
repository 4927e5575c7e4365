"""Start and stop of a program: help, version, schema, faults, signals, closed pipes; never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentlib import __version__, cli
from agentlib.faults import Fault
from vendors import ROOT

PROGRAM = f'''"""probe - try what a program can do

The text below the options.
"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "lib")!r})
from agentlib import cli, records
from agentlib.faults import Fault, Interrupted

def main(argv):
    %s

cli.start(main, __doc__, cli.schema(__doc__, kind="plugin"))
'''


def run(tmp_path: Path, body: str, *argv: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """The program with this body, in one line or several; its arguments; as subprocess.run."""
    file = tmp_path / "probe"
    file.write_text(PROGRAM % body.replace("\n", "\n    "))
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run(
        [sys.executable, "-IS", str(file), *argv], text=True, timeout=60, check=False, **how
    )


def test_line_two_makes_name_description_and_help(tmp_path: Path) -> None:
    assert cli.headline("probe - try what a program can do\n\nMore.") == (
        "probe",
        "try what a program can do",
    )
    ran = run(tmp_path, "cli.parser(__doc__).parse_args(argv)", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("usage: probe ")
    assert "\n\nprobe - try what a program can do\n\n" in ran.stdout
    assert ran.stdout.endswith("\n\nThe text below the options.\n")


def test_the_schema_and_the_version_are_printed_before_main_runs(tmp_path: Path) -> None:
    result = run(tmp_path, "raise SystemExit(9)", "anything", "--agent-schema")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "name": "probe",
        "description": "Try what a program can do",
        "kind": "plugin",
    }
    version = run(tmp_path, "raise SystemExit(9)", "--version").stdout
    assert version.startswith(f"probe {__version__} from ")


def test_what_follows_two_dashes_is_not_an_option_of_ours(tmp_path: Path) -> None:
    assert run(tmp_path, "return 7", "--", "--agent-schema").returncode == 7


@pytest.mark.parametrize(
    "body, status, message",
    [
        ("pass", 0, ""),
        ("return 1", 1, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('x')", 1, ""),
        ("raise Fault('invalid_input', 'line 3: why')", 2, "probe: line 3: why\n"),
        ("raise Fault('auth', 'no key')", 100, "probe: no key\n"),
        ("raise Fault('network', 'gone')", 111, "probe: gone\n"),
        ("raise Fault('tool_error', 'no')", 1, "probe: no\n"),
        ("open('/no/such')", 111, "probe: /no/such: No such file or directory\n"),
        ("raise MemoryError", 1, "probe: out of memory\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("raise Interrupted(15)", 143, ""),
        ("{}['x']", 100, "probe: internal error: KeyError: 'x' (AGENT_DEBUG=1 shows where)\n"),
        (
            "cli.parser(__doc__).parse_args(argv)",
            2,
            "probe: unrecognized arguments: x; see 'probe --help'\n",
        ),
    ],
)
def test_every_end_has_its_status_and_at_most_one_line(
    tmp_path: Path, body: str, status: int, message: str
) -> None:
    ran = run(tmp_path, body, "x")
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "", message)


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_at_the_end_shows_no_traceback_and_breaks_off_no_clean_up(
    tmp_path: Path, number: int
) -> None:
    """Wherever it comes: as main has just returned, as a message is written, as the clean-up runs."""
    kill = f"import os, signal\nkill = lambda: signal.raise_signal({number})\n"
    clean = "cli.at_end(lambda: print('cleaned', file=sys.stderr, flush=True))\n"
    ran = run(tmp_path, kill + clean + "cli.at_end(kill)")
    assert (ran.returncode, ran.stderr) == (0, "cleaned\n")
    ran = run(tmp_path, kill + clean + "cli.warn = lambda text: kill()\nraise Fault('auth', 'no')")
    assert (ran.returncode, ran.stderr) == (128 + number, "cleaned\n")
    profile = "sys.setprofile(lambda frame, event, arg: frame.f_code.co_name == 'end' and kill())\n"
    ran = run(tmp_path, kill + clean + profile + "return 0")
    assert (ran.returncode, ran.stderr) == (128 + number, "cleaned\n")


def test_a_bug_shows_its_traceback_only_when_asked(tmp_path: Path) -> None:
    ran = run(tmp_path, "{}['x']", env={"AGENT_DEBUG": "1"})
    assert "Traceback" in ran.stderr and ran.returncode != 0


def test_a_message_is_one_line_and_byte_for_byte_but_for_that(tmp_path: Path) -> None:
    ran = run(tmp_path, r"raise Fault('server', 'a\nb\x1b[31mc\u202e')")
    assert ran.stderr == "probe: a b\x1b[31mc\u202e\n"


@pytest.mark.parametrize(
    "body", ["print('x')", "records.write({'type': 'x'})", "print('x' * 100_000)"]
)
def test_a_closed_pipe_ends_in_silence_by_the_signal(tmp_path: Path, body: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = run(tmp_path, body, stdout=writing)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "body", ["print('x')", "records.write({'type': 'x'})", "print('x' * 100_000)"]
)
def test_a_full_disk_is_reported_and_is_no_success(tmp_path: Path, body: str) -> None:
    with open("/dev/full", "w") as full:
        ran = run(tmp_path, body, stdout=full)
    assert ran.returncode == 111
    assert ran.stderr.count("\n") == 1 and "No space left on device" in ran.stderr


def test_messages_that_nobody_can_read_do_not_matter(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ran = run(tmp_path, "cli.warn('x'); records.write({'type': 'x'})", stderr=full)
    assert (ran.returncode, ran.stdout) == (0, '{"type":"x"}\n')


@pytest.mark.parametrize("body, status", [("pass", 0), ("print('y', file=sys.stdout)", 111)])
def test_closed_standard_files_are_no_files_of_ours(tmp_path: Path, body: str, status: int) -> None:
    """What is printed to a closed standard output is lost, and that is no success."""
    file = tmp_path / "probe"
    start = "held = open(os.devnull)\nassert held.fileno() > 2\nsys.stdin.read()\n"
    file.write_text(PROGRAM % (start + body).replace("\n", "\n    "))
    argv = f"exec {sys.executable} -IS {file} <&- >&- 2>&-"
    ran = subprocess.run(["sh", "-c", argv], timeout=60, check=False)
    assert ran.returncode == status


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_by_way_of_the_clean_up(tmp_path: Path, signum: signal.Signals) -> None:
    mark = tmp_path / "cleaned"
    file = tmp_path / "probe"
    body = f"try:\n    print('up', flush=True); time.sleep(200)\nfinally:\n    open({str(mark)!r}, 'w').close()"
    file.write_text(PROGRAM % body.replace("\n", "\n    "))
    with subprocess.Popen(
        [sys.executable, "-IS", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        assert ran.stdout and ran.stderr and ran.stdout.readline() == "up\n"
        begun = time.monotonic()
        ran.send_signal(signum)
        assert ran.wait(60) == 128 + signum
        assert time.monotonic() - begun < 40
        assert ran.stderr.read() == ""
    assert mark.exists()


def test_a_program_ends_with_the_one_of_the_suite_that_started_it(tmp_path: Path) -> None:
    """Also by kill -9, and while its standard input stays open."""
    (tmp_path / "probe").write_text(PROGRAM % "print('ready', flush=True); time.sleep(200)")
    starter = (
        f"import os, subprocess, sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n"
        "from agentlib.process.child import bound\n"
        "subprocess.run([sys.executable, sys.argv[1]], env=bound())"
    )
    argv = [sys.executable, "-c", starter, str(tmp_path / "probe")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        begun = time.monotonic()
        assert process.stdout.read() == b""  # its end: nobody has the pipe any more
        assert time.monotonic() - begun < 40


def test_a_program_whose_starter_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    gone = run(tmp_path, "print('begun')", env={**os.environ, "AGENT_PARENT": "1"})
    assert (gone.returncode, gone.stdout) == (128 + signal.SIGTERM, "")


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    body = "os.kill(os.getpid(), 1); print('still here')"
    ran = run(tmp_path, body, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert ran.stdout == "still here\n"


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0", "x", "", "1e10"])
def test_a_number_that_makes_no_sense_is_refused(text: str) -> None:
    parser = cli.parser("x - do x")
    cli.options(parser, "--wait S  how long", wait=cli.number(0.5))
    with pytest.raises(Fault, match="--wait"):
        parser.parse_args([f"--wait={text}"])


def test_options_are_a_table_of_lines() -> None:
    parser = cli.parser("x - do x")
    table = """
    --name NAME    who
        it is
    -v, --verbose  say more
    --tag WORD...  may be repeated
    --size small|large  how large
    --count N      how many
    """.replace("\n    ", "\n")
    cli.options(parser, table, count={"type": cli.count(1), "default": 3})
    found = parser.parse_args(["-v", "--tag", "a", "--tag", "b", "--size", "small"])
    assert (found.name, found.verbose, found.tag) == (None, True, ["a", "b"])
    assert (found.size, found.count) == ("small", 3)
    assert "who it is" in " ".join(parser.format_help().split())
    with pytest.raises(Fault):
        parser.parse_args(["--size", "huge"])


def test_a_help_reads_the_same_with_every_python() -> None:
    parser = cli.parser("x - do x")
    table = "-o, --output FILE  the file\n-k, --keep A|B  a, b\n-n, --number N...  some\n-q, --quiet  not a word"
    cli.options(parser, table)
    lines = parser.format_help().splitlines()
    wanted = ["-o, --output FILE", "-k, --keep A|B", "-n, --number N", "-q, --quiet"]
    assert [
        line[2:].partition("  ")[0] for line in lines if line[2:4] in ("-o", "-k", "-n", "-q")
    ] == wanted
    assert "\x1b" not in parser.format_help()
