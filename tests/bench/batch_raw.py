"""The same batch by hand, with asyncio and nothing else: python3 batch_raw.py COUNT ADDRESS [TOOL]

Each task posts its request, runs the tool as a bare process where there is one (no sandbox, no schema), posts again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit


async def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The message of one chat completion."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    data = json.dumps(body).encode()
    head = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
    )
    writer.write(f"{head}connection: close\r\n\r\n".encode() + data)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0])
    reply: dict[str, Any] = json.loads(await reader.readexactly(length))["choices"][0]["message"]
    writer.close()
    return reply


async def task(address: str, tool: str | None) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    tools = {"tools": [{"type": "function", "function": {"name": "three"}}]} if tool else {}
    reply = await post(address, {"model": "m", "messages": messages, **tools})
    if tool:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(tool, stdin=pipe, stdout=pipe)
        out, _ = await child.communicate(b"{}\n")
        result = {
            "role": "tool",
            "tool_call_id": reply["tool_calls"][0]["id"],
            "content": out.decode(),
        }
        await post(address, {"model": "m", "messages": [*messages, reply, result], **tools})
    print('{"type":"result"}')


async def main() -> None:
    count = int(sys.argv[1])
    address = sys.argv[2]
    tool = sys.argv[3] if sys.argv[3:] else None
    await asyncio.gather(*(task(address, tool) for _ in range(count)))


asyncio.run(main())
