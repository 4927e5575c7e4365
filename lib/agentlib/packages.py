"""The run-time packages: found when they are needed, in the suite's own environment, without a site scan."""

from __future__ import annotations

import os
import sys

from agentlib.faults import Fault
from agentlib.paths import TOP


def need(*names: str) -> None:
    """Make the packages of the private environment importable; a clear fault where one of `names` is not there.

    Programs start with `-I -S`, so nothing is on sys.path but the standard library and ours; .pth files are never run.
    """
    from importlib.util import find_spec

    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = os.path.join(TOP, ".venv", "lib", version, "site-packages")
    if folder not in sys.path:
        sys.path.append(folder)
    for name in names:
        if find_spec(name) is None:
            cure = f"run {TOP}/install.sh{_option(name)}"
            raise Fault("not_found", f"the package {name} for {version} is not installed: {cure}")


def _option(name: str) -> str:
    """The option of install.sh that brings this package, by requirements-extra.txt; '' where it brings it anyway."""
    try:
        with open(os.path.join(TOP, "requirements-extra.txt"), encoding="utf-8") as file:
            lines = [line.split() for line in file if line.startswith(f"{name}==")]
    except OSError:
        return ""
    return f" --with {lines[0][-1]}" if lines else ""
