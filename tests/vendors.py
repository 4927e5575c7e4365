"""For the tests of the providers: the test data beside the checkout, a provider's file as a module, the checks' verdict."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared(path: str) -> Path:
    """This file of the test data; the test is skipped where the data is not there."""
    found = Path(os.environ.get("SHARED") or ROOT.parent / "shared") / path
    if not found.exists():
        pytest.skip(f"the test data {path} is not here")
    return found


def provider(name: str) -> ModuleType:
    """The file providers/NAME as a module, so that its functions can be called."""
    loader = SourceFileLoader(f"provider_{name}", str(ROOT / "providers" / name))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def verdict(check: str, name: str) -> str:
    """The failures that a check of the test data finds in providers/NAME, "" when there are none."""
    cases = shared(f"wire/{name}")
    done = subprocess.run([sys.executable, shared(f"check/{check}"), ROOT / "providers" / name, cases],
                          check=False, capture_output=True, text=True, timeout=300)
    assert re.search(r": [1-9]\d* passed", done.stdout), done.stdout + done.stderr
    return "" if done.returncode == 0 else done.stdout
