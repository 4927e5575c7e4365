#!/usr/bin/env -S python3 -IS
"""in_sandbox.py [-k] [-r PATH] [-w PATH] PROFILE FOLDER COMMAND... - run one command as agent-react does

-k: in a kept sandbox, after another call in it, which left its files everywhere. What the tool left and must
not is told on standard error; a refusal to run is `refused: why` and exit 100.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from agentlib import cli
from agentlib.faults import Fault
from agentlib.sandbox import prepare
from agentlib.sandbox.kept.pool import SandboxPool

LITTER = "for one in /tmp /var/tmp /dev/shm ~; do echo mine >$one/left; done 2>/dev/null"


def main(args):
    """The exit status of the command."""
    granted, keep = {"-r": [], "-w": []}, args[0] == "-k"
    args = args[keep:]
    while args[0] in granted:
        granted[args[0]].append(args[1])
        args = args[2:]
    profile, folder, *argv = args
    grants = {"env": prepare.environment(), "read": granted["-r"], "write": granted["-w"]}
    pool = SandboxPool()
    try:
        if keep:
            with prepare.Sandbox(["/bin/sh", "-c", LITTER], profile, folder, **grants) as sandbox:
                call(pool, sandbox)
        with prepare.Sandbox(argv, profile, folder, **grants) as sandbox:
            status = call(pool, sandbox)
    except Fault as fault:
        print(f"refused: {fault.message}", file=sys.stderr)
        return 100
    finally:
        pool.close()
    for one in sandbox.removed:
        print(one, file=sys.stderr)
    return status


def call(pool, sandbox):
    """The status of one call; its output is ours."""
    child = pool.begin(sandbox, 0, 1, 2)
    if not child.ended(60):
        sys.exit("the tool did not end")
    return child.reap()


if __name__ == "__main__":
    cli.end(main(sys.argv[1:]))
