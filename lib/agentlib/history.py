"""What was asked and answered, kept as records: a file a day in the user's state folder (docs/agent-trace.md).

Writing never fails and never waits long: what cannot be kept costs one line on standard error. A record is one write
behind whole lines, under a lock that the kernel drops where its holder dies.
"""

from __future__ import annotations

import _thread  # without the module threading, which costs 1 ms at every start
import errno
import os
import time

from agentlib import lock, paths, records, stderr
from agentlib.environment import PASSWORD, looks_secret, secret
from agentlib.types import Any, Iterable, Record

LONGEST = 1 << 20  # bytes of a record; a longer one is kept without pictures, its texts cut
WAIT = 0.5  # seconds for the lock
DAY = 86400
HOMELESS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
)  # no home, or a file in its place: not worth a word each time
MARKS = (
    b"ghp_ gho_ ghs_ ghr_ ghu_ github_pat_ glpat- AKIA ASIA xox AIza sk- sk_live_ npm_ hf_ PRIVATE"
).split()
_sessions: dict[int, str] = {}
_process: Record = {}  # what a `run` record says of this process
MEASURED = "usage model provider cost_usd duration_ms stop_reason attempts".split()


class History:
    """Appends to today's file. hidden: secrets that are not in the environment. megabytes, days: how much is kept."""

    def __init__(
        self, quiet: bool, hidden: set[bytes], megabytes: float = 64, days: float = 90
    ) -> None:
        self._quiet, self._hidden, self._lock = quiet, hidden, _thread.allocate_lock()
        self._bytes, self._days, self._file, self._day = megabytes * 1e6, days, -1, ""
        self._broken = False
        self._secrets = _of_environment()

    def write(self, *found: Record) -> None:
        """Append these records."""
        try:
            data = b"".join(_line(record) for record in found)
            data = scrubbed(data, (*self._secrets, *self._hidden))
            with self._lock:
                if not self._broken:
                    lock.share(self._today(), data, WAIT)
        except OSError as bad:
            self._broken = True
            if not self._quiet and bad.errno not in HOMELESS:
                stderr.warn(f"the history is not kept: {bad.strerror or bad}")

    def _today(self) -> int:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        if day == self._day and os.fstat(self._file).st_size < self._bytes / 4:
            return self._file
        where = folder()
        if not os.path.isdir(where):
            os.makedirs(where, 0o700, exist_ok=True)
            if os.isatty(2) and not self._quiet:
                from agentlib import cli

                how = "`history = false` in config.toml: it is not"
                text = f"what is asked and answered is kept in {where} ({how})"
                cli.at_end(lambda: stderr.warn(text))
        part, path = 1, os.path.join(where, f"{day}.jsonl")
        while os.path.exists(path) and os.stat(path).st_size >= self._bytes / 4:
            part, path = part + 1, os.path.join(where, f"{day}.{part + 1}.jsonl")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        old, self._file, self._day = self._file, os.open(path, flags, 0o600), day
        if old >= 0:
            os.close(old)
        if not os.fstat(self._file).st_size:
            self._prune(where)
        return self._file

    def _prune(self, where: str) -> None:
        """Take away the oldest files, until what is left is neither too old nor too much. The last one stays."""
        oldest = time.strftime("%Y-%m-%d", time.gmtime(time.time() - self._days * DAY))
        size = 0
        for path in files()[-2::-1]:
            size += os.stat(path).st_size
            if os.path.basename(path) < oldest or size > self._bytes:
                os.unlink(path)


def opened(quiet: bool, hidden: set[bytes]) -> History | None:
    """The history as the user wants it; None where nothing is to be kept (AGENT_HISTORY, config.toml)."""
    if os.environ.get("AGENT_HISTORY", "").lower() in ("off", "0", "false", "no"):
        return None
    try:
        with open(os.path.join(paths.place("config"), "config.toml"), "rb") as file:
            named = b"history" in file.read()
    except OSError:
        named = False
    wanted: Any = True
    if named:
        from agentlib import config

        wanted = config.load().get("history", True)
    if isinstance(wanted, dict):
        return History(quiet, hidden, **wanted)
    return History(quiet, hidden) if wanted else None


def folder() -> str:
    """Where the files are."""
    return os.path.join(paths.place("state"), "history")


