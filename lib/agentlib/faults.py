"""What can go wrong, by kind, and the exit status of each kind (docs/protocol.md, "Exit status")."""

from agentlib.types import Any, Iterable

_STATUS = {
    100: "auth invalid_request context_length not_found tool_denied invalid_arguments",
    111: "rate_limit overloaded timeout network server bad_response",
    1: "tool_error tool_timeout tool_not_found limit_exceeded",
    2: "invalid_input",
    130: "interrupted",
}
NOT_FOUND, UNUSABLE = 127, 126  # exit status, where a program that was named was not started
KINDS = {kind: status for status, kinds in _STATUS.items() for kind in kinds.split()}
RETRYABLE = set("rate_limit overloaded timeout network server".split())


class Fault(Exception):
    """A failure, as the caller gets it. kind: a key of KINDS. message: one line for a person. exit: NOT_FOUND or
    UNUSABLE, where that is the exit status. fields: more of the `error` record (`provider`, `status`, `retry_after` in
    seconds, `retryable`, `partial`)."""

    def __init__(self, kind: str, message: str, exit: Any = 0, **fields: Any) -> None:
        super().__init__(message)
        named = {"exit": exit} if exit in (NOT_FOUND, UNUSABLE) else {}
        self.status: int = named.get("exit") or KINDS.get(kind, 100)
        self.kind, self.message, self.fields = kind, message, {**fields, **named}

    def record(self, id: str | None = None) -> dict[str, Any]:
        head: dict[str, Any] = {"type": "error"} if id is None else {"type": "error", "id": id}
        return {**head, "kind": self.kind, "message": self.message, **self.fields}


def of_record(error: dict[str, Any]) -> Fault:
    """The Fault that an `error` record says."""
    kind, why = error.get("kind") or "server", error.get("message") or "the model failed"
    fault = Fault(str(kind), str(why), error.get("exit"))
    fault.fields = {k: v for k, v in error.items() if k not in ("type", "id", "kind", "message")}
    return fault


class os_errors:
    """An OSError inside of this block becomes a Fault: what went wrong, behind what it is about."""

    def __init__(self, about: str, kind: str = "invalid_input", **fields: Any) -> None:
        self.about, self.kind, self.fields = about, kind, fields

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, bad: object, _trace: object) -> None:
        if isinstance(bad, OSError):
            raise Fault(self.kind, f"{self.about}: {bad.strerror or bad}", **self.fields) from None


def in_words(error: dict[str, Any]) -> str:
    """An `error` record in one line for a person: who failed, why, and after how many tries."""
    message = str(error.get("message") or error.get("kind"))
    provider = str(error.get("provider") or "")
    if provider and not message.startswith(f"{provider}:"):
        message = f"{provider}: {message}"
    tries = len(error.get("attempts") or ())
    return f"{message} (after {tries} tries)" if tries > 1 else message


def near(word: str, names: Iterable[str]) -> str:
    """The hint that one of these names is like the word; "" where none is."""
    import difflib  # only a mistake needs it

    found = difflib.get_close_matches(word, list(names), 1)
    return f"; did you mean {found[0]}?" if found else ""


class Interrupted(BaseException):
    """A signal asked the program to end. BaseException: no `except Exception` may swallow it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
