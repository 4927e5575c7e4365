"""One conversation with langgraph's react agent: python its_side.py FOLDER REQUEST, messages as JSON lines out.

Its tools are the programs in FOLDER, started as agent-react starts them: arguments as a line of JSON on standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")
from langchain_core.tools import StructuredTool  # noqa: E402
from langchain_openai import ChatOpenAI  # noqa: E402
from langgraph.prebuilt import ToolNode, create_react_agent  # noqa: E402
from pydantic import create_model  # noqa: E402


def tool(record: dict[str, Any]) -> StructuredTool:
    def call(**arguments: Any) -> str:
        value = json.dumps(arguments) + "\n"
        return subprocess.run(
            record["command"], input=value, text=True, capture_output=True, check=True
        ).stdout

    fields = {
        name: (int, ...) for name in record["inputSchema"]["properties"]
    }  # a schema as a dict is not checked
    arguments = create_model("Arguments", **fields)  # type: ignore[call-overload]
    return StructuredTool.from_function(
        call, name=record["name"], description="a test", args_schema=arguments
    )


def found(message: Any) -> dict[str, Any]:
    role = {"human": "user", "ai": "assistant", "tool": "tool"}[message.type]
    out: dict[str, Any] = {"role": role, "content": message.content}
    if role == "assistant" and message.tool_calls:
        calls = message.tool_calls
        out["tool_calls"] = [
            {"id": one["id"], "name": one["name"], "arguments": one["args"]} for one in calls
        ]
    if role == "tool":
        out |= {"tool_call_id": message.tool_call_id, "is_error": message.status == "error"}
    return out


def main() -> None:
    folder, request = sys.argv[1:]
    with open(os.path.join(folder, "tools.jsonl")) as stream:
        tools = [tool(json.loads(line)) for line in stream]
    model = ChatOpenAI(model="test-model", max_retries=0)
    agent = create_react_agent(model, ToolNode(tools, handle_tool_errors=True))
    for message in agent.invoke({"messages": [("user", request)]})["messages"]:
        print(json.dumps(found(message)))


main()
