#!/usr/bin/env python3
"""discover - a warm `agent-discover` of 500 tools against a bare interpreter (under 3)"""

from __future__ import annotations

import sys
from pathlib import Path

from measure import BARE, compare, model

TOOL = """#!/bin/sh
# tool%03d - do the work of number %d
case ${1-} in --agent-schema) echo '{"name":"tool%03d","description":"Do the work of number %d"}' ;; esac
"""


def main() -> int:
    with model("def reply(body):\n    return ''\n") as env:
        folder = Path(env["HOME"], "tools")
        folder.mkdir()
        for n in range(500):
            (folder / f"tool{n:03}").write_text(TOOL % (n, n, n, n))
            (folder / f"tool{n:03}").chmod(0o755)
        ours = ["agent-discover", str(folder)]
        return (
            0 if compare("agent-discover, 500 tools, warm", ours, BARE, 20, 3, "bare", env) else 1
        )


if __name__ == "__main__":
    sys.exit(main())
