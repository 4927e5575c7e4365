"""Faults: every kind has an exit status and says the same as a record."""

from __future__ import annotations

import pytest

from agentlib.faults import KINDS, RETRYABLE, Fault, Interrupted


def test_the_kinds_are_those_of_the_protocol_and_end_with_a_known_status() -> None:
    assert set(KINDS.values()) <= {1, 2, 100, 111, 130}
    assert RETRYABLE <= {kind for kind, status in KINDS.items() if status == 111}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_says_the_same_as_its_record(kind: str) -> None:
    fault = Fault(kind, "what: why", provider="p", status=418)
    assert str(fault) == "what: why"
    assert fault.status == KINDS[kind]
    assert fault.record("7") == {
        "type": "error",
        "id": "7",
        "kind": kind,
        "message": "what: why",
        "provider": "p",
        "status": 418,
    }
    assert "id" not in fault.record()


def test_an_interruption_is_not_swallowed_by_who_catches_exceptions() -> None:
    assert not issubclass(Interrupted, Exception)
    assert Interrupted(15).signum == 15
