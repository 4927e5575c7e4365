"""Which call must come next: small models answer about files that they did not read, say that they made a change that
failed, and find a tool for everything. These rules need no model."""

import re

from agentlib.messages import material
from agentlib.messages.transcript import text
from agentlib.search.rank import describe, words
from agentlib.types import Record
from localmodel import edits
from localmodel.prompt import FENCES, FILE, TEXTS, last_request, since_request, spaced, tokens
from localmodel.reply import leaves

BETWEEN = {*"and or of in the file with how many have has than more words".split()}  # in a list
FEW = 6  # tools of somebody who has chosen them
MOST_CHANGES, MOST_FILES = 3, 8  # tries to change a file; files looked at one by one
MOST_TEXT = 2000  # characters of material that a call takes as it is
READ = "read_file"  # the tool that helps where another found nothing in a file
RULES = {name: re.compile(rule, re.I | re.S) for name, rule in TEXTS["requests"].items()}
NEEDS = {name: re.compile(rule, re.I | re.S) for name, rule in TEXTS["needs"].items()}
NOTHING = ("", "null", "[]", "{}", "nothing found")  # results that say nothing


def calls(request: Record) -> tuple[list[str], list[str]]:
    """(tools, files): one of these tools must be called next, READ on one of these files; ([], []) where the request
    may be answered, or any tool called."""
    wanted, mark, _ = last_request(request["messages"]).partition(material.RULE)
    tools, run = request.get("tools") or [], since_request(request["messages"])
    if RULES["meaning"].match(wanted):
        return [], []
    files = [] if mark else named(wanted)
    paths = [t for t in tools if "path" in ((t.get("inputSchema") or {}).get("properties") or {})]
    reads = [t["name"] for t in paths if (t.get("annotations") or {}).get("readOnlyHint")]
    writes = [t["name"] for t in paths if t["name"] not in reads]
    needed = _needed([t["name"] for t in tools], wanted)
    made = [call for message in run for call in message.get("tool_calls") or []]
    results = [message for message in run if message["role"] == "tool"]
    if not files and (each := _each([t["name"] for t in tools], wanted, needed)):
        if (left := _listed(run)) is None:
            return ["list_files"], []
        return ([each], left) if left else ([], [])
    if made and (left := _in_list(wanted, made, reads)):
        return [made[-1]["name"]], left
    changes = bool(files and writes and not needed and RULES["change"].match(wanted))
    if not results:
        if files and writes and (RULES["make"].match(wanted) or RULES["add"].match(wanted)):
            return writes, []
        found = [name for name in needed if name in reads][:1]
        if files and READ in reads and (changes or needed and not found):
            return [READ], files
        if files:
            return found or [*reads, *writes], []
        return needed[:1] or (reads if not mark and RULES["place"].search(wanted) else []), []
    read = spaced([call.get("arguments") for call in made if call["name"] == READ])
    unread = [name for name in files if name not in read]
    if unread and READ in reads and _says_nothing(results[-1], wanted):
        return [READ], unread
    tried = [call["id"] for call in made if call["name"] in writes]
    changed = [r for r in results if r["tool_call_id"] in tried and not _failed(r)]
    if changes and not changed and len(tried) < MOST_CHANGES:
        return writes, []
    done = [call["name"] for call in made]
    return [n for n in needed if n not in done and not _failed(results[-1])][:1], []


def _in_list(wanted: str, made: list[Record], reads: list[str]) -> list[str]:
    """The files that no call has had yet of the list whose last one was read: a small model forgets them."""
    left = [n for n in named(wanted) if n not in spaced([c.get("arguments") for c in made])]
    last = str(made[-1]["arguments"].get("path", "")) if left and made[-1]["name"] in reads else ""
    _, there, between = wanted.partition(left[0])[0].rpartition(last) if last else ("", "", "")
    return left if there and tokens(between) <= BETWEEN else []


def named(wanted: str) -> list[str]:
    """The files that a request names."""
    return [n for n in dict.fromkeys(FILE.findall(wanted)) if not RULES["site"].fullmatch(n)]


def _needed(tools: list[str], wanted: str) -> list[str]:
    """The tools without which the request cannot be answered, in the order in which it has need of them."""
    found = {name: NEEDS[name].search(wanted) for name in tools if name in NEEDS}
    places = {name: match.start() for name, match in found.items() if match}
    return sorted(places, key=lambda name: places[name])


def _each(tools: list[str], wanted: str, needed: list[str]) -> str:
    """The tool that must look at each file of a folder: which of them has the most words, or says something."""
    if "list_files" not in tools or not RULES["which"].search(wanted):
        return ""
    if "wordcount" in needed:
        return "wordcount"
    found = "search_files" in tools or not NEEDS["search_files"].search(wanted)
    return READ if READ in tools and not found else ""


