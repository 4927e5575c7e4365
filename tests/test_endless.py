"""A vendor that never ends its answer: one error, and memory that does not grow with it."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from installed import suite
from raw_server import STREAM, event, serving

HI = {"role": "user", "content": "hi"}
REQUEST = {"type": "request", "id": "1", "model": "m", "messages": [HI], "stream": True}
ENDLESS = {
    "text": event({"content": "x" * 60000}),
    "thinking": event({"reasoning_content": "x" * 60000}),
    "arguments": event({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 60000}}]}),
    "nothing": event({"extra": "x" * 60000}),
    "comments": b": " + b"x" * 60000 + b"\n\n",
}


@pytest.mark.parametrize("what", [*ENDLESS, "calls"])
def test_a_stream_without_end_is_one_error(what: str, tmp_path: Path) -> None:
    """Its output goes to a file: what this process holds would count as the peak of later children."""

    def play(connection: socket.socket) -> None:
        connection.sendall(STREAM)
        for number in itertools.count():
            call = {"index": number, "id": f"c{number}", "function": {"name": "t"}}
            connection.sendall(ENDLESS.get(what) or event({"tool_calls": [call]}))

    with serving(play) as server:
        env = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.address}
        argv = [suite() / "providers" / "openai"]
        with open(tmp_path / "out", "wb") as out:
            lines = json.dumps(REQUEST).encode() + b"\n"
            done = subprocess.run(argv, input=lines, env=env, stdout=out, timeout=60)
    with open(tmp_path / "out", "rb") as out:
        out.seek(max(0, out.seek(0, os.SEEK_END) - 4096))
        final = json.loads(out.read().splitlines()[-1])
    assert final["kind"] == "limit_exceeded" and done.returncode == 0
    assert final["partial"] is (what in ("text", "thinking"))
