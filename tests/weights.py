"""The weights of small models that tests run for real, fetched once into the user's cache."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from installed import suite


def installed(size: str) -> Path:
    """A data folder with the model of this size (`tiny`, `embeddings`); the test is skipped if it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentutils-tests"
    for _ in range(100):
        argv = [suite() / "bin/agent-llm", "local", "install", "--size", size]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=240,
            env={**os.environ, "XDG_DATA_HOME": str(cache)},
        )
        if "is running" not in done.stderr:  # another test's: it fetches the same
            break
        time.sleep(1)
    if done.returncode:
        pytest.skip(f"the weights of the {size} model cannot be had: {done.stderr[-200:]}")
    return cache
