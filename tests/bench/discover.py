#!/usr/bin/env python3
"""discover - a warm `agent-discover` of 500 tools against a bare interpreter (under 3); cold, against the tools' starts

Cold, each tool is asked in the sandbox; compared with a shell that starts one after another without any, by wall time
(at most 5 times): what runs in a kept sandbox is nobody's CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

from measure import BARE, compare, medians, model

COLD = 5
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
        warm = compare("agent-discover, 500 tools, warm", ours, BARE, 20, 3, "bare", env)
        starts = ["sh", "-c", f'for tool in {folder}/*; do "$tool" --agent-schema; done']
        us, them = medians([[*ours, "--fresh"], starts], 5, env)
        ratio = us.wall / them.wall
        print(
            f"agent-discover, 500 tools, cold    wall {us.wall:.2f} s / {them.wall:.2f} s bare = {ratio:.2f} "
            f"(at most {COLD}: {'yes' if ratio <= COLD else 'NO'})"
        )
        return 0 if warm and ratio <= COLD else 1


if __name__ == "__main__":
    sys.exit(main())
