"""For the tests of the providers: test data, a provider as a module, a vendor on loopback, the checks' verdict."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import installed
from agentlib.messages import requests
from programs import loaded

ROOT = Path(__file__).resolve().parent.parent
HI = {"role": "user", "content": "hi"}

Record = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]


def shared(path: str) -> Path:
    """This file of the test data; the test is skipped where the data is not there."""
    found = Path(os.environ.get("SHARED") or ROOT.parent / "shared") / path
    if not found.exists():
        pytest.skip(f"the test data {path} is not here")
    return found


def provider(name: str) -> ModuleType:
    """The file providers/NAME as a module, so that its functions can be called."""
    return loaded(f"providers/{name}")


def recorded(name: str) -> Iterator[tuple[str, Record]]:
    """(case, request) for the recorded requests that the vendor accepted, as our records say them."""
    reader = loaded(shared("check/wire-requests"))
    for path in sorted(shared(f"wire/{name}").glob("*.json")):
        case = json.loads(path.read_text())
        record, _ = reader.plan(case) if case["response"]["status"] == 200 else (None, "")
        if record:
            reply = [
                {word: value for word, value in m.items() if word[0] != "_"}
                for m in record["messages"]
            ]
            yield path.stem, requests.checked({**record, "messages": reply})


def failures(check: str, name: str) -> dict[str, str]:
    """What a check of the test data finds wrong with providers/NAME: {case: why}."""
    cases = shared(f"wire/{name}")
    done = subprocess.run(
        [sys.executable, shared(f"check/{check}"), installed.suite() / "providers" / name, cases],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert re.search(r": [1-9]\d* passed", done.stdout), done.stdout + done.stderr
    return dict(re.findall(r"^FAIL ([^:]+): (.*)$", done.stdout, re.MULTILINE))


def checked(model: str, *messages: Record, **fields: Any) -> Record:
    """A request as `prepare` gets it."""
    return requests.checked(
        {"type": "request", "id": "1", "model": model, "messages": list(messages) or [HI], **fields}
    )


def heard(deltas: Any) -> tuple[list[Record], Record]:
    """(the deltas, the answer) of a stream."""
    out = []
    while True:
        try:
            out.append(next(deltas))
        except StopIteration as end:
            return out, end.value


@contextmanager
def vendor(
    *answers: Answer | Callable[[str], Answer],
) -> Iterator[tuple[str, list[tuple[str, Any, bytes]]]]:
    """(address, what it saw) of a vendor on loopback that gives these answers in turn, the last one for ever."""
    seen: list[tuple[str, Any, bytes]] = []
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.append((self.path, self.headers, body))
            reply = left.pop(0) if len(left) > 1 else left[0]
            status, headers, data = reply(self.path) if callable(reply) else reply
            self.send_response(status)
            for name, value in {
                "content-length": str(len(data)),
                "content-type": "application/json",
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(name: str, env: dict[str, str], records: Iterable[Record] = (), *args: str) -> list[Record]:
    """The records that providers/NAME gives to these, in an environment of its own."""
    plain = {"PATH": installed.path("curl", "jq"), "HOME": "/nonexistent", **env}
    lines = "".join(json.dumps(record) + "\n" for record in records)
    done = subprocess.run(
        [installed.suite() / "providers" / name, *args],
        check=True,
        capture_output=True,
        text=True,
        input=lines,
        env=plain,
        timeout=100,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def replies(name: str, env: dict[str, str], **fields: Any) -> list[Record]:
    """The records that providers/NAME gives to one request."""
    return run(name, env, [{"type": "request", "id": "1", "messages": [HI], **fields}])


def listed(name: str, env: dict[str, str]) -> list[str]:
    """The ids that `providers/NAME --list-models` gives."""
    return [record["id"] for record in run(name, env, (), "--list-models")]
