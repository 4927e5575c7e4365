"""May this tool run with these arguments, and in which sandbox? Only the user's flags and own policy file say so.

Deny beats ask beats allow, whatever the order. A tool that is not enforced to be read-only needs an allow. What a
tool's schema asks for (`sandbox`, `env`) is a wish; what a project's files say is nothing at all.

    consent.options(parser); policy = consent.policy(parser.parse_args())
    granted = policy.allow(tool_record, arguments, origin)           # Fault tool_denied, in words for the model
    start.cell(argv, origin, granted, env=sandbox.environment(granted.env))
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

from agentlib import paths, records
from agentlib.faults import Fault
from agentlib.launch.start import OTHER, Decision
from agentlib.policy import terminal
from agentlib.types import Any, Iterable, Iterator, NamedTuple, Record


class Rule(NamedTuple):
    """tool: globs on the name. arguments: globs by argument, all of which must match. verdict: '' only grants."""

    tool: tuple[str, ...]
    arguments: dict[str, tuple[str, ...]] = {}
    verdict: str = ""
    profile: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    reason: str = ""


WIDTH = {"read": 0, "work": 1, "net": 2, "off": 3}
MEANING = {
    "read": "reads only",
    "work": "may change files in this folder",
    "net": "this folder, and the network",
    "off": "no sandbox: whatever you may do",
    "read+net": "reads only, and the network",
}
# What the suite's own programs may see and write of the user's data where their schemas ask for it, by their names.
DATA = {"agent-memory": "memory", "find_agent": "AGENTS.md"}


class Policy:
    """Rules and what goes where none speaks. Safe to use from many threads; two questions are never asked at once."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        sandbox: str = "",
        ask: bool = False,
        env: Iterable[str] = (),
    ) -> None:
        self.rules, self.sandbox, self.ask, self.env = list(rules), sandbox, ask, tuple(env)
        from threading import Lock  # not loaded for --help

        self._asking = Lock()

    def allow(
        self, tool: Record, arguments: Any, origin: str = OTHER, called: bool = False
    ) -> Decision:
        """As decide(), but a denial is a Fault `tool_denied` that a model can act on."""
        decision = self.decide(tool, arguments, origin, called)
        if decision.verdict == "deny":
            raise Fault(
                "tool_denied",
                f"{tool['name']} was not run: {decision.reason}. Do not try it again; go on "
                "without it, or say what should be done.",
            )
        return decision

    def decide(
        self, tool: Record, arguments: Any, origin: str = OTHER, called: bool = False
    ) -> Decision:
        """The verdict on one call of a `tool` record; asks the person where a rule or --ask says so.

        origin: whose agent it is; the suite's and the user's start bare. called: a plan, or call_agent, which was
        allowed, gives an agent its work: those need no word of their own then.
        """
        known = origin != OTHER
        rules = [rule for rule in self.rules if _matches(rule, tool, arguments)]
        if denied := next((rule for rule in rules if rule.verdict == "deny"), None):
            return Decision(
                "deny",
                "",
                f"the user has denied it ({denied.reason or 'a rule of the policy file'})",
            )
        profile, lacks = self._profile(tool, rules, known)
        if profile == "net" and reads(tool):  # that it only reads is enforced here too
            profile = "read+net"
        env = frozenset(_env(rules, self.env, known and profile == "off"))
        decision = Decision("allow", profile, "", *_grants(tool, rules), env)
        wary = any(rule.verdict == "ask" for rule in rules)
        allowed = called and known or any(rule.verdict == "allow" for rule in rules)
        if not wary and not lacks and (allowed or _harmless(tool, profile, self.sandbox)):
            return decision
        if wary or self.ask:
            return self._ask(tool, arguments, decision, wary)
        lacks = lacks or f"the user has not allowed it (--allow {tool['name']})"
        return decision._replace(verdict="deny", reason=lacks)

    def _profile(self, tool: Record, rules: list[Rule], known: bool) -> tuple[str, str]:
        """(profile, what the user must say for it to be granted or '')."""
        wish = wished(tool) or ("off" if known else "read" if reads(tool) else "work")
        if named := [rule.profile for rule in rules if rule.profile and rule.verdict != "deny"]:
            return named[0], ""
        if self.sandbox == "off":
            return "off", ""
        if self.sandbox:
            special = reads(tool) or wished(tool) or known
            return (_narrower(wish, self.sandbox) if special else self.sandbox), ""
        if WIDTH[wish] > WIDTH["work"] and not known:
            return (
                wish,
                f"it asks for the sandbox profile `{wish}` ({MEANING[wish]}): --allow {tool['name']}:{wish}",
            )
        return wish, ""

    def _ask(self, tool: Record, arguments: Any, decision: Decision, wary: bool) -> Decision:
        name = tool["name"]
        with self._asking:
            if not wary and any(
                rule.reason == "always"
                and _matches(rule, tool, arguments)
                and rule.profile == decision.profile
                for rule in self.rules
            ):
                return decision
            prompt = f"Run {name}? y(es), a(lways in this run), anything else is no: "
            answer = terminal.question(_shown(tool, arguments, decision.profile), prompt)
            if answer in ("a", "always") and not wary:
                self.rules.append(
                    Rule(
                        (_literal(name),),
                        verdict="allow",
                        profile=decision.profile,
                        reason="always",
                    )
                )
            if answer in ("y", "yes", "a", "always"):
                return decision._replace(reason="the user said yes")
        why = (
            "nobody can be asked (no terminal, or no answer)"
            if answer is None
            else "the user was asked and said no"
        )
        return decision._replace(verdict="deny", reason=why)


