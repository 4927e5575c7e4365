#!/usr/bin/env python3
"""mcp_http - a server of MCP on standard input and output, at an address on loopback, for suites that know HTTP alone

    tests/mcp_http.py COMMAND...

Prints its address. One process of COMMAND has all requests; an answer goes back to the POST that asked for it. A host
or origin that is not of this machine is refused, as the protocol wants.
"""

import json
import queue
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCAL = re.compile(r"(https?://)?(localhost|127\.0\.0\.1)(:\d+)?")
STATUS = {-32601: 404, -32602: 400, -32022: 400, -32020: 400, -32700: 400, -32600: 400}
VERSION = "io.modelcontextprotocol/protocolVersion"
waiting = {}
lock = threading.Lock()
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
count = 0


def hear():
    for line in server.stdout:
        message = json.loads(line)
        key = message.get("id") or message.get("params", {}).get("progressToken")
        if box := waiting.get(key):
            box.put(message)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, message=None):
        body = json.dumps(message).encode() if message is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(405)

    do_DELETE = do_GET

    def do_POST(self):
        global count
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for name in ("Host", "Origin"):
            if not LOCAL.fullmatch(self.headers.get(name, "localhost")):
                return self.answer(403)
        try:
            message = json.loads(raw)
        except ValueError as bad:
            error = {"code": -32700, "message": str(bad)}
            return self.answer(400, {"jsonrpc": "2.0", "id": None, "error": error})
        if "id" not in message:
            server.stdin.write(raw.replace(b"\n", b" ") + b"\n")
            server.stdin.flush()
            return self.answer(202)
        if wrong := self.mismatch(message):
            error = {"code": -32020, "message": f"Header mismatch: {wrong}"}
            return self.answer(400, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        box = queue.SimpleQueue()
        params = dict(message.get("params") or {})
        meta = dict(params.get("_meta") or {})
        token = meta.get("progressToken")
        with lock:
            count += 1
            key = f"http-{count}"
            waiting[key] = box
            if token is not None:
                params["_meta"] = {**meta, "progressToken": key}
            fields = {"params": params} if params else {}
            server.stdin.write(json.dumps({**message, **fields, "id": key}).encode() + b"\n")
            server.stdin.flush()
        if token is not None:
            return self.stream(message["id"], token, box)
        result = box.get(timeout=60)
        error = result.get("error", {})
        newer = VERSION in meta or "_meta." in error.get("message", "")
        status = STATUS.get(error.get("code"), 200) if newer else 200
        self.answer(status, {**result, "id": message["id"]})

    def stream(self, id, token, box):
        """What is said of a request, and its answer, as server-sent events."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            message = box.get(timeout=60)
            if "method" in message:
                message["params"]["progressToken"] = token
            else:
                message["id"] = id
            self.wfile.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")
            self.wfile.flush()
            if "method" not in message:
                self.close_connection = True
                return

    def mismatch(self, message):
        """What the headers of the newer era and the message do not agree on."""
        params = message.get("params") or {}
        version = (params.get("_meta") or {}).get(VERSION)
        if version is None:
            return ""
        named = params.get("name") or params.get("uri")
        wanted = {"MCP-Protocol-Version": version, "Mcp-Method": message.get("method")}
        wanted |= {"Mcp-Name": named} if named else {}
        return next((key for key, value in wanted.items() if self.headers.get(key) != value), "")


def main():
    threading.Thread(target=hear, daemon=True).start()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{http.server_address[1]}/mcp", flush=True)
    http.serve_forever()


if __name__ == "__main__":
    main()
