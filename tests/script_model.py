"""Rules for tests/model_server.py: the request itself is the script of the model, one line a turn.

    NAME {"json":"arguments"}       calls a tool; several calls of one turn are parted by ` & `
    = TEXT                          answers; {results} stands for all results so far, {messages} for their number
    ! 429 TEXT                      fails with this status

What follows the first empty line (material) is not script. After its last line the model answers with all results.
"""

from __future__ import annotations

import re
from typing import Any


def text(message: dict[str, Any]) -> str:
    """The text of a message in either form."""
    content = message.get("content") or ""
    return (
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    )


def reply(body: dict[str, Any]) -> Any:
    """The line of the script whose turn it is."""
    messages = [message for message in body["messages"] if message["role"] != "system"]
    request = max(number for number, message in enumerate(messages) if message["role"] == "user")
    script = text(messages[request]).partition("\n\n")[0].splitlines()
    turn = sum(message["role"] == "assistant" for message in messages[request:])
    results = "|".join(
        text(message).rstrip("\n") for message in messages if message["role"] == "tool"
    )
    line = script[turn] if turn < len(script) else "= {results}"
    if line.startswith("! "):
        _, status, answer = line.split(" ", 2)
        return {"status": int(status), "body": {"error": {"message": answer}}}
    if line.startswith("= "):
        return line[2:].replace("{results}", results).replace("{messages}", str(len(messages)))
    calls = [part.partition(" ") for part in re.split(r" & (?=[\w-]+ \{)", line)]
    return {
        "tool_calls": [
            {"name": name, "arguments": arguments or "{}"} for name, _, arguments in calls
        ]
    }
