"""How many tokens the model can hold: what the user says, else what its provider's schema says of it."""

from __future__ import annotations

from agentlib.faults import Fault
from agentlib.types import Record

SMALL = 3000  # tokens; a shorter conversation fits everywhere, so nobody is asked


class Window:
    """given: the user's word, or None. Called with the last response, which names the provider."""

    def __init__(self, tokens: int | None) -> None:
        self._tokens = tokens
        self._known: dict[str, int | None] = {}

    def __call__(self, response: Record) -> int | None:
        """The window in tokens, or None where it is not known (yet)."""
        if self._tokens:
            return self._tokens
        provider, used = response.get("provider"), (response.get("usage") or {}).get("input_tokens")
        if not isinstance(provider, str) or not isinstance(used, int) or used < SMALL:
            return None
        if provider not in self._known:
            self._known[provider] = _from_schema(provider)
        return self._known[provider]


def _from_schema(provider: str) -> int | None:
    from agentlib import paths
    from agentlib.schema import schemas

    try:
        path = schemas.find(provider, paths.folders("AGENT_PROVIDER_PATH", "providers"))
    except Fault:
        return None
    answer = schemas.ask([path])[path]
    for schema in [] if isinstance(answer, Fault) else answer:
        tokens = (schema.get("capabilities") or {}).get("max_tokens")
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None
