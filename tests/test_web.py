"""agentlib.tool.web: which addresses are of the public internet, and the text of a page."""

from __future__ import annotations

import pytest

from agentlib.faults import Fault
from agentlib.tool.web import fetch, plain, public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///etc/passwd", "tool_denied"),
        ("gopher://x/", "tool_denied"),
        ("//x/", "tool_denied"),
        ("", "tool_denied"),
        ("http://", "invalid_arguments"),
        ("http://u@x/", "invalid_arguments"),
        ("http://x:99999/", "invalid_arguments"),
        ("http://[x/", "invalid_arguments"),
        ("http://localhost/", "tool_denied"),
        ("https://127.1/", "tool_denied"),
    ],
)
def test_urls_that_are_refused_before_anything_is_sent(url: str, kind: str) -> None:
    with pytest.raises(Fault) as told:
        fetch(url)
    assert told.value.kind == kind


def test_the_text_of_a_page() -> None:
    page = (
        "<head><title>A &lt;b&gt;</title><style>p{}</style></head>"
        "<p>one<br>two <i>three</i>four\n five<script>x()</script>"
    )
    assert plain(page) == "A <b>\none\ntwo threefour five"
