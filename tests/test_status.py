"""The end of a process in words."""

from __future__ import annotations

import pytest

from agentlib.process import status


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (3, "ended with status 3", "tool_error"),
        (255, "ended with status 255", "tool_error"),
        (-24, "ended by SIGXCPU: its CPU limit", "limit_exceeded"),
        (128 + 24, "ended by SIGXCPU: its CPU limit", "limit_exceeded"),
        (-25, "ended by SIGXFSZ: its limit on the size of a file", "limit_exceeded"),
        (-11, "ended by SIGSEGV: it touched memory that it does not have", "tool_error"),
        (-15, "ended by SIGTERM", "tool_error"),
        (-99, "ended by signal 99", "tool_error"),
    ],
)
def test_a_status_in_words_and_its_kind(code: int, words: str, kind: str) -> None:
    assert (status.words(code), status.kind(code)) == (words, kind)


def test_without_a_status_it_is_the_output_that_ended() -> None:
    assert status.words(None) == "closed its output"
