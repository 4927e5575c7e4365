#!/usr/bin/env python3
"""one_request - `agent-llm "hi"` against bare httpx (CPU at most 1.15, warm 0.5) and PyPI's `llm "hi"` (0.25)"""

from __future__ import annotations

import sys

from measure import compare, llm, model

RULES = "def reply(body):\n    return 'Hello there, what can I do for you today?'\n"


BARE = "import httpx, sys\nhttpx.post(sys.argv[1] + '/chat/completions', json={'model': 'm', 'messages': []})"


def main() -> int:
    ours = ["agent-llm", "hi"]
    with model(RULES) as env:
        bare = ["python3", "-c", BARE, env["OPENAI_BASE_URL"]]
        good = compare("agent-llm hi", ours, bare, 15, 1.15, "httpx", env)
        warm = {**env, "AGENT_WARM": "10", "XDG_RUNTIME_DIR": env["HOME"]}
        good &= compare("agent-llm hi, warm", ours, bare, 15, 0.5, "httpx", warm)
        theirs = [llm(env), "-m", "test-model", "--no-log", "--key", "test-key", "hi"]
        good &= compare("agent-llm hi", ours, theirs, 15, 0.25, "llm", env)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
