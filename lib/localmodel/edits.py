"""The arguments of a call that changes a file: a small model replaces what it should add to, and guesses what stands in
the file. What the request and the file tell is settled here, without a model."""

import re

from agentlib.messages.transcript import text
from agentlib.search.rank import COMMON
from agentlib.types import Record
from localmodel.prompt import TEXTS, last_request, since_request

REMOVES = re.compile(TEXTS["requests"]["remove"], re.I)
TO = re.compile(TEXTS["requests"]["to"], re.I)
MOST = 40  # pieces of a file that may be the old text


def forms(every: list[Record], request: Record, changes: bool, adds: bool) -> list[Record]:
    """The forms of calls that change files: `append` true where the request adds something and only there; where it
    changes something, the old text one that stands in the file that was read."""
    if changes and adds and (appending := [form for form in every if "append" in fields(form)]):
        return [_fixed(form, append=True) for form in appending]
    left = [form for form in every if "append" not in needed(form)]
    for form in left:
        fields(form).pop("append", None)
    changing = [form for form in left if {"old", "new"} <= {*fields(form)}]
    run = since_request(request["messages"]) if changes and changing else []
    run = [m for m in run if m.get("name", m["role"]) in ("tool", "read_file")]
    content = text(run[-1], joint="\n") if run and not run[-1].get("is_error") else ""
    pairs = pieces(content, last_request(request["messages"])) if content else []
    values = [{"old": old} if new is None else {"old": old, "new": new} for old, new in pairs]
    return [_fixed(changing[0], **one) for one in values[:MOST]] or left


def pieces(content: str, wanted: str) -> list[tuple[str, str | None]]:
    """What of the file may be replaced and by what, None where the model is to say it: the lines to remove; the
    assignments to a name in the request; else the longest parts of the request that stand in the file."""
    names = [name for name in re.findall(r"\w[\w.-]*", wanted) if len(name) > 1]
    lines = [line for line in content.splitlines(keepends=True) if line.strip()]
    if REMOVES.match(wanted):
        found = [line for line in lines if {*re.findall(r"\w+", line)} & {*names}]
        exact = [line for line in found if line.strip() in names]
        return [(line, "") for line in exact or found]
    if value := TO.search(wanted):
        for name in names:
            rule = rf"((?<![\w-])['\"]?{re.escape(name)}['\"]?\s*[:=]\s*(['\"]?)[^\s,;'\"}}]+\2)"
            for old, quote in re.findall(rule, content):
                start = re.match(r"[^:=]*[:=]\s*", old)
                return [(old, f"{start[0] if start else ''}{quote}{value[2]}{quote}")]
    parts = wanted.split()
    spans = [" ".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, i + 7)]
    spans = [span.strip("'\"`,.:") for span in spans]
    found = [s for s in spans if {*s.lower().split()} - COMMON]
    found = [s for s in found if len(re.findall(rf"(?<!\w){re.escape(s)}(?!\w)", content)) == 1]
    longest = [s for s in found if not any(s in other and s != other for other in found)]
    return [(span, None) for span in dict.fromkeys(longest)]


def fields(form: Record) -> Record:
    """The properties of the arguments of a call, to be changed in place."""
    return (form["properties"].get("args") or {}).get("properties") or {}


def needed(form: Record) -> list[str]:
    """The arguments that a call must have."""
    return (form["properties"].get("args") or {}).get("required") or []


def _fixed(form: Record, **values: object) -> Record:
    """The form with these values of arguments, which it then needs."""
    fixed = {name: {"const": value} for name, value in values.items()}
    args = form["properties"]["args"]
    required = [*dict.fromkeys([*args.get("required", []), *fixed])]
    args = {**args, "properties": {**args["properties"], **fixed}, "required": required}
    return {**form, "properties": {**form["properties"], "args": args}}
