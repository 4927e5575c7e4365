"""tools/fetch_url: which addresses are of the public internet, and the text of a page."""

from __future__ import annotations

import gzip
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import text

from agentlib.faults import Fault
from agentlib.tool.html import plain
from programs import loaded
from raw_server import Server, http, serving

web = loaded("tools/fetch_url")
fetch, public = web.fetch, web.public


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
        ("http://x:-1/", "invalid_arguments"),
        ("http://xn--a/", "invalid_arguments"),
        ("http://[x/", "invalid_arguments"),
        ("http://localhost/", "tool_denied"),
        ("https://127.1/", "tool_denied"),
    ],
)
def test_urls_that_are_refused_before_anything_is_sent(url: str, kind: str) -> None:
    with pytest.raises(Fault) as caught:
        fetch(url)
    assert caught.value.kind == kind


def page(server: Server, path: str = "/") -> str:
    found = fetch(f"{server.address}{path}", {"127.0.0.1"})
    return found.data.decode(found.charset, "replace")


@pytest.mark.parametrize("drip", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_the_whole_time_is_bound_however_slowly_something_comes(
    drip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "WHOLE", 1.0)

    def play(connection: socket.socket) -> None:
        connection.sendall(drip)
        for number in range(1000):
            connection.sendall(b"x: y\r\n"[number % 6 :][:1] if drip else b"")
            time.sleep(0.1)

    begun = time.monotonic()
    with serving(play) as server, pytest.raises(Fault) as caught:
        fetch(server.address, {"1"})
    assert caught.value.kind == "timeout" and 0.9 < time.monotonic() - begun < 40


def test_redirects_share_the_time_and_take_no_cookie_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(http("there")) as there:
        answer = http("", "302 Found", location=f"{there.address}/x", set_cookie="a=b; Path=/")
        with serving(answer) as server:
            assert page(server) == "there"
        assert "cookie" not in there.requests[0][0].lower()
    monkeypatch.setattr(web, "WHOLE", 1.0)
    monkeypatch.setattr(web, "REDIRECTS", 100)

    def play(connection: socket.socket) -> None:
        time.sleep(0.3)
        connection.sendall(http("", "302 Found", location="/again"))

    begun = time.monotonic()
    with serving(play) as server, pytest.raises(Fault) as caught:
        fetch(server.address, {"1"})
    assert caught.value.kind == "timeout" and time.monotonic() - begun < 40


def test_the_address_that_was_checked_is_the_one_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up, request = socket.getaddrinfo, []

    def name(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in (b"name.example", "name.example"):
            return look_up(host, port, *rest, **options)
        request.append(host)
        address = "8.8.8.8" if len(request) < 2 else "127.0.0.1"  # as a rebinding name server says
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    used = []

    def connect(address: Any, timeout: float | None = None, **_: Any) -> None:
        used.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", name)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Fault, match="not in a test"):
        fetch("http://name.example:81/")
    assert used == [("8.8.8.8", 81)]
    with pytest.raises(Fault, match=r"127\.0\.0\.1 is not an address of the public internet"):
        fetch("http://name.example:81/")
    assert len(used) == 1


@pytest.mark.parametrize(
    ("media", "data", "text"),
    [
        ("text/html; charset=latin-1", b"caf\xe9", "caf\u00e9"),
        ("text/html; charset='windows-1252'", b"\x93x\x94", "\u201cx\u201d"),
        ("text/html", b"<meta charset=iso-8859-5>\xd4", "<meta charset=iso-8859-5>\u0434"),
        (
            "text/html",
            b'<meta http-equiv=Content-Type content="text/html; charset=koi8-r">\xc4',
            '<meta http-equiv=Content-Type content="text/html; charset=koi8-r">\u0434',
        ),
        (
            "application/xml",
            b"<?xml version='1.0' encoding='big5'?>\xa4\xa4",
            "<?xml version='1.0' encoding='big5'?>\u4e2d",
        ),
        ("text/html; charset=koi8-r", b"<meta charset=utf-8>\xc4", "<meta charset=utf-8>\u0434"),
        ("text/html; charset=x-none", b"<meta charset=koi8-r>\xc4", "<meta charset=koi8-r>\u0434"),
        ("text/html; charset=latin-1", b"\xef\xbb\xbf\xc3\xa9", "\u00e9"),
        ("text/plain", "\ufeff\u00e9".encode("utf-16-le"), "\u00e9"),
        ("text/html", b"<meta charset=utf-16>\xc3\xa9", "<meta charset=utf-16>\u00e9"),
        *(
            (f"text/plain; charset={name}", b"\xc3\xa9\xff", "\u00e9\ufffd")
            for name in (
                "",
                "none",
                "hex",
                "rot13",
                "idna",
                "punycode",
                "undefined",
                "zip",
                '"',
                "=",
            )
        ),
        ("text/plain; charset=\xff", b"\xc3\xa9", "\u00e9"),
        ("", b"\xc3\xa9", "\u00e9"),
    ],
)
def test_the_charset_is_that_of_the_page(media: str, data: bytes, text: str) -> None:
    with serving(http(data, media=media)) as server:
        assert page(server) == text


def test_a_packed_page_is_unpacked_up_to_the_cap() -> None:
    with serving(http(gzip.compress(b"small"), content_encoding="gzip")) as server:
        assert page(server) == "small"
        assert "accept-encoding: gzip" in server.requests[0][0].lower()
    with serving(http(gzip.compress(bytes(64 << 20)), content_encoding="gzip")) as server:
        found = fetch(server.address, {"1"})
    assert found.cut and len(found.data) == web.CAP
    for data, coding in ((b"not packed", "gzip"), (gzip.compress(b"x")[:-4], "gzip"), (b"", "br")):
        with serving(http(data, content_encoding=coding)) as server, pytest.raises(Fault) as caught:
            fetch(server.address, {"1"})
        assert caught.value.kind == "bad_response"


@pytest.mark.parametrize(
    "where", ["http://[", "http://\xff/", "//", "http:", "http://h:x/", "?", "\u2603", "data:,x"]
)
def test_a_redirect_to_nowhere_is_a_fault(where: str) -> None:
    head = b"HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: %s\r\n\r\n" % where.encode(
        "utf-8"
    )
    with serving(head) as server, pytest.raises(Fault):
        fetch(server.address, {"127.0.0.1"})


def test_the_text_of_a_page() -> None:
    page = (
        "<head><title>A &lt;b&gt;</title><style>p{}</style></head>"
        "<p>one<br>two <i>three</i>four\n five<script>x()</script>"
    )
    assert plain(page) == "A <b>\none\ntwo threefour five"


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("a<![x[ b>c", "ac"),
        ("a<!--b", "a"),
        ("a<!-->b-->c", "ab-->c"),
        ("a<script>b</scripty>c</script d>e", "ae"),
        ('a<i title="x > y" z=">">b</i', "ab"),
        ('a<i title="x>b', "ab"),
        ("a < b <3 c<", "a < b <3 c<"),
        ("&#" + "9" * 5000 + ";a&#x110000;&nosuch;", "\ufffda\ufffd&nosuch;"),
        ("<" * 50_000, "<" * 50_000),
        ("<?x" * 300_000, ""),
        ("x<a b='" * 100_000 + "'>y", None),
        ("<!--" * 200_000 + "-", ""),
        ("<svg><a " * 100_000, ""),
    ],
)
def test_a_broken_page_gives_what_text_it_has_and_takes_no_long_time(
    broken: str, text: str | None
) -> None:
    begun = time.process_time()
    reply = plain(broken)
    assert text is None or reply == text
    assert time.process_time() - begun < 2


@given(text(alphabet="<>/!-?[]&#;=\"' abdilprsx0\n\0", max_size=60))
def test_no_page_is_an_internal_error(page: str) -> None:
    plain(page)
