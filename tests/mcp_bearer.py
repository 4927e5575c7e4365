#!/usr/bin/env python3
"""mcp_bearer - a way to agent-mcp-http for a suite that can send no headers: adds the token, passes on all else

    tests/mcp_bearer.py URL TOKEN-FILE

Prints its own address. Host, Origin and every other byte go through as they came.
"""

import re
import socket
import sys
import threading
from pathlib import Path

REQUEST = re.compile(rb"((?:GET|POST|DELETE|PUT|OPTIONS|HEAD) \S+ HTTP/1\.1\r\n)")


def passed(source, target, header):
    """Pass on what comes from one side to the other, with the header in each request."""
    try:
        while data := source.recv(1 << 20):
            target.sendall(REQUEST.sub(lambda found: found[1] + header, data) if header else data)
    except OSError:
        pass
    for side in (source, target):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    url, file = sys.argv[1:]
    port = int(re.search(r":(\d+)/", url)[1])
    header = b"Authorization: Bearer " + Path(file).read_bytes().strip() + b"\r\n"
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for ends in ((client, server, header), (server, client, b"")):
            threading.Thread(target=passed, args=ends, daemon=True).start()


if __name__ == "__main__":
    main()