def reads(tool: Record) -> bool:
    """Whether the tool says that it only reads."""
    notes = tool.get("annotations")
    return isinstance(notes, dict) and notes.get("readOnlyHint") is True


def wished(tool: Record) -> str:
    """The profile that a tool's schema asks for, '' where it asks for none that there is."""
    wish = tool.get("sandbox")
    profile = wish.get("profile") if isinstance(wish, dict) else wish
    return profile if isinstance(profile, str) and profile in WIDTH else ""


def _harmless(tool: Record, profile: str, general: str) -> bool:
    """Needs no consent: enforced to read only; or believed to, where the user switched the sandbox off for all."""
    return reads(tool) and (profile == "read" or profile == general == "off")


def _narrower(one: str, other: str) -> str:
    return min(one, other, key=WIDTH.__getitem__)


def _grants(tool: Record, rules: list[Rule]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(read, write): what rules give; and to the suite's own programs what they ask for in their own data folders."""
    read = [path for rule in rules for path in rule.read]
    write = [path for rule in rules for path in rule.write]
    wish = tool.get("sandbox")
    if isinstance(wish, dict):
        mine = [one for one in _own_data(tool, wish.get("write")) if not one.endswith(".md")]
        for path in mine:  # what is not there could not be shown to the tool
            os.makedirs(path, mode=0o700, exist_ok=True)
        read += [path for path in _own_data(tool, wish.get("read")) if os.path.exists(path)]
        write += mine
    return tuple(read), tuple(write)


def _own_data(tool: Record, asked: Any) -> list[str]:
    """Those of the paths that are this program's own data; they may begin with a variable, `$XDG_DATA_HOME/…`."""
    from agentlib.sandbox.host import inside

    program = os.path.realpath((tool.get("command") or [""])[0])
    name = os.path.basename(program)
    if name not in DATA or not paths.own(program):
        return []
    folder = os.path.realpath(os.path.join(paths.place("data"), DATA[name]))
    real = [paths.expand(str(path)) for path in asked or ()]
    return [path for path in real if inside(os.path.realpath(path), folder)]


def _env(rules: list[Rule], general: Iterable[str], bare: bool) -> list[str]:
    given = [*general, *(name for rule in rules for name in rule.env)]
    return [*given, *os.environ] if bare else given


def _matches(rule: Rule, tool: Record, arguments: Any) -> bool:
    return any(fnmatchcase(str(tool.get("name")), glob) for glob in rule.tool) and all(
        _fits(arguments, name, globs, rule.verdict) for name, globs in rule.arguments.items()
    )


def _fits(arguments: Any, name: str, globs: tuple[str, ...], verdict: str) -> bool:
    """Whether an argument matches: for an allow every part of it must, of which there is at least one.

    No allow matches null, an empty list or object, nor a path with `..` in it. For a deny or ask any part is enough,
    also the parts in a row, as a command would have them, or the whole as JSON.
    """
    if not isinstance(arguments, dict) or name not in arguments:
        return False
    parts = list(_parts(arguments[name]))
    texts = [text for text in parts if text is not None]
    if verdict in ("deny", "ask"):
        texts += [" ".join(texts), records.dumps(arguments[name])]
        return any(fnmatchcase(text, glob) for text in texts for glob in globs)
    return len(texts) == len(parts) and all(
        any(fnmatchcase(text, glob) for glob in globs) and ".." not in text.split("/")
        for text in texts
    )


def _parts(value: Any) -> Iterator[str | None]:
    """All strings, numbers and booleans in a value, as texts; None for null and for what is empty."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and value:
        for one in value if isinstance(value, list) else [*value, *value.values()]:
            yield from _parts(one)
    elif value is None or isinstance(value, list | dict):
        yield None
    else:
        yield records.dumps(value)


def _literal(name: str) -> str:
    """A glob that matches this name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _shown(tool: Record, arguments: Any, profile: str) -> list[str]:
    """What a person reads before saying yes."""
    command = " ".join(str(word) for word in tool.get("command") or ())
    return [
        "",
        f"{tool['name']} wants to run: {terminal.shortened(command)}",
        f"  sandbox: {profile} ({MEANING[profile]})",
        f"  arguments: {terminal.shortened(records.dumps(arguments))}",
    ]
