"""Give an agent its work, under the policy of a run: for `call_agent`, and for a plan that names one."""

from contextlib import suppress

from agentlib import records
from agentlib.invoke.output import for_model
from agentlib.invoke.tool import Invocation, Render, Tool
from agentlib.messages import transcript
from agentlib.process.run import Scope
from agentlib.schema import agents
from agentlib.types import Any, Record


def called(tools: Any, arguments: Record, scope: Scope, trace: str = "") -> str:
    """What a call of call_agent with these arguments gives."""
    agent = Tool(agents.named(arguments["name"]))
    return hand_over(tools, agent, arguments["input"], scope, trace=trace)


def hand_over(
    tools: Any, agent: Tool, text: str, scope: Scope, render: Render = for_model, trace: str = ""
) -> str:
    """The output of an agent, or of a tool that a plan names as an agent, for this text. tools: of the run. The suite's
    own and the user's run as the user's commands; others only as a tool, with consent."""
    arguments: Any = {"input": text}
    if agent.invoke == "argv":
        arguments = {"stdin": text}
    elif agent.invoke != "text":
        with suppress(ValueError):
            value = records.loads(text)
            arguments = value if value and isinstance(value, dict) else arguments
    tools.check(agent, arguments)
    decision = tools.policy.allow(agent.record, arguments, agent.origin, called=True)
    content = tools.invoke(Invocation(agent, arguments, decision, scope, render, trace))
    return transcript.text({"content": content})
