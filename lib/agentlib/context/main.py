"""The work of agent-context: gather, rank, cut to the budget, say what was left out."""

from __future__ import annotations

import os
import subprocess

from agentlib import paths, records, secrets, stderr
from agentlib.context import load, skills
from agentlib.faults import Fault
from agentlib.tool import walk
from agentlib.types import Callable, Iterator, Namespace, Record

IMAGE_TOKENS = (
    1500  # what an image costs of the budget, roughly what vendors charge for a large one
)
FETCH_SECONDS = 60
SHOWN = 10  # names of what was left out


def main(args: Namespace) -> int:
    """Print the records; 1 where something named could not be read, 0 else."""
    if args.read_skill:
        return skills.read(args.skills)
    plain = "-" in args.what
    if plain:
        records.write(records.plain(terminal=False))
    else:
        for line in records.read():
            records.put(line.raw + b"\n")
    if args.instructions:
        for record in instructions():
            records.write(record)
    for record in skills.offer(args.skills):
        records.write(record)
    left: list[str] = []
    hidden: list[str] = []
    found = list(collect(args, left, hidden))
    if hidden and not args.quiet:
        stderr.warn(kept_back(hidden))
    if args.wanted:
        found = ranked(found, args.wanted)
    if args.tree and found:
        records.write(
            {
                "type": "context",
                "source": "tree",
                "text": "\n".join(sorted(r["source"] for r in found)),
            }
        )
    for record in fitted(found, args, left):
        records.write(record)
    if left and not args.quiet:
        tell(left)
    return 0


def collect(args: Namespace, left: list[str], hidden: list[str]) -> Iterator[Record]:
    """The context of each operand; what a folder has that cannot be read goes to `left`, a secret to `hidden`."""
    if args.diff is not None:
        yield {
            "type": "context",
            "source": f"git diff {args.diff}",
            "text": walk.diff(args.diff, args.include_secrets),
        }
    for operand in args.what:
        if operand == "-":
            continue
        if operand.startswith(("http://", "https://")):
            yield fetched(operand)
        elif os.path.isdir(operand) or not os.path.lexists(operand):
            files = walk.expand(operand)
            if not args.include_secrets:
                hidden += [file for file in files if secrets.secret(file)]
            yield from readable([file for file in files if file not in hidden], left)
        elif secrets.secret(operand) and not args.include_secrets:
            raise Fault("invalid_input", f"{operand} holds secrets: --include-secrets sends it")
        else:
            yield load.load(operand)


def kept_back(secret: list[str]) -> str:
    """What was left out for it holds secrets: how many, and the names of a few."""
    names = ", ".join(secret[:SHOWN]) + ("…" if len(secret) > SHOWN else "")
    return f"left out: {len(secret)} with secrets: {names} (--include-secrets sends them)"


def readable(files: list[str], left: list[str]) -> Iterator[Record]:
    """The context of those files that can be read."""
    for file in files:
        try:
            yield load.load(file)
        except Fault as bad:
            left.append(bad.message)


def fetched(url: str) -> Record:
    """A page, by the tool fetch_url, which refuses addresses of this machine and its network."""
    tool = os.path.join(paths.TOP, "tools", "fetch_url")
    try:
        asked = records.encode({"url": url})
        done = subprocess.run([tool], input=asked, capture_output=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise Fault("timeout", f"{url}: no answer in {FETCH_SECONDS} s") from None
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Fault("network", why[-1] if why else f"{url}: cannot be fetched")
    return load.record(done.stdout, url)


def ranked(found: list[Record], wanted: str) -> list[Record]:
    """The records by their relevance to a request: BM25 by SQLite's FTS5, file names counting most."""
    import sqlite3

    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE files USING fts5(source, text, tokenize='porter unicode61')")
    rows = [(i, r["source"].replace("/", " "), r.get("text", "")) for i, r in enumerate(found)]
    db.executemany("INSERT INTO files(rowid, source, text) VALUES(?,?,?)", rows)
    words = ['"' + word.replace('"', '""') + '"' for word in wanted.replace("\0", " ").split()]
    query = "SELECT rowid FROM files WHERE files MATCH ? ORDER BY bm25(files, 3, 1)"
    order = [row[0] for row in db.execute(query, (" OR ".join(words),))] if words else []
    rest = [i for i in range(len(found)) if i not in set(order)]
    return [found[i] for i in (*order, *rest)]


def fitted(found: list[Record], args: Namespace, left: list[str]) -> Iterator[Record]:
    """The records cut to the budget of one file, as many as fit the whole budget."""
    count, how = counter()
    room = args.max_tokens
    for record in found:
        if "text" in record:
            record = cut(record, args.max_file_tokens, count, left)
            if args.numbers:
                record["text"] = numbered(record["text"])
        cost = count(record["text"]) if "text" in record else IMAGE_TOKENS
        if cost > room:
            left.append(f"{record['source']}: no room left in {args.max_tokens} tokens ({how})")
            continue
        room -= cost
        yield record


def cut(record: Record, most: int, count: Callable[[str], int], left: list[str]) -> Record:
    """The record with its text cut at a line end to so many tokens."""
    text = record["text"]
    tokens = count(text)
    if tokens <= most:
        return record
    head = text[: len(text) * most // tokens]
    head = head[: head.rfind("\n") + 1] or head
    lines = text.count("\n") - head.count("\n")
    left.append(f"{record['source']}: the last {lines} lines (over {most} tokens)")
    return {**record, "text": head + f"[cut: {lines} more lines]\n"}


def numbered(text: str) -> str:
    """The text with its lines numbered as by nl -ba."""
    return "".join(f"{i:6}\t{line}" for i, line in enumerate(text.splitlines(keepends=True), 1))


def counter() -> tuple[Callable[[str], int], str]:
    """(a function that counts tokens, how it does): tiktoken where it is installed with its data, else an estimate."""
    from agentlib import packages

    try:
        packages.need("tiktoken")
        import tiktoken

        encoding = tiktoken.get_encoding("o200k_base")
        return (lambda text: len(encoding.encode_ordinary(text))), "counted by tiktoken"
    except (Fault, Exception):  # not installed, or its data cannot be fetched here
        return (
            lambda text: (len(text.encode("utf-8", "replace")) + 3) // 4
        ), "estimated at 4 bytes each"


def tell(left: list[str]) -> None:
    """What was left out: each of a few, the number of many."""
    for line in left[:10]:
        stderr.warn(f"left out: {line}")
    if len(left) > 10:
        stderr.warn(f"left out: {len(left) - 10} more")


def instructions() -> Iterator[Record]:
    """The AGENTS.md files from the top of the project (the nearest .git upward) down to the working folder."""
    here = os.getcwd()
    chain = [here]
    while (
        not os.path.exists(os.path.join(chain[-1], ".git"))
        and os.path.dirname(chain[-1]) != chain[-1]
    ):
        chain.append(os.path.dirname(chain[-1]))
    top = chain if os.path.exists(os.path.join(chain[-1], ".git")) else [here]
    for folder in reversed(top):
        file = os.path.join(folder, "AGENTS.md")
        if os.path.isfile(file) and os.path.realpath(file).startswith(
            os.path.realpath(top[-1]) + os.sep
        ):
            text = load.load(file)["text"]
            yield {
                "type": "message",
                "role": "system",
                "content": f"Instructions of {os.path.relpath(file)}:\n{text}",
            }
