"""ReAct in plain text, for models without tool calling: Thought / Action / Action Input / Observation.

The conversation itself stays in `message` records with tool calls; only what the model reads and writes is text.
After Yao and others, "ReAct", arXiv 2210.03629.
"""

import re

from agentlib import records
from agentlib.messages import transcript
from agentlib.types import Record

FORM = """You can use these tools, one JSON object a line:
{tools}

To use one, write exactly this and then stop:
Thought: why
Action: the tool's name
Action Input: its arguments as one JSON object

You will be given an Observation. When you know the answer, write:
Thought: why
Final Answer: the answer"""
STOP = ["\nObservation:"]
ACTION = re.compile(
    r"^[ \t]*Action[ \t]*:[ \t]*(?P<name>[^\n]+?)[ \t]*\n+[ \t]*Action Input[ \t]*:[ \t]*(?P<rest>.*)",
    re.S | re.M,
)
ANSWER = re.compile(r"^[ \t]*Final Answer[ \t]*:[ \t]*(?P<answer>.*)", re.S | re.M)


def instructions(tools: list[Record]) -> str:
    """How the model is to call these tools."""
    return FORM.format(tools="\n".join(map(records.dumps, tools)))


def without_calls(messages: list[Record]) -> list[Record]:
    """The same conversation with calls and results as text, in messages of `system`, `user` and `assistant` alone."""
    out: list[Record] = []
    for message in messages:
        plain = _plain(message)
        last = out[-1] if out else {"role": "", "content": ""}
        if last["role"] == plain["role"] == "user" and isinstance(last["content"], str):
            plain["content"] = f"{out.pop()['content']}\n{plain['content']}"
        out.append(plain)
    return out


def _plain(message: Record) -> Record:
    if message["role"] == "tool":
        from agentlib.messages import material

        output = material.fence("output", str(message.get("content", "")))
        return {"role": "user", "content": f"Observation: {output}"}
    content = message.get("content") or ""
    for call in message.get("tool_calls") or ():
        arguments = call.get("arguments")
        text = arguments if isinstance(arguments, str) else records.dumps(arguments)
        content = f"{content}\nAction: {call.get('name')}\nAction Input: {text}".strip()
    return {"role": message["role"], "content": content}


def parse(message: Record) -> Record:
    """The model's text as a message: with one call, or with the final answer alone."""
    text = transcript.text(message)
    action, answer = ACTION.search(text), ANSWER.search(text)
    if action and (answer is None or action.start() < answer.start()):
        call = {"name": action["name"].strip("`*\"' "), "arguments": _arguments(action["rest"])}
        return {**message, "content": text[: action.start()].strip(), "tool_calls": [call]}
    return {**message, "content": answer["answer"].strip() if answer else text.strip()}


def _arguments(rest: str) -> object:
    """The JSON object of the text; the text as it is where there is none, for the message to the model."""
    rest = rest.partition("\nObservation:")[0].strip()
    try:
        return records.loads(rest[rest.index("{") : rest.rindex("}") + 1])
    except ValueError:
        return rest
