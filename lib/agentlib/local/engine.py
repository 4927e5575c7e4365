"""llama.cpp in this process, by the package xllamacpp: load a GGUF file and complete one chat at a time."""

import contextlib
import ctypes
import os
import signal
import tempfile
import time

from agentlib import records
from agentlib.faults import Fault
from agentlib.local import models
from agentlib.types import Callable, Iterator, NamedTuple, Record

CONTEXT = 8192  # tokens; 28 KiB of memory each with the default model
BATCH = 128  # tokens read at a time: a cancelled request ends after one batch, so within seconds
MOST_STATES = 8  # files with the first part of a prompt
STATE_CHARACTERS = 1000  # of a first part that is worth a file
STATE_SECONDS = 30.0  # to write or read a file
LOOKS, PAUSE = 5, 0.02  # at the machine's load, and seconds between them
SIGACTION_BYTES = 512  # more than a struct sigaction has on any Linux
Messages = list[Record]
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


class Cancelled(Fault):
    """The client no longer waits for the answer."""

    def __init__(self) -> None:
        super().__init__("interrupted", "the process that answers is ending")


@contextlib.contextmanager
def _signal_handlers_restored() -> Iterator[None]:
    """Undo that llama.cpp takes INT and TERM; by the C library, for this may not be the main thread."""
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


def idle_cores(load: str = "/proc/loadavg") -> int:
    """The number of threads: llama.cpp's spin, so that on a busy machine two are slower than one.

    Cores are busy by the load of the last minute, as far as others run at this moment too: that load may be our own
    start, or be over, and the model stays loaded."""
    running = 0
    for _ in range(LOOKS):
        with open(load) as file:
            mean, _, _, now, _ = file.read().split()
        running = max(running, int(now.partition("/")[0]) - 1)
        time.sleep(PAUSE)
    return max(1, len(os.sched_getaffinity(0)) - min(round(float(mean)), running))


class Engine:
    """A loaded model: a GGUF file. One `chat` at a time. Fault if it or the package is not there.

    The same chat gives the same answer, whatever was read before it: the parts of a prompt are always read in the same
    steps, and what is kept of an earlier prompt ends where a part ends. (llama.cpp's sums depend in their last digits
    on how many tokens are read at a time.) The first parts are kept in files too, for a new process.
    """

    def __init__(self, model: str) -> None:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        if not models.has_runtime():
            why = "llama.cpp is not installed: `agent-llm local install` does it"
            raise Fault("not_found", why)
        import xllamacpp

        self._in_memory: Messages = []  # those whose parts are in memory
        self._socket = tempfile.TemporaryDirectory(dir="/tmp")  # llama.cpp listens there
        self._states = States(model, os.path.join(self._socket.name, "llama.sock"))
        params = xllamacpp.CommonParams()
        params.model.path, params.hostnames = model, [self._states.socket]
        params.slot_save_path = self._states.folder + "/"
        params.n_ctx, params.cache_ram_mib, params.prefill_assistant = CONTEXT, 0, False
        params.n_batch = params.n_ubatch = BATCH
        params.n_parallel = params.n_threads_http = 1
        params.n_gpu_layers, params.verbosity = 0, -1
        # with flash attention the sums would depend on the number of threads
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_extra_bufts = True
        params.ui = params.endpoint_slots = params.fit_params = params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = idle_cores()
        with _signal_handlers_restored():
            try:
                self._server = xllamacpp.Server(params)
            except RuntimeError:
                why = f"{model}: not a model that llama.cpp can load"
                raise Fault("invalid_input", why) from None

    def chat(self, body: Record, ends: list[int], on_text: OnText, waiting: Waiting) -> Completion:
        """Complete a chat. body: of a chat-completions request. ends: the numbers of messages at which a part of the
        prompt ends. Cancelled if the client no longer waits; Fault with the kind of llama.cpp's error."""
        read = 0
        try:
            for part, keep in self._unread(body["messages"], ends):
                read += self._read(part, keep, waiting)
        except Fault as fault:  # the template of another model may refuse half a conversation
            if fault.kind in ("context_length", "interrupted"):
                raise
            self._in_memory = []
        fields = {"cache_prompt": False} if ends and not self._in_memory else {}
        completion = self._complete({**body, **fields}, on_text, waiting)
        if self._in_memory:
            usage = completion.usage
            usage["cached_input_tokens"] = max(0, usage["cached_input_tokens"] - read)
        return completion

    def _unread(self, messages: Messages, ends: list[int]) -> Iterator[tuple[Messages, bool]]:
        """The parts to read, each with all before it, and whether it continues what is in memory."""
        before, self._in_memory = self._in_memory, []
        count = 0
        while count < len(ends) and before[: ends[count]] == messages[: ends[count]]:
            count += 1
        if not count and ends and self._states.restore(messages[: ends[0]]):
            count = 1
        for number in range(max(0, count - 1), len(ends)):
            part = messages[: ends[number]]
            yield part, number > 0 or count > 0
            self._in_memory = part
            if number == 0 and not count:
                self._states.save(part)

    def _read(self, part: Messages, keep: bool, waiting: Waiting) -> int:
        """Read messages without an answer: how many tokens were new. The last token is read alone, as it is when the
        rest is in memory already."""
        body = {"messages": part, "max_tokens": 0, "temperature": 0, "add_generation_prompt": False}
        read = 0
        for cache in (keep, True):
            usage = self._complete({**body, "cache_prompt": cache}, unseen, waiting).usage
            new = usage["input_tokens"] - usage["cached_input_tokens"]
            read += new
            if new <= 1:
                break
        return read

    def _complete(self, body: Record, on_text: OnText, waiting: Waiting) -> Completion:
        pieces, options = _Pieces(on_text, waiting), {"include_usage": True}
        request = {**body, "stream": True, "stream_options": options, "return_progress": True}
        try:
            self._server.handle_chat_completions(records.dumps(request), pieces.take)
        except ValueError as bad:
            why = f"the output cannot be held to this schema: {bad}"
            raise Fault("invalid_request", why) from None
        return pieces.completion()


