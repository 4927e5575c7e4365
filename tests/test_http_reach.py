"""How a provider reaches its vendor: by the proxies of the environment, by TLS, and whom it trusts."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlib.faults import Fault
from agentlib.provider import reach
from raw_server import ROOT, Server, ask, completion, http, serving
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
    argv = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=vendor.example"
    files = ["-addext", names, "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    subprocess.run([*argv.split(), *files], check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxy, and is looked at anew."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    reach.proxies.cache_clear()
    reach.way.cache_clear()


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
    said = ask(secure.address, stream=True, env={"SSL_CERT_FILE": str(certificate)}).final
    assert said["message"]["content"] == "well"


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
        (secure.address, {"SSL_CERT_FILE": "/nonexistent"}),
        (secure.address.replace("127.0.0.1", "localhost"), {"SSL_CERT_FILE": str(certificate)}),
    ):
        said = ask(address, env=env).final
        assert (said["kind"], said["retryable"]) == ("network", False) and "certificate" in said[
            "message"
        ]
    assert not secure.requests


def test_where_the_system_trusts_nobody_certifi_is_asked(tmp_path: Path) -> None:
    code = (
        "import ssl, sys; sys.path.insert(0, 'lib')\n"
        "real = ssl.get_default_verify_paths()\n"
        f"ssl.get_default_verify_paths = lambda: real._replace(cafile=None, capath={str(tmp_path)!r})\n"
        "from agentlib.provider import dial\n"
        "print(dial._context().cert_store_stats()['x509_ca'], 'certifi' in sys.modules)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("SSL_")}
    done = subprocess.run(
        ["python3", "-IS", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=env,
        cwd=ROOT,
    )
    count, certifi = done.stdout.split()
    assert int(count) > 50 and certifi == "True"


def test_tls_that_is_none_and_none_that_is_tls_are_told(secure: Server) -> None:
    assert ask(secure.address.replace("https:", "http:")).final["kind"] == "network"
    with serving(WELL) as plain:
        said = ask(
            plain.address.replace("http:", "https:"), env={"AGENT_CONNECT_TIMEOUT": "1"}
        ).final
    assert said["kind"] in ("network", "timeout")


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
        "CONNECT vendor.example:443 HTTP/1.1\r\nhost: vendor.example:443"
    )
    assert SECRET in proxy.requests[0][0] and "key-5ecre7" not in proxy.requests[0][0]
    assert (
        heads[0].startswith(b"POST /v1/chat/completions ") and b"proxy-auth" not in heads[0].lower()
    )


def test_a_proxy_that_refuses_is_named() -> None:
    with serving(http("no", "407 Proxy Authentication Required")) as proxy:
        said = ask(
            "https://vendor.example/v1",
            env={"HTTPS_PROXY": f"http://u:pa55word@127.0.0.1:{proxy.port}"},
        ).final
    assert (
        said["kind"] == "network"
        and "407" in said["message"]
        and "through the proxy" in said["message"]
    )
    assert "pa55word" not in said["message"]


@pytest.mark.parametrize(
    "proxy", ["socks5://u:pa55word@127.0.0.1:1", "https://127.0.0.1:1", "http://", "http://h:x"]
)
def test_a_proxy_that_cannot_be_spoken_to_is_told(proxy: str) -> None:
    said = ask("http://vendor.example/v1", env={"HTTP_PROXY": proxy}).final
    assert (
        said["kind"] == "invalid_request"
        and "proxy" in said["message"]
        and "pa55word" not in said["message"]
    )


def test_a_password_in_the_address_goes_into_its_header() -> None:
    with serving(WELL) as server:
        ask(server.address.replace("//", "//me:pa%2Fss%20word@"))
    assert (
        f"authorization: {SECRET}\r\n" in server.requests[0][0] and "@" not in server.requests[0][0]
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
        ({"ALL_PROXY": "a:1", "NO_PROXY": ".x.example"}, "http://x.example", "a"),
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
    found = reach.way(url).proxy
    assert (found and found.host) == proxy


def test_an_address_is_written_as_it_is_sent() -> None:
    there = reach.way("http://B\u00fccher.example:8080/a b/%41\u00e9?q=x y")
    assert (there.host, there.port, there.headers) == (
        "xn--bcher-kva.example",
        8080,
        {"host": "xn--bcher-kva.example:8080"},
    )
    assert there.target == "/a%20b/%41%C3%A9?q=x%20y"
    for nothing in ("ftp://host", "http://", "http://host:99999"):
        with pytest.raises(Fault):
            reach.way(nothing)
