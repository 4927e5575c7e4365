"""What agent-llm lists: the providers, their models, the keys; and the ledgers of budgets."""

from __future__ import annotations

import os
import subprocess

from agentlib import budget, cli, records
from agentlib.faults import Fault
from agentlib.llm import keys
from agentlib.llm.choose import Provider, Providers
from agentlib.types import Any, Iterable, Iterator, Namespace, Record

PATIENCE = 30.0  # seconds for a vendor's list of models


def show(options: Namespace, found: Providers, only_keys: bool) -> int:
    """Print what --list-providers, --list-models or `keys` ask for."""
    if only_keys:
        return key_states(found)
    if options.list_providers:
        return providers(found, options.json)
    return models(
        found, [options.provider] if options.provider else list(found.all()), options.json
    )


def providers(found: Providers, as_records: bool) -> int:
    """Print every provider: its name, whether it can be used now, what it is."""
    for provider in found.all().values():
        needed = keys.variables(provider.schema)
        source = keys.source(provider.name, provider.schema, found.config)
        if as_records:
            records.write(
                {
                    "type": "provider",
                    "name": provider.name,
                    "description": provider.schema.get("description"),
                    "path": provider.path,
                    "keys": needed,
                    "ready": found.ready(provider),
                    "default_model": provider.schema.get("default_model"),
                }
            )
        else:
            lack = "no key" if keys.required(provider.schema) else "key optional"
            missing = f"{lack}: {' or '.join(needed)}" if needed else "needs no key"
            state = f"key: {source}" if source else missing
            _print(f"{provider.name:12} {state:28} {provider.schema.get('description', '')}")
    return 0


def models(found: Providers, names: Iterable[str], as_records: bool) -> int:
    """Print the models of these providers; the vendor is asked where it can be, else its schema's are printed."""
    for name in names:
        provider = found.get(name)
        for model in (
            asked(provider, found.config) if found.ready(provider) else schema_models(provider)
        ):
            if as_records:
                records.write({"type": "model", "provider": provider.name, **model})
            else:
                _print(f"{provider.name}/{model['id']}")
    return 0


def schema_models(provider: Provider) -> list[Record]:
    """The models that a provider knows without asking."""
    return [{"id": model} for model in provider.models]


def asked(provider: Provider, config: Any) -> list[Record]:
    """What `PROVIDER --list-models` prints, in the private environment of a provider; the schema's where that fails."""
    env = keys.environment(provider.name, provider.schema, config)
    try:
        done = subprocess.run(
            [provider.path, "--list-models"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            env=env,
            check=False,
            start_new_session=True,
        )
        told = list(_models(done.stdout))
        if done.returncode == 0 and told:
            return told
        said = done.stderr
    except (OSError, subprocess.TimeoutExpired) as bad:
        said = str(bad).encode()
    last = (
        keys.scrub(said, keys.secrets(provider.schema, env))
        .decode("utf-8", "replace")
        .strip()
        .splitlines()[-1:]
    )
    cli.warn(
        f"{provider.name} did not tell its models, so these are those of its schema: {''.join(last)}"
    )
    return schema_models(provider)


def _models(output: bytes) -> Iterator[Record]:
    for raw in output.splitlines():
        try:
            record = records.loads(raw)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            yield {field: value for field, value in record.items() if field != "type"}


def key_states(found: Providers) -> int:
    """Print which keys are set and where they come from, never what they are; 1 where none is."""
    several = 1
    for provider in found.all().values():
        for variable in keys.variables(provider.schema):
            state = "set" if os.environ.get(variable, "").strip() else "not set"
            if state == "not set" and keys.command(provider.name, [variable], found.config):
                state = "by a command of config.toml"
            several = several if state == "not set" else 0
            _print(f"{provider.name:12} {variable:28} {state}")
    return several


def ledger(args: list[str]) -> int:
    """`agent-llm budget USD [TOKENS]` makes a ledger and prints its path; without operands AGENT_BUDGET's is shown."""
    if not args:
        path = os.environ.get(budget.VARIABLE)
        if not path:
            raise Fault("invalid_input", f"{budget.VARIABLE} is not set: {budget.CURE}")
        records.write({"type": "budget", **budget.ledger(path)})
        return 0
    try:
        usd = float(args[0])
        tokens = int(args[1]) if args[1:] else None
        if (
            usd <= 0
            or usd != usd
            or usd == float("inf")
            or len(args) > 2
            or tokens is not None
            and tokens <= 0
        ):
            raise ValueError
    except ValueError:
        raise Fault(
            "invalid_input", "usage: agent-llm budget [USD [TOKENS]], both above 0"
        ) from None
    _print(budget.create(usd, tokens))
    return 0


def _print(line: str) -> None:
    records.put(line.encode("utf-8", "replace") + b"\n")
