"""Who decides whether a tool runs: the user's flags and policy file, and nobody else."""

from __future__ import annotations

import argparse
import os
import pty
import threading
import time

import pytest

from agentlib.faults import Fault
from agentlib.launch import start
from agentlib.policy import file as policy_file
from agentlib.policy import flags as policy_flags
from agentlib.policy import terminal as policy_terminal

READS = {"annotations": {"readOnlyHint": True}}
TOOLS = {
    "look": READS,
    "change": {},
    "fetch": {**READS, "sandbox": "net"},
    "bare": {"sandbox": "off"},
    "careful": {"sandbox": {"profile": "read", "read": ["/etc"], "write": ["/etc"]}},
}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home and settings of our own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def policy(*flags):
    """The policy of these flags and of the file."""
    parser = argparse.ArgumentParser()
    policy_flags.options(parser)
    return policy_flags.policy(parser.parse_args(flags))


def decide(name, *flags, arguments=None, rules=""):
    """(verdict, profile) for one of TOOLS."""
    made = policy(*flags)
    made.rules += policy_file.parse(rules, "rules").rules
    return made.decide(
        {"name": name, "command": ["/usr/bin/true"], **TOOLS[name]}, arguments or {}
    )[:2]


@pytest.mark.parametrize(
    ("name", "flags", "verdict"),
    [
        ("look", "", ("allow", "read")),
        ("look", "--allow look", ("allow", "read")),
        ("look", "--allow look:work", ("allow", "work")),
        ("look", "--sandbox net", ("allow", "read")),
        ("look", "--sandbox off", ("allow", "off")),
        ("look", "--deny look", ("deny", "")),
        ("look", "--deny lo*", ("deny", "")),
        ("change", "", ("deny", "work")),
        ("change", "--allow change", ("allow", "work")),
        ("change", "--allow all", ("allow", "work")),
        ("change", "--allow other", ("deny", "work")),
        ("change", "--allow change --deny change", ("deny", "")),
        ("change", "--deny change --allow all", ("deny", "")),
        ("change", "--allow all --sandbox read", ("allow", "read")),
        ("change", "--allow all --sandbox net", ("allow", "net")),
        ("change", "--sandbox off", ("deny", "off")),
        ("change", "--allow change:off", ("allow", "off")),
        ("fetch", "", ("deny", "read+net")),
        ("fetch", "--allow fetch", ("deny", "read+net")),
        ("fetch", "--allow all", ("deny", "read+net")),
        ("fetch", "--allow fetch:net", ("allow", "read+net")),
        ("fetch", "--allow fetch:read", ("allow", "read")),
        ("fetch", "--sandbox net", ("deny", "read+net")),
        ("fetch", "--sandbox net --allow fetch", ("allow", "read+net")),
        ("fetch", "--sandbox work --allow fetch", ("allow", "work")),
        ("bare", "--allow all", ("deny", "off")),
        ("bare", "--sandbox net --allow all", ("allow", "net")),
        ("bare", "--allow bare:off", ("allow", "off")),
        ("careful", "--allow careful", ("allow", "read")),
    ],
)
def test_flags_decide(name, flags, verdict):
    assert decide(name, *flags.split()) == verdict


def test_consent_to_run_never_widens_the_sandbox():
    for name in TOOLS:
        for flags in ([f"--allow={name}"], ["--allow=all"]):
            verdict, profile = decide(name, *flags)
            assert verdict == "deny" or profile in ("read", "work")


def test_what_a_schema_asks_for_is_not_granted(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "x")
    tool = {
        "name": "t",
        "command": ["/usr/bin/true"],
        "env": ["MY_TOKEN"],
        "sandbox": TOOLS["careful"]["sandbox"],
    }
    decision = policy("--allow=t").decide(tool, {})
    assert (decision.read, decision.write, decision.env) == ((), (), frozenset())
    assert policy("--allow=t", "--env=MY_TOKEN").decide(tool, {}).env == {"MY_TOKEN"}


def test_the_suites_own_programs_get_their_own_data_folders_only(home):
    from agentlib import paths

    store = paths.place("data") + "/memory"
    tool = {
        "name": "remember",
        "command": [f"{paths.TOP}/bin/agent-memory"],
        "sandbox": {"profile": "work", "write": [store, str(home), f"{store}/../../../secret"]},
    }
    assert policy("--allow=remember").decide(tool, {}).write == (store,)
    for program in ("/usr/bin/true", f"{paths.TOP}/tools/run_command"):
        assert policy("--allow=remember").decide({**tool, "command": [program]}, {}).write == ()
    tool["sandbox"] = {"write": [paths.place("data"), paths.place("data") + "/AGENTS.md"]}
    assert policy("--allow=remember").decide(tool, {}).write == ()