def files(since: str = "") -> list[str]:
    """The files, the oldest first. since: a day, YYYY-MM-DD; files of days before it are left out."""
    try:
        names = [name for name in os.listdir(folder()) if name.endswith(".jsonl")]
    except OSError:
        return []
    ordered = sorted(names, key=lambda name: (name[:10], len(name), name))
    return [os.path.join(folder(), name) for name in ordered if name >= since]


def identity(named: bool = True) -> Record:
    """The ids of a new run, by the trace context of the environment (https://www.w3.org/TR/trace-context/).

    AGENT_SPAN has the id of the run that the stages of a script are in, and of its parent. named: whether this is its
    agent-react. `session`: of a run that nobody but a person started."""
    words = os.environ.get("TRACEPARENT", "").split("-")
    known = len(words) > 3 and [len(word) for word in words[1:3]] == [32, 16]
    trace, parent = words[1:3] if known else (os.urandom(16).hex(), "")
    script, _, above = os.environ.get("AGENT_SPAN", "").partition("-")
    inside = bool(parent) and script == parent
    id = os.urandom(8).hex()
    if inside and named:
        id, parent = script, above
        del os.environ["AGENT_SPAN"]
    made = {"id": id, "trace_id": trace, "parent_id": parent}
    typed = os.environ.get("AGENT_DEPTH", "0") == "0" and (named or not inside)
    return {**made, "session": session() if typed else ""}


def session() -> str:
    """What tells this terminal, or this session without one, from all others on this machine since it was started."""
    leader = os.getsid(0)
    if leader not in _sessions:
        _sessions[leader] = f"{leader}.{ticks(leader)}"
    return _sessions[leader]


def span(run: str, answer: int, call: int = 0) -> str:
    """The id of the n-th answer of a run, or of a call in it, from 1; of calls before the first answer: 0."""
    number = int(run, 16) + 0x9E3779B97F4A7C15 * (answer * 65536 + call)
    return f"{number % 2**64:016x}"


def context(ids: Record, answer: int, call: int) -> str:
    """TRACEPARENT for what this call starts."""
    return f"00-{ids['trace_id']}-{span(ids['id'], answer, call)}-01"


def ticks(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def now() -> str:
    """The time for a record, to the millisecond."""
    seconds = time.time()
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{date}.{int(seconds % 1 * 1000):03}Z"


def begun(ids: Record, fields: Record) -> Record:
    """The `run` record with which a run begins. fields: what there is of name, model, provider, system, tools, …"""
    if not _process:
        machine = {"host": os.uname().nodename, "cwd": os.getcwd()}
        _process.update(pid=os.getpid(), ticks=ticks(os.getpid()), **machine)
    known = {name: value for name, value in {**ids, **fields}.items() if value}
    return {"type": "run", "id": ids["id"], "time": now(), **known, **_process}


def message(run: str, record: Record) -> Record:
    """A `message` of a run."""
    return {"type": "message", "run": run, **record}


def scrubbed(data: bytes, hidden: Iterable[bytes]) -> bytes:
    """The bytes without secrets: these, and what has the form of a well-known key."""
    for word in hidden:
        if word in data:
            data = data.replace(word, b"***")
    if any(mark in data for mark in MARKS):
        import re

        from agentlib.secrets import TOKEN

        block = (
            rb'-----BEGIN [A-Z0-9 ]*PRIVATE KEY[^"]*?(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|(?="))'
        )
        data = TOKEN.sub(b"***", re.sub(block, b"***", data))
    return data


def _of_environment() -> list[bytes]:
    found = set()
    for name, value in os.environ.items():
        if len(value) >= 6 and secret(name) and looks_secret(value):
            found.add(value.strip())
        found |= {match[1] for match in PASSWORD.finditer(value) if len(match[1]) >= 6}
    spelled = found | {records.dumps(word)[1:-1] for word in found}
    encoded = [word.encode("utf-8", "surrogateescape") for word in spelled]
    return sorted(encoded, key=len, reverse=True)


def _line(record: Record) -> bytes:
    data = records.line(record)
    if len(data) <= LONGEST:
        return data
    from agentlib import conversation

    return records.line(conversation.shortened(record))
