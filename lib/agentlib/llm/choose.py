"""Which provider and which model a request goes to, and why (docs/agent-llm.md, "Choice of the provider")."""

from __future__ import annotations

import os

from agentlib import paths
from agentlib.faults import Fault
from agentlib.llm import keys
from agentlib.schema import schemas
from agentlib.types import Any, Iterator, Mapping, Record

LOCAL, OLLAMA = "local", "ollama"
PROBE = 0.3  # seconds for the question whether Ollama is there


class Provider:
    """An executable of a providers folder. schema: what it answers to --agent-schema, {} where it does not."""

    __slots__ = ("name", "path", "schema")

    def __init__(self, name: str, path: str, schema: Record) -> None:
        self.name, self.path, self.schema = name, path, schema

    @property
    def models(self) -> list[str]:
        """The models that its schema lists."""
        listed = self.schema.get("models")
        return (
            [str(model.get("id")) if isinstance(model, dict) else str(model) for model in listed]
            if isinstance(listed, list)
            else []
        )

    @property
    def talks(self) -> bool:
        """Whether it answers requests: one that only makes embeddings names no model for that."""
        return "default_model" in self.schema or "embedding_model" not in self.schema

    @property
    def slashes(self) -> bool:
        """Whether its vendor's own names of models have a slash: then `a/b` says nothing about a provider."""
        return any("/" in model for model in self.models)


class Wish:
    """What one source says: a provider, a model, or both. firm: a flag or the request itself says so."""

    __slots__ = ("provider", "model", "firm")

    def __init__(self, provider: str | None, model: str | None, firm: bool = False) -> None:
        self.provider, self.model, self.firm = provider, model, firm


class Target:
    """Where to send: the provider, the model (None: the provider's own default), and why, if nobody asked for it."""

    __slots__ = ("provider", "model", "why")

    def __init__(self, provider: Provider, model: str | None, why: str = "") -> None:
        self.provider, self.model, self.why = provider, model, why


