"""What agent-llm lists: the providers, their models, the keys; and the ledgers of budgets."""

import os

from agentlib import budget, records, stderr
from agentlib.faults import Fault
from agentlib.llm import keys
from agentlib.llm.routing import Provider, Providers, list_models
from agentlib.types import Namespace, Record


def show(options: Namespace, found: Providers, only_keys: bool) -> int:
    if only_keys:
        return key_states(found)
    if options.list_providers:
        providers(found, options.json)
        return 0
    for provider in map(found.get, [options.provider] if options.provider else found.all()):
        for model in models(provider, found):
            if options.json:
                records.write({"type": "model", "provider": provider.name, **model})
            else:
                _print(f"{provider.name}/{model['id']}")
    return 0


def providers(found: Providers, as_records: bool) -> None:
    for provider in found.all().values():
        needed = keys.variables(provider.schema)
        source = keys.source(provider.name, provider.schema, found.config)
        if as_records:
            about = {f: provider.schema.get(f) for f in ("description", "default_model")}
            now = {"path": provider.path, "keys": needed, "ready": found.ready(provider)}
            records.write({"type": "provider", "name": provider.name, **about, **now})
        else:
            lack = "no key" if keys.required(provider.schema) else "key optional"
            missing = f"{lack}: {' or '.join(needed)}" if needed else "needs no key"
            state = f"key: {source}" if source else missing
            _print(f"{provider.name:12} {state:28} {provider.schema.get('description', '')}")


def models(provider: Provider, found: Providers) -> list[Record]:
    """The models that the vendor lists; where it cannot be asked, those of the provider's schema."""
    known = [{"id": model} for model in provider.models]
    if not found.ready(provider):
        return known
    listed, why = list_models(provider, found.config)
    if not listed:
        schemas = "did not tell its models, so these are those of its schema"
        stderr.warn(f"{provider.name} {schemas}: {why}")
    return listed or known


def key_states(found: Providers) -> int:
    """Print which keys are set and where they come from, never what they are; 1 where none is."""
    status = 1
    for provider in found.all().values():
        for variable in keys.variables(provider.schema):
            state = "set" if os.environ.get(variable, "").strip() else "not set"
            if state == "not set" and keys.command(provider.name, [variable], found.config):
                state = "by a command of config.toml"
            status = status if state == "not set" else 0
            _print(f"{provider.name:12} {variable:28} {state}")
    return status


def ledger(args: list[str]) -> int:
    """`agent-llm budget USD [TOKENS]` makes a ledger and prints its path; without operands AGENT_BUDGET's is shown."""
    if not args:
        path = os.environ.get(budget.VARIABLE)
        if not path:
            raise Fault("invalid_input", f"{budget.VARIABLE} is not set: {budget.CURE}")
        records.write({"type": "budget", **budget.ledger(path)})
        return 0
    try:
        usd, tokens = float(args[0]), int(args[1]) if args[1:] else None
        if not 0 < usd < float("inf") or len(args) > 2 or not (tokens is None or tokens > 0):
            raise ValueError
    except ValueError:
        why = "usage: agent-llm budget [USD [TOKENS]], both above 0"
        raise Fault("invalid_input", why) from None
    _print(budget.create(usd, tokens))
    return 0


def _print(line: str) -> None:
    records.put(line.encode("utf-8", "replace") + b"\n")
