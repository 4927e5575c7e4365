"""What was asked and answered, kept as records: a file a day in the user's state folder (docs/agent-trace.md).

Writing never fails and never waits long: what cannot be kept costs one line on standard error. A record is one write
behind whole lines, under a lock that the kernel drops where its holder dies.

May import: records, the flat modules.
"""

import _thread  # without the module threading, which costs 1 ms at every start
import errno
import fcntl
import os
import re
import time
from contextlib import suppress

from agentlib import cli, lock, paths, records, stderr
from agentlib.environment import PASSWORD, looks_secret, scrub, secret
from agentlib.faults import Fault
from agentlib.types import Any, Iterable, Record

LONGEST = 1 << 20  # bytes of a record; a longer one is kept without pictures, its texts cut
KEPT = 20_000  # characters of each text in such a one
WAIT = 0.5  # seconds for the lock
SOON, MANY = 0.05, 500  # seconds that a record of many runs waits for others, how many at most
DAY = 86400
OFF, ON = "off 0 false no".split(), "on 1 true yes".split()  # AGENT_HISTORY
MARKS = b"ghp_ gho_ ghs_ ghr_ ghu_ github_pat_ glpat- AKIA ASIA xox AIza sk- sk_live_ npm_ hf_ PRIV".split()
_around: list[Any] = []  # what the environment says of where runs of this process belong
_process: Record = {}  # what a `run` record says of this process
MEASURED = "usage model provider cost_usd duration_ms stop_reason attempts".split()


