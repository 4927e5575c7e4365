#!/usr/bin/env python3
"""make_prices SOURCE.json DATE > lib/agentlib/provider/prices.json - make the table of prices from a list of models

SOURCE.json is {"sources": {name: where}, "providers": {vendor: [model…]}}, each model with id, input, output,
cache_read and cache_write, in US dollars per million tokens, null where unknown. A cached token that costs nothing
beside an input that costs something is a gap of the source, not a gift: it counts as unknown.
"""

from __future__ import annotations

import json
import sys
from typing import Any

ABOUT = (
    "US dollars per million tokens: input, output, cached input, cache write; null: as input. "
    "Community data: check before you rely on it."
)


def row(model: dict[str, Any]) -> list[float | None]:
    """The four prices of one model, without unknown ones at the end."""
    prices = [
        model["input"],
        model["output"],
        model.get("cache_read") or None,
        model.get("cache_write") or None,
    ]
    while prices[-1] is None:
        prices.pop()
    return [int(p) if p is not None and p == int(p) else p for p in prices]


def table(source: dict[str, Any], date: str) -> str:
    """The file: JSON with one model a line, so that a new price is one line of a difference."""
    head = json.dumps({"about": ABOUT, "date": date, "sources": source["sources"]}, indent=1)[:-2]
    vendors = []
    for vendor, models in source["providers"].items():
        rows = {
            m["id"]: row(m) for m in models if m["input"] is not None and m["output"] is not None
        }
        lines = (f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows))
        if rows:
            vendors.append(f"{json.dumps(vendor)}: {{\n" + ",\n".join(lines) + "\n}")
    return head + ',\n "prices": {\n' + ",\n".join(vendors) + "\n}}\n"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(table(json.load(file), sys.argv[2]))
