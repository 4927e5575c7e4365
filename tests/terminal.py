#!/usr/bin/env -S python3 -IS
"""terminal.py QUESTION ANSWER COMMAND... - run a command at a terminal, type ANSWER whenever it shows QUESTION

The terminal is the command's controlling one and its standard error; standard input and output stay ours. What the
terminal showed goes to standard error at the end. ANSWER is typed as it is, with \\n for Enter; of several,
with | between them, the last one is typed again and again.
"""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios


def main(args):
    """The exit status of the command."""
    question = args[0].encode()
    answers = args[1].replace("\\n", "\n").replace("\\4", "\4").encode().split(b"|")
    master, slave = pty.openpty()

    def seize():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(args[2:], stderr=slave, preexec_fn=seize, pass_fds=(slave,))
    os.close(slave)
    screen, answered = b"", 0
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the command has ended and hung up
            break
        screen += data
        if screen.count(question) > answered:
            answered += 1
            os.write(master, answers[min(answered, len(answers)) - 1])
    os.write(2, screen)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
