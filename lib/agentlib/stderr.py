"""Messages to people: one line on standard error, with the program's name."""

import os
import sys

agent = os.environ.pop("AGENT_NAME", "")  # the agent that this program is a part of, and speaks for


def program() -> str:
    """The name by which messages call this program."""
    return agent or os.path.basename(sys.argv[0]) or "agent"


def warn(message: str) -> None:
    """One line on standard error, `program: what: why`; never fails."""
    say(f"{program()}: {message}")


def say(line: str) -> None:
    """One line on standard error; on a terminal, what it would obey is made visible."""
    data = line.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace") + b"\n"
    try:
        if not os.isatty(2):
            os.write(2, data)
            return
        from agentlib import display

        display.live.write(2, display.visible(data.decode()).encode(), apart=True)
    except OSError:
        pass
