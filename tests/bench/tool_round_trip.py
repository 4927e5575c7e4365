#!/usr/bin/env python3
"""tool_round_trip - one call of a shell tool, found and run, against `llm --functions` (CPU at most 0.3)

Ours finds the tool in a folder, checks the arguments and runs it as a process in its sandbox; theirs calls a function
in its own process. Both ask the model twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

from measure import compare, llm, model

RULES = """
def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool":
        return f"It is {last['content']}."
    return {"tool_calls": [{"name": "shout", "arguments": {"input": "hi"}}]}
"""
TOOL = r"""#!/bin/sh
# shout - say it in capitals
case ${1-} in
--agent-schema)
    cat <<'END'
{"name":"shout","description":"Say it in capitals","invoke":"text","annotations":{"readOnlyHint":true}}
END
    exit ;;
esac
tr '[:lower:]' '[:upper:]'
"""
FUNCTION = 'def shout(input: str) -> str:\n    "Say it in capitals"\n    return input.upper()\n'


def main() -> int:
    with model(RULES) as env:
        folder = Path(env["HOME"], "tools")
        folder.mkdir()
        (folder / "shout").write_text(TOOL)
        (folder / "shout").chmod(0o755)
        theirs = [
            llm(env),
            "-m",
            "test-model",
            "--no-log",
            "--key",
            "test-key",
            "--functions",
            FUNCTION,
            "Shout hi",
        ]
        ours = ["bash", "-c", 'agent-discover "$1" | agent-react "Shout hi"', "-", str(folder)]
        return (
            0 if compare("agent-discover | agent-react", ours, theirs, 10, 0.3, "llm", env) else 1
        )


if __name__ == "__main__":
    sys.exit(main())
