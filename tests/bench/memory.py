#!/usr/bin/env python3
"""memory - agent-memory against raw sqlite3: 100,000 remembers (at least 0.5 of its speed), one recall, one search"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from measure import BARE, ROOT, Cost, line, medians, run

COUNT = 100_000
RAW = """
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE m(id INTEGER PRIMARY KEY, key TEXT "
                 "UNIQUE, value TEXT); CREATE VIRTUAL TABLE w USING fts5(key, value, tokenize='porter unicode61')")
db.execute("BEGIN")
for number, line in enumerate(sys.stdin, 1):
    record = json.loads(line)
    key, value = record["key"], json.dumps(record["value"])
    row = db.execute("INSERT OR REPLACE INTO m(key, value) VALUES(?,?)", (key, value)).lastrowid
    db.execute("INSERT INTO w(rowid, key, value) VALUES(?,?,?)", (row, key, value))
    if number % 1000 == 0:
        db.execute("COMMIT")
        db.execute("BEGIN")
db.execute("COMMIT")
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        records = Path(folder, "records.jsonl")
        with records.open("w") as out:
            for n in range(COUNT):
                value = f"value number {n} of many words: alpha beta gamma {n * 7}"
                out.write(json.dumps({"type": "memory", "key": f"key {n}", "value": value}) + "\n")
        env = {**os.environ, "HOME": folder, "PATH": f"{ROOT}/bin:/usr/bin:/bin"}
        pairs = [
            (
                run(
                    ["agent-memory", "import", "--store", f"{folder}/our{n}.db"], env, str(records)
                ),
                run(["python3", "-IS", "-c", RAW, f"{folder}/raw{n}.db"], env, str(records)),
            )
            for n in range(3)
        ]
        middle = [
            Cost(*(sorted(c[field] for c in costs)[1] for field in (0, 1)))
            for costs in zip(*pairs, strict=True)
        ]
        ours, raw = middle
        line(f"{COUNT:,} remembers, raw sqlite3", ours, raw, 2, "raw")
        store = ["--store", f"{folder}/our0.db"]
        request = [
            ["agent-memory", *words, *store] for words in (["recall", "key 7"], ["search", "gamma"])
        ]
        recall, search, bare = medians([*request, BARE], 15, env)
        line("recall of one key", recall, bare, 3, "bare")
        over = (search.wall - recall.wall) * 1e3
        print(
            f"search in {COUNT:,}: {over:.1f} ms over a recall (at most 20: {'yes' if over <= 20 else 'NO'})"
        )
        return 0 if ours.wall <= 2 * raw.wall and recall.cpu <= 3 * bare.cpu and over <= 20 else 1


if __name__ == "__main__":
    sys.exit(main())
