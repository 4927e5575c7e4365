"""What all runs of one agent-react share, and how a conversation becomes a request and a response a message."""

from agentlib import records
from agentlib.faults import Fault
from agentlib.history import MEASURED, History
from agentlib.invoke.toolset import Tools
from agentlib.messages import transcript
from agentlib.messages.validate import Validator
from agentlib.types import TYPE_CHECKING, Any, Record

if TYPE_CHECKING:
    from agentlib.plugin.host import Plugins

SYSTEM = (
    "You are an agent in a Unix pipeline. Call tools where they help; do not guess what a tool can tell you. "
    "When you have the answer, give it plainly, without asking back."
)
WANTED = "Your final answer must be nothing but JSON that fits this JSON Schema: {schema}"
MISFIT = (
    "Your answer does not fit the JSON Schema that it must fit: {problems}. Answer again, with nothing but the JSON. "
    "The schema is {schema}"
)
SMALL = 3000  # tokens; a shorter conversation fits everywhere, so no schema is read


class Setting:
    """Nothing in here changes while runs are under way. The limits are 0 or None where there are none."""

    plugins: "Plugins | None" = None
    history: History | None = None
    name: str | None = None
    system: str | None = None
    schema: Any = None  # JSON Schema of the final answer
    max_iterations = 5
    max_parallel_tools = 8  # calls of one answer
    text_react = False
    context_window: int | None = None  # tokens that the model can hold, from the user

    def __init__(self, tools: Tools, **fields: Any) -> None:
        """tools: what the model may call. fields: any of the fields above and below."""
        self.tools = tools
        self.kept: Record = {}  # what the history keeps of each run
        self.options: Record = {}  # temperature, max_tokens, reasoning, stream: fields of every request
        self._windows: dict[str, int | None] = {}  # by provider
        self._validator: Validator | None = None
        for name, value in fields.items():
            setattr(self, name, value)

    def window(self, response: Record) -> int | None:
        """How many tokens the model can hold, from the user, else by its provider's schema; None where nothing says."""
        provider, used = response.get("provider"), (response.get("usage") or {}).get("input_tokens")
        if self.context_window or not isinstance(used, int) or used < SMALL:
            return self.context_window
        if not isinstance(provider, str):
            return None
        if provider not in self._windows:
            from agentlib.react import context_window

            self._windows[provider] = context_window.of_provider(provider)
        return self._windows[provider]

    def request(
        self, messages: list[Record], system: str | None, model: str | None, repair: bool = False
    ) -> Record:
        """The `request` for the next answer in this conversation. repair: for the answer's shape alone, so without
        tools; vendors refuse calls in a conversation without tools, so they become text."""
        tools = [] if repair else self.tools.offered()
        wire, request = transcript.wire(messages), dict[str, Any](type="request")
        present = any(message.get("role") == "system" for message in messages)
        text = system or ("" if present else SYSTEM)
        if self.schema is not None and tools:
            text = f"{text}\n\n{WANTED.format(schema=records.dumps(self.schema))}"
        as_text = bool(self.text_react and tools)
        if as_text or repair and any(map(transcript.calls, wire)):
            from agentlib.react import textreact

            wire = textreact.without_calls(wire)
            if as_text:
                text, request["stop"] = f"{text}\n\n{textreact.instructions(tools)}", textreact.STOP
        elif tools:
            request["tools"] = tools
        if self.schema is not None and not tools:
            request["schema"] = self.schema  # with tools some vendors refuse it, or never call one
        first = [{"role": "system", "content": text.strip()}] if text.strip() else []
        request |= {"messages": [*first, *wire], **self.options}
        return {**request, "model": model} if model else request

    def message(self, response: Record, number: int) -> Record:
        """The answer as a `message` record with what was measured. number: of the answer in its run."""
        turn = response.get("message")
        if not isinstance(turn, dict):
            raise Fault("bad_response", "the model's response has no message")
        message: Record = {"type": "message", **turn, "role": "assistant"}
        if self.text_react:
            from agentlib.react import textreact

            message = textreact.parse(message)
        calls = _named(transcript.calls(message), number)
        message.pop("tool_calls", None)
        message |= {"tool_calls": calls} if calls else {}
        return {**message, **{field: response[field] for field in MEASURED if field in response}}

    def misfit(self, answer: str) -> str:
        """What keeps the final answer from fitting the schema, in words; '' where nothing does."""
        if self.schema is None:
            return ""
        self._validator = self._validator or Validator(self.schema)
        try:
            return "; ".join(self._validator.problems(records.loads(self.bare(answer))))
        except ValueError as bad:
            return f"it is not JSON: {bad}"

    def bare(self, answer: str) -> str:
        """The answer; with a schema, the JSON out of a fence that stands around it."""
        text = answer.strip()
        if self.schema is None or not (text.startswith("```") and text.endswith("```")):
            return answer
        return text[3:-3].removeprefix("json").strip()


def _named(calls: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The calls, each with a name, and an id that no other has: models leave them out, or give one twice."""
    seen: set[Any] = {""}
    for place, call in enumerate(calls, 1):
        if not isinstance(call.get("id"), str) or call["id"] in seen:
            call["id"] = f"call_{number}_{place}"
        if not isinstance(call.get("name"), str) or not call["name"]:
            call["name"] = "unnamed"  # no tool has this name: the model is told so
        seen.add(call["id"])
    return calls
