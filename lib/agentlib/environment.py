"""Variables of the environment by their names: the suite's own, which all that it starts may have, and secrets."""

import os
import re

from agentlib.types import Iterable

_RUN = """BUDGET CONNECT_TIMEOUT COUNT DEBUG DENY DEPTH EMBEDDINGS FETCH_PRIVATE FORMAT_PATH HISTORY LOCAL_MODEL
MODEL MONITOR_INTERVAL NAME NAMESPACE PARENT PROVIDER PROVIDER_PATH RATE_LIMIT RECORD REPLAY RETRY RUN_TIMEOUT
SILENCE_TIMEOUT SPAN TIMEOUT TOOL_PATH WARM WARM_MINUTES"""
RUN = frozenset(f"AGENT_{word}" for word in _RUN.split())  # a user's other AGENT_* may be secrets
DEPTH = 5  # agents that may call agents, one inside the other
PASSWORD = re.compile(r"(?:://|^)[^/@\s:]*:([^/\s]+)@")  # of a proxy's or a database's address
_SECRET = re.compile(
    "KEY|TOKEN|SECRET|PASS(?!THROUGH)|CREDENTIAL|CONN(?:ECTION)?_?STR"
    "|(?:^|_)AUTH(?:ORIZATION)?(?=_|$)(?!_(?:HOST|METHOD|MODE|SOCK|TYPE|UR[IL])$)"
    "|(?:^|_)(?:BEARER|CERT|COOKIES?|CREDS?|DSN|JWT|OTP|PAT|PRIVATE|PW|PWD|SAS|WEBHOOK(?:_URL)?"
    "|(?<!DESKTOP_)SESSION)(?:_?\\d+)?$"
)


def secret(name: str, value: str = "") -> bool:
    """Whether a variable looks by its name like one that holds a secret, or its value is an address with a password."""
    named = name not in ("PWD", "OLDPWD") and _SECRET.search(name.upper())
    return bool(named or PASSWORD.search(value))


_WORD = re.compile(r"([a-z]+|[A-Z]+|[A-Z][a-z]+)\d{0,4}")
_PLACEHOLDERS = ("sk-no-key-required",)  # what servers that need no key get as one


def looks_secret(key: str) -> bool:
    """Whether a key looks like one: long enough, and not of plain words as `ollama`, which may stand in any text."""
    if len(key) < 6 or key in _PLACEHOLDERS:
        return False
    plain = all(_WORD.fullmatch(word) for word in re.split("[-_.]", key) if word)
    return not plain or len(key) >= 16 or key.startswith("sk-")


def scrub(data: bytes, hidden: Iterable[bytes]) -> bytes:
    """The bytes without these secrets."""
    for word in hidden:
        if word in data:
            data = data.replace(word, b"***")
    return data


def depth() -> int:
    """How deep agents have called agents until here; what is no number means 0."""
    text = os.environ.get("AGENT_DEPTH", "")
    return int(text) if text.isdecimal() else 0
