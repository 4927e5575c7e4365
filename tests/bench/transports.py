"""What the provider's transport was chosen from: N posts at once by one of them, in a process of its own.

python3 transports.py NAME N ADDRESS        NAME: http.client, threads, asyncio, asyncio10, none (imports alone)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BOUNDS = {"connect": 60.0, "read": 60.0, "write": 60.0, "pool": 60.0}


def threads(count: int, url: str) -> None:
    """A thread a request, each with an httpx client of one connection."""
    import ssl

    import httpx

    context = ssl.create_default_context()

    def post() -> Any:
        with httpx.Client(verify=context, timeout=60) as client:
            return client.post(url, json=BODY).json()

    each(count, post)


def library(count: int, url: str) -> None:
    """A thread a request, each with a connection of http.client."""
    import http.client
    import json
    from urllib.parse import urlsplit

    parts = urlsplit(url)

    def post() -> Any:
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request(
            "POST", parts.path, json.dumps(BODY), {"content-type": "application/json"}
        )
        return json.loads(connection.getresponse().read())

    each(count, post)


def each(count: int, post: Callable[[], Any]) -> None:
    """Post so often, from a thread each."""
    done: list[Any] = []
    threading.stack_size(1 << 20)
    crew = [threading.Thread(target=lambda: done.append(post())) for _ in range(count)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert len(done) == count


def asynchronous(size: int) -> Callable[[int, str], None]:
    """asyncio and httpx: clients of `size` connections that share one TLS context; 0 is a single client."""

    def run(count: int, url: str) -> None:
        import asyncio
        import ssl

        import httpx

        context = ssl.create_default_context()

        async def all_of_them() -> None:
            limits = httpx.Limits(max_connections=size or count)
            clients = [
                httpx.AsyncClient(verify=context, timeout=60, limits=limits)
                for _ in range(count // size if size else 1)
            ]

            async def one(number: int) -> Any:
                return (await clients[number % len(clients)].post(url, json=BODY)).json()

            assert len(await asyncio.gather(*map(one, range(count)))) == count

        asyncio.run(all_of_them())

    return run


def none(count: int, url: str) -> None:
    import httpx  # noqa: F401


NAMES: dict[str, Callable[[int, str], None]] = {
    "http.client": library,
    "threads": threads,
    "asyncio": asynchronous(0),
    "asyncio10": asynchronous(10),
    "none": none,
}

if __name__ == "__main__":
    NAMES[sys.argv[1]](int(sys.argv[2]), sys.argv[3] + "/chat/completions")
