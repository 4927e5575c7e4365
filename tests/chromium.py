"""A real browser without a window, driven by the DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or ""
OPTIONS = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run".split()
ANSWER_TIMEOUT = 60.0  # seconds for one answer, on a busy machine


def _high(pair: tuple[int, int]) -> tuple[int, int]:
    """The same pipe, with numbers that are not those where the browser has its own, 3 and 4."""
    made = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in pair]
    for end in pair:
        os.close(end)
    return made[0], made[1]


class Page:
    """One page; a context manager that ends the browser."""

    def __init__(self, folder: Path) -> None:
        (theirs, self._out), (self._in, answers) = map(_high, (os.pipe(), os.pipe()))
        command = [PROGRAM, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        shell = f'exec "$@" 3<&{theirs} 4>&{answers}'
        self._browser = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(theirs, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._rest = b""
        self._number = 0
        self.requests = list[str]()
        target = self._page()
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    _session = ""

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        try:
            self._browser.wait(10)
        except subprocess.TimeoutExpired:
            self._browser.kill()
            self._browser.wait()
        os.close(self._in)

    def _page(self) -> str:
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while time.monotonic() < deadline:
            targets = self.call("Target.getTargets")["targetInfos"]
            if pages := [one["targetId"] for one in targets if one["type"] == "page"]:
                return str(pages[0])
        raise TimeoutError("the browser has no page")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        request = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._out, json.dumps(request).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], ANSWER_TIMEOUT)[0], "the browser is silent"
            self._rest += os.read(self._in, 1 << 20)
        message, _, self._rest = self._rest.partition(b"\0")
        found = dict(json.loads(message))
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(found["params"]["request"]["url"])
        return found

    def open(self, path: Path) -> float:
        """Show a file; seconds until it is there, with all its elements."""
        start = time.monotonic()
        self.call("Page.navigate", url=path.as_uri())
        while self.value("document.readyState") != "complete":
            assert time.monotonic() < start + ANSWER_TIMEOUT
        return time.monotonic() - start

    def value(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the element."""
        find = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()"
        box = self.value(find)
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for event in ("mousePressed", "mouseReleased"):
            fields = {"type": event, "button": "left", "clickCount": 1, **place}
            self.call("Input.dispatchMouseEvent", **fields)

    def picture(self) -> bytes:
        """A PNG of what can be seen."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def dark(self) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