def _listed(run: list[Record]) -> list[str] | None:
    """The files in a list that no call has had yet; None without a list."""
    made = [call for message in run for call in message.get("tool_calls") or []]
    lists = {call["id"]: call["arguments"] for call in made if call["name"] == "list_files"}
    found = [m for m in run if m["role"] == "tool" and m["tool_call_id"] in lists]
    if not found:
        return None
    folder = str(lists[found[0]["tool_call_id"]].get("path", ".")).rstrip("/")
    names = FILE.findall(text(found[0], joint="\n"))[:MOST_FILES]
    paths = [name if folder in ("", ".") else f"{folder}/{name}" for name in names]
    had = [value for call in made for value in leaves(call["arguments"])]
    return [path for path in paths if path not in had]


def _failed(result: Record) -> bool:
    """Whether another try may help: not where the user did not allow it."""
    return bool(result.get("is_error")) and "allow" not in text(result)


def _says_nothing(result: Record, wanted: str) -> bool:
    """Whether a result is an error, or empty, or figures without the names that the request has."""
    found = text(result, joint="\n").strip()
    names = re.findall(r"(?<=[\w,] )[A-Z]\w+", FILE.sub("", wanted))
    unseen = found[:1] == "{" and names and not any(name in found for name in names)
    return _failed(result) or found in NOTHING or bool(unseen)


def narrow(schema: Record, request: Record) -> Record:
    """The schema of the next call, held to what must come next; as it is where nothing of it would be left."""
    tools, files = calls(request)
    forms = schema.get("anyOf", [schema])
    left = [form for form in forms if form["properties"]["tool"].get("const") in tools] or forms
    wanted, mark, _ = last_request(request["messages"]).partition(material.RULE)
    names = [] if mark else files or named(wanted)
    if names or mark:
        left = _only(left, *(("path", "text") if names else ("text", "path")))
    texts = _texts(request)
    for form in left:
        tool, args = form["properties"]["tool"].get("const"), edits.fields(form)
        of_a_file = files or tool not in ("list_files", "search_files")  # whose path is a folder
        if tool in tools and "path" in args and names and of_a_file:
            args["path"] = {"enum": names}
        if tool == "search_files" and wanted == wanted.lower():  # without capitals: all count
            args["ignore_case"] = {"const": True}
            edits.needed(form).append("ignore_case")
        if tool == "search_files" and "text" in args and (name := RULES["sought"].search(wanted)):
            args["text"] = {"const": name[1]}
        if tool in tools and "path" not in args and "text" in args and texts:
            args["text"] = {"enum": texts}
    left = edits.forms(left, request, bool(tools and names), bool(RULES["add"].match(wanted)))
    return {"anyOf": left} if len(left) != 1 else left[0]


def _only(forms: list[Record], name: str, other: str) -> list[Record]:
    """Of the forms of a tool that takes one of two arguments, those that take the first."""
    takers = [form["properties"]["tool"] for form in forms if name in edits.needed(form)]
    left = []
    for form in forms:
        if form["properties"]["tool"] not in takers:
            left.append(form)
        elif name in edits.needed(form):
            if other not in edits.needed(form):
                edits.fields(form).pop(other, None)
            left.append(form)
    return left


def _texts(request: Record) -> list[str]:
    """What a call takes as it is: the last result where the request goes on with it, else the material, but where the
    request has a text of its own."""
    wanted, mark, rest = last_request(request["messages"]).partition(material.RULE)
    run = since_request(request["messages"])
    results = [text(m, joint="\n").strip() for m in run if m["role"] == "tool"]
    texts = [] if RULES["text"].search(wanted) else [piece for _, _, piece in FENCES.findall(rest)]
    tail = re.split(r"\b(?:and|then)\b", wanted)[-1]  # its own text or file is another task's
    apart = [piece for label, _, piece in FENCES.findall(rest) if label.split(" ")[-1] in tail]
    if results and (apart or RULES["text"].search(tail)) and not RULES["chain"].search(wanted):
        return apart
    if results and (texts or named(wanted) or RULES["chain"].search(wanted)):
        texts = results[-1:]
    return texts if sum(map(len, texts)) <= MOST_TEXT else []


def far_fetched(call: Record, request: Record) -> bool:
    """Whether a call of one of many tools has no word in common with a request in English without anything exact."""
    wanted, tools = last_request(request["messages"]), request["tools"]
    if len(tools) <= FEW or RULES["exact"].search(wanted) or not RULES["english"].search(wanted):
        return False
    tool = next(tool for tool in tools if tool["name"] == call["name"])
    asks = RULES["question"].match(wanted) and "path" not in spaced(tool)
    rule = NEEDS.get(call["name"]) if asks else None
    near = {*words(wanted)} & {*words(describe(tool))}
    return not near or bool(rule and not rule.search(wanted))
