"""llama.cpp in this process, by the package xllamacpp: load a GGUF file and complete one chat at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import tempfile

from agentlib import records
from agentlib.faults import Fault
from agentlib.local import models
from agentlib.types import Callable, Iterator, NamedTuple, Record

CONTEXT = 8192  # tokens; 28 KiB of memory each with the default model
BATCH = 128  # tokens read at a time: a cancelled request ends after one batch, so within seconds
PROMPT_CACHE_MIB = 128  # for the beginnings of other conversations
SIGACTION_BYTES = 512  # more than a struct sigaction has on any Linux
OnText = Callable[[str], None]  # gets all the text so far
Waiting = Callable[[], bool]  # whether the client still waits for its answer
KINDS = {
    "exceed_context_size_error": "context_length",
    "invalid_request_error": "invalid_request",
    "unavailable_error": "overloaded",
}


class Completion(NamedTuple):
    """What the model wrote. stop_reason and usage: as in a `response` record."""

    text: str
    stop_reason: str
    usage: Record


class Cancelled(Exception):
    """The client no longer waits for the answer."""


def idle_cores() -> int:
    """The threads to use. llama.cpp's threads spin: on a busy machine two are slower than one."""
    return max(1, len(os.sched_getaffinity(0)) - round(os.getloadavg()[0]))


@contextlib.contextmanager
def _signal_handlers_restored() -> Iterator[None]:
    """Undo that llama.cpp takes over INT and TERM when it starts. This needs the C library: Python lets only the main
    thread set a handler."""
    library = ctypes.CDLL(None)
    signums = (int(signal.SIGINT), int(signal.SIGTERM))
    actions = [(signum, ctypes.create_string_buffer(SIGACTION_BYTES)) for signum in signums]
    for signum, action in actions:
        library.sigaction(signum, None, action)
    try:
        yield
    finally:
        for signum, action in actions:
            library.sigaction(signum, action, None)


class Engine:
    """A loaded model. One `chat` at a time."""

    def __init__(self, model: str) -> None:
        """model: a GGUF file. Fault if the package is not installed or the file cannot be loaded."""
        os.environ["OMP_WAIT_POLICY"] = "passive"
        if not models.has_runtime():
            problem = "llama.cpp is not installed: `agent-llm local install` does it"
            raise Fault("not_found", problem)
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = model
        params.n_ctx, params.cache_ram_mib = CONTEXT, PROMPT_CACHE_MIB
        params.n_batch = params.n_ubatch = BATCH
        params.n_parallel = params.n_threads_http = 1
        params.n_gpu_layers, params.verbosity = 0, -1
        params.no_extra_bufts = True
        params.ui = params.endpoint_slots = params.fit_params = params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = idle_cores()
        with _signal_handlers_restored(), tempfile.TemporaryDirectory(dir="/tmp") as folder:
            # llama.cpp must listen somewhere: on a socket whose file is deleted at once
            params.hostnames = [f"{folder}/unused.sock"]
            try:
                self._server = xllamacpp.Server(params)
            except RuntimeError:
                problem = f"{model}: not a model that llama.cpp can load"
                raise Fault("invalid_input", problem) from None

    def chat(self, body: Record, on_text: OnText, waiting: Waiting) -> Completion:
        """Complete a chat. body: of a chat-completions request. on_text and waiting are called at each piece.

        Cancelled if the client no longer waits; Fault with the kind of llama.cpp's error.
        """
        pieces = _Pieces(on_text, waiting)
        options = {"include_usage": True}
        request = {**body, "stream": True, "stream_options": options, "return_progress": True}
        try:
            self._server.handle_chat_completions(records.dumps(request), pieces.take)
        except ValueError as bad:
            problem = f"the output cannot be held to this schema: {bad}"
            raise Fault("invalid_request", problem) from None
        return pieces.completion()


class _Pieces:
    """The pieces of one completion, put together."""

    def __init__(self, on_text: OnText, waiting: Waiting) -> None:
        self._on_text, self._waiting = on_text, waiting
        self._text, self._finish_reason, self._usage = "", "", dict[str, int]()
        self._error: BaseException | None = None

    def take(self, chunk: str) -> bool:
        """Add a piece, as llama.cpp gives it. True stops the model. No exception may pass through C++."""
        try:
            self._add(records.loads(chunk))
            if not self._waiting():
                raise Cancelled
        except BaseException as bad:
            self._error = bad
        return self._error is not None

    def _add(self, piece: Record) -> None:
        if error := piece.get("error"):
            raise Fault(KINDS.get(error.get("type"), "server"), str(error.get("message")))
        if usage := piece.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            self._usage = {
                "input_tokens": usage["prompt_tokens"],
                "output_tokens": usage["completion_tokens"],
                "cached_input_tokens": details.get("cached_tokens", 0),
            }
        for choice in piece.get("choices") or []:
            if text := (choice.get("delta") or {}).get("content"):
                self._text += text
                self._on_text(self._text)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def completion(self) -> Completion:
        """All pieces together; raises what ended them early."""
        if self._error:
            raise self._error
        if not self._finish_reason:
            raise Fault("server", "the model stopped before its answer was whole")
        stop_reason = "max_tokens" if self._finish_reason == "length" else "end_turn"
        return Completion(self._text, stop_reason, self._usage)
