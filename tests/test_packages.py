"""Packages: found in the suite's own environment, without a site scan; a missing one says how to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentlib.faults import Fault
from agentlib.packages import need
from vendors import ROOT


def test_a_package_is_found_from_an_interpreter_without_site_packages() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n"
        "from agentlib.packages import need; need('certifi'); import certifi; print(certifi.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True
    )
    assert Path(ran.stdout.strip()).is_relative_to(ROOT / ".venv")


def test_a_package_that_is_not_there_is_a_fault_that_names_it_and_the_cure() -> None:
    with pytest.raises(Fault, match=r"no_such_package.*install\.sh") as caught:
        need("certifi", "no_such_package")
    assert caught.value.status == 100
