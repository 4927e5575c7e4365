"""The proxy on the way to a host, by curl's variables.

HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name one; NO_PROXY lists who needs none: hosts with all that is below them,
addresses, networks, each with or without :port; * is all. HTTP_PROXY is a header in a CGI script, so it counts for
nothing there.
"""

import ipaddress
import os
import re
from contextlib import suppress
from functools import lru_cache

import httpx

from agentlib.faults import Fault

SCHEMES = ("http", "https", "socks5", "socks5h")


@lru_cache(maxsize=64)
def proxy_for(url: httpx.URL) -> httpx.URL | None:
    """The proxy on the way to an address; `invalid_request` where there is one that cannot be used."""
    in_cgi = "REQUEST_METHOD" in os.environ and "http_proxy" not in os.environ
    value = "" if in_cgi and url.scheme == "http" else _variable(url.scheme)
    value = value or _variable("all")
    if not value or any(_spares(entry, url) for entry in re.split(r"[,\s]+", _variable("no"))):
        return None
    try:
        proxy = httpx.URL(value if "://" in value else f"http://{value}")
        if proxy.host and proxy.scheme in SCHEMES:
            return proxy
        only = f"only proxies of {', '.join(SCHEMES)} can be used"
        reason = only if proxy.host else "no host"
    except (httpx.InvalidURL, UnicodeError) as bad:
        reason = str(bad)
    why = f"a proxy variable of the environment: {without_password(value[:200])}: {reason}"
    raise Fault("invalid_request", why)


def _variable(name: str) -> str:
    name = f"{name}_proxy"
    return os.environ.get(name, os.environ.get(name.upper(), "")).strip()


def _spares(entry: str, url: httpx.URL) -> bool:
    """Whether an entry of NO_PROXY covers an address: it names the host, a domain above it, or its network."""
    scheme, _, place = entry.lower().rpartition("://")
    if scheme not in ("", "all", url.scheme):
        return False
    if place == "*":
        return True
    with_port = re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", place)
    name, port = with_port.groups() if with_port else (place, "")
    if port and int(port) != (url.port or {"http": 80, "https": 443}[url.scheme]):
        return False
    name, host = name.strip("[]").removeprefix("*").strip("."), url.raw_host.decode().strip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name: both in the form of ASCII (IDNA)
        with suppress(httpx.InvalidURL):
            name = httpx.URL(scheme="http", host=name).raw_host.decode()
        return bool(name) and f".{host}".endswith(f".{name}")
    with suppress(ValueError):
        return address in ipaddress.ip_network(name, strict=False)
    return False


def without_password(text: str) -> str:
    """The text with the user and password of any address in it made `***`."""
    return re.sub(r"(//|^)[^/@\s]+@", r"\1***@", text)
