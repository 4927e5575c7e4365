"""Rules on arguments: an allow needs something to match, a deny sees every part."""

from __future__ import annotations

from test_consent import decide


def test_an_allow_of_everything_needs_something_to_match():
    rules = '[[rule]]\ntool = "change"\narguments = { path = "*" }\nverdict = "allow"'
    allowed = ({"path": "x"}, {"path": [0]}, {"path": False}, {"path": ""})
    denied = ({}, {"path": None}, {"path": []}, {"path": {}}, {"path": [{}]}, {"other": "x"})
    for arguments in allowed:
        assert decide("change", arguments=arguments, rules=rules)[0] == "allow"
    for arguments in denied:
        assert decide("change", arguments=arguments, rules=rules)[0] == "deny"


def test_a_deny_sees_every_part_of_an_argument_and_the_parts_in_a_row():
    rules = '[[rule]]\ntool = "change"\narguments = { command = "*rm -r*" }\nverdict = "deny"'
    for command in ("rm -r x", ["rm", "-r"], [["a"], {"then": ["rm -rf /"]}], {"rm -r": 1}):
        verdict = decide("change", "--allow=all", arguments={"command": command}, rules=rules)
        assert verdict[0] == "deny"
    for command in ([], None, "rm x", ["rm"]):
        verdict = decide("change", "--allow=all", arguments={"command": command}, rules=rules)
        assert verdict[0] == "allow"
