"""The programs of the suite as modules, so that their functions can be called."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def loaded(path: str | Path) -> ModuleType:
    """A Python program as a module. path: from the top of the repository, as `tools/calculator`."""
    file = ROOT / path
    name = f"program_{file.name.replace('-', '_')}"
    loader = SourceFileLoader(name, str(file))
    module = module_from_spec(spec_from_loader(name, loader))  # type: ignore[arg-type]
    sys.modules[name] = module
    sys.dont_write_bytecode = True  # beside a program there is none
    loader.exec_module(module)
    return module
