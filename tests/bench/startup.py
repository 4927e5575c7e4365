#!/usr/bin/env python3
"""startup - --help, --agent-schema, --version of each program in Python or bash against a bare python3 (at most 3)"""

from __future__ import annotations

import sys

from measure import BARE, ROOT, compare


def main() -> int:
    good = True
    for folder in ("bin", "providers", "tools"):
        for file in sorted((ROOT / folder).iterdir()):
            with file.open("rb") as opened:
                first = opened.readline()
            if b"python3" not in first and b"bash" not in first:
                continue
            for question in ("--help", "--agent-schema", "--version"):
                good &= compare(
                    f"{file.name} {question}", [str(file), question], BARE, 10, 3, "bare"
                )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
