#!/usr/bin/env python3
"""model_server - play a model on loopback, by rules of your own

    tests/model_server.py RULES.py [--log FILE] [--latency SECONDS] [--host ADDRESS] [--port N]

Prints its base address (http://127.0.0.1:PORT/v1) as the first line and serves until it is ended by a signal:
POST .../chat/completions in the shape of OpenAI's chat completions, whole or streamed, GET .../models, and
POST .../embeddings where RULES.py defines `embed(text)`: a list of numbers, or an object as below for any status.

RULES.py defines `reply(body)`: from the body of the request to
  a string                         the assistant's text
  {"text": ..., "tool_calls": [{"name": ..., "arguments": {...}}]}
                                   and if wanted "finish" (finish_reason), "usage", "model", "thinking"
  {"status": 429, "headers": {...}, "body": {...}}
                                   any answer of HTTP; a body that is a string is sent as it is
Each of the two objects may have "delay" (seconds before the answer starts), "pace" (seconds between deltas)
and "cut" (the connection breaks after so many deltas, or in the middle of a body). What a test waits for is no
matter of seconds: with "until" (a file) the answer starts once the file is there, with "rest" (a file) all deltas
but the first words wait for it, and with "together" (a number) the answer starts once so many requests have come; that
they do not come in half a minute is status 500. A rule that raises: 500.
The rules may keep state in globals; they run one at a time. `MODELS`, a list of names, is what GET answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import runpy
import signal
import sys
import time
import traceback
from typing import Any

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Broken(Exception):
    """The rules asked for the connection to break here."""


def usage(body: dict[str, Any], text: str) -> dict[str, int]:
    """Tokens counted as words: no tokenizer, but the same request always costs the same."""
    request, output = len(json.dumps(body.get("messages", "")).split()), max(1, len(text.split()))
    return {"prompt_tokens": request, "completion_tokens": output, "total_tokens": request + output}


def message(answer: dict[str, Any]) -> dict[str, Any]:
    """The assistant's message of a whole answer."""
    output: dict[str, Any] = {"role": "assistant", "content": answer.get("text")}
    if answer.get("thinking"):
        output["reasoning_content"] = answer["thinking"]
    if answer.get("tool_calls"):
        output["tool_calls"] = [call(n, one) for n, one in enumerate(answer["tool_calls"])]
    return output


def call(number: int, wanted: dict[str, Any]) -> dict[str, Any]:
    """A tool call as the wire has it; arguments given as a string are sent as they are, also broken."""
    arguments = wanted.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call.count += 1  # type: ignore[attr-defined]
    return {
        "id": wanted.get("id", f"call_{call.count}"),
        "type": "function",  # type: ignore[attr-defined]
        "function": {"name": wanted["name"], "arguments": text},
    }


call.count = 0  # type: ignore[attr-defined]


def deltas(output: dict[str, Any]) -> list[dict[str, Any]]:
    """The message in small pieces: words, then each tool call's name and its arguments in halves."""
    out: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for field in ("reasoning_content", "content"):
        out += [{field: piece} for piece in re.findall(r"\S*\s*", output.get(field) or "") if piece]
    for index, one in enumerate(output.get("tool_calls", ())):
        name, text = one["function"]["name"], one["function"]["arguments"]
        half = len(text) // 2
        out.append(
            {"tool_calls": [{"index": index, **one, "function": {"name": name, "arguments": ""}}]}
        )
        for part in (text[:half], text[half:]):
            out.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    return out


