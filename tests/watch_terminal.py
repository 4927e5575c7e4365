#!/usr/bin/env -S python3 -IS
"""watch_terminal.py [OPTION...] COMMAND... - run a command at a terminal and print what it shows, and when

Standard output and error are the terminal; standard input is ours. For each piece that the terminal gets, a line:
SECONDS since the start, a tab, the piece as a JSON string. The last line is the exit status.

    --columns N           the width of the terminal (80)
    --narrow TEXT:N       its width from the moment on in which TEXT was shown
    --interrupt TEXT      Ctrl-C once TEXT was shown
    --output FILE         standard output is this file
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time


def size(terminal: int, columns: int) -> None:
    """Set the width of the terminal; its programs get a signal."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options, the command."""
    found = {}
    while words and words[0].startswith("--"):
        found[words[0][2:]] = words[1]
        words = words[2:]
    return found, words


def main(words: list[str]) -> int:
    """Always 0; the status of the command is printed."""
    wanted, command = options(words)
    master, slave = pty.openpty()
    size(master, int(wanted.get("columns", 80)))
    out = open(wanted["output"], "wb") if "output" in wanted else slave

    def begin() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(command, stdout=out, stderr=slave, preexec_fn=begin, pass_fds=(slave,))
    os.close(slave)
    began = time.monotonic()
    narrow, _, columns = wanted.get("narrow", "").partition(":")
    due = {
        wanted.get("interrupt", ""): lambda: os.write(master, b"\3"),
        narrow: lambda: size(master, int(columns)),
    }
    due.pop("", None)
    screen = ""
    try:
        while True:
            data = os.read(master, 65536).decode("utf-8", "backslashreplace")
            print(f"{time.monotonic() - began:.2f}\t{json.dumps(data)}", flush=True)
            screen += data
            for text in [text for text in due if text in screen]:
                due.pop(text)()
    except OSError:  # the last that had the terminal is gone
        pass
    print(child.wait(timeout=60))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
