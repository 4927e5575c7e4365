"""The run-time packages: found when they are needed, in the suite's own environment, without a site scan."""

import os
import sys

from agentlib.faults import Fault
from agentlib.paths import TOP

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def folder() -> str:
    """The folder of the packages: in the private environment, or in that which pip has put the suite into."""
    private = os.path.join(TOP, ".venv", "lib", VERSION, "site-packages")
    if os.path.isdir(private):
        return private
    beside = os.path.join(os.path.dirname(TOP), VERSION)
    found = [os.path.join(beside, name) for name in ("site-packages", "dist-packages")]
    return next(filter(os.path.isdir, found), private)


def need(*names: str) -> None:
    """Make the packages of the private environment importable; a clear fault where one of `names` is not there.

    Programs start with `-I -S`, so nothing is on sys.path but the standard library and ours; .pth files are never run.
    """
    from importlib.util import find_spec

    if (there := folder()) not in sys.path:
        sys.path.append(there)
    for name in names:
        if find_spec(name) is None:
            why = f"the package {name} for {VERSION} is not installed: {cure(_extra(name))}"
            raise Fault("not_found", why)


def cure(extra: str = "") -> str:
    """What to run for the packages of an extra, such as `pdf`, or for those that every program needs."""
    script = os.path.join(TOP, "install.sh")
    if os.path.exists(script):
        return f"run {script} --with {extra}" if extra else f"run {script}"
    return f"install agentutils{extra and f'[{extra}]'} again, from where you have it"


def _extra(name: str) -> str:
    """The extra that brings this package, by requirements-extra.txt; '' where it comes anyway."""
    try:
        with open(os.path.join(TOP, "requirements-extra.txt"), encoding="utf-8") as file:
            lines = [line.split() for line in file if line.startswith(f"{name}==")]
    except OSError:
        return ""
    return lines[0][-1] if lines else ""
