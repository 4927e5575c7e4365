"""From a request to its targets: the provider and model it goes to, then the fallbacks."""

from __future__ import annotations

import os

from agentlib import cli
from agentlib.llm import choose, keys
from agentlib.types import TYPE_CHECKING, Any, Mapping, Record, Sequence

if TYPE_CHECKING:
    from agentlib.llm.choose import Providers, Target, Wish


class Router:
    """Knows what flags, environment and config file say; a request says more, and goes before them."""

    def __init__(
        self,
        providers: Providers,
        config: Mapping[str, Any],
        provider: str | None,
        model: str | None,
        fallbacks: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        env = os.environ.get
        self.providers, self.fallbacks, self.quiet = providers, fallbacks, quiet
        self.flags = choose.Wish(provider, model, firm=True)
        self.rest = [
            choose.Wish(
                env("AGENT_PROVIDER") or env("LLM_PROVIDER") or None,
                env("AGENT_MODEL") or env("LLM_MODEL") or None,
            ),
            choose.Wish(_word(config, "provider"), _word(config, "model")),
        ]
        self._found: dict[tuple[Any, ...], Target] = {}
        self._told: set[str] = set()

    @property
    def count(self) -> int:
        """How many targets a request has."""
        return 1 + len(self.fallbacks)

    def target(self, request: Record, number: int = 0) -> Target:
        """The target of this number for a request. Fault: `not_found`, or `auth` where its key is not there.

        An `embed` that names no model leaves it to the provider: environment and config name models that talk."""
        own = (number, request.get("provider"), request.get("model"))
        embeds = request.get("type") == "embed"
        if (embeds, *own) not in self._found:
            found = choose.target(self.providers, self._wishes(*own))
            if embeds and not request.get("model"):
                found.model = None
            self._tell(found)
            if not self.providers.ready(found.provider):
                raise keys.absent(found.provider.name, found.provider.schema)
            self._found[embeds, *own] = found
        return self._found[embeds, *own]

    def _wishes(self, number: int, provider: Any, model: Any) -> list[Wish]:
        asked = choose.Wish(_str(provider), _str(model), firm=provider is not None)
        wishes = [asked, self.flags, *self.rest]
        if not number:
            return wishes
        fallback = choose.Wish(None, self.fallbacks[number - 1])
        return [fallback, *(choose.Wish(wish.provider, None) for wish in wishes)]

    def _tell(self, found: Target) -> None:
        """Say once which provider was taken where nobody named one."""
        if found.why and not self.quiet and found.provider.name not in self._told:
            self._told.add(found.provider.name)
            name = found.provider.name + (f"/{found.model}" if found.model else "")
            cli.warn(f"using {name}: {found.why} (--provider or AGENT_PROVIDER chooses another)")


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _word(table: Mapping[str, Any], name: str) -> str | None:
    return _str(table.get(name))
