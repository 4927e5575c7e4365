"""Providers kept warm between runs, where the user says `warm = "60s"` in config.toml or AGENT_WARM=60."""

from __future__ import annotations

import os
import re
import sys

from agentlib import __version__
from agentlib.faults import Fault
from agentlib.llm import keys
from agentlib.paths import REAL
from agentlib.types import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    import socket

    from agentlib.llm.providers import Provider

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from agentlib.warm.provider import main; main(*sys.argv[2:])"
BOUNDS = ("AGENT_CONNECT_TIMEOUT", "AGENT_SILENCE_TIMEOUT", "AGENT_TIMEOUT")  # a provider's own


def seconds(config: Mapping[str, Any]) -> float:
    """How long a provider stays after its last answer; 0: it is not kept."""
    value = str(os.environ.get("AGENT_WARM") or config.get("warm") or "0").strip()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value)
    if not found:
        raise Fault("invalid_input", f"warm: {value!r} is no time such as 60s or 5m")
    return float(found[1]) * UNITS[found[2]]


def connect(provider: Provider, env: Mapping[str, str], idle: float) -> socket.socket:
    """A connection to the provider's warm process, started where there is none with this key, address and version.

    Of our own variables it gets what its schema lists and its bounds of time: the rest are this run's.
    """
    import hashlib

    from agentlib.warm import socket as warm

    listed = {entry["name"] for entry in keys.entries(provider.schema)}
    env = {
        name: value
        for name, value in env.items()
        if not name.startswith("AGENT_") or name in listed or name in BOUNDS
    }
    env |= {"AGENT_WARM": f"{idle:g}"}
    changed = os.stat(provider.path).st_mtime_ns
    answer = repr((__version__, REAL, provider.path, changed, sorted(env.items())))
    name = f"{provider.name}-{hashlib.sha256(answer.encode()).hexdigest()[:24]}"
    lib = os.path.join(REAL, "lib")
    argv = [sys.executable, "-IS", "-c", SERVE, lib, name, provider.path, f"{idle:g}"]
    return warm.connect(name, argv, env)
