"""Which call must come next: small models answer about files that they did not read, say that they made a change that
failed, and find a tool for everything. These rules need no model."""

import re

from agentlib.local.prompt import FILE, last_request, since_request, spaced
from agentlib.messages import material
from agentlib.messages.transcript import text
from agentlib.search.rank import describe, words
from agentlib.types import Record

FEW = 6  # tools of somebody who has chosen them
MOST_CHANGES = 3  # tries to change a file
READ = "read_file"  # the tool that helps where another found nothing in a file
SITE = re.compile(r".*\.(?:com|org|net|io|dev)", re.I)  # names that look like files and are none
PLACE = re.compile(r"\b(?:which|what|all|list|find|show|how many)\b.*\b(?:files?|folders?)\b", re.I)
MEANING = re.compile(r"\s*(?:what (?:is|are) an?\b|what does .* mean|explain\b)", re.I)
VERBS = "set|change|replace|add|append|insert|remove|delete|rename|update|put"
CHANGE = re.compile(rf"\s*(?:please\s+)?(?:(?:in|to)\s+\S+\s+)?(?:{VERBS})\b", re.I)
MAKE = re.compile(r"\s*(?:please\s+)?(?:create|write|make|save)\b", re.I)
NOTHING = ("", "null", "[]", "{}", "nothing found")  # results that say nothing
ENGLISH = re.compile(r"\b(?:the|what|is|are|of|a|to|me|for|who|some|there)\b", re.I)
EXACT = re.compile(r"[\d'\"`:/<\n]|\w\.\w")  # a number, a text, a file


def calls(request: Record) -> tuple[list[str], list[str]]:
    """(tools, files): one of these tools must be called next, READ on one of these files; ([], []) where the request
    may be answered, or any tool called."""
    wanted, tools = last_request(request["messages"]), request.get("tools") or []
    if material.RULE in wanted or MEANING.match(wanted):
        return [], []
    run = since_request(request["messages"])
    files = [n for n in dict.fromkeys(FILE.findall(wanted)) if not SITE.fullmatch(n)]
    paths = [t for t in tools if "path" in ((t.get("inputSchema") or {}).get("properties") or {})]
    reads = [t["name"] for t in paths if (t.get("annotations") or {}).get("readOnlyHint")]
    writes = [t["name"] for t in paths if t["name"] not in reads]
    made = [call for message in run for call in message.get("tool_calls") or []]
    results = [message for message in run if message["role"] == "tool"]
    if not results:
        if files and writes and MAKE.match(wanted):
            return writes, []
        if files:
            return [*reads, *writes], []
        return (reads if PLACE.search(wanted) else []), []
    read = spaced([call.get("arguments") for call in made if call["name"] == READ])
    unread = [name for name in files if name not in read]
    if unread and READ in reads and _says_nothing(results[-1], wanted):
        return [READ], unread
    tried = [call["id"] for call in made if call["name"] in writes]
    changed = [r for r in results if r["tool_call_id"] in tried and not _failed(r)]
    change = files and CHANGE.match(wanted) and not changed and len(tried) < MOST_CHANGES
    return (writes, []) if change else ([], [])


def _failed(result: Record) -> bool:
    """Whether another try may help: not where the user did not allow it."""
    return bool(result.get("is_error")) and "allow" not in text(result)


def _says_nothing(result: Record, wanted: str) -> bool:
    """Whether a result is an error, or empty, or figures without the names that the request has."""
    found = text(result, joint="\n").strip()
    names = re.findall(r"(?<=[\w,] )[A-Z]\w+", FILE.sub("", wanted))
    unseen = found[:1] == "{" and names and not any(name in found for name in names)
    return _failed(result) or found in NOTHING or bool(unseen)


def narrow(schema: Record, tools: list[str], files: list[str]) -> Record:
    """The schema of the next call with only these tools, READ on these files; as it is where nothing is left."""
    forms = [f for f in schema.get("anyOf", []) if f["properties"]["tool"].get("const") in tools]
    for form in forms if files else []:
        form["properties"]["args"]["properties"]["path"] = {"enum": files}
    return {"anyOf": forms} if forms else schema


def far_fetched(call: Record, request: Record) -> bool:
    """Whether a call of one of many tools has no word in common with a request in English without anything exact."""
    wanted, tools = last_request(request["messages"]), request["tools"]
    if len(tools) <= FEW or EXACT.search(wanted) or not ENGLISH.search(wanted):
        return False
    tool = next(tool for tool in tools if tool["name"] == call["name"])
    return not {*words(wanted)} & {*words(describe(tool))}