class History:
    """Appends to today's file. hidden: secrets that are not in the environment. megabytes, days: how much is kept."""

    def __init__(
        self, quiet: bool, hidden: set[bytes], megabytes: float = 64, days: float = 90
    ) -> None:
        self._quiet, self._hidden, self._lock = quiet, hidden, _thread.allocate_lock()
        self._bytes, self._days, self._file = megabytes * 1e6, days, -1
        self._until, self._broken, self._new = 0.0, False, False  # the end of the day
        self._secrets, self._lines, self._soon = _of_environment(), list[bytes](), False

    def write(self, *found: Record, soon: bool = False) -> None:
        """Append these records, at once or, of one run of many, SOON."""

        def later() -> None:
            time.sleep(SOON)
            self.flush()

        self._lines += map(_line, found)
        if not soon or len(self._lines) > MANY:
            self.flush()
        elif not self._soon:
            self._soon = True
            _thread.start_new_thread(later, ())

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            lines, self._lines, self._soon = self._lines, [], False
            if self._broken or not lines:
                return
            data = scrubbed(b"".join(lines), (*self._secrets, *self._hidden))
            try:
                seen = os.fstat(self._file) if time.time() < self._until else None
                if not seen or not seen.st_nlink or seen.st_size >= self._bytes / 4:
                    self._open()  # a new day; it was taken away, or is full
                _append(self._file, data)
                if self._new and os.isatty(2) and not self._quiet:
                    text = f"what is asked and answered is kept in {folder()} (docs/agent-trace.md)"
                    cli.at_end(lambda: stderr.warn(text))
                self._new = False
            except OSError as bad:
                self._broken = True
                if not self._quiet:
                    why = f"{bad.filename or folder()}: {bad.strerror or bad}"
                    stderr.warn(f"the history is not kept: {why}")

    def _open(self) -> None:
        """Today's file; where it is a quarter of all that is kept, another one beside it."""
        now, where = time.time(), folder()
        day, oldest = [time.strftime("%F", time.gmtime(now - n * DAY)) for n in (0, self._days)]
        with suppress(FileExistsError):  # open() says what is wrong with it
            os.makedirs(where, 0o700)
            self._new = True
        stem = os.path.join(where, f"{day}.")
        words = [path[len(stem) :].partition(".")[0] for path in files(day) if stem in path]
        part = max([1, *(int(word) for word in words if word.isdecimal())])
        path = stem + (f"{part}.jsonl" if part > 1 else "jsonl")
        if os.path.exists(path) and os.stat(path).st_size >= self._bytes / 4:
            path = f"{stem}{part + 1}.jsonl"
        if self._file >= 0:
            os.close(self._file)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file, self._until = os.open(path, flags, 0o600), (now // DAY + 1) * DAY
        # a new file: what is too old goes, but not all (the clock may be wrong), and the oldest while it is too much
        size = os.fstat(self._file).st_size
        others = [] if size else files()[::-1]
        fresh = any(oldest <= os.path.basename(other) < day for other in others)
        for other in others:
            with suppress(OSError):  # another process took it away, or nobody may
                size += os.stat(other).st_size
                old = fresh and os.path.basename(other) < oldest
                if (old or size > self._bytes * 3 / 4) and other != path:
                    os.unlink(other)


def _append(file: int, lines: bytes) -> None:
    """Add lines to a file that others append to as well; without the lock where that is not to be had in time. So
    nothing may be cut off here: what is left of a dead writer's line, or of one on a full disk, becomes blanks."""
    locked = False
    with suppress(TimeoutError):
        lock.acquire(file, WAIT)
        locked = True
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            from agentlib.records import tail

            lines = b"\n" + lines
            if locked:
                tail.wipe(file)
        if os.write(file, lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        if locked:
            fcntl.flock(file, fcntl.LOCK_UN)


def opened(quiet: bool, hidden: set[bytes]) -> History | None:
    """The history as the user wants it; None where nothing is to be kept (AGENT_HISTORY, config.toml)."""
    switch = os.environ.get("AGENT_HISTORY", "").lower()
    if switch in OFF:
        return None
    if switch not in ("", *ON):
        raise Fault("invalid_input", f"AGENT_HISTORY={switch}: it is one of {' '.join(OFF + ON)}")
    wanted: Any = True
    with suppress(OSError), open(os.path.join(paths.place("config"), "config.toml"), "rb") as file:
        if b"history" in file.read():
            from agentlib import config

            wanted = config.load().get("history", True)
    if wanted is False and not switch:
        return None
    made = History(quiet, hidden, **({} if isinstance(wanted, bool) else wanted))
    cli.at_end(made.flush)
    return made


def folder() -> str:
    """Where the files are."""
    return os.path.join(paths.place("state"), "history")


def files(since: str = "") -> list[str]:
    """The files, the oldest first. since: a day, YYYY-MM-DD; files of days before it are left out."""
    every = os.scandir(folder()) if os.path.isdir(folder()) else ()
    names = [one.name for one in every if one.name.endswith(".jsonl") and one.is_file()]
    names.sort(key=lambda name: (name[:10], len(name), name))
    return [os.path.join(folder(), name) for name in names if name >= since]


def identity(named: bool = True) -> Record:
    """The ids of a new run, by the environment's trace context (https://www.w3.org/TR/trace-context/) and AGENT_SPAN:
    of the run of a script, and of its parent. named: this is the script's agent-react, which has that run's ids.
    `session` is only of a run that a person started."""
    if not _around:
        words = os.environ.get("TRACEPARENT", "").split("-")
        known = len(words) > 3 and [len(word) for word in words[1:3]] == [32, 16]
        script = os.environ.get("AGENT_SPAN", "").split("-")
        typed = session() if os.environ.get("AGENT_DEPTH", "0") == "0" else ""
        _around[:] = [*(words[1:3] if known else ["", ""]), script, typed]
    trace, parent, script, session_id = _around
    inside, random = bool(parent) and script[0] == parent, os.urandom(24).hex()
    made = {"id": random[:16], "trace_id": trace or random[16:], "parent_id": parent}
    if inside and named:
        made |= {"id": script[0], "parent_id": script[-1]}
        _around[2] = [""]
    by_hand = not script[0] or inside and named
    return {**made, "session": session_id if by_hand else ""}


def session() -> str:
    """The name of this terminal, or of this session without one; no other on this machine has it until a restart."""
    leader = os.getsid(0)
    return f"{leader}.{ticks(leader)}"


def span(run: str, answer: int, call: int = 0) -> str:
    """The id of an answer of a run, or of a call in it; both count from 1. Calls before the first answer: answer 0."""
    return f"{(int(run, 16) + 0x9E3779B97F4A7C15 * (answer * 65536 + call)) % 2**64:016x}"


def ticks(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" where there is none, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] == b"Z" else fields[19].decode()
    except (OSError, ValueError, IndexError):
        return ""


def now() -> str:
    """The time for a record, to the millisecond."""
    seconds = time.time()
    return f"{time.strftime('%FT%T', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03}Z"


def begun(ids: Record, fields: Record) -> Record:
    """The `run` record with which a run begins. fields: what there is of name, model, provider, system, tools, …"""
    if not _process:
        _process.update(pid=os.getpid(), ticks=ticks(os.getpid()), host=os.uname().nodename)
    known = {name: value for name, value in {**ids, **fields}.items() if value}
    return {"type": "run", "id": ids["id"], "time": now(), **known, **_process}


def scrubbed(data: bytes, hidden: Iterable[bytes]) -> bytes:
    """The bytes without secrets: these, and what has the form of a well-known key."""
    data = scrub(data, hidden)
    if not any(map(data.__contains__, MARKS)):
        return data
    if not re.search(rb"(?:^|[^A-Za-z0-9]|\\.|\\u....)(?:%b)" % b"|".join(MARKS), data):
        return data  # as `task-1`: what looks for keys costs 2 ms
    from agentlib.secrets import TOKEN

    block = rb'-----BEGIN [A-Z0-9 ]*PRIVATE KEY[^"]*?(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|(?="))'
    return re.sub(TOKEN, b"***", re.sub(block, b"***", data))


def _of_environment() -> list[bytes]:
    found = set()
    for name, value in os.environ.items():
        if len(value) >= 6 and secret(name) and looks_secret(value):
            found.add(value.strip())
        found |= {m[1] for m in PASSWORD.finditer(value if "@" in value else "") if len(m[1]) >= 6}
    spelled = found | {records.dumps(word)[1:-1] for word in found}
    return sorted((w.encode("utf-8", "surrogateescape") for w in spelled), key=len, reverse=True)


def _line(record: Record) -> bytes:
    data = records.line(record)
    return data if len(data) <= LONGEST else records.line(_short(record))


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > KEPT:
        cut = f"[{len(value) - KEPT} characters are not kept]"
        return f"{value[: KEPT // 2]}\n{cut}\n{value[-KEPT // 2 :]}"
    if isinstance(value, list):
        return [_short(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("data"), str) and "media_type" in value:
        return {"type": "text", "text": f"[{value['media_type']}, not kept]"}
    return {name: _short(item) for name, item in value.items()}