def unseen(text: str) -> None:
    """Ignores text that nobody waits for."""


class States:
    """Files with what the model made of the first part of a prompt, 28 KiB a token; the ones used last are kept. model:
    the file. socket: where llama.cpp listens."""

    def __init__(self, model: str, socket: str) -> None:
        self.socket, self.folder = socket, models.states()
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        about = os.stat(model) if os.path.exists(model) else None
        size, time = (about.st_size, about.st_mtime_ns) if about else (0, 0)
        self._key = f"{models.RUNTIME} {BATCH} {model} {size} {time}"

    def _name(self, part: Messages) -> str:
        import hashlib

        return hashlib.sha256(f"{self._key} {records.dumps(part)}".encode()).hexdigest() + ".state"

    def restore(self, part: Messages) -> bool:
        """Bring what the model made of these messages into memory; whether there was a file with it."""
        file = os.path.join(self.folder, self._name(part))
        if not os.path.exists(file):
            return False
        os.utime(file)
        return self._post("restore", part)

    def save(self, part: Messages) -> None:
        """Write what is in memory, which is these messages, if they are long; drop the oldest files."""
        if sum(len(str(message["content"])) for message in part) < STATE_CHARACTERS:
            return
        self._post("save", part)
        files = [entry.path for entry in os.scandir(self.folder)]
        for path in sorted(files, key=os.path.getmtime)[:-MOST_STATES]:
            os.unlink(path)

    def _post(self, action: str, part: Messages) -> bool:
        from http.client import HTTPConnection, HTTPException
        from socket import AF_UNIX, socket

        connection = HTTPConnection("localhost", timeout=STATE_SECONDS)
        body = records.dumps({"filename": self._name(part)})
        with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
            connection.sock = socket(AF_UNIX)
            connection.sock.settimeout(STATE_SECONDS)
            connection.sock.connect(self.socket)
            kind = {"Content-Type": "application/json"}
            connection.request("POST", f"/slots/0?action={action}", body, kind)
            return connection.getresponse().status == 200
        return False


class _Pieces:
    def __init__(self, on_text: OnText, waiting: Waiting) -> None:
        self._on_text, self._waiting = on_text, waiting
        self._text, self._finish_reason, self._usage = "", "", dict[str, int]()
        self._error: BaseException | None = None

    def take(self, chunk: str) -> bool:
        """Add a piece, as llama.cpp gives it. True stops the model. No exception may pass through C++."""
        try:
            piece = records.loads(chunk)
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
            if not self._waiting():
                raise Cancelled
        except BaseException as bad:
            self._error = bad
        return self._error is not None

    def completion(self) -> Completion:
        if self._error:
            raise self._error
        if not self._finish_reason:
            raise Fault("server", "the model stopped before its answer was whole")
        stop_reason = "max_tokens" if self._finish_reason == "length" else "end_turn"
        return Completion(self._text, stop_reason, self._usage)
