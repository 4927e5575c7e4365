#!/usr/bin/env -S python3 -IS
"""A filter that is kept warm, for tests: NAME [--serve [FAULT]]. It answers each request with its own pid.

A request may say `wait` (seconds, in which it can be cancelled), `deltas` (how many to send first). What happens
to it is noted in the file $HOME/NAME.log, one word a line: begun, cancelled, done.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from agentlib import cli
from agentlib.faults import Fault
from agentlib.warm import client, server


def note(name, word):
    with open(os.path.join(os.environ["HOME"], f"{name}.log"), "a") as file:
        file.write(word + "\n")


def prepare(name, fault):
    """The filter, or the fault that it cannot start with."""
    note(name, "prepared")
    if fault == "crash":
        print("no such thing as luck", file=sys.stderr, flush=True)
        os._exit(3)
    if fault:
        raise Fault("not_found", fault)

    def work(lines, emit, wanted):
        for request in lines:
            emit(answer(name, request, emit, wanted))

    return work


def answer(name, request, emit, wanted):
    note(name, "begun")
    for number in range(request.get("deltas", 0)):
        emit({"type": "delta", "id": request["id"], "text": str(number)})
    until = time.monotonic() + request.get("wait", 0)
    while time.monotonic() < until:
        if not wanted():
            note(name, "cancelled")
            return Fault("interrupted", "cancelled").record(request["id"])
        time.sleep(0.01)
    note(name, "done")
    return {"type": "response", "id": request["id"], "pid": os.getpid(), "env": sorted(os.environ)}


def main(args):
    name, *rest = args
    if "--serve" in rest:
        server.serve(name, lambda: prepare(name, " ".join(rest[1:])))
        return
    command = [sys.executable, "-IS", os.path.realpath(__file__), name, "--serve", *rest]
    env = {
        key: os.environ[key] for key in ("PATH", "HOME", "XDG_RUNTIME_DIR", "AGENT_WARM_MINUTES")
    }
    client.through(name, command, env, lambda request: request)


if __name__ == "__main__":
    cli.start(main, __doc__)
