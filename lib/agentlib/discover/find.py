"""Find agents and tools by what they can do: the words of a request against name, tags and description."""

from agentlib import records, stderr
from agentlib.discover import search_path
from agentlib.schema import agents, schemas
from agentlib.search import rank
from agentlib.types import Record

STEM = 4  # letters that a word of the request needs to stand for the words that begin with it
FOUND = 20  # records printed at most
# words of any request, as rank.words() has them
ASKING = set("agent find know look me program search some somebody someon anyon who help".split())


def everything() -> list[Record]:
    """The agents of the registries and the tools on the tool path, each name once. What is broken is left out."""
    found: dict[str, Record] = {}
    files = search_path.everything(search_path.folders_of("tool"))
    answers = [answer for answer in schemas.read(files).values() if isinstance(answer, list)]
    tools = [one for answer in answers for one in answer if one["type"] == "tool"]
    for one in [*agents.every(), *tools]:
        found.setdefault(one["name"], one)
    return list(found.values())


def best(records_: list[Record], wanted: str) -> list[Record]:
    """The records that share words with the request, the best first: `reviewer` counts as the request's `review`."""
    query = [word for word in rank.words(wanted) if word not in ASKING]
    stems = [word for word in query if len(word) >= STEM]
    texts = []
    for one in records_:
        tags = " ".join(one.get("tags", []) if isinstance(one.get("tags"), list) else [])
        text = f"{rank.describe(one)} {tags} {tags}".replace("_", " ").replace("-", " ")
        words = rank.words(text)
        texts.append([next((q for q in stems if word.startswith(q)), word) for word in words])
    scores = rank.ranks(texts, query) if texts else []
    order = sorted((i for i in range(len(texts)) if scores[i] > 0), key=lambda i: (-scores[i], i))
    return [records_[i] for i in order]


def near(records_: list[Record], wanted: str, spec: str) -> list[Record]:
    """The same by words and by meaning, through vectors of a provider (search/embedder.py)."""
    from agentlib.search import embedder

    found = embedder.nearest(spec, wanted, [rank.describe(one) for one in records_])
    by_meaning = [{**records_[i], "similarity": round(score, 3)} for score, i in found]
    return rank.fused(best(records_, wanted), by_meaning, name=lambda one: one["name"])


def report(wanted: str, spec: str | None = None) -> int:
    """Print the records that fit the request, the best first; 1 where there is none. spec: of --semantic."""
    every = everything()
    found = (best(every, wanted) if spec is None else near(every, wanted, spec))[:FOUND]
    for one in found:
        records.put(schemas.line(one) + b"\n")
    if not found:
        stderr.warn(f"no agent or tool fits: {wanted}")
    return 0 if found else 1
