"""The work of agent-context: collect, rank, cut to the budget, and warn of what was left out."""

import os
import subprocess

from agentlib import cli, paths, records, secrets, stderr
from agentlib.context import load, skills
from agentlib.faults import Fault
from agentlib.tool import walk
from agentlib.types import Iterator, Namespace, Record

IMAGE_TOKENS = 1500  # the cost of an image, about what vendors charge for a large one
FETCH_SECONDS = 60
SHOWN = 10  # names of what was left out


def main(args: Namespace) -> int:
    """Print the records; the exit status."""
    if args.read_skill:
        return skills.read(args.skills)
    if "-" not in args.what:
        cli.end_with_reader()
    for _ in records.passed_on("-" in args.what):
        pass
    omitted: list[str] = []
    for record in produced(args, omitted):
        records.write(record)
    more = [f"{len(omitted) - SHOWN} more"] if len(omitted) > SHOWN else []
    for text in [] if args.quiet else [*omitted[:SHOWN], *more]:
        stderr.warn(f"left out: {text}")
    return 0


def produced(args: Namespace, omitted: list[str]) -> Iterator[Record]:
    """The records that follow those of standard input; `omitted` gets a line for all that is left out."""
    if args.instructions:
        yield from instructions()
    yield from skills.offer(args.skills)
    secret_files: list[str] = []
    by_source = {record["source"]: record for record in collect(args, omitted, secret_files)}
    found = list(by_source.values())
    if secret_files and not args.quiet:
        count, names = len(secret_files), ", ".join(secret_files[:SHOWN])
        more = "…" if count > SHOWN else ""
        stderr.warn(f"left out: {count} with secrets: {names}{more} (--include-secrets sends them)")
    if args.wanted:
        found = ranked(found, args.wanted)
    if args.tree and found:
        names = "\n".join(sorted(record["source"] for record in found))
        yield {"type": "context", "source": "tree", "text": names}
    yield from fitted(found, args, omitted)


def collect(args: Namespace, omitted: list[str], secret_files: list[str]) -> Iterator[Record]:
    """The context of each operand. Of a folder, or with --skip, what cannot be read or holds secrets is left out."""
    if args.diff is not None:
        text = walk.diff(args.diff, args.include_secrets)
        yield {"type": "context", "source": f"git diff {args.diff}", "text": text}
    for operand in args.what:
        if operand == "-":
            continue
        if operand.startswith(("http://", "https://")):
            yield page(operand)
        elif args.skip or os.path.isdir(operand) or not os.path.lexists(operand):
            files = walk.expand(operand)
            if not args.include_secrets:
                secret_files += [file for file in files if secrets.secret(file)]
            for file in files:
                try:
                    if file not in secret_files:
                        yield load.load(file)
                except Fault as bad:
                    omitted.append(bad.message)
        elif secrets.secret(operand) and not args.include_secrets:
            raise Fault("invalid_input", f"{operand} holds secrets: --include-secrets sends it")
        else:
            yield load.load(operand)


def page(url: str) -> Record:
    """A web page, by the tool fetch_url, which refuses addresses of this machine and its network."""
    tool = os.path.join(paths.TOP, "tools", "fetch_url")
    arguments = records.encode({"url": url})
    try:
        done = subprocess.run([tool], input=arguments, capture_output=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise Fault("timeout", f"{url}: no answer in {FETCH_SECONDS} s") from None
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Fault("network", why[-1] if why else f"{url}: cannot be fetched")
    return load.record(done.stdout, url)


def ranked(found: list[Record], query: str) -> list[Record]:
    """The records by relevance to the query: BM25 by SQLite's FTS5, where names of files count most."""
    import sqlite3

    words = ['"' + word.replace('"', '""') + '"' for word in query.replace("\0", " ").split()]
    if not words:
        return found
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE files USING fts5(source, text, tokenize='porter unicode61')")
    rows = [(i, r["source"].replace("/", " "), r.get("text", "")) for i, r in enumerate(found)]
    db.executemany("INSERT INTO files(rowid, source, text) VALUES(?,?,?)", rows)
    select = "SELECT rowid FROM files WHERE files MATCH ? ORDER BY bm25(files, 3, 1)"
    matches = [row[0] for row in db.execute(select, (" OR ".join(words),))]
    order = dict.fromkeys([*matches, *range(len(found))])
    return [found[i] for i in order]


def fitted(found: list[Record], args: Namespace, omitted: list[str]) -> Iterator[Record]:
    """As many records as fit the whole budget, each cut to the budget of one file."""
    left = args.max_tokens
    for record in found:
        if "text" in record:
            record = cut(record, args.max_file_tokens, omitted)
            if args.numbers:  # as by nl -ba
                lines = record["text"].splitlines(keepends=True)
                record["text"] = "".join(f"{i:6}\t{line}" for i, line in enumerate(lines, 1))
        cost = tokens(record["text"]) if "text" in record else IMAGE_TOKENS
        if cost <= left:
            left -= cost
            yield record
        else:
            why = f"no room left in {args.max_tokens} tokens (estimated at 4 bytes each)"
            omitted.append(f"{record['source']}: {why}")


def cut(record: Record, most: int, omitted: list[str]) -> Record:
    """The record with its text cut at a line end, to about `most` tokens."""
    text, count = record["text"], tokens(record["text"])
    if count <= most:
        return record
    head = text[: len(text) * most // count]
    head = head[: head.rfind("\n") + 1] or head
    lines = text.count("\n") - head.count("\n")
    omitted.append(f"{record['source']}: the last {lines} lines (over {most} tokens)")
    return {**record, "text": head + f"[cut: {lines} more lines]\n"}


def tokens(text: str) -> int:
    """About how many tokens a text has: one for each four bytes."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def instructions() -> Iterator[Record]:
    """The AGENTS.md files from the project's top (the nearest folder upward with a .git) down to the working folder."""
    from pathlib import Path

    chain = [Path.cwd(), *Path.cwd().parents]
    top = next((folder for folder in chain if (folder / ".git").exists()), chain[0])
    for folder in reversed(chain[: chain.index(top) + 1]):
        file = folder / "AGENTS.md"
        if file.is_file() and str(file.resolve()).startswith(f"{top.resolve()}/"):
            text = load.load(str(file))["text"]
            content = f"Instructions of {os.path.relpath(file)}:\n{text}"
            yield {"type": "message", "role": "system", "content": content}
