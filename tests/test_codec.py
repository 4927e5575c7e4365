"""The two JSON codecs: once orjson has taken over, values, text and errors are still those of the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.records import codec, quick_codec
from vendors import ROOT, shared

NUMBERS = (
    st.integers()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([10**18, 10**19 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1.5e-4, 1e-4, 1e-5, 9.9e-6, 1e-6, 2.5e-7, 1e-9, 1e-10, 1e15, 1e16, 1.5e22])
)
TEXTS = st.text(st.characters(exclude_categories=())) | st.text('":+\\u03aé e-0.nul', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=15,
)
# What no program of ours would write: a key twice, a colon as an escape, numbers in every notation, what is not JSON.
PIECES = (
    *('{"a":1,', '{"a" : 1,', '"a":2', '"\\u0061":2', '"b":"\\u003a"', '"b":"\\u003A"', '"b":":"'),
    *(
        '"b":"\\\\u003a"',
        '"\\ud83d\\ude00"',
        '"\\ud83d"',
        '"\ud83d"',
        '"\\/"',
        '"é"',
        '"x\x01"',
        '"',
    ),
    *(
        "}",
        "{",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\n",
        "\\",
        "\ufeff",
        "\0",
        "true",
        "null",
        "NaN",
        "-Infinity",
    ),
    *("-0", "0.0", "1e5", "1E400", "-1e400", "1e-7", "9" * 19, "1" * 40, "1.0", "1.10", "01", "+1"),
)
PATCHWORK = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
JSON = st.recursive(
    st.sampled_from([one for one in PIECES if one[0] in '"-0123456789tnN' and len(one) > 1]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda all: f"[{' , '.join(all)}]")
        | st.lists(
            st.tuples(st.sampled_from(['"a"', '"b" ', '"\\u0061"', '":"']), inner), max_size=3
        ).map(lambda all: "{" + ",".join(f"{key}:{one}" for key, one in all) + "}")
    ),
    max_leaves=6,
)
READERS = pytest.mark.parametrize("read", [codec.loads, codec.foreign])


def outcomes(work: Callable[[Any], Any], on: Any) -> list[Any]:
    """What comes of the same by the standard library and by orjson: the value, or the error's words."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_size", float("-inf"))
        for module in (None, quick_codec):
            patch.setattr(codec, "_quick", module)
            try:
                found.append(exact(work(on)))
            except (ValueError, TypeError) as bad:
                found.append((type(bad), str(bad)))
    return found


def exact(value: Any) -> Any:
    """The value with kinds, signs and the order of keys made visible: 1 is not 1.0, nor 0.0 -0.0."""
    return value if isinstance(value, bytes) else json.dumps(value)


def same(work: Callable[[Any], Any], on: Any) -> None:
    standard, fast = outcomes(work, on)
    assert fast == standard


@READERS
@given(VALUES, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
def test_a_value_written_in_any_way_is_read_the_same(
    read: Any, value: Any, ascii: bool, marks: tuple[str, str]
) -> None:
    text = json.dumps(value, ensure_ascii=ascii, separators=marks)
    same(read, text)
    same(read, text.encode("utf-8", "surrogatepass"))


@READERS
@given(PATCHWORK | JSON)
def test_any_patchwork_is_read_the_same_or_refused_in_the_same_words(read: Any, text: str) -> None:
    same(read, text)
    same(read, text.encode("utf-8", "surrogatepass"))


@READERS
@given(st.binary(max_size=20) | st.binary(max_size=5).map(lambda bad: b'{"a":"' + bad + b'"}'))
def test_any_bytes_are_read_the_same_or_refused_in_the_same_words(read: Any, data: bytes) -> None:
    same(read, data)


@READERS
def test_the_vectors_of_json_test_suite_are_read_the_same(read: Any) -> None:
    for file in sorted(shared("vectors/JSONTestSuite").rglob("*.json")):
        same(read, file.read_bytes())


@READERS
@pytest.mark.parametrize("depth", [100, 253, 254, 255, 256, 600, 1023, 1024, 1025, 100_000])
def test_depth_ends_for_both_at_the_same_place(read: Any, depth: int) -> None:
    def nothing(data: bytes) -> None:
        read(data)

    same(nothing, b"[" * depth + b"]" * depth)
    same(nothing, b'{"a":' * depth + b"1" + b"}" * depth)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"b":":","a":1}',
        '{"a":1,"a":1,"b":"\\u003a"}',
        '{"a":1,"a":1,"b":"\\u003A"}',
        '{"a":1,"\\u0061":1}',
        '[{"x":{"a" :1 ,"a" :1}}]',
    ],
)
def test_a_key_twice_is_refused_by_both_and_taken_from_vendors(text: str) -> None:
    for words in outcomes(codec.loads, text):
        assert words == (ValueError, "the key 'a' stands twice in one object")
    same(codec.foreign, text)
    assert json.loads(text) == codec.foreign(text)


