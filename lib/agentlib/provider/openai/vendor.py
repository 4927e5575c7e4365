"""One vendor of OpenAI's dialect: its address, its key and its quirks as data."""

from __future__ import annotations

import os

from agentlib.provider import answer, http_call
from agentlib.provider.openai import completion
from agentlib.types import Callable, Iterator, Record


class Vendor:
    """What sets one vendor of the dialect apart.

    base, base_variable, keys: the address, the variables that replace it and that hold the key.
    prefix: the path between the address and /chat/completions.
    limit: the field for max_tokens, or a function of the model that gives it.
    effort: "reasoning_effort", or "reasoning" for {"effort": …}.
    document: "file", "document_url" or None for no documents. required: the vendor's word for that tool_choice.
    names, schemas: whether these can be sent. usage_asked: whether usage in a stream must be asked for.
    """

    def __init__(
        self,
        name: str,
        base: str,
        base_variable: str,
        keys: tuple[str, ...],
        *,
        prefix: str = "",
        limit: str | Callable[[str], str] = "max_tokens",
        effort: str = "reasoning_effort",
        document: str | None = None,
        required: str = "required",
        names: bool = True,
        schemas: bool = True,
        usage_asked: bool = True,
        headers: Record | None = None,
    ) -> None:
        self.name = name
        self.base = base
        self.base_variable = base_variable
        self.keys = keys
        self.prefix = prefix
        self.limit, self.effort, self.document, self.required = limit, effort, document, required
        self.names, self.schemas, self.usage_asked = names, schemas, usage_asked
        self.headers = headers or {}

    def address(self) -> str:
        """The address in force, up to (without) /chat/completions."""
        base = http_call.base(os.environ.get(self.base_variable) or self.base, self.base_variable)
        return base.removesuffix(self.prefix) + self.prefix

    def is_vendors(self) -> bool:
        """Whether it is the vendor's own service that is spoken to."""
        return self.address() == self.base + self.prefix

    def authorization(self) -> dict[str, str]:
        """The headers that carry the key."""
        return {"authorization": f"Bearer {answer.key(*self.keys)}", **self.headers}

    def models(self) -> Iterator[Record]:
        """The vendor's list of models."""
        yield from listed(
            answer.fetch(f"{self.address()}/models", self.authorization(), completion.explain)
        )


def listed(body: Record) -> Iterator[Record]:
    """The models of a vendor's list, whatever the vendor tells about each."""
    for model in body.get("data") or []:
        if isinstance(model, dict) and isinstance(model.get("id"), str):
            made = {"owned_by": model["owned_by"]} if model.get("owned_by") else {}
            yield {"id": model["id"], **made}
