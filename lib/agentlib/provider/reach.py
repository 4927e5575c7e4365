"""How an address is reached: its host and port, and the proxy of the environment on the way (by curl's variables).

HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name a proxy, http://[user:password@]host[:port], for http addresses, for https
ones and for what has none of its own; NO_PROXY the hosts, domains and host:ports (by commas; * for all) that need
none. The same names in lower case win. HTTP_PROXY counts for nothing in a CGI script, where it is a request's header.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from urllib.parse import quote, unquote, urlsplit

from agentlib.faults import Fault
from agentlib.types import NamedTuple, SplitResult


class Proxy(NamedTuple):
    """A proxy: its host and port, the headers that give its password, and how it is shown."""

    host: str
    port: int
    headers: dict[str, str]
    shown: str


class Way(NamedTuple):
    """The way to an address: TLS or not, host and port, the proxy, what stands in a request, how it is shown.

    target: of the request's first line. headers: host, and the passwords that the addresses themselves hold.
    """

    secure: bool
    host: str
    port: int
    proxy: Proxy | None
    target: str
    headers: dict[str, str]
    shown: str


PORTS = {"http": 80, "https": 443}
SAFE = "/%:@!$&'()*+,;=~"  # in a path, as it is given


@lru_cache(maxsize=64)
def way(url: str) -> Way:
    """The way to an address; `invalid_request` where there is none."""
    try:
        parts = urlsplit(url)
        host, port = ascii_host(parts), parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise Fault(
            "invalid_request", f"the address {without_password(url[:100])!r} cannot be sent to"
        ) from None
    place = f"[{host}]" if ":" in host else host
    place += "" if port == PORTS[parts.scheme] else f":{port}"
    target = quote(parts.path or "/", safe=SAFE) + (
        f"?{quote(parts.query, safe=SAFE + '?')}" if parts.query else ""
    )
    headers, proxy = (
        {"host": place, **password(parts, "authorization")},
        proxy_for(parts.scheme, host, port),
    )
    shown = f"{place} through the proxy {proxy.shown}" if proxy else place
    if proxy and parts.scheme == "http":  # it is the proxy that is asked
        target, headers = f"http://{place}{target}", {**headers, **proxy.headers}
    return Way(parts.scheme == "https", host, port, proxy, target, headers, shown)


def ascii_host(parts: SplitResult) -> str:
    """The host of an address as it stands in DNS; ValueError where it is none."""
    host = parts.hostname or ""
    host = host if host.isascii() else host.encode("idna").decode()
    if not host or not host.isprintable() or " " in host:
        raise ValueError("no host")
    return host


def password(parts: SplitResult, name: str) -> dict[str, str]:
    """The header `name` with the user and password of an address, {} where it has none."""
    if parts.username is None:
        return {}
    from binascii import b2a_base64

    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {name: f"Basic {b2a_base64(said.encode(), newline=False).decode()}"}


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy for a host, by the environment."""
    found, without = proxies()
    proxy = found.get(scheme) or found.get("all")
    return (
        None
        if proxy is None or any(spared(one, scheme, host, port) for one in without)
        else parsed(proxy)
    )


@cache
def proxies() -> tuple[dict[str, str], list[str]]:
    """The environment's proxies by scheme (or `all`), and whom it names as needing none."""
    found = {scheme: value for scheme in ("http", "https", "all") if (value := variable(scheme))}
    if "REQUEST_METHOD" in os.environ and "http_proxy" not in os.environ:
        found.pop("http", None)
    without = [one.strip().lower() for one in variable("no").split(",") if one.strip()]
    return found, without


def variable(scheme: str) -> str:
    """The value of NAME_PROXY, by preference in lower case."""
    name = f"{scheme}_proxy"
    return os.environ.get(name, os.environ.get(name.upper(), "")).strip()


def spared(one: str, scheme: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means this host: *, [scheme://]host[:port]; a domain means its hosts too."""
    kind, _, place = one.rpartition("://")
    if kind not in ("", "all", scheme):
        return False
    name, colon, digits = place.rpartition(":")
    if not colon or not digits.isdigit() or ":" in name.strip("[]") and not name.endswith("]"):
        name, digits = place, ""  # no port; or an IPv6 address
    name = name.strip("[]").removeprefix("*")
    if digits and int(digits) != port:
        return False
    return not name or host == name or host.endswith(name if name.startswith(".") else f".{name}")


@cache
def parsed(proxy: str) -> Proxy:
    """A proxy by its address; `invalid_request` where it is none that can be spoken to."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = ascii_host(parts), parts.port or 80
    except ValueError as bad:
        raise unusable(proxy, str(bad)) from None
    if parts.scheme != "http":
        raise unusable(proxy, "only proxies of the form http://host:port are spoken to")
    return Proxy(host, port, password(parts, "proxy-authorization"), without_password(proxy))


def unusable(proxy: str, why: str) -> Fault:
    """The fault of a proxy that cannot be used."""
    return Fault(
        "invalid_request",
        f"a proxy variable of the environment cannot be used: {without_password(proxy[:200])}: {why}",
    )


def without_password(text: str) -> str:
    """The text with the password (and user) of any address in it made `***`."""
    import re

    return re.sub(r"(//|^)[^/@\s]+@", r"\1***@", text)
