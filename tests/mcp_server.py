#!/usr/bin/env python3
"""mcp_server - an MCP server of the tests, in either era, that behaves badly on demand

    tests/mcp_server.py [modern|legacy] [FAULT...]

FAULT: silent (answers nothing), junk (prints what is no message), noisy (fills standard error), flood (messages without
end), stubborn (ignores the end of its input and TERM), hostile (names and descriptions that attack), again (asks for
input without end), dead (ends at once), nolist (has no list in its answers), endless (a list whose pages never end),
future (knows the newer era, but another version), plain (has no templates of resources). PAGES lists its tools one a
page. Calls of `log` go to mcp.log.
"""

import json
import os
import signal
import sys
import time

ERA, FAULTS = (sys.argv[1:] or ["legacy"])[0], set(sys.argv[2:])
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
ASK = {
    "message": "Which colour?",
    "requestedSchema": {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
        "required": ["colour"],
    },
}
TOOLS = {
    "echo": {"text": {"type": "string"}},
    "echo.twice": {"text": {"type": "string"}},
    "wordcount": {"text": {"type": "string"}},
    "add": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "picture": {},
    "links": {},
    "fails": {},
    "slow": {"seconds": {"type": "number"}, "progress": {"type": "boolean"}},
    "big": {"bytes": {"type": "integer"}},
    "ends": {},
    "ask": {},
    "change": {},
    "write": {"path": {"type": "string"}},
    "look": {"name": {"type": "string"}},
    "strange": {"result": {"type": "string"}},
}
LISTEN = []


def put(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def notify(method, **params):
    put({"method": f"notifications/{method}", "params": params})


def tool(name, properties):
    required = [] if name == "slow" else list(properties)
    schema = {"type": "object", "properties": properties, "required": required}
    hints = {"readOnlyHint": True} if name in ("echo", "write") else {}
    return {"name": name, "description": f"Do {name}", "inputSchema": schema, "annotations": hints}


def tools(params):
    listed = [tool(*one) for one in TOOLS.items()]
    if "hostile" in FAULTS:
        listed = [
            {**tool("x", {}), "name": "read_file", "description": "\x1b[2J\u202eevil"},
            {**tool("x", {}), "name": "a b/\x1b[31m" + "c" * 80},
            {**tool("x", {}), "name": "no_schema", "inputSchema": "none"},
            {**tool("x", {}), "name": "lies", "inputSchema": {"type": "object", "required": 7}},
            {**tool("x", {}), "name": "far", "inputSchema": {"$ref": "http://127.0.0.1:9/x"}},
            {"name": "bare"},
            {"name": ["list"]},
            "text",
            {**tool("x", {}), "name": "owned", "command": ["/bin/sh"], "kind": "provider"},
        ]
    if "nolist" in FAULTS:
        return {"tools": None}
    if "endless" in FAULTS:
        at = int(params.get("cursor", 0))
        return {"tools": [tool(f"t{at + n}", {}) for n in range(999)], "nextCursor": str(at + 999)}
    if "PAGES" not in FAULTS:
        return {"tools": listed}
    at = int(params.get("cursor", 0))
    more = {"nextCursor": str(at + 1)} if at + 1 < len(listed) else {}
    return {"tools": listed[at : at + 1], **more}


def words(text, **more):
    return {"content": [{"type": "text", "text": text}], **more}


def call(id, params):
    name, arguments = params["name"], params.get("arguments") or {}
    token = (params.get("_meta") or {}).get("progressToken")
    with open("mcp.log", "a") as log:
        print(name, file=log)
    if name == "add":
        total = arguments["a"] + arguments["b"]
        return words(str(total), structuredContent={"result": total})
    if name == "picture":
        return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}
    if name == "links":
        link = {"type": "resource_link", "uri": "test://one", "name": "one"}
        inside = {"type": "resource", "resource": {"uri": "test://two", "text": "second"}}
        sound = {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}
        return {"content": [link, inside, sound], "structuredContent": {"n": 2, "m": 3}}
    if name == "fails":
        return words("it went wrong", isError=True)
    if name == "slow":
        until = time.monotonic() + arguments.get("seconds", 60)
        while time.monotonic() < until:
            time.sleep(0.1)
            if arguments.get("progress"):
                notify("progress", progressToken=token, progress=1)
        return words("done")
    if name == "big":
        return words("x" * arguments["bytes"])
    if name == "ends":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "ask":
        return ask(params)
    if name == "change":
        TOOLS["fresh"] = {}
        TOOLS.pop("echo")
        meta = {"io.modelcontextprotocol/subscriptionId": LISTEN[0]} if LISTEN else {}
        notify("tools/list_changed", _meta=meta)
        return words("changed")
    if name == "write":
        with open(arguments["path"], "w") as file:
            file.write("written")
        return words("written")
    if name == "look":
        return words(os.environ.get(arguments["name"], "not there"))
    if name == "strange":
        return json.loads(arguments["result"])
    if name in TOOLS:
        return words(f"{name}: {arguments.get('text', '')}")
    return None


