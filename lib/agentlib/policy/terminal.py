"""Ask the person at the terminal, never the pipe: /dev/tty, no default yes, every doubt is a no."""

import os
import select
import threading
import time

from agentlib import records
from agentlib.faults import Fault
from agentlib.types import Any, Record

LINE = 1 << 20  # bytes of one answer; a longer one is a no
SECONDS = 300.0  # an unanswered question is a no
SHOWN = 4000  # characters of a text; more is cut in the middle, and said so
COMMANDS = frozenset(
    """about agent agents alias aliases auth cache clear config configuration configure create delete doctor env exit
    help history info init install key list log login logout logs ls model models plugin plugins provider providers
    prune ps pull push quit remove repl reset restart rm run serve server settings setup show start status stop template
    templates tool tools uninstall update upgrade usage version versions""".split()
)
_one_at_a_time = threading.Lock()


def consent(tool: Record, arguments: Any, sandbox: str) -> tuple[str, bool, str]:
    """(verdict, whether for all such calls of the run, the reason): what the person says to a call of the tool."""
    prompt = f"Run {tool['name']}? y(es), a(lways in this run), anything else is no: "
    answer = question(description(tool, arguments, sandbox), prompt)
    if answer in ("y", "yes", "a", "always"):
        return "allow", answer[:1] == "a", "the user said yes"
    nobody = "nobody can be asked (no terminal, or no answer)"
    return "deny", False, nobody if answer is None else "the user was asked and said no"


def description(tool: Record, arguments: Any, sandbox: str) -> list[str]:
    """What a person reads before saying yes."""
    command = " ".join(str(word) for word in tool.get("command") or ())
    lines = ["", f"{tool['name']} wants to run: {shortened(command)}", f"  sandbox: {sandbox}"]
    return [*lines, f"  arguments: {shortened(records.dumps(arguments))}"]


def shortened(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    half = SHOWN // 2
    return f"{text[:half]} [… {len(text) - SHOWN} characters are not shown …] {text[-half:]}"


def check_request(words: list[str], program: str, cures: dict[str, str]) -> None:
    """Fault invalid_input where a request is one word that looks like a command, unless the person wants it sent.

    cures: the option or command of the program that does what the word wants; else --help is named.
    """
    word = " ".join(words)
    if word.lower() not in COMMANDS:
        return
    looks = f"{word!r} looks like a command, not a request"
    prompt = "Send it to the model? y(es), anything else is no: "
    if question([f"{program}: {looks}"], prompt, 60) not in ("y", "yes"):
        cure = f"see '{program} {cures.get(word.lower(), '--help')}'"
        raise Fault("invalid_input", f"{looks}: {cure}; to send it: echo {word} | {program} -")


def question(
    lines: list[str], prompt: str, seconds: float = SECONDS, terminal: str = "/dev/tty"
) -> str | None:
    """The line that the person typed, without its line end; None where there is no terminal or no line.

    What was typed before the question was on the screen does not count.
    """
    from agentlib import display

    text = "".join(f"{display.exact(line)}\n" for line in lines)
    with _one_at_a_time:
        try:
            fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return None
        try:
            _show(fd, text, display.exact(prompt))
            return _line(fd, time.monotonic() + seconds)
        except OSError:  # hung up, or we are in the background
            return None
        finally:
            display.live.begun = False  # the answer ended the row
            os.close(fd)


def _show(fd: int, text: str, prompt: str) -> None:
    import signal
    import termios

    from agentlib import display

    if threading.current_thread() is threading.main_thread():  # in the background: no stop
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    display.live.write(fd, text.encode("utf-8", "replace"), apart=True)
    termios.tcflush(fd, termios.TCIFLUSH)  # before the prompt: who sees that is heard
    display.live.write(fd, prompt.encode("utf-8", "replace"))


def _line(fd: int, deadline: float) -> str | None:
    line = b""
    while b"\n" not in line:
        left = max(0.0, deadline - time.monotonic())
        if len(line) > LINE or not select.select([fd], [], [], left)[0]:
            return None
        if not (data := os.read(fd, 65536)):
            return None
        line += data
    return line.partition(b"\n")[0].decode("utf-8", "replace")
