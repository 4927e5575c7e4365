"""llama.cpp in this process, by way of the package xllamacpp: load a GGUF file, answer one chat at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import tempfile

from agentlib import packages, records
from agentlib.faults import Fault
from agentlib.types import Callable, Iterator, NamedTuple, Record


class Reply(NamedTuple):
    """text; stop_reason as in a `response` record; usage likewise."""

    text: str
    stop_reason: str
    usage: Record


CONTEXT = 8192  # tokens; 28 KiB of memory each with the default model
BATCH = 128  # tokens read at a time: a cancelled request ends after one batch, so within seconds
PROMPT_CACHE_MIB = 128  # for the beginnings of other conversations
KINDS = {
    "exceed_context_size_error": "context_length",
    "invalid_request_error": "invalid_request",
    "unavailable_error": "overloaded",
}


def threads() -> int:
    """As many as there are idle cores: llama.cpp's threads spin, and on a busy machine two are slower than one."""
    return max(1, len(os.sched_getaffinity(0)) - round(os.getloadavg()[0]))


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """llama.cpp takes INT and TERM for itself when it starts; give them back. By the C library, since Python lets only
    the main thread set a handler. A sigaction is opaque here, and smaller than 512 bytes on every Linux."""
    library = ctypes.CDLL(None)
    before = {n: ctypes.create_string_buffer(512) for n in (signal.SIGINT, signal.SIGTERM)}
    for signum, action in before.items():
        library.sigaction(int(signum), None, action)
    try:
        yield
    finally:
        for signum, action in before.items():
            library.sigaction(int(signum), action, None)


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


class Engine:
    """A loaded model. One `chat` at a time."""

    def __init__(self, model: str) -> None:
        """model: a GGUF file. Fault where the package is not there or the file cannot be loaded."""
        os.environ["OMP_WAIT_POLICY"] = "passive"
        try:
            packages.need("xllamacpp")
        except Fault:
            why = "llama.cpp is not installed: `agent-llm local install` does it"
            raise Fault("not_found", why) from None
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = model
        params.n_threads_http, params.ui, params.endpoint_slots = 1, False, False
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel = CONTEXT, BATCH, BATCH, 1
        params.n_gpu_layers = 0
        params.no_extra_bufts = True
        params.fit_params = False
        params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads()
        params.cache_ram_mib, params.verbosity = PROMPT_CACHE_MIB, -1
        with _own_signals(), tempfile.TemporaryDirectory(dir="/tmp") as folder:
            # llama.cpp insists on a listener: this one is a socket whose name is gone before anybody can use it
            params.hostnames = [f"{folder}/unused.sock"]
            try:
                self._server = xllamacpp.Server(params)
            except RuntimeError:
                why = f"{model}: not a model that llama.cpp can load"
                raise Fault("invalid_input", why) from None

    def chat(self, body: Record, see: Callable[[str], None], wanted: Callable[[], bool]) -> Reply:
        """Answer a chat-completions body.

        see: called with all the text so far, at each piece. wanted: whether anyone still waits, asked at each
        piece; Cancelled where not. Fault with the kind of llama.cpp's own error.
        """
        answer = _Answer(see, wanted)
        more = {"stream_options": {"include_usage": True}, "return_progress": True}
        asked = {**body, "stream": True, **more}
        try:
            self._server.handle_chat_completions(records.dumps(asked), answer.take)
        except ValueError as bad:
            why = f"the output cannot be held to this schema: {bad}"
            raise Fault("invalid_request", why) from None
        return answer.reply()


class _Answer:
    """Gathers the pieces of one answer."""

    def __init__(self, see: Callable[[str], None], wanted: Callable[[], bool]) -> None:
        self._see, self._wanted = see, wanted
        self._text, self._stop, self._usage = "", "", dict[str, int]()
        self._failed: BaseException | None = None

    def take(self, chunk: str) -> bool:
        """One piece as llama.cpp gives it; True ends the answering. No exception may leave through C++."""
        try:
            self._put(records.loads(chunk))
            if not self._wanted():
                raise Cancelled
        except BaseException as bad:
            self._failed = bad
        return self._failed is not None

    def _put(self, piece: Record) -> None:
        if problem := piece.get("error"):
            raise Fault(KINDS.get(problem.get("type"), "server"), str(problem.get("message")))
        if counted := piece.get("usage"):
            cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            self._usage = {
                "input_tokens": counted["prompt_tokens"],
                "output_tokens": counted["completion_tokens"],
                "cached_input_tokens": cached,
            }
        for choice in piece.get("choices") or []:
            if more := (choice.get("delta") or {}).get("content"):
                self._text += more
                self._see(self._text)
            self._stop = choice.get("finish_reason") or self._stop

    def reply(self) -> Reply:
        """The whole answer, or what ended it."""
        if self._failed:
            raise self._failed
        if not self._stop:
            raise Fault("server", "the model stopped before its answer was whole")
        stop = "max_tokens" if self._stop == "length" else "end_turn"
        return Reply(self._text, stop, self._usage)
