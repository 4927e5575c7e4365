"""A run below which all hangs that a program or a script starts (docs/agent-trace.md)."""

import os
from contextlib import contextmanager

from agentlib import history
from agentlib.types import Any, Iterator, Record


@contextmanager
def run(name: str, request: str, program: str = "") -> Iterator[Record]:
    """A run of this process. Its `result` in the history has the fields that are put into what is yielded, or why it
    ended before. program: where that is not its name."""
    result: Record = {"output": "", "incomplete": False}
    kept, ids = begin(program or name, name, request)
    try:
        yield result
    except BaseException as bad:
        kind = getattr(bad, "kind", "server" if isinstance(bad, Exception) else "interrupted")
        result["error"] = {"kind": kind, "message": str(bad) or kind}
        raise
    finally:
        if kept:
            known = {"run": ids["id"], "trace_id": ids["trace_id"], "time": history.now()}
            kept.write({"type": "result", **known, "name": name, **result})


def begin(program: str, name: str, request: str, **more: object) -> tuple[Any, Record]:
    """(the history, the ids) of a new run; TRACEPARENT says so from here on. more: fields, in the place of ours."""
    ids, kept = {**history.identity(False), "session": ""}, history.opened(False, set())
    os.environ["TRACEPARENT"] = f"00-{ids['trace_id']}-{ids['id']}-01"
    fields = {"program": program, "name": name, "input": request}
    if kept:
        kept.write({**history.begun(ids, fields), **more})
    return kept, ids
