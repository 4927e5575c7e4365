#!/usr/bin/env python3
"""one_request - `agent-llm "hi"` against PyPI's `llm "hi"`, same server, streamed (CPU at most 0.25)"""

from __future__ import annotations

import sys

from measure import compare, llm, model

RULES = "def reply(body):\n    return 'Hello there, what can I do for you today?'\n"


def main() -> int:
    with model(RULES) as env:
        theirs = [llm(env), "-m", "test-model", "--no-log", "--key", "test-key", "hi"]
        return (
            0 if compare("agent-llm hi", ["agent-llm", "hi"], theirs, 15, 0.25, "llm", env) else 1
        )


if __name__ == "__main__":
    sys.exit(main())
