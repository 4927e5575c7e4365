"""The end of a process in words a person knows, and its kind; the one place where an exit status is put into words."""

import signal

from agentlib.faults import Fault
from agentlib.process.run import Outcome

WHY = {  # what the signals mean that a limit or a fault of the program's own brings
    "SIGXCPU": "its CPU limit",
    "SIGXFSZ": "its limit on the size of a file",
    "SIGKILL": "killed, perhaps for want of memory",
    "SIGSEGV": "it touched memory that it does not have",
    "SIGBUS": "memory or a mapped file that is not there",
    "SIGABRT": "it gave up",
    "SIGILL": "an instruction that this machine does not have",
    "SIGFPE": "a division by zero",
    "SIGSYS": "a system call that is refused",
    "SIGPIPE": "nobody read its output",
}
LIMITS = ("SIGXCPU", "SIGXFSZ")


def name(status: int) -> str:
    """The signal that ended it, '' where none did. status: as Popen has it, or 128 + N as a shell has."""
    number = -status if status < 0 else status - 128
    try:
        return signal.Signals(number).name if number > 0 else ""
    except ValueError:
        return f"signal {number}" if status < 0 else ""


def words(status: int | None) -> str:
    """`ended with status 3`, `ended by SIGXCPU: its CPU limit`; None: it closed its output."""
    if status is None:
        return "closed its output"
    if not (by := name(status)):
        return f"ended with status {status}"
    return f"ended by {by}" + (f": {WHY[by]}" if by in WHY else "")


def kind(status: int, other: str = "tool_error") -> str:
    """`limit_exceeded` where a limit ended it, else the other."""
    return "limit_exceeded" if name(status) in LIMITS else other


def fault(tool: str, outcome: Outcome, limit: float, text: str) -> Fault:
    """Why a tool failed, for the model: the end of its program, and of its messages, and text, its output."""
    if outcome.late:
        of, why = "tool_timeout", f"timed out after {limit:g} s."
    elif outcome.over:
        of, why = "limit_exceeded", "was ended, it printed too much. Ask for less."
    else:
        of, why = kind(outcome.status), f"failed: {words(outcome.status)}."
    parts = [f"{tool} {why}"]
    if errors := outcome.err.decode("utf-8", "replace").strip():
        parts.append(f"Its standard error ends:\n{errors[-2000:]}")
    return Fault(of, "\n".join([*parts, *([f"Its output:\n{text}"] if text else [])]))
