"""Packages: found in the suite's own environment, without a site scan; a missing one says how to get it."""

from __future__ import annotations

import shutil
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


def test_where_pip_put_the_suite_packages_are_those_of_its_environment(tmp_path: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "only_there.py").write_text("")
    shutil.copytree(ROOT / "lib/agentlib", tmp_path / "lib/agentutils/lib/agentlib")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'lib/agentutils/lib')!r})\n"
        "from agentlib.packages import cure, need; need('only_there'); import only_there\n"
        "print(only_there.__file__, cure('pdf'))"
    )
    argv = [sys.executable, "-IS", "-c", code]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(
        f"{packages}/only_there.py install agentutils[pdf] again, from where you have it"
    )


def test_a_package_that_is_not_there_is_a_fault_that_names_it_and_the_cure() -> None:
    with pytest.raises(Fault, match=r"no_such_package.*install\.sh") as caught:
        need("certifi", "no_such_package")
    assert caught.value.status == 100