class Providers:
    """The executables in the providers' folders, looked up by name when they are needed."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.folders = paths.folders("AGENT_PROVIDER_PATH", "providers")
        self.config = config
        self._known: dict[str, Provider] = {}
        self._all: dict[str, Provider] | None = None

    def get(self, name: str) -> Provider:
        """The provider of this name, or at this path where the name has a slash; a Fault says why there is none."""
        if name not in self._known:
            path = self._path(name)
            told = schemas.ask([path])[path]
            schema = told[0] if isinstance(told, list) and told else {}
            self._known[name] = Provider(os.path.basename(path), path, schema)
        return self._known[name]

    def _path(self, name: str) -> str:
        candidates = (
            [os.path.abspath(name)]
            if "/" in name
            else [os.path.join(f, name) for f in self.folders]
        )
        for path in candidates:
            if name not in (".", "..") and os.path.isfile(path):
                if not os.access(path, os.X_OK):
                    raise Fault(
                        "invalid_request", f"{path}: not executable (chmod +x)", provider=name
                    )
                return os.path.abspath(path)
        raise Fault(
            "not_found",
            f"no provider {name!r} in {os.pathsep.join(self.folders)}; "
            "agent-llm --list-providers lists them",
            provider=name,
        )

    def named(self, word: str) -> bool:
        """Whether there is a provider of this name; nothing is asked or run for that."""
        return bool(word) and any(
            os.access(os.path.join(folder, word), os.X_OK)
            and os.path.isfile(os.path.join(folder, word))
            for folder in self.folders
        )

    def all(self) -> dict[str, Provider]:
        """Every provider that answers, by name; the first folder that has a name wins."""
        if self._all is None:
            files: dict[str, str] = {}
            for folder in self.folders:
                for name in sorted(_names(folder)):
                    path = os.path.abspath(os.path.join(folder, name))
                    if os.path.isfile(path) and os.access(path, os.X_OK):
                        files.setdefault(name, path)
            told = schemas.ask(files.values())
            self._all = {
                name: Provider(name, path, answer[0])
                for name, path in files.items()
                if isinstance(answer := told[path], list)
                and answer
                and answer[0].get("kind") == "provider"
            }
        return self._all

    def ready(self, provider: Provider) -> bool:
        """Whether the key is there, if one is needed; where the key is optional, the provider sees for itself."""
        return not keys.required(provider.schema) or bool(
            keys.source(provider.name, provider.schema, self.config)
        )


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def target(providers: Providers, wishes: list[Wish]) -> Target:
    """The provider and model by the wishes, the one with most authority first; a Fault where nobody can be asked."""
    model = next((wish for wish in wishes if wish.model), None)
    asked = next((wish for wish in wishes if wish.provider), None)
    if asked is None:
        return _by_prefix(providers, model) or _first(providers, model)
    if model is not None and not asked.firm and wishes.index(model) <= wishes.index(asked):
        if not providers.get(str(asked.provider)).slashes and (
            other := _by_prefix(providers, model)
        ):
            return other
    provider = providers.get(str(asked.provider))
    mine = next((w.model for w in wishes if w.model and w.provider in (None, asked.provider)), None)
    return Target(provider, own_name(provider, mine))


def own_name(provider: Provider, model: str | None) -> str | None:
    """The model's name as the vendor knows it: without the provider's name before it."""
    if model and model not in provider.models:
        model = model.removeprefix(f"{provider.name}/")
    default = provider.schema.get("default_model")
    return model or (default if isinstance(default, str) else None)


def _by_prefix(providers: Providers, wish: Wish | None) -> Target | None:
    """The target of `provider/model`, where there is such a provider."""
    prefix, slash, model = (wish.model or "").partition("/") if wish else ("", "", "")
    if slash and model and providers.named(prefix):
        return Target(providers.get(prefix), model)
    return None


def _first(providers: Providers, wish: Wish | None) -> Target:
    """The first provider that can be asked, where nobody said which; one that lists the model goes before others."""
    model = wish.model if wish else None
    every = [provider for provider in providers.all().values() if provider.talks]
    usable = list(_usable(providers, every))
    for provider, why in sorted(
        usable, key=lambda found: model is not None and model not in found[0].models
    ):
        return Target(provider, own_name(provider, model), why)
    for provider in every:
        if provider.name == OLLAMA and listening():
            return Target(provider, own_name(provider, model), "Ollama is running")
    for provider in every:
        if provider.name == LOCAL and installed():
            return Target(provider, own_name(provider, model), "no key is set, and it is installed")
    for provider in every:
        if provider.name not in (LOCAL, OLLAMA) and not keys.variables(provider.schema):
            return Target(provider, own_name(provider, model), "it needs no key")
    raise Fault("not_found", nobody(every))


def _usable(providers: Providers, every: list[Provider]) -> Iterator[tuple[Provider, str]]:
    for provider in every:
        if keys.variables(provider.schema) and (
            found := keys.source(provider.name, provider.schema, providers.config)
        ):
            yield (
                provider,
                f"{found} is set" if found != "config.toml" else "config.toml names its key",
            )


def nobody(every: list[Provider]) -> str:
    """What to do where no provider can be asked."""
    named = sorted({keys.variables(p.schema)[0] for p in every if keys.required(p.schema)})
    key = f"set a key ({', '.join(named)}), " if named else ""
    return f"no provider to ask: {key}start Ollama, or put a model on this machine: agent-llm local install"


def listening() -> bool:
    """Whether something answers at Ollama's address (OLLAMA_HOST, else 127.0.0.1:11434) within PROBE seconds."""
    import socket

    given = os.environ.get("OLLAMA_HOST", "").partition("://")
    host, _, port = (given[2] or given[0]).rstrip("/").rpartition("/")[2].partition(":")
    try:
        with socket.create_connection(
            (host.replace("0.0.0.0", "") or "127.0.0.1", int(port or 11434)), PROBE
        ):
            return True
    except (OSError, ValueError, UnicodeError):
        return False


def installed() -> bool:
    """Whether the embedded model is on this machine."""
    from agentlib.local import models as local_models

    return bool(local_models.installed()) and local_models.has_runtime()