def test_an_agent_of_the_suite_starts_bare_after_consent_and_never_wider_than_the_user_says(
    monkeypatch,
):
    monkeypatch.setenv("SOME_KEY", "x")
    ours = {"name": "helper", "kind": "agent", "command": ["/x/helper"]}
    seen = {
        (origin, flags): policy(*flags.split()).decide(ours, {}, origin)
        for origin in (start.SUITE, start.USER, start.OTHER)
        for flags in ("", "--allow=helper", "--allow=helper --sandbox=read")
    }
    bare = {"": ("deny", "off", True), "--allow=helper": ("allow", "off", True)}
    tool = {"": ("deny", "work", False), "--allow=helper": ("allow", "work", False)}
    bare["--allow=helper --sandbox=read"] = tool["--allow=helper --sandbox=read"] = (
        "allow",
        "read",
        False,
    )
    wanted = {start.SUITE: bare, start.USER: bare, start.OTHER: tool}
    assert {
        key: (one.verdict, one.profile, "SOME_KEY" in one.env) for key, one in seen.items()
    } == {(origin, flags): how for origin, all in wanted.items() for flags, how in all.items()}


@pytest.mark.parametrize(
    ("origin", "flags", "verdict"),
    [
        (start.SUITE, "", ("allow", "off")),
        (start.USER, "", ("allow", "off")),
        (start.OTHER, "", ("deny", "work")),
        (start.SUITE, "--deny helper", ("deny", "")),
        (start.SUITE, "--sandbox read", ("allow", "read")),
        (start.OTHER, "--allow helper --sandbox read", ("allow", "read")),
        (start.OTHER, "--allow helper:off", ("allow", "off")),
    ],
)
def test_what_a_plan_calls_an_agent_needs_no_word_where_it_is_the_suites_or_the_users(
    origin, flags, verdict
):
    helper = {"name": "helper", "kind": "agent", "command": ["/x"]}
    assert policy(*flags.split()).decide(helper, {}, origin, called=True)[:2] == verdict


def test_flags_go_on_to_an_agent_react_that_works_for_us():
    parser = argparse.ArgumentParser()
    policy_flags.options(parser)
    flags = "--allow a --allow b:net --deny c --env D --ask --sandbox read".split()
    assert policy_flags.words(parser.parse_args(flags)) == flags


def test_what_is_denied_stays_denied_further_down(monkeypatch):
    monkeypatch.setenv("AGENT_DENY", "one,two")
    args = argparse.Namespace(deny=["three", "one"])
    policy_flags.inherit(args)
    assert (args.deny, os.environ["AGENT_DENY"]) == (["one", "two", "three"], "one,two,three")


def test_a_denial_tells_the_model_what_to_do():
    with pytest.raises(Fault) as caught:
        policy().allow({"name": "change", "command": ["/x"]}, {})
    assert caught.value.kind == "tool_denied"
    message = caught.value.message
    assert "(--allow change)" in message and "Do not try it again" in message


RULES = """
[[rule]]
tool = "change"
arguments = { path = "docs/*" }
verdict = "allow"

[[rule]]
tool = ["change", "other"]
arguments = { path = "*secret*" }
verdict = "deny"
reason = "secrets stay"

[[rule]]
tool = "fe*"
verdict = "allow"
profile = "net"
env = ["GH_TOKEN"]
"""


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("docs/a", "allow"),
        ("docs/b/c", "allow"),
        ("docs/../../etc", "deny"),
        ("src/a", "deny"),
        ("docs/secret", "deny"),
        (["docs/a", "docs/b"], "allow"),
        (["docs/a", "src/b"], "deny"),
        (["docs/a", "docs/secret"], "deny"),
        (7, "deny"),
        (None, "deny"),
        ("Docs/a", "deny"),
        ("docs/[x]", "allow"),
        ([], "deny"),
        ({}, "deny"),
        ([[]], "deny"),
        (["docs/a", []], "deny"),
        (["docs/a", None], "deny"),
        ([["docs/a"], "docs/b"], "allow"),
        (["docs/a", ["src/b"]], "deny"),
        ({"docs/a": "docs/b"}, "allow"),
        ({"path": "docs/b"}, "deny"),
        (["docs/a", "docs/../b"], "deny"),
        (True, "deny"),
        (False, "deny"),
        (0, "deny"),
        ("", "deny"),
    ],
)
def test_rules_look_at_arguments(path, verdict):
    assert decide("change", arguments={"path": path}, rules=RULES)[0] == verdict


