#!/usr/bin/env python3
"""streaming - 20,000 deltas through agent-llm and the provider alone, against bare httpx (CPU at most 2 and 1.5)"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from concurrency import ROOT, vendor
from measure import line, run

COUNT = 20_000
ROUNDS = 7
ALONE = 1.5
WHOLE = 2
BARE = (
    "import httpx, sys\n"
    "with httpx.stream('POST', sys.argv[1] + '/chat/completions', json={'stream': True}, trust_env=False) as r:\n"
    "    assert sum(l.startswith('data:') for l in r.iter_lines()) > 20000"
)


def main() -> int:
    request = {
        "type": "request",
        "id": "1",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with vendor(0, COUNT) as address, tempfile.NamedTemporaryFile("w", suffix=".jsonl") as requests:
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        env = {
            "HOME": os.path.dirname(requests.name),
            "PATH": f"{ROOT}/bin:{ROOT}/.venv/bin:/usr/bin:/bin",
            "AGENT_PROVIDER": "openai",
            "AGENT_MODEL": "m",
            "OPENAI_API_KEY": "bench",
            "OPENAI_BASE_URL": address,
        }
        rounds = [
            (
                run(["python3", "-c", BARE, address], env),
                run([str(ROOT / "providers/openai")], env, requests.name),
                run(["agent-llm", "hi"], env),
            )
            for _ in range(ROUNDS)
        ]
    bare, alone, complete = (sorted(costs)[ROUNDS // 2] for costs in zip(*rounds, strict=True))
    line("the provider alone", alone, bare, ALONE, "httpx")
    line("agent-llm", complete, bare, WHOLE, "httpx")
    return 0 if alone.cpu <= ALONE * bare.cpu and complete.cpu <= WHOLE * bare.cpu else 1


if __name__ == "__main__":
    sys.exit(main())
