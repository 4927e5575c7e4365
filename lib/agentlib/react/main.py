"""agent-react's work after its options are parsed: start the model, read the stream, drive one run or many."""

import os

from agentlib import private
from agentlib.faults import Fault
from agentlib.policy import flags
from agentlib.react.session import Session
from agentlib.types import Any, Namespace

DEPTH = 5  # agents that may call agents, one inside the other


def main(options: Namespace, folder: str) -> int:
    """Run agent-react; its exit status. folder: where agent-llm lies."""
    text = os.environ.get("AGENT_DEPTH", "0")
    depth = int(text) if text.isdecimal() else 0
    if depth >= DEPTH:
        why = f"agents call agents {depth} deep already: no further (AGENT_DEPTH)"
        raise Fault("limit_exceeded", why)
    if depth:  # what started us is a script's shell, which is killed with the agent that called
        private.end_with_starter()
    flags.inherit(options)
    ledger = "" if options.budget is None else _ledger(options.budget)
    try:
        session = Session(options, folder, depth)
        try:
            return session.run(_many)
        finally:
            session.close()
    finally:
        if ledger:
            os.unlink(ledger)


def _many(session: Session, *tasks: Any) -> int:
    from agentlib.react.batch import Batch  # only where there are tasks

    return Batch(session).run(*tasks)


def _ledger(usd: float) -> str:
    """The path of a new ledger for --budget: the agents that ours calls spend from it as well."""
    from agentlib import budget

    if budget.VARIABLE in os.environ:
        why = f"--budget: {budget.VARIABLE} is set already, its ledger is what may be spent"
        raise Fault("invalid_input", why)
    os.environ[budget.VARIABLE] = path = budget.create(usd, None)
    return path
