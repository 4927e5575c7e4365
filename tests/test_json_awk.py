"""lib/json.awk: strict JSON in awk, for the tools in shell and awk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
SUITE = Path(os.environ.get("SHARED", ROOT.parent / "shared")) / "vectors" / "JSONTestSuite"


def awk(text: bytes, want: str = "a") -> subprocess.CompletedProcess[bytes]:
    argv = ["awk", "-v", f"want={want}", "-f", str(ROOT / "lib" / "json.awk")]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    return subprocess.run(argv, input=text, capture_output=True, env=env, timeout=60)


texts = st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)), max_size=30)


@given(texts, st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_string_comes_back_as_it_was(text: str, ascii_only: bool) -> None:
    found = awk(json.dumps({"b": [1, {"c": "}"}], "a": text}, ensure_ascii=ascii_only).encode())
    assert (found.returncode, found.stdout.decode()) == (0, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{,}",
        '{"a":1}}',
        '{"a":01}',
        '{"a":+1}',
        '{"a":.5}',
        '{"a":NaN}',
        '{"a":"\t"}',
        '{"a":"\\x"}',
        '{"a":"\\u00g0"}',
        '{"a":"',
        '{"a":1 "b":2}',
        "{a:1}",
        '{"a":1,"a":2}',
        '{"a":[1,]}',
        '{"a":tru}',
        '{"a":"\\u0000"}',
        "{'a':1}",
        '{"a":1}x',
        '{"a":[' + "[" * 100,
    ],
)
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    found = awk(text.encode())
    assert (found.returncode, found.stdout) == (2, b"")
    assert found.stderr.startswith(b"json.awk: standard input is not JSON: ")


def test_a_long_string_with_many_escapes_takes_no_quadratic_time() -> None:
    text = 'line\n"quoted"\\\n' * 20_000
    assert awk(json.dumps({"a": text}).encode()).stdout.decode() == text


@pytest.mark.skipif(not SUITE.exists(), reason="the JSON test suite is not here")
def test_the_json_test_suite() -> None:
    wrong = []
    for file in sorted(SUITE.rglob("*.json")):
        data = file.read_bytes()
        if file.name[:2] not in ("y_", "n_") or b"\0" in data or b"\\u0000" in data:
            continue  # no awk can hold a NUL
        found = awk(b'{"a":' + data + b"}")
        well = found.returncode == 0
        if file.name[0] == "n":
            # closed by our brace, or no JSON for its bytes alone, which awk does not check
            try:
                json.loads(b'{"a":' + data + b"}", parse_constant=lambda word: 1 / 0)
            except (ValueError, ZeroDivisionError, RecursionError):
                expected = b"\xff" in data or not data.isascii()
            else:
                expected = True
            if well and not expected:
                wrong.append(file.name)
        elif not well and "duplicated" not in file.name:
            wrong.append(f"{file.name}: {found.stderr.decode(errors='replace')}")
    assert wrong == []