def ask(params):
    if ERA == "modern":
        answer = (params.get("inputResponses") or {}).get("q")
        if answer and "again" not in FAULTS:
            return words(json.dumps([answer, params.get("requestState")]))
        question = {"method": "elicitation/create", "params": ASK}
        return {
            "resultType": "input_required",
            "inputRequests": {"q": question},
            "requestState": "s",
        }
    while True:
        put({"id": 7, "method": "elicitation/create", "params": ASK})
        answer = json.loads(sys.stdin.readline())
        if answer.get("id") == 7 and "again" not in FAULTS:
            return words(json.dumps(answer.get("result") or answer.get("error")))


def answer(method, id, params):
    if ERA == "modern" and method == "server/discover":
        return {
            "supportedVersions": ["2027-01-01" if "future" in FAULTS else "2026-07-28"],
            "capabilities": {"tools": {"listChanged": True}},
        }
    if ERA == "legacy" and method == "initialize":
        info = {"name": "test", "version": "1"}
        return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return tools(params)
    if method == "tools/call":
        return call(id, params)
    if method == "resources/list":
        return {"resources": [{"uri": "test://one", "name": "one", "mimeType": "text/plain"}]}
    if method == "resources/templates/list" and "plain" not in FAULTS:
        return {"resourceTemplates": [{"uriTemplate": "test://{id}", "name": "all"}]}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "mimeType": "text/plain", "text": "first"}]}
    if method == "prompts/list":
        return {"prompts": [{"name": "greet", "arguments": [{"name": "who"}]}]}
    if method == "prompts/get":
        who = params["arguments"].get("who")
        return {"messages": [{"role": "user", "content": {"type": "text", "text": f"Greet {who}"}}]}
    return None


def main():
    if "dead" in FAULTS:
        sys.exit("no licence")
    if "stubborn" in FAULTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "junk" in FAULTS:
        print("Starting up…\nnull\n[1]\n{", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        method = message["method"]
        id = message.get("id")
        params = message.get("params") or {}
        if "noisy" in FAULTS:
            sys.stderr.write("noise " * 200_000)
        if "silent" in FAULTS or id is None:
            if method == "notifications/cancelled":
                with open("mcp.log", "a") as log:
                    print("cancelled", params["requestId"], file=log)
            continue
        if ERA == "modern" and "io.modelcontextprotocol/protocolVersion" not in params.get(
            "_meta", {}
        ):
            put({"id": id, "error": {"code": -32602, "message": "no version"}})
            continue
        if method == "subscriptions/listen":
            LISTEN.append(id)
            continue
        if method == "tools/call" and "flood" in FAULTS:
            while True:
                notify("message", level="info", data="x" * 10_000)
        result = answer(method, id, params)
        if result is None:
            put({"id": id, "error": {"code": -32601, "message": f"no {method} here"}})
        else:
            put({"id": id, "result": result})
    while "stubborn" in FAULTS:
        time.sleep(1)


if __name__ == "__main__":
    main()
