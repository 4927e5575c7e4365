"""AWS credentials and signatures (Signature Version 4), by botocore, which is imported only where they are needed."""

import os
from _thread import allocate_lock
from functools import cache

from agentlib.faults import Fault
from agentlib.types import Any

# Where credentials can come from; with none of these, asking botocore costs seconds and ends in nothing.
_NAMES = """ACCESS_KEY_ID SECRET_ACCESS_KEY SESSION_TOKEN PROFILE DEFAULT_PROFILE CONFIG_FILE
SHARED_CREDENTIALS_FILE ROLE_ARN ROLE_SESSION_NAME WEB_IDENTITY_TOKEN_FILE CONTAINER_CREDENTIALS_RELATIVE_URI
CONTAINER_CREDENTIALS_FULL_URI CONTAINER_AUTHORIZATION_TOKEN CONTAINER_AUTHORIZATION_TOKEN_FILE"""
VARIABLES = [f"AWS_{name}" for name in _NAMES.split()]
FILES = ("~/.aws/credentials", "~/.aws/config")
VENDOR = "/sys/class/dmi/id/sys_vendor"  # of this machine; EC2's have credentials of their own role


def likely() -> bool:
    """Whether there may be credentials here at all."""
    files = map(os.path.expanduser, FILES)
    if any(map(os.environ.get, VARIABLES)) or any(map(os.path.exists, files)):
        return True
    try:
        with open(VENDOR, encoding="utf-8") as file:
            return "Amazon" in file.read()
    except OSError:
        return False


@cache
def session() -> Any:
    """botocore's session: the profile, the region and the chain of credentials."""
    from agentlib.packages import cure, need

    try:
        need("botocore")
    except Fault:
        why = f"AWS credentials need the package botocore: {cure('aws')}; or set"
        raise Fault("auth", f"{why} AWS_BEARER_TOKEN_BEDROCK") from None
    import botocore.session

    return botocore.session.Session()


def region() -> str:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if found := os.environ.get(name, "").strip():
            return found
    named = any(map(os.environ.get, VARIABLES))
    if named or os.path.exists(os.path.expanduser("~/.aws/config")):
        if found := session().get_config_variable("region"):
            return str(found)
    raise Fault("invalid_request", "no region: set AWS_REGION")


_loading = allocate_lock()


def credentials() -> Any:
    """botocore's credentials, which renew themselves; `auth` where the chain has none. One thread loads them."""
    try:
        with _loading:
            if found := session().get_credentials():  # the session keeps them
                return found.get_frozen_credentials()
    except Fault:
        raise
    except Exception as bad:  # of a profile or a login: in botocore's own words
        raise Fault("auth", f"AWS credentials: {bad}") from None
    why = "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    raise Fault("auth", why)


def signed(
    service: str, place: str, method: str, url: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    """The headers with a signature for this service in the region `place`. Proxies may change any header but these."""
    plain = {k: v for k, v in headers.items() if k.lower() in ("content-type", "host")}
    return {**headers, **signature(credentials(), service, place, method, url, plain, body)}


def signature(
    keys: Any, service: str, place: str, method: str, url: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    SigV4Auth(keys, service, place).add_auth(request)
    return dict(request.headers.items())
