"""A vendor on loopback that costs next to nothing: fixed chat completions, late by `latency`, or streamed in `deltas`.

Where a request brings tools and no result of one, the answer calls the tool `three`.

python3 fast_vendor.py LATENCY DELTAS       prints its address, serves until its standard input ends
"""

from __future__ import annotations

import asyncio
import json
import sys

CALL = {"id": "call_1", "type": "function", "function": {"name": "three", "arguments": "{}"}}


def parse(message: dict[str, object], finish: str) -> bytes:
    reply = json.dumps(
        {
            "model": "m",
            "choices": [
                {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(reply),
        reply,
    )


WHOLE = parse({"content": "hello"}, "stop")
CALLS = parse({"content": None, "tool_calls": [CALL]}, "tool_calls")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = {
    "id": "chatcmpl-ASv9gROIIAvRs9QnmLP8Nzs3PGMCX",
    "object": "chat.completion.chunk",
    "created": 1731456252,
    "model": "m",
    "system_fingerprint": None,
    "choices": [
        {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    ],
}


def chunk(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


END = (
    chunk('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    + chunk("[DONE]")
    + b"0\r\n\r\n"
)


class Vendor(asyncio.Protocol):
    latency, deltas = 0.0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        length = next(
            (
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        if end and len(body) >= length:
            self.data = body[length:]
            asyncio.get_running_loop().call_later(
                self.latency, self.answer, body.replace(b" ", b"")
            )

    def answer(self, body: bytes) -> None:
        write = self.transport.write  # type: ignore[attr-defined]
        if b'"stream":true' not in body:
            write(CALLS if b'"tools":' in body and b'"tool_call_id":' not in body else WHOLE)
            return
        one = chunk(json.dumps(CHUNK))
        write(HEAD)
        for _ in range(
            self.deltas // 10
        ):  # ten at a time, each a chunk of its own, as in a busy stream
            write(one * 10)
        write(END)


async def main() -> None:
    Vendor.latency, Vendor.deltas = float(sys.argv[1]), int(sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Vendor, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
