"""An editor for the tests of agent-acp: a process on pipes that speaks the Agent Client Protocol."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import installed

TESTS = Path(__file__).parent
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
SLOW = """#!/bin/sh
# slow - a tool of the tests
[ "$1" = --agent-schema ] && {
    echo '{"name":"slow","description":"Take long","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}'
    exit
}
setsid sleep SECONDS &
exec sleep SECONDS
"""


class Editor:
    """An editor that has started `agent-acp WORD...`. choice: the option that its user takes; "": none, "late": never.

    updates: what came since the last request. asked: the requests for permission.
    """

    def __init__(self, folder: Path, env: dict[str, str], *words: str) -> None:
        pipe = subprocess.PIPE
        argv = ["agent-acp", *words]
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd="/", env=env, text=True)
        self.folder = folder
        self.choice = "allow"
        self.count = 0
        self.updates: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        """One message."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def raw(self, line: str) -> dict[str, Any]:
        """A line as it is; what comes back."""
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """The next message; an update is kept, a request for permission answered."""
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert message.pop("jsonrpc") == "2.0"
        if message.get("method") == "session/update":
            self.updates.append(
                {"session": message["params"]["sessionId"], **message["params"]["update"]}
            )
        elif message.get("method") == "session/request_permission":
            self.asked.append(message["params"])
            chosen = {"outcome": "selected", "optionId": self.choice}
            if self.choice != "late":
                outcome = chosen if self.choice else {"outcome": "cancelled"}
                self.send(id=message["id"], result={"outcome": outcome})
        return message

    def ask(self, method: str, **params: Any) -> int:
        """A request; its number."""
        self.count += 1
        self.send(id=self.count, method=method, params=params)
        return self.count

    def wait(self, id: int) -> dict[str, Any]:
        """The answer to a request."""
        while True:
            message = self.hear()
            if "method" not in message:
                assert message.pop("id") == id
                return message

    def call(self, method: str, **params: Any) -> Any:
        """The result of a request."""
        self.updates, self.asked = [], []
        answer = self.wait(self.ask(method, **params))
        assert list(answer) == ["result"], answer
        return answer["result"]

    def wrong(self, method: str, **params: Any) -> tuple[int, str]:
        """The code and the message of the error that a request gets."""
        answer = self.wait(self.ask(method, **params))
        assert list(answer) == ["error"], answer
        return answer["error"]["code"], answer["error"]["message"]

    def begin(self, **params: Any) -> str:
        """Shake hands; the id of a new session."""
        self.call("initialize", protocolVersion=1, clientCapabilities={})
        return self.new(**params)

    def new(self, **params: Any) -> str:
        """The id of a new session."""
        about = {"cwd": str(self.folder), "mcpServers": [], **params}
        return str(self.call("session/new", **about)["sessionId"])

    def prompt(self, session: str, *blocks: Any) -> str:
        """Why the agent stopped after a prompt of these texts and blocks."""
        result = self.call("session/prompt", sessionId=session, prompt=content(*blocks))
        return str(result["stopReason"])

    def kinds(self) -> list[str]:
        """The kinds of the updates, each run of the same as one."""
        kinds = [one["sessionUpdate"] for one in self.updates]
        return [kind for n, kind in enumerate(kinds) if n == 0 or kinds[n - 1] != kind]

    def text(self, kind: str = "agent_message_chunk") -> str:
        """What was said in the updates of this kind."""
        chunks = [one for one in self.updates if one["sessionUpdate"] == kind]
        return "".join(one["content"].get("text", "") for one in chunks)

    def end(self) -> int:
        """Close its input, as an editor does that ends; its status."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        return status


def content(*blocks: Any) -> list[Any]:
    """The content of a prompt, of texts and blocks."""
    return [{"type": "text", "text": one} if isinstance(one, str) else one for one in blocks]


class Place:
    """A folder, a home, and the editors that work there."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.editors = folder / "here", list[Editor]()
        self.folder.mkdir()
        self.seconds = f"300.{os.getpid()}{id(self) % 100_000}"  # no other test's sleep is so long
        slow = self.folder / "slow"
        slow.write_text(SLOW.replace("SECONDS", self.seconds))
        slow.chmod(0o755)
        self.env = {"PATH": installed.path(), "HOME": str(folder), "OPENAI_BASE_URL": address}
        self.env |= {"OPENAI_API_KEY": "test-key", "AGENT_MODEL": "openai/test-model"}

    def editor(self, *words: str, **env: str) -> Editor:
        """One more editor."""
        editor = Editor(self.folder, {**self.env, **env}, *words)
        self.editors.append(editor)
        return editor

    def history(self) -> str:
        """All that the history has kept."""
        folder = self.folder.parent / ".local/state/agentutils/history"
        return "".join(path.read_text() for path in folder.iterdir())

    def running(self, name: str) -> list[str]:
        """The commands that hold this word and run in our folder."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if name.encode() in command and str(self.folder) in os.readlink(f"/proc/{pid}/cwd"):
                    found.append(command.decode())
            except OSError:
                continue
        return found

    def sleeping(self) -> bool:
        """Whether the tool `slow` is at work."""
        return any(self.seconds in one for one in commands())

    def until(self, sleeping: bool) -> None:
        """Wait until `slow` is at work, or is no more."""
        until = time.monotonic() + 60
        while self.sleeping() != sleeping:
            assert time.monotonic() < until
            time.sleep(0.02)


def commands() -> Iterator[str]:
    """The command lines of all that runs."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            yield Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