def test_rules_grant_profiles_and_variables():
    made = policy_file.parse(RULES, "rules")
    decision = made.decide({"name": "fetch", "command": ["/x"], **TOOLS["fetch"]}, {})
    assert (decision.verdict, decision.profile, decision.env) == ("allow", "read+net", {"GH_TOKEN"})


def test_the_example_of_the_page_is_a_policy():
    page = os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "safety.md"
    )
    with open(page) as file:
        made = policy_file.parse(file.read().partition("```toml")[2].partition("```")[0], "page")
    made.ask = False
    verdicts = [
        made.decide({"name": name, "command": ["/x"]}, arguments).verdict
        for name, arguments in (
            ("fetch_url", {}),
            ("write_file", {"path": "docs/x"}),
            ("run_command", {"command": "x; sudo y"}),
        )
    ]
    assert verdicts == ["allow", "allow", "deny"]


def test_deny_beats_ask_beats_allow_in_any_order():
    rules = {
        verdict: f'[[rule]]\ntool = "change"\nverdict = "{verdict}"\n'
        for verdict in ("allow", "ask", "deny")
    }
    for order in (("allow", "deny"), ("deny", "allow"), ("allow", "ask"), ("ask", "allow")):
        assert (
            decide("change", rules="".join(rules[one] for one in order))[0] == "deny"
        )  # nobody can be asked


def test_the_policy_file_of_the_user_counts_and_the_flags_narrow_it(home, monkeypatch):
    file = home / "config" / "agentutils" / "policy.toml"
    file.parent.mkdir(parents=True)
    file.write_text(RULES)
    file.chmod(0o600)
    assert decide("fetch") == ("allow", "read+net")
    assert decide("fetch", "--sandbox", "read") == ("allow", "read")
    assert decide("fetch", "--deny", "fetch") == ("deny", "")
    file.chmod(0o666)
    with pytest.raises(Fault, match="others may write to it"):
        policy()


def test_files_of_the_project_say_nothing(home, monkeypatch):
    monkeypatch.chdir(home)
    for name in (
        "policy.toml",
        "AGENTS.md",
        ".agentutils/policy.toml",
        "agentutils/policy.toml",
        ".config/x.toml",
    ):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(
            'sandbox = "off"\n[[rule]]\ntool = "*"\nverdict = "allow"\nprofile = "off"\n'
        )
    assert decide("change") == ("deny", "work")


@pytest.mark.parametrize(
    "text",
    [
        "tool = 1",
        '[[rule]]\nverdict = "allow"',
        '[[rule]]\ntool = "x"\nverdict = "maybe"',
        '[[rule]]\ntol = "x"',
        '[[rule]]\ntool = "x"\nprofile = "all"',
        "[[rule]]\ntool = [1]",
        '[[rule]]\ntool = "x"\narguments = "y"',
        'sandbox = "none"',
        'ask = "yes"',
        "[[rule]",
        'rule = "x"',
        "env = 1",
    ],
)
def test_a_policy_file_that_is_not_understood_is_refused_whole(text):
    with pytest.raises(Fault) as caught:
        policy_file.parse(text, "/some/policy.toml")
    assert caught.value.kind == "invalid_input" and "/some/policy.toml" in caught.value.message


@pytest.mark.parametrize("flag", ["", ":net", "x:all", "x:"])
def test_a_flag_that_is_not_understood_is_refused(flag):
    with pytest.raises(Fault, match="NAME:PROFILE"):
        policy(f"--allow={flag}")


class Terminal:
    """A terminal with somebody at it who types an answer once the question is there."""

    def __init__(self, *answers):
        # it answers as soon as the prompt stands there
        self.master, self.slave = pty.openpty()
        self.path, self.seen, self.answers = os.ttyname(self.slave), b"", list(answers)
        self.person = threading.Thread(target=self._sit, daemon=True)
        self.person.start()

    def _sit(self):
        while True:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                return
            if self.seen.endswith(b": ") and self.answers:
                answer = self.answers.pop(0)
                while answer:
                    answer = answer[os.write(self.master, answer[:1024]) :]

    def close(self):
        """Hang up, and see the person leave, before the number of the descriptor is another's."""
        os.close(self.slave)
        self.person.join(10)
        os.close(self.master)


