"""One vendor of OpenAI's dialect: its address, its key and its quirks as data."""

import os

from agentlib.provider import answer, http_call, refusal
from agentlib.types import Any, Callable, Iterator, Record


class Vendor:
    """What sets one vendor of the dialect apart. base, base_variable, keys: the address, the variables that replace it
    and that hold the key. quirks: other values of the attributes below."""

    prefix = ""  # the path between the address and /chat/completions
    limit: str | Callable[[str], str] = (
        "max_tokens"  # the field for that, or what gives it for a model
    )
    effort = "reasoning_effort"  # or "reasoning" for {"effort": …}
    document: str | None = None  # "file", "document_url", or None for no documents
    required = "required"  # the vendor's word for that tool_choice
    names = schemas = True  # whether these can be sent
    usage_asked = True  # whether usage in a stream must be asked for
    call_ids = r"[\s\S]+"  # the form of the ids of calls that it takes (answer.call_id)

    def __init__(
        self, name: str, base: str, base_variable: str, keys: tuple[str, ...], **quirks: Any
    ) -> None:
        self.name, self.base, self.base_variable, self.keys = name, base, base_variable, keys
        for quirk, value in quirks.items():
            getattr(self, quirk)  # AttributeError where there is no such quirk
            setattr(self, quirk, value)

    def limit_of(self, model: str) -> str:
        return self.limit if isinstance(self.limit, str) else self.limit(model)

    def fitted(self, request: Record) -> Record:
        """The request as the vendor's address wants it."""
        return request

    def address(self) -> str:
        """The address in force, up to (without) /chat/completions."""
        base = http_call.base(os.environ.get(self.base_variable) or self.base, self.base_variable)
        return base.removesuffix(self.prefix) + self.prefix

    def url(self, verb: str, model: str) -> str:
        """Where a request goes. verb: chat/completions, responses or embeddings."""
        return f"{self.address()}/{verb}"

    def is_vendors(self) -> bool:
        return self.address() == self.base + self.prefix

    def authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {answer.key(*self.keys)}"}

    def models(self) -> Iterator[Record]:
        return listed(f"{self.address()}/models", self.authorization())


def listed(url: str, headers: dict[str, str]) -> Iterator[Record]:
    """The models of a list, whatever the vendor tells about each."""
    for model in answer.listed(url, headers, refusal.explain, "data", lambda page: ""):
        if isinstance(model.get("id"), str):
            made = {"owned_by": model["owned_by"]} if model.get("owned_by") else {}
            yield {"id": model["id"], **made}
