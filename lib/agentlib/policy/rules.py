"""May this tool run with these arguments, and in which sandbox? Only the user's flags and own policy file say so.

Deny beats ask beats allow, whatever the order. A tool that is not enforced to be read-only needs an allow. What a
tool's schema asks for (`sandbox`, `env`) is a wish; what a project's files say counts for nothing.

    flags.options(parser); policy = flags.policy(parser.parse_args())
    decision = policy.allow(tool_record, arguments, origin)           # Fault tool_denied, in words for the model
    start.sandbox(argv, origin, decision, env=prepare.environment(decision.env))
"""

import _thread  # a lock without the module threading, which costs 1 ms at every start
import os
from fnmatch import fnmatchcase

from agentlib.faults import Fault
from agentlib.launch.start import OTHER, Decision
from agentlib.types import Any, Callable, Iterable, NamedTuple, Record

Names = Iterable[str]
WIDTH = {"read": 0, "work": 1, "net": 2, "off": 3}
MEANING = {
    "read": "reads only",
    "work": "may change files in this folder",
    "net": "this folder, and the network",
    "off": "no sandbox: whatever you may do",
    "read+net": "reads only, and the network",
}


class Rule(NamedTuple):
    """tool: globs on the name. fits: whether it is for these arguments, None for all. verdict: '' only grants."""

    tool: tuple[str, ...]
    fits: Callable[[Any], bool] | None = None
    verdict: str = ""
    profile: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    reason: str = ""


class Policy:
    """Rules, and defaults for what no rule matches. Safe to use from many threads; one question at a time."""

    def __init__(
        self, rules: Iterable[Rule] = (), sandbox: str = "", ask: bool = False, env: Names = ()
    ) -> None:
        self.rules, self.sandbox, self.ask, self.env = list(rules), sandbox, ask, tuple(env)
        self._asking = _thread.allocate_lock()

    def allow(
        self, tool: Record, arguments: Any, origin: str = OTHER, called: bool = False
    ) -> Decision:
        """As decide(), but a denial is a Fault `tool_denied` that a model can act on."""
        decision = self.decide(tool, arguments, origin, called)
        if decision.verdict == "deny":
            advice = "Do not try it again; go on without it, or say what should be done."
            raise Fault("tool_denied", f"{tool['name']} was not run: {decision.reason}. {advice}")
        return decision

    def decide(
        self, tool: Record, args: Any, origin: str = OTHER, called: bool = False, ask: bool = True
    ) -> Decision:
        """The verdict on one call of a `tool` record; asks the person where a rule or --ask says so.

        origin: whose agent it is; the suite's and the user's start without a sandbox. called: a plan, or call_agent,
        which was allowed, gives the agent its work: then the suite's and the user's agents need no further consent.
        ask: without, as if the person had said yes.
        """
        trusted = origin != OTHER
        rules = [rule for rule in self.rules if _matches(rule, tool, args)]
        if denied := next((rule for rule in rules if rule.verdict == "deny"), None):
            why = denied.reason or "a rule of the policy file"
            return Decision("deny", "", f"the user has denied it ({why})")
        profile, refusal = self._profile(tool, rules, trusted)
        if profile == "net" and reads(tool):  # that it only reads is enforced here too
            profile = "read+net"
        env = [*self.env, *(name for rule in rules for name in rule.env)]
        env += os.environ if trusted and profile == "off" else ()
        read = [path for rule in rules for path in rule.read]
        write = [path for rule in rules for path in rule.write]
        if isinstance(tool.get("sandbox"), dict):
            from agentlib.policy import grants

            read, write = [a + b for a, b in zip((read, write), grants.of(tool), strict=True)]
        decision = Decision("allow", profile, "", tuple(read), tuple(write), frozenset(env))
        must_ask = any(rule.verdict == "ask" for rule in rules)
        allowed = called and trusted or any(rule.verdict == "allow" for rule in rules)
        # enforced to read only; or believed to, where the user switched the sandbox off for all
        harmless = profile == "read" or profile == self.sandbox == "off"
        allowed = allowed or reads(tool) and harmless
        if allowed and not must_ask and not refusal:
            return decision
        if must_ask or self.ask:
            return self._ask(tool, args, decision, must_ask) if ask else decision
        flag = f"--allow {tool['name']}"
        refusal = refusal or f"the user has not allowed it ({flag})"
        if tool.get("kind") == "agent" and not trusted:
            refusal += f"; as the user's own command, with the user's keys: {flag}:command"
        return decision._replace(verdict="deny", reason=refusal)

    def _profile(self, tool: Record, rules: list[Rule], trusted: bool) -> tuple[str, str]:
        default = "read" if reads(tool) else "work"
        wish = wished(tool) or ("off" if trusted else default)
        if named := [rule.profile for rule in rules if rule.profile and rule.verdict != "deny"]:
            return named[0], ""
        if self.sandbox == "off":
            return "off", ""
        if self.sandbox:
            special = reads(tool) or wished(tool) or trusted
            narrower = min(wish, self.sandbox, key=WIDTH.__getitem__)
            return narrower if special else self.sandbox, ""
        if WIDTH[wish] <= WIDTH["work"] or trusted:
            return wish, ""
        flag = f"--allow {tool['name']}:{wish}"
        return wish, f"it asks for the sandbox profile `{wish}` ({MEANING[wish]}): {flag}"

    def _ask(self, tool: Record, arguments: Any, decision: Decision, must_ask: bool) -> Decision:
        """What the person at the terminal says; must_ask: an earlier `always` does not answer for this call."""
        from agentlib.policy import terminal

        literal = "".join(f"[{c}]" if c in "*?[" else c for c in tool["name"])
        always = Rule((literal,), verdict="allow", profile=decision.profile, reason="always")
        with self._asking:
            if always in self.rules and not must_ask:
                return decision
            where = f"{decision.profile} ({MEANING[decision.profile]})"
            verdict, again, reason = terminal.consent(tool, arguments, where)
            if again and not must_ask:
                self.rules.append(always)
        return decision._replace(verdict=verdict, reason=reason)


def reads(tool: Record) -> bool:
    """Whether the tool says that it only reads."""
    notes = tool.get("annotations")
    return isinstance(notes, dict) and notes.get("readOnlyHint") is True


def wished(tool: Record) -> str:
    """The profile that a tool's schema asks for, '' where it asks for none that exists."""
    wish = tool.get("sandbox")
    profile = wish.get("profile") if isinstance(wish, dict) else wish
    return profile if isinstance(profile, str) and profile in WIDTH else ""


def _matches(rule: Rule, tool: Record, arguments: Any) -> bool:
    names = [str(tool.get("name")), f"{tool.get('server')}__{tool.get('tool')}"]
    named = any(fnmatchcase(name, glob) for name in names for glob in rule.tool)
    return named and (rule.fits is None or rule.fits(arguments))
