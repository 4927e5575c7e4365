"""Fixtures of several test files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """No credentials and no region of AWS for the module's `bedrock`, whoever runs the tests."""
    bedrock = request.module.bedrock
    for name in (
        *bedrock.VARIABLES,
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(bedrock, "MAKER", "/nonexistent")
    yield
    bedrock.session.cache_clear()
