"""Which provider and which model a request goes to, and why (docs/agent-llm.md, "Choice of the provider")."""

import os

from agentlib import paths, records
from agentlib.faults import Fault, near
from agentlib.llm import keys
from agentlib.schema import schemas
from agentlib.types import Any, Iterator, Mapping, NamedTuple, Record

PATIENCE = 30.0  # seconds for a provider's schema, and for a vendor's list of models
LIST_CAP = 4 << 20  # bytes of such a list

# why a schema could not be read, though nothing is wrong with it, or its start will tell better what is
STARTED_ANYHOW = ("sandbox unavailable", "#! n")


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
            answer = schemas.ask([path], PATIENCE)[path]
            if isinstance(answer, Fault) and answer.kind in ("tool_denied", "bad_response"):
                # without its schema it would be started without its key
                if not any(why in answer.message for why in STARTED_ANYHOW):
                    raise Fault(answer.kind, f"{path}: {answer.message}", provider=name)
            schema = answer[0] if isinstance(answer, list) and answer else {}
            self._known[name] = Provider(os.path.basename(path), path, schema)
        return self._known[name]

    def _path(self, name: str) -> str:
        folders = [""] if "/" in name else self.folders
        for path in [os.path.abspath(os.path.join(folder, name)) for folder in folders]:
            if os.path.isfile(path):
                if not os.access(path, os.X_OK):
                    why = f"{path}: not executable (chmod +x)"
                    raise Fault("invalid_request", why, provider=name)
                return path
        hint = near(name, self.folders) or "; agent-llm --list-providers lists them"
        why = f"no provider {name!r} in {os.pathsep.join(self.folders)}{hint}"
        raise Fault("not_found", why, provider=name)

    def named(self, word: str) -> bool:
        """Whether there is a provider of this name; nothing is asked or run for that."""
        files = [os.path.join(folder, word) for folder in self.folders]
        return any(os.access(file, os.X_OK) and os.path.isfile(file) for file in files)

    def all(self) -> dict[str, Provider]:
        """Every provider that answers, by name; the first folder that has a name wins."""
        if self._all is None:
            files: dict[str, str] = {}
            for folder in filter(os.path.isdir, self.folders):
                for name in sorted(os.listdir(folder)):
                    path = os.path.abspath(os.path.join(folder, name))
                    if os.path.isfile(path) and os.access(path, os.X_OK):
                        files.setdefault(name, path)
            answers = schemas.ask(files.values())
            late = [path for path, answer in answers.items() if isinstance(answer, Fault)]
            # the suite's own answer, if late: the machine is busy
            if ours := [path for path in late if paths.of_suite(path)]:
                answers |= schemas.ask(ours, PATIENCE)
            self._all = {}
            for name, path in files.items():
                answer = answers[path]
                if isinstance(answer, list) and answer and answer[0].get("kind") == "provider":
                    self._all[name] = Provider(name, path, answer[0])
        return self._all

    def ready(self, provider: Provider) -> bool:
        """Whether the key is there, if one is needed; where the key is optional, the provider sees for itself."""
        if not keys.required(provider.schema):
            return True
        return bool(keys.source(provider.name, provider.schema, self.config))


def list_models(provider: Provider, config: Mapping[str, Any]) -> tuple[list[Record], str]:
    """(what `PROVIDER --list-models` prints, in a provider's own environment; why it prints nothing, in its words)."""
    from agentlib.process import run

    env = keys.environment(provider.name, provider.schema, config)
    options = {"args": [provider.path, "--list-models"], "env": env}
    try:
        done = run.run(options, b"", PATIENCE, LIST_CAP, run.Leash())
    except OSError as bad:
        return [], str(bad)
    if done.over or done.late:
        return [], "it prints more than is read" if done.over else f"nothing in {PATIENCE:g} s"
    found = list(_models(done.out)) if done.status == 0 else []
    clean = keys.scrub(done.err, keys.secrets(provider.schema, env))
    return found, "".join(clean.decode("utf-8", "replace").strip().splitlines()[-1:])


def _models(output: bytes) -> Iterator[Record]:
    for raw in output.splitlines():
        try:
            record = records.loads(raw)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            yield {field: value for field, value in record.items() if field != "type"}