class Server:
    """One listener; each connection is a task that answers one request after another."""

    def __init__(self, rules: dict[str, Any], log: str | None, latency: float) -> None:
        self.rules = rules
        self.latency = latency
        self.count = 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if log else None

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.exchange(reader, writer):
                pass
            writer.close()
        except Broken:
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request, answer it; whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)
        }
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = await body_of(reader, headers)
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            body = None
        self.count += 1
        self.note(
            method, target, headers, body if body is not None else data.decode("utf-8", "replace")
        )
        await self.answer(writer, method, target.partition("?")[0], body)
        return headers.get("connection", "").lower() != "close"

    def note(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        """One line to the log: the request as it came."""
        if self.log is not None:
            line = {
                "time": time.time(),
                "method": method,
                "path": path,
                "headers": headers,
                "body": body,
            }
            os.write(self.log, json.dumps(line).encode() + b"\n")

    async def answer(self, writer: asyncio.StreamWriter, method: str, path: str, body: Any) -> None:
        if method == "GET" and path.endswith("/models"):
            models = [
                {"id": name, "object": "model"} for name in self.rules.get("MODELS", ["test-model"])
            ]
            return await whole(writer, 200, {"object": "list", "data": models})
        embeds = path.endswith("/embeddings") and "embed" in self.rules
        if method != "POST" or not (path.endswith("/chat/completions") or embeds):
            return await whole(writer, 404, error(f"no such address: {method} {path}"))
        if not isinstance(body, dict):
            return await whole(writer, 400, error("the body is not a JSON object"))
        if embeds:
            return await self.embeddings(writer, body)
        answer = self.reply(body)
        await asyncio.sleep(self.latency + answer.get("delay", 0))
        await there(answer.get("until"))
        if not await self.come(answer.get("together", 0)):
            return await whole(writer, 500, error(f"only {self.count} requests came"))
        if "status" in answer:
            return await whole(
                writer,
                answer["status"],
                answer.get("body", ""),
                answer.get("headers"),
                answer.get("cut"),
            )
        output = message(answer)
        model = answer.get("model", body.get("model"))
        base = {"id": f"chatcmpl-{self.count}", "created": int(time.time()), "model": model}
        finish = answer.get("finish") or ("tool_calls" if output.get("tool_calls") else "stop")
        spent = answer.get("usage") or usage(
            body, str(output["content"] or output.get("tool_calls"))
        )
        if body.get("stream"):
            return await stream(writer, body, answer, base, deltas(output), finish, spent)
        choice = {"index": 0, "message": output, "finish_reason": finish}
        full = {**base, "object": "chat.completion", "choices": [choice], "usage": spent}
        await whole(writer, 200, full, None, answer.get("cut"))

    async def come(self, wanted: int) -> bool:
        """Waits until so many requests have come; whether they did."""
        end = time.monotonic() + 30
        while self.count < wanted and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return self.count >= wanted

    async def embeddings(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        """The vectors of the texts in `input`, last to first: their index says which is whose."""
        made = [self.rules["embed"](text) for text in body["input"]]
        for one in made:
            if isinstance(one, dict):
                return await whole(writer, one["status"], one.get("body", ""), one.get("headers"))
        rows = [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(made)]
        count = sum(len(text.split()) for text in body["input"])
        spent = {"prompt_tokens": count, "total_tokens": count}
        await whole(
            writer,
            200,
            {"object": "list", "data": rows[::-1], "model": body["model"], "usage": spent},
        )

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the rules say, as an object; a rule that fails is told to whoever runs the test."""
        try:
            answer = self.rules["reply"](body)
            if isinstance(answer, str):
                return {"text": answer}
            if isinstance(answer, dict):
                return answer
            raise TypeError(f"reply() gave {type(answer).__name__}, not str or dict")
        except Exception as bad:
            traceback.print_exc()
            return {"status": 500, "body": error(f"the rules failed: {type(bad).__name__}: {bad}")}


def error(text: str) -> dict[str, Any]:
    return {
        "error": {"message": text, "type": "invalid_request_error", "param": None, "code": None}
    }


async def body_of(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """The body of a request, by its length or in chunks."""
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


def head(status: int, headers: dict[str, Any]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def there(file: str | None) -> None:
    """Waits until the file is there."""
    while file and not os.path.exists(file):
        await asyncio.sleep(0.02)


async def whole(
    writer: asyncio.StreamWriter,
    status: int,
    body: Any,
    headers: dict[str, str] | None = None,
    cut: int | None = None,
) -> None:
    """An answer with its length; with `cut` the connection breaks in the middle of the body."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "application/json" if not isinstance(body, str) else "text/html"
    writer.write(
        head(status, {"content-type": kind, "content-length": len(data), **(headers or {})})
    )
    writer.write(data if cut is None else data[: len(data) // 2])
    await writer.drain()
    if cut is not None:
        await asyncio.sleep(0.05)  # what is written goes out before the reset
        raise Broken


async def stream(
    writer: asyncio.StreamWriter,
    body: dict[str, Any],
    answer: dict[str, Any],
    base: dict[str, Any],
    pieces: list[dict[str, Any]],
    finish: str,
    spent: dict[str, int],
) -> None:
    """Server-sent events: the deltas, the finish, the usage where it was asked for, [DONE]."""
    writer.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
    base = {**base, "object": "chat.completion.chunk"}
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": piece, "finish_reason": None} for piece in pieces
    ]
    events: list[dict[str, Any]] = [{**base, "choices": [one]} for one in choices]
    events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({**base, "choices": [], "usage": spent})
    for number, event in enumerate(events):
        if number == answer.get("cut"):
            await writer.drain()
            await asyncio.sleep(0.05)
            raise Broken
        writer.write(chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
        if answer.get("pace"):
            await writer.drain()
            await asyncio.sleep(answer["pace"])
        if answer.get("rest") and number == 1:  # the first has no text
            await writer.drain()
            await there(answer["rest"])
    writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    await writer.drain()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def orphaned() -> None:
    """Waits until whoever started this process is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)


async def serve(args: argparse.Namespace) -> None:
    rules = runpy.run_path(args.rules)
    if not callable(rules.get("reply")):
        sys.exit(f"model_server: {args.rules}: defines no function reply(body)")
    server = Server(rules, args.log, args.latency)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, 65536) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    listener = await asyncio.start_server(server.connection, args.host, args.port, backlog=4096)
    print(f"http://{args.host}:{listener.sockets[0].getsockname()[1]}/v1", flush=True)
    await (orphaned() if args.with_parent else asyncio.Event().wait())


def main() -> None:
    about = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="model_server",
        description=about[0],
        epilog=about[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rules")
    parser.add_argument("--log", help="append each request to this file, one JSON object a line")
    parser.add_argument("--latency", type=float, default=0, help="seconds before each answer")
    parser.add_argument("--host", default="127.0.0.1", help="the address where it listens")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--with-parent", action="store_true", help="end when its starter ends")
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: os._exit(0))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
