"""agent-discover: its options, and the listing of executables; standard input follows it."""

import os
from types import SimpleNamespace

from agentlib import cli, records, stderr
from agentlib.discover import search_path
from agentlib.faults import Fault
from agentlib.schema import schemas, trust
from agentlib.types import Any

USAGE = (
    "agent-discover [OPTION]... [FILE|FOLDER|NAME|@tools|-]...\n       agent-discover find WORD..."
)
STRINGS = {"type": "array", "items": {"type": "string"}}
ARGUMENTS = {"type": "object", "properties": {"args": STRINGS, "stdin": {"type": "string"}}}
PLAIN: dict[str, Any] = {
    **dict.fromkeys(("fresh", "verbose", "user", "pin"), False),
    **{"kind": [], "timeout": None, "sandbox": "on", "lang": "sh", "semantic": None},
}
ACTIONS = """
--check       hold each file against the rules of --agent-schema, and say how to mend it
--agents      list the agents of the registry, all or those named
--register    enter each FILE in the nearest AGENTS.md
--unregister  take each NAME out of the nearest AGENTS.md
--path        describe every program on PATH, by its man page or package
--help-probe  run NAME --help in a sandbox, and print NAME as a tool that takes arguments
--new-tool    write a first version of a tool to each FILE
"""
OPTIONS = """
--lang sh|python|js|perl  the language of --new-tool (default sh)
--user                use your own AGENTS.md, in the data folder
--kind KIND...        print this kind alone; may be given again
--semantic [=PROVIDER]  find: rank by meaning too, by vectors of this PROVIDER or PROVIDER/MODEL
    (default: $AGENT_EMBEDDINGS, else minilm, on this machine)
--pin                 add each program's sha256: agent-react refuses to run it once it has changed
--fresh               ask every program anew, without the cache
--timeout SECONDS     how long a program may take to answer (default 3, more on a busy machine)
--sandbox on|off      off: ask programs of others too without a sandbox, where there is none
-v, --verbose         say which files were left out, and why
"""


def options(argv: list[str], doc: str) -> Any:
    """The options; those of a plain listing without argparse, which takes as long as the listing."""
    if argv == ["--path"] or not any(arg[:1] == "-" and arg != "-" for arg in argv):
        action = "path" if argv == ["--path"] else "list"
        action = "find" if argv[:1] == ["find"] else action
        return SimpleNamespace(**PLAIN, action=action, operands=argv)
    parser = cli.parser(doc, USAGE)
    help = "what to list (see below)"
    parser.add_argument("operands", nargs="*", metavar="FILE|FOLDER|NAME|@tools|-", help=help)
    actions = parser.add_mutually_exclusive_group()
    for line in ACTIONS.strip().splitlines():
        flag, help = line.split(maxsplit=1)
        actions.add_argument(flag, dest="action", action="store_const", const=flag[2:], help=help)
    kinds, seconds = {"choices": schemas.KINDS, "metavar": None}, cli.number(1e-3)
    defaults = {"lang": {"default": "sh"}, "sandbox": {"default": "on"}}
    cli.options(parser, OPTIONS, kind=kinds, timeout=seconds, **defaults)
    words = ["--semantic=" if word == "--semantic" else word for word in argv]
    chosen = parser.parse_intermixed_args(words)
    chosen.action = chosen.action or ("find" if chosen.operands[:1] == ["find"] else "list")
    return chosen


def main(argv: list[str], doc: str) -> int:
    """The program, with its docstring for --help."""
    chosen = options(argv, doc)
    if chosen.action == "list":
        cli.end_with_reader()
        found, status = search_path.of(chosen.operands, chosen.kind)
        status = max(status, show(found, chosen))
        for _ in records.passed_on("-" in chosen.operands):
            pass
        return status
    if chosen.action == "path":
        from agentlib.discover import manpages

        records.put(manpages.listing())
        return 0
    from agentlib.discover import actions

    return actions.act(chosen.action, chosen.operands, chosen)


def show(found: list[search_path.Candidate], chosen: Any) -> int:
    """Print the records of all files; the exit status. A name that comes again is left out, with a message."""
    profile = "probe" if chosen.sandbox == "on" else "off"
    answers = schemas.ask_raw((one.path for one in found), chosen.timeout, chosen.fresh, profile)
    first: dict[tuple[str, str], str] = {}
    lines: list[bytes] = []
    status = 0
    for path, named in found:
        answer = answers[path]
        if isinstance(answer, Fault):
            if named or chosen.verbose or not isinstance(answer, trust.SILENT):
                stderr.warn(f"{path}: {answer.message}")
            if named:
                missing = answer.kind == "not_found"
                status = search_path.NOT_FOUND if missing else search_path.UNUSABLE
            continue
        for raw in answer:
            name, kind = schemas.head(raw)
            if chosen.kind and kind not in chosen.kind:
                continue
            taken = first.setdefault((name, kind.replace("agent", "tool")), path)
            if taken == path:
                lines.append(_pinned(raw, path) if chosen.pin else raw)
            else:
                stderr.warn(f"{name}: {path} is not used: {taken} comes first")
    records.put(b"".join(line + b"\n" for line in lines))
    if lines or status or set(chosen.operands) == {"-"}:
        return status
    elsewhere = [  # of a folder that has the name of one of the suite's
        f" in the folder {os.path.abspath(word)}; the suite's {word.strip('./')} are @{word.strip('./')}"
        for word in chosen.operands
        if f"@{word.strip('./')}" in search_path.SUITE
    ]
    stderr.warn(f"nothing found{''.join(elsewhere[:1])}")
    return 1


def _pinned(raw: bytes, path: str) -> bytes:
    import hashlib

    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return schemas.line({**records.loads(raw), "sha256": digest})