@given(
    VALUES
    | st.floats()
    | st.lists(st.floats())
    | st.dictionaries(st.integers() | st.text(), VALUES)
)
def test_a_value_is_written_as_the_same_text(value: Any) -> None:
    same(codec.dumps, value)
    same(codec.encode, value)


@pytest.mark.parametrize("depth", [100, 252, 253, 254, 255, 900])
def test_a_deep_value_is_written_as_the_same_text(depth: int) -> None:
    same(codec.dumps, json.loads("[" * depth + "]" * depth))


def python(code: str, data: bytes = b"") -> str:
    """What a program prints that starts as those of the suite do."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n{code}"
    argv = [sys.executable, "-IS", "-c", code]
    return subprocess.run(argv, input=data, capture_output=True, timeout=60).stdout.decode()


SIZES = [(1000, False), (codec.LONG // 30, True)]


@pytest.mark.parametrize(("count", "loaded"), SIZES)
def test_orjson_is_loaded_once_a_stream_is_count(count: int, loaded: bool) -> None:
    code = (
        "from agentlib import records\nassert all(line.record['n'] == 1 for line in records.read())\n"
        "print('orjson' in sys.modules)"
    )
    assert python(code, b'{"type":"x","n":1,"text":"0123456789"}\n' * count) == f"{loaded}\n"


@pytest.mark.parametrize(("count", "loaded"), SIZES)
def test_orjson_is_loaded_once_much_was_written(count: int, loaded: bool) -> None:
    code = (
        "from agentlib.records import codec\n"
        f"for n in range({count}): assert len(codec.encode({{'text': '0123456789' * 3}})) == 41\n"
        "print('orjson' in sys.modules)"
    )
    assert python(code) == f"{loaded}\n"


def test_without_orjson_a_long_stream_is_read_all_the_same() -> None:
    code = (
        "from agentlib import packages; from agentlib.records import codec\npackages.TOP = '/nonexistent'\n"
        f"for n in range({codec.LONG // 10}): assert codec.loads(b'[123456789]') == [123456789]\n"
        "print('orjson' in sys.modules)"
    )
    assert python(code) == "False\n"


def test_what_is_too_deep_is_refused_in_a_thread_with_a_small_stack() -> None:
    code = "import sys, threading; sys.path.insert(0, sys.argv[1]); from agentlib.records import codec\n"
    code += "def read():\n  for text in '[' * 10**5, '{\"a\":' * 10**5, b'[' * 10**5:\n"
    code += "    for way in codec.loads, codec.foreign:\n"
    code += "      try: way(text)\n      except ValueError as bad: print(bad)\n"
    code += "threading.stack_size(2**18); threading.Thread(target=read).start()"
    words = [sys.executable, "-c", code, str(ROOT / "lib")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "nested too deeply\n" * 6


@pytest.mark.parametrize("text", ['["' + "[{" * 3000 + '"]', "[" + "[]," * 3000 + '"\\"]]"]'])
def test_brackets_side_by_side_and_in_strings_are_not_deep(text: str) -> None:
    assert codec.loads(text) == codec.loads(text.encode()) == json.loads(text)
