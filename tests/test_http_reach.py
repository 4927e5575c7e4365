"""How a provider reaches its vendor: by the proxies of the environment, by TLS, and whom it trusts."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import installed
from agentlib.faults import Fault
from agentlib.net import client, proxies
from raw_server import Server, ask, completion, http, serving
from test_provider import request, started

WELL = http(completion())
SECRET = "Basic " + base64.b64encode(b"me:pa/ss word").decode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody else has signed, for 127.0.0.1 and vendor.example; key.pem lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here")
    names = "subjectAltName=IP:127.0.0.1,DNS:vendor.example"
    return self_signed(folder, "/CN=vendor.example", "-addext", names)


def self_signed(folder: Path, subject: str, *more: str) -> Path:
    """A certificate in the folder, and its key beside it."""
    argv = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split()
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run([*argv, "-subj", subject, *more, *files], check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxy, and is looked at again."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    proxies.proxy_for.cache_clear()


def identity(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    with serving(WELL, tls=identity(certificate)) as server:
        yield server


def test_a_certificate_of_the_users_own_is_trusted_where_it_is_named(
    secure: Server, certificate: Path
) -> None:
    assert ask(secure.address, env={"SSL_CERT_FILE": str(certificate)}).final["type"] == "response"
    reply = ask(secure.address, stream=True, env={"SSL_CERT_FILE": str(certificate)}).final
    assert reply["message"]["content"] == "well"


def test_a_connection_by_tls_is_used_again(certificate: Path) -> None:
    def play(connection: socket.socket) -> None:
        answer = WELL.replace(b"connection: close\r\n", b"")
        connection.sendall(answer)
        while connection.recv(65536):
            connection.sendall(answer)

    with (
        serving(play, tls=identity(certificate)) as server,
        started(server, SSL_CERT_FILE=str(certificate)) as process,
    ):
        assert process.stdin and process.stdout
        for _ in range(3):
            process.stdin.write(request())
            process.stdin.flush()
            assert '"response"' in process.stdout.readline()
            time.sleep(0.2)
        process.stdin.close()
    assert len(server.requests) == 1


def test_a_folder_of_certificates_is_trusted_where_it_is_named(
    secure: Server, certificate: Path
) -> None:
    made = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", certificate],
        check=True,
        capture_output=True,
        text=True,
    )
    folder = certificate.with_name("trusted")
    folder.mkdir(exist_ok=True)
    shutil.copy(certificate, folder / f"{made.stdout.strip()}.0")
    assert ask(secure.address, env={"SSL_CERT_DIR": str(folder)}).final["type"] == "response"


def test_a_certificate_that_nobody_trusts_ends_the_call_for_good(
    secure: Server, certificate: Path
) -> None:
    for address, env in (
        (secure.address, {}),
        (secure.address.replace("127.0.0.1", "localhost"), {"SSL_CERT_FILE": str(certificate)}),
    ):
        reply = ask(address, env=env).final
        assert (reply["kind"], reply["retryable"]) == ("network", False) and "certificate" in reply[
            "message"
        ]
    assert not secure.requests


def test_where_the_system_trusts_nobody_certifi_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ssl.get_default_verify_paths()
    nothing = real._replace(cafile=None, capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    assert client.trusted().cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_each_variable_of_curl_and_its_kin_names_a_certificate(
    name: str, secure: Server, certificate: Path
) -> None:
    assert ask(secure.address, env={name: str(certificate)}).final["type"] == "response"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, "nothing.pem") for name in (*client.CERTIFICATES, *client.CERTIFICATE_FOLDERS)),
        *((name, "key.pem") for name in client.CERTIFICATES),
        ("SSL_CERT_FILE", "."),
        ("SSL_CERT_DIR", "certificate.pem"),
        ("SSL_CERT_DIR", ".:nothing"),
    ],
)
def test_certificates_that_cannot_be_read_are_reported_and_never_ignored(
    name: str, path: str, secure: Server, certificate: Path, tmp_path: Path
) -> None:
    paths = ":".join(str(certificate.parent / one) for one in path.split(":"))
    others = {other: str(certificate) for other in client.CERTIFICATES if other != name}
    for env in ({name: paths}, {**others, name: paths}):
        reply = ask(secure.address, env=env).final
        assert (reply["kind"], reply["retryable"]) == ("invalid_request", False)
        assert reply["message"].startswith(f"{name}: {certificate.parent}")
    assert not secure.requests


def test_a_common_name_alone_is_no_name(tmp_path: Path) -> None:
    made = self_signed(tmp_path, "/CN=localhost")
    with serving(WELL, tls=identity(made)) as server:
        address = server.address.replace("127.0.0.1", "localhost")
        reply = ask(address, env={"SSL_CERT_FILE": str(made)}).final
    assert (reply["kind"], reply["retryable"]) == ("network", False)
    assert "certificate" in reply["message"] and not server.requests


def test_plain_text_where_tls_is_due_and_the_reverse_are_reported(secure: Server) -> None:
    assert ask(secure.address.replace("https:", "http:")).final["kind"] == "network"
    with serving(WELL) as plain:
        reply = ask(
            plain.address.replace("http:", "https:"), env={"AGENT_CONNECT_TIMEOUT": "1"}
        ).final
    assert reply["kind"] in ("network", "timeout")


def test_an_http_proxy_is_asked_for_the_whole_address() -> None:
    with serving(WELL) as proxy:
        there = f"http://me:pa%2Fss%20word@127.0.0.1:{proxy.port}"
        assert (
            ask("http://vendor.example/v1", env={"HTTP_PROXY": there}).final["type"] == "response"
        )
        assert (
            ask("http://vendor.example:81/v1", env={"all_proxy": there[7:]}).final["type"]
            == "response"
        )
    first, second = (head.lower() for head, _ in proxy.requests)
    assert first.startswith("post http://vendor.example/v1/chat/completions http/1.1\r\n")
    assert (
        "\r\nhost: vendor.example\r\n" in first
        and f"\r\nproxy-authorization: {SECRET}\r\n".lower() in first
    )
    assert (
        second.startswith("post http://vendor.example:81/v1/")
        and "\r\nhost: vendor.example:81\r\n" in second
    )


def test_a_proxy_is_a_tunnel_for_https(certificate: Path) -> None:
    heads: list[bytes] = []

    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with identity(certificate).wrap_socket(connection, server_side=True) as inner:
            heads.append(inner.recv(65536))
            inner.sendall(WELL)

    with serving(play) as proxy:
        env = {
            "HTTPS_PROXY": f"http://me:pa%2Fss%20word@127.0.0.1:{proxy.port}",
            "SSL_CERT_FILE": str(certificate),
        }
        assert ask("https://vendor.example/v1", env=env).final["type"] == "response"
        assert (
            ask("https://other.example/v1", env=env).final["retryable"] is False
        )  # it is not vendor.example's
    assert proxy.requests[0][0].startswith(
        "CONNECT vendor.example:443 HTTP/1.1\r\nHost: vendor.example:443"
    )
    assert SECRET in proxy.requests[0][0] and "key-5ecre7" not in proxy.requests[0][0]
    assert (
        heads[0].startswith(b"POST /v1/chat/completions ") and b"proxy-auth" not in heads[0].lower()
    )


def test_a_proxy_may_be_reached_by_tls(certificate: Path) -> None:
    heads: list[bytes] = []

    def play(outer: socket.socket) -> None:
        outer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = identity(certificate).wrap_bio(incoming, outgoing, server_side=True)

        def through(step: Callable[..., Any], *args: Any) -> Any:
            while True:
                try:
                    made = step(*args)
                    outer.sendall(outgoing.read())
                    return made
                except ssl.SSLWantReadError:
                    outer.sendall(outgoing.read())
                    incoming.write(outer.recv(65536))

        through(inner.do_handshake)
        heads.append(through(inner.read, 65536))
        through(inner.write, WELL)

    with (
        serving(play, tls=identity(certificate)) as proxy,
        serving(WELL, tls=identity(certificate)) as plain,
    ):
        trust = {"SSL_CERT_FILE": str(certificate)}
        env = {**trust, "HTTPS_PROXY": f"https://me:pa%2Fss%20word@127.0.0.1:{proxy.port}"}
        assert ask("https://vendor.example/v1", env=env).final["type"] == "response"
        env = {**trust, "HTTP_PROXY": plain.address}
        assert ask("http://vendor.example/v1", env=env).final["type"] == "response"
        assert (
            ask("http://vendor.example/v1", env={"HTTP_PROXY": plain.address}).final["retryable"]
            is False
        )
    assert proxy.requests[0][0].startswith("CONNECT vendor.example:443 ")
    assert SECRET in proxy.requests[0][0] and heads[0].startswith(b"POST /v1/chat/completions ")
    assert plain.requests[0][0].startswith("POST http://vendor.example/v1/chat/completions ")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_is_used(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    # an extra: the checkout's .venv has it
    monkeypatch.setattr(installed, "suite", lambda: installed.CHECKOUT)
    steps: list[bytes] = []

    def accept(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            steps.append(connection.recv(64))
            connection.sendall(b"\x05\x02")  # user and password, please
            steps.append(connection.recv(64))
            connection.sendall(b"\x01\x00")
            steps.append(connection.recv(512))
            connection.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
            steps.append(connection.recv(65536))
            connection.sendall(WELL)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        proxy = f"{scheme}://me:pa55word@127.0.0.1:{listener.getsockname()[1]}"
        env = {"ALL_PROXY": proxy, "PATH": os.environ["PATH"]}
        assert ask("http://vendor.example/v1", env=env).final["type"] == "response"
        thread.join(10)
    assert b"pa55word" in steps[1] and b"vendor.example" in steps[2]
    assert steps[3].startswith(b"POST /v1/chat/completions ")


def test_a_tunnel_that_is_not_opened_in_time_is_reported() -> None:
    with serving(lambda connection: time.sleep(100)) as proxy:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "AGENT_CONNECT_TIMEOUT": "0.5"}
        reply = ask("https://vendor.example/v1", env=env)
    assert reply.final["kind"] == "timeout" and "AGENT_CONNECT_TIMEOUT" in reply.final["message"]
    assert reply.seconds < 40


def test_a_proxy_that_refuses_is_named() -> None:
    with serving(http("no", "407 Proxy Authentication Required")) as proxy:
        reply = ask(
            "https://vendor.example/v1",
            env={"HTTPS_PROXY": f"http://u:pa55word@127.0.0.1:{proxy.port}"},
        ).final
    assert (
        reply["kind"] == "network"
        and "407" in reply["message"]
        and "through the proxy" in reply["message"]
    )
    assert "pa55word" not in reply["message"]


@pytest.mark.parametrize(
    "proxy", ["socks4://u:pa55word@127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "http://h:x"]
)
def test_a_proxy_that_cannot_be_used_is_reported(proxy: str) -> None:
    reply = ask("http://vendor.example/v1", env={"HTTP_PROXY": proxy}).final
    assert (
        reply["kind"] == "invalid_request"
        and "proxy" in reply["message"]
        and "pa55word" not in reply["message"]
    )


def test_an_ipv6_address_is_not_sent_malformed_through_a_proxy() -> None:
    reply = ask(
        "http://[2001:db8::1]/v1", env={"HTTP_PROXY": "http://u:pa55word@127.0.0.1:1"}
    ).final
    assert reply["kind"] == "invalid_request" and "NO_PROXY" in reply["message"]
    assert "pa55word" not in reply["message"]


def test_a_password_in_the_address_goes_into_its_header() -> None:
    with serving(WELL) as server:
        ask(server.address.replace("//", "//me:pa%2Fss%20word@"))
    assert (
        f"Authorization: {SECRET}\r\n" in server.requests[0][0] and "@" not in server.requests[0][0]
    )


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({"HTTP_PROXY": "a:1"}, "http://x.example", "a"),
        ({"HTTP_PROXY": "a:1"}, "https://x.example", None),
        ({"HTTP_PROXY": "a:1", "http_proxy": "b:1"}, "http://x.example", "b"),
        ({"HTTP_PROXY": "a:1", "http_proxy": ""}, "http://x.example", None),
        ({"ALL_PROXY": "a:1", "HTTPS_PROXY": "b:1"}, "https://x.example", "b"),
        ({"ALL_PROXY": "a:1", "HTTPS_PROXY": "b:1"}, "http://x.example", "a"),
        ({"HTTP_PROXY": "a:1", "REQUEST_METHOD": "GET"}, "http://x.example", None),
        ({"http_proxy": "a:1", "REQUEST_METHOD": "GET"}, "http://x.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "*"}, "http://x.example", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "y.example, x.example"}, "http://x.example", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "X.Example"}, "https://sub.x.example", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "x.example"}, "http://notx.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": ".x.example"}, "http://sub.x.example", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": ".x.example"}, "http://x.example", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": ".x.example"}, "http://notx.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "y.example x.example"}, "http://x.example", None),
        (
            {"ALL_PROXY": "a:1", "NO_PROXY": "m\u00fcnchen.example"},
            "http://a.m\u00fcnchen.example",
            None,
        ),
        (
            {"ALL_PROXY": "a:1", "NO_PROXY": "xn--mnchen-3ya.example"},
            "http://m\u00fcnchen.example",
            None,
        ),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "xn--mnchen-3ya.example"}, "http://munchen.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "y.example,\tx.example ,"}, "http://x.example.", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": " , .,"}, "http://x.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "10.1.2.3/8"}, "http://10.200.0.1", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "10.1.2.3/8"}, "http://11.0.0.1", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "10.0.0.0/99,10.0.0.0/x"}, "http://10.0.0.1", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "10.0.0.0/8"}, "http://10.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "0.0.1"}, "http://127.0.0.1", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "fd00::/8"}, "http://[fd12::1]", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "[fd00::]/8"}, "http://[fe80::1]", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "0:0:0:0:0:0:0:1"}, "http://[::1]", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "x.example:8080"}, "http://x.example:8080", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "x.example:8080"}, "http://x.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "https://x.example"}, "http://x.example", "a"),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:80", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "::1"}, "http://[::1]:80", None),
        ({"ALL_PROXY": "a:1", "NO_PROXY": "[::1]:80"}, "http://[::1]:81", "a"),
        (
            {"ALL_PROXY": "a:1", "NO_PROXY": "y.example", "no_proxy": "x.example"},
            "http://x.example",
            None,
        ),
    ],
)
def test_the_environment_says_which_proxy(
    env: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    found = proxies.proxy_for(client.parsed(url))
    assert (found and found.host) == proxy


def test_an_address_is_written_as_it_is_sent() -> None:
    there = client.parsed("http://B\u00fccher-stra\u00dfe.example:8080/a b/%41\u00e9?q=x y")
    assert there.netloc == b"xn--bcher-strae-46a18a.example:8080"
    assert there.raw_path == b"/a%20b/%41%C3%A9?q=x%20y"
    for nothing in (
        *("ftp://host", "http://", "http://host:99999", "http://a b/", "http://[::1", "http://[x/"),
        *(
            "http://\u2603.example",
            f"http://{'a' * 70}\u00fc.example",
            "http://h\ud800/",
            "host:80",
            "",
        ),
    ):
        with pytest.raises(Fault) as caught:
            client.parsed(nothing)
        assert caught.value.kind == "invalid_request"
