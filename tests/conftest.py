"""Fixtures of several test files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentlib.provider import aws


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No credentials and no region of AWS, whoever runs the tests."""
    for name in (
        *aws.VARIABLES,
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(aws, "VENDOR", "/nonexistent")
    yield
    aws.session.cache_clear()