@pytest.fixture
def terminal(monkeypatch):
    """Makes a terminal the one that is asked."""
    made = []

    def sit(*answers):
        made.append(Terminal(*answers))
        request = policy_terminal.question
        path = made[-1].path
        monkeypatch.setattr(
            policy_terminal, "question", lambda lines, prompt: request(lines, prompt, 2.0, path)
        )
        return made[-1]

    yield sit
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        (b"y\n", "allow"),
        (b"yes\n", "allow"),
        (b"a\n", "allow"),
        (b"always\n", "allow"),
        (b"\n", "deny"),
        (b"Y \n", "deny"),
        (b"Y\n", "deny"),
        (b"y \n", "deny"),
        (b" y\n", "deny"),
        (b"yess\n", "deny"),
        (b"n\n", "deny"),
        (b"\x04", "deny"),
        (b"", "deny"),
        (b"y" * 70000 + b"\n", "deny"),
        (b"\xff\xfe\n", "deny"),
    ],
)
def test_only_an_explicit_yes_is_one(terminal, typed, verdict):
    terminal(typed)
    assert decide("change", "--ask")[0] == verdict


def test_the_question_shows_what_would_run_with_every_character_visible(terminal):
    screen = terminal(b"n\n")
    decide(
        "change", "--ask", arguments={"path": "a\x1b[2Kb", "text": "line\nline \u202egnp.exe \x07"}
    )
    printed = screen.seen.decode()
    assert (
        "change wants to run: /usr/bin/true" in printed
        and "sandbox: work (may change files" in printed
    )
    assert (
        "\\u001b[2K" in printed
        and "\\u202e" in printed
        and "\\u0007" in printed
        and "line\\nline" in printed
    )
    assert not {"\x1b", "\u202e", "\x07"} & set(printed)


def test_a_long_argument_is_cut_in_the_middle_with_a_message(terminal):
    screen = terminal(b"n\n")
    decide("change", "--ask", arguments={"text": "BEGIN" + "x" * 100000 + "END"})
    printed = screen.seen.decode()
    assert (
        "BEGIN" in printed
        and "END" in printed
        and "characters are not shown" in printed
        and len(printed) < 6000
    )


def test_a_yes_is_for_this_call_and_always_is_for_the_tool_in_this_run(terminal):
    terminal(b"y\n", b"a\n", b"n\n")
    made = policy("--ask")
    tool = {"name": "change", "command": ["/x"]}
    assert made.decide(tool, {"n": 1}).verdict == "allow"
    assert (
        made.decide(tool, {"n": 2}).verdict == "allow"
    )  # asked again, and this time it is `always`
    assert made.decide(tool, {"n": 3}).verdict == "allow"  # not asked
    assert made.decide({**tool, "name": "other"}, {}).verdict == "deny"
    assert policy().decide(tool, {}).verdict == "deny"  # another run


def test_always_does_not_silence_a_rule_that_asks(terminal):
    terminal(b"a\n", b"n\n")
    made = policy_file.parse('[[rule]]\ntool = "change"\nverdict = "ask"', "rules")
    assert made.decide({"name": "change", "command": ["/x"]}, {}).verdict == "allow"
    assert made.decide({"name": "change", "command": ["/x"]}, {}).verdict == "deny"


def test_a_question_can_grant_the_profile_that_is_asked_for(terminal):
    screen = terminal(b"y\n")
    assert decide("fetch", "--ask") == ("allow", "read+net")
    assert "and the network" in screen.seen.decode()


def test_without_a_terminal_nothing_is_allowed():
    assert policy_terminal.question(["x"], "y? ", 1.0, "/nowhere/tty") is None


def test_a_question_waits_no_longer_than_it_should():
    screen = Terminal()
    began = time.monotonic()
    assert policy_terminal.question(["x"], "y? ", 0.2, screen.path) is None
    assert time.monotonic() - began < 40
    screen.close()


def test_what_was_typed_before_the_question_does_not_count():
    screen = Terminal()
    os.write(screen.master, b"y\n")
    time.sleep(0.05)
    assert policy_terminal.question(["x"], "y? ", 0.2, screen.path) is None
    screen.close()


def test_a_program_that_is_replaced_has_another_fingerprint(tmp_path):
    from agentlib.invoke.runner import fingerprint

    file = tmp_path / "tool"
    file.write_text("one")
    before = fingerprint(str(file))
    assert fingerprint(str(file)) == before
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(file)
    assert fingerprint(str(file)) != before
    file.unlink()
    with pytest.raises(OSError):
        fingerprint(str(file))
