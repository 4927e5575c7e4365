"""The providers that there are; which of them and which model a request goes to, and why (docs/agent-llm.md)."""

import os
from contextlib import suppress

from agentlib import paths, records, stderr
from agentlib.environment import scrub
from agentlib.faults import NOT_FOUND, Fault, near
from agentlib.llm import keys
from agentlib.process.unusable import broken, unusable
from agentlib.schema import schemas
from agentlib.types import Any, Iterator, Mapping, NamedTuple, Record, Sequence

LOCAL, OLLAMA = "local", "ollama"
MODELS = {"default_model", "embedding_model"}  # one that only makes embeddings has no default
PROBE = 0.3  # seconds for the question whether Ollama is there
TIMEOUT = 30.0  # seconds for a provider's schema, and for a vendor's list of models
LIST_CAP = 4 << 20  # bytes of such a list


class Provider(NamedTuple):
    """An executable of a providers folder. schema: what it answers to --agent-schema, {} where it does not."""

    name: str
    path: str
    schema: Record

    @property
    def models(self) -> list[str]:
        listed = self.schema.get("models")
        every = listed if isinstance(listed, list) else []
        return [str(model.get("id") if isinstance(model, dict) else model) for model in every]

    @property
    def slashes(self) -> bool:
        """Whether its vendor's own names of models have a slash: then `a/b` says nothing about a provider."""
        return any("/" in model for model in self.models)


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
            answer = schemas.read([path], TIMEOUT)[path]
            if isinstance(answer, Fault) and answer.kind in ("tool_denied", "bad_response"):
                # without its schema it would be started without its key; no sandbox is no fault of its own
                if "sandbox unavailable" not in answer.message:
                    raise Fault(answer.kind, f"{path}: {answer.message}", provider=name)
            schema = answer[0] if isinstance(answer, list) and answer else {}
            self._known[name] = Provider(os.path.basename(path), path, schema)
        return self._known[name]

    def _path(self, name: str) -> str:
        folders = [""] if "/" in name else self.folders
        for path in [os.path.abspath(os.path.join(folder, name)) for folder in folders]:
            if executable(path) and broken(path)[:2] != "#!":
                return path
            if "/" in name or os.path.isfile(path):
                raise unusable(path)
        hint = near(name, self._files()) or "; agent-llm --list-providers lists them"
        why = f"no provider {name!r} in {os.pathsep.join(self.folders)}{hint}"
        raise Fault("not_found", why, NOT_FOUND)

    def named(self, word: str) -> bool:
        """Whether there is a provider of this name; nothing is run for that."""
        return any(executable(os.path.join(folder, word)) for folder in self.folders)

    def all(self) -> dict[str, Provider]:
        """Every provider that answers, by name; the first folder that has a name wins."""
        if self._all is None:
            files = self._files()
            answers = schemas.read(files.values())
            late = [path for path, answer in answers.items() if isinstance(answer, Fault)]
            # the suite's own answer, if late: the machine is busy
            if ours := [path for path in late if paths.of_suite(path)]:
                answers |= schemas.read(ours, TIMEOUT)
            self._all = {}
            for name, path in files.items():
                answer = answers[path]
                if isinstance(answer, list) and answer and answer[0].get("kind") == "provider":
                    self._all[name] = Provider(name, path, answer[0])
        return self._all

    def _files(self) -> dict[str, str]:
        files: dict[str, str] = {}
        for folder in filter(os.path.isdir, self.folders):
            for name in sorted(os.listdir(folder)):
                if executable(path := os.path.abspath(os.path.join(folder, name))):
                    files.setdefault(name, path)
        return files

    def ready(self, provider: Provider) -> bool:
        """Whether the key is there, if one is needed; where the key is optional, the provider sees for itself."""
        found = keys.source(provider.name, provider.schema, self.config)
        return bool(found) or not keys.required(provider.schema)


def executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def list_models(provider: Provider, config: Mapping[str, Any]) -> tuple[list[Record], str]:
    """(what `PROVIDER --list-models` prints, in a provider's own environment; why it prints nothing, in its words)."""
    from agentlib.process import run

    env = keys.environment(provider.name, provider.schema, config)
    options = {"args": [provider.path, "--list-models"], "env": env}
    try:
        done = run.run(options, b"", TIMEOUT, LIST_CAP, run.Scope())
    except OSError as bad:
        return [], str(bad)
    if done.over or done.late:
        return [], "it prints more than is read" if done.over else f"nothing in {TIMEOUT:g} s"
    found: list[Record] = []
    for raw in done.out.splitlines() if done.status == 0 else ():
        with suppress(ValueError):
            record = records.loads(raw)
            if isinstance(record, dict) and isinstance(record.get("id"), str):
                found.append({field: record[field] for field in record if field != "type"})
    clean = scrub(done.err, keys.secrets(provider.schema, env))
    return found, "".join(clean.decode("utf-8", "replace").strip().splitlines()[-1:])


class Wish(NamedTuple):
    """What one source says: a provider, a model, or both. firm: a flag or the request itself says so."""

    provider: str | None
    model: str | None
    firm: bool = False


class Target(NamedTuple):
    """Where to send: the provider, the model (None: the provider's own default), and why, if nobody asked for it."""

    provider: Provider
    model: str | None
    why: str = ""


class Router:
    """Knows what flags, environment and config file say; a request says more, and goes before them."""

    def __init__(
        self, providers: Providers, flags: Wish, fallbacks: Sequence[str] = (), quiet: bool = False
    ) -> None:
        env = os.environ.get
        self.providers, self.fallbacks, self.quiet = providers, fallbacks, quiet
        self.count = 1 + len(fallbacks)  # of targets that a request has
        self.flags = Wish(flags.provider, flags.model, firm=True)
        named = env("AGENT_PROVIDER") or env("LLM_PROVIDER"), env("AGENT_MODEL") or env("LLM_MODEL")
        file = providers.config.get("provider"), providers.config.get("model")
        self.rest = [Wish(_str(provider), _str(model)) for provider, model in (named, file)]
        self._found: dict[tuple[Any, ...], Target] = {}
        self._explained: set[str] = set()

    def target(self, request: Record, number: int = 0) -> Target:
        """The target of this number for a request. Fault: `not_found`, or `auth` where its key is not there. An `embed`
        that names no model leaves it to the provider: environment and config name models that talk."""
        provider, model = request.get("provider"), request.get("model")
        embeds = request.get("type") == "embed"
        key = (embeds, number, provider, model)
        if key not in self._found:
            first = Wish(_str(provider), _str(model), firm=provider is not None)
            wishes = [first, self.flags, *self.rest]
            if number:
                fallback = Wish(None, self.fallbacks[number - 1])
                wishes = [fallback, *(Wish(wish.provider, None) for wish in wishes)]
            found = target(self.providers, wishes)
            if embeds and not model:
                found = Target(found.provider, None, found.why)
            if not self.providers.ready(found.provider):
                raise keys.absent(found.provider.name, found.provider.schema)
            self._found[key] = found
        return self._found[key]

    def explain(self, found: Target) -> None:
        """Say, once, which provider was taken where nobody named one."""
        if found.why and not self.quiet and found.provider.name not in self._explained:
            self._explained.add(found.provider.name)
            name = found.provider.name + (f"/{found.model}" if found.model else "")
            stderr.warn(f"using {name}: {found.why} (--provider or AGENT_PROVIDER chooses another)")


def target(providers: Providers, wishes: list[Wish]) -> Target:
    """The provider and model by the wishes, the strongest first; a Fault where there is no provider."""
    model = next((wish for wish in wishes if wish.model), None)
    named = next((wish for wish in wishes if wish.provider), None)
    if named is None:
        return _by_prefix(providers, model) or _first(providers, model)
    if model is not None and not named.firm and wishes.index(model) <= wishes.index(named):
        other = _by_prefix(providers, model)
        if other and not providers.get(str(named.provider)).slashes:
            return other
    provider = providers.get(str(named.provider))
    name = next((w.model for w in wishes if w.model and w.provider in (None, named.provider)), None)
    return _installed(Target(provider, vendors_name(provider, name)), name, providers.config)


