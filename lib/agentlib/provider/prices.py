"""What a request cost, from a dated table (prices.json; tests/make_prices.py makes it) and the user's own prices.

The user's go first, in config.toml: [prices."MODEL"] or [prices."PROVIDER/MODEL"] with `input` and `output`, US dollars
for a million tokens, and where they differ `cached` (read from the vendor's cache) and `cache_write`.
"""

import os
import re
from functools import cache

from agentlib import config, records
from agentlib.faults import Fault
from agentlib.types import Any, Iterator, Mapping, Sequence

Prices = tuple[float, float, float, float]

FILE = os.path.join(os.path.dirname(__file__), "prices.json")
NAMES = ("input", "output", "cached", "cache_write")
REGION = re.compile(r"^(us|eu|apac|jp|au|ca|sa|us-gov|global)\.")  # of Bedrock's inference profiles
SNAPSHOT = re.compile(r"(-20\d{6}|-20\d\d-\d\d-\d\d|-00\d|-latest)$")  # has its model's price


def cost(provider: str, model: str, usage: Mapping[str, Any]) -> float | None:
    """US dollars for this usage, None where the model's price is not known. `input_tokens` includes
    `cached_input_tokens` (read) and `cache_write_input_tokens`, `output_tokens` includes reasoning."""
    found = prices(provider, model)
    if found is None:
        return None
    names = ("input", "output", "cached_input", "cache_write_input")
    prompt, *others = [usage.get(f"{name}_tokens") or 0 for name in names]
    fresh = max(0, prompt - others[1] - others[2])
    total = sum(count * price for count, price in zip([fresh, *others], found, strict=True))
    return round(total / 1_000_000, 10)


@cache
def prices(provider: str, model: str) -> Prices | None:
    """(input, output, cached, cache write) of a model in US dollars per million tokens, None where unknown."""
    users = users_prices()
    for name in spellings(model):
        if found := users.get(f"{provider}/{name}") or users.get(name):
            return found
    with open(FILE, "rb") as file:
        rows = records.loads(file.read())["prices"].get(provider) or {}
    row = next((rows[name] for name in spellings(model) if name in rows), None)
    return None if row is None else filled(row)


def filled(numbers: Sequence[float | None]) -> Prices:
    """All four prices, where the last two may be missing: such input costs what other input costs."""
    fresh, output, *cached = (*numbers, None, None)[:4]
    base = fresh or 0.0
    read, written = [base if price is None else price for price in cached]
    return base, output or 0.0, read, written


def spellings(model: str) -> Iterator[str]:
    """The names under which a model may stand: its own; without folder, region, date."""
    yield model
    if model.startswith(("models/", "arn:")):
        yield (model := model.rpartition("/")[2])
    for tail in (REGION, SNAPSHOT):
        yield (model := tail.sub("", model))


@cache
def users_prices() -> dict[str, Prices]:
    """The user's own prices by model; a fault that names the one that is not a price."""
    table = config.load().get("prices") or {}
    for model, entry in table.items():
        where = f'config.toml: [prices."{model}"]'
        if not isinstance(entry, dict) or not {"input", "output"} <= entry.keys() <= set(NAMES):
            why = "needs input and output; cached and cache_write may be there, nothing else"
            raise Fault("invalid_input", f"{where}: {why}")
        for name, price in entry.items():
            number = isinstance(price, int | float) and not isinstance(price, bool)
            if not number or not 0 <= price < float("inf"):
                raise Fault("invalid_input", f"{where}: {name} is not a price: {price!r}")
    return {model: filled([entry.get(name) for name in NAMES]) for model, entry in table.items()}
