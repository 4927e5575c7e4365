#!/usr/bin/env -S python3 -IS
"""cell.py [-r PATH] [-w PATH] PROFILE FOLDER COMMAND... - run one command in the sandbox, as agent-react does

What the tool left and must not is told on standard error; a refusal to run is `refused: why` and exit 100.
"""
from __future__ import annotations

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from agentlib import sandbox  # noqa: E402
from agentlib.faults import Fault  # noqa: E402


def main(args):
    """The exit status of the command."""
    granted = {"-r": [], "-w": []}
    while args[0] in granted:
        granted[args[0]].append(args[1])
        args = args[2:]
    profile, folder, *argv = args
    try:
        with sandbox.Cell(argv, profile, folder, env=sandbox.environment(), read=granted["-r"],
                          write=granted["-w"]) as cell:
            status = subprocess.run(**cell.options, timeout=60).returncode
    except Fault as fault:
        print(f"refused: {fault.message}", file=sys.stderr)
        return 100
    for one in cell.removed:
        print(one, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