def vendors_name(provider: Provider, model: str | None) -> str | None:
    """The model's name as the vendor knows it: without the provider's name before it, unless that is part of it."""
    if model and model not in provider.models:
        model = model.removeprefix(f"{provider.name}/")
    default = os.environ.get(f"{provider.name.upper()}_MODEL")
    return model or _str(default or provider.schema.get("default_model"))


def _installed(found: Target, model: str | None, config: Mapping[str, Any]) -> Target:
    """The target; of Ollama, where nobody named a model, with the newest that it has if its default is not there."""
    default = found.model
    if found.provider.name != OLLAMA or model or not default or os.environ.get("OLLAMA_MODEL"):
        return found
    listed = [str(row["id"]) for row in list_models(found.provider, config)[0]]
    if listed and not {default, f"{default}:latest"} & set(listed):
        model = next((name for name in listed if "embed" not in name), listed[0])
        why = f"{found.why or 'it was named'}, and it does not have {default}"
        return Target(found.provider, model, why)
    return found


def _by_prefix(providers: Providers, wish: Wish | None) -> Target | None:
    """The target of `provider/model`; without its key it gives way to a provider that lists that whole name."""
    name = (wish.model if wish else None) or ""
    prefix, _, model = name.partition("/")
    if not model or not providers.named(prefix):
        return None
    provider = providers.get(prefix)
    if not providers.ready(provider):
        every = [other for other, _ in _usable(providers, list(providers.all().values()))]
        if any(name in other.models for other in every):
            return None
    return Target(provider, vendors_name(provider, name))


def _first(providers: Providers, wish: Wish | None) -> Target:
    """The first provider that can be asked, where nobody said which; one that lists the model goes before others."""
    model = wish.model if wish else None
    every = [p for p in providers.all().values() if MODELS & {*p.schema} != {"embedding_model"}]
    usable = list(_usable(providers, every))
    usable.sort(key=lambda found: model is not None and model not in found[0].models)
    for provider, why in usable or _keyless(providers, every):
        found = Target(provider, vendors_name(provider, model), why)
        return _installed(found, model, providers.config)
    named = sorted({keys.variables(p.schema)[0] for p in every if keys.required(p.schema)})
    key = f"set a key ({', '.join(named)}), " if named else ""
    cure = "start Ollama, or put a model on this machine: agent-llm local install"
    raise Fault("not_found", f"no provider to ask: {key}{cure}")


def _keyless(providers: Providers, every: list[Provider]) -> Iterator[tuple[Provider, str]]:
    by_name = {provider.name: provider for provider in every}
    ollama, local = by_name.pop(OLLAMA, None), by_name.pop(LOCAL, None)
    if ollama and listening():
        yield ollama, "Ollama is running"
    if local and list_models(local, providers.config)[0]:
        yield local, "no key is set, and it is installed"
    for provider in by_name.values():
        if not keys.variables(provider.schema):
            yield provider, "it needs no key"


def _usable(providers: Providers, every: list[Provider]) -> Iterator[tuple[Provider, str]]:
    for provider in every:
        if found := keys.source(provider.name, provider.schema, providers.config):
            named = found == "config.toml"
            yield provider, "config.toml names its key" if named else f"{found} is set"


def listening() -> bool:
    """Whether something answers at Ollama's address (OLLAMA_HOST, else 127.0.0.1:11434) within PROBE seconds."""
    import socket

    address = os.environ.get("OLLAMA_HOST", "").partition("://")
    host, _, port = (address[2] or address[0]).rstrip("/").rpartition("/")[2].partition(":")
    host = host.replace("0.0.0.0", "") or "127.0.0.1"
    try:
        with socket.create_connection((host, int(port or 11434)), PROBE):
            return True
    except (OSError, ValueError, UnicodeError):
        return False


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
