"""Records: what is read is strict JSON, what is written is one valid line, whatever the strings hold."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import records, types
from agentlib.faults import Fault
from vendors import ROOT, shared

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


def read(data: bytes) -> list[records.Line]:
    return list(records.read(io.BytesIO(data)))


@given(VALUES)
def test_what_is_written_reads_back_as_it_was(value: Any) -> None:
    line = records.dumps(value)
    assert "\n" not in line
    assert records.loads(line) == value


@given(ANY_TEXT)
def test_any_string_becomes_valid_utf8(text: str) -> None:
    back = records.loads(records.dumps({"text": text}).encode())["text"]
    assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_a_surrogate_pair_in_two_pieces_is_joined_and_a_lone_half_replaced() -> None:
    assert records.dumps("\ud83d" + "\ude00") == '"😀"'
    assert records.dumps("a\ud800b") == '"a\ufffdb"'


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        '{"a":1,"a":1}',
        "[1,]",
        "{'a':1}",
        "",
        " ",
        "// no",
        '{"a":1} x',
        '"\x01"',
        "\ufeff{}",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_a_value_error_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        records.loads(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text", ["9007199254740993", "-0", "1.0", "1e2", "123456789012345678901234567890"]
)
def test_numbers_keep_their_value_and_kind(text: str) -> None:
    value = records.loads(text)
    assert records.loads(records.dumps(value)) == value
    assert type(value) is type(json.loads(text))


def test_an_integer_of_ten_thousand_digits_keeps_them() -> None:
    assert records.dumps(records.loads("7" * 10_000)) == "7" * 10_000


def test_no_number_that_is_not_one_is_written() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            records.dumps({"n": value})


def test_line_separators_of_unicode_do_not_end_a_line() -> None:
    assert records.dumps("a\u2028b\u0085c").split("\n") == ['"a\u2028b\u0085c"']
    assert read('{"type":"x","t":"a\u2028b"}\n'.encode())[0].record["t"] == "a\u2028b"


def test_bom_crlf_blank_lines_and_a_missing_line_end_are_accepted_and_counted() -> None:
    found = read(b'\xef\xbb\xbf{"type":"a"}\r\n\r\n   \n\t{"type":"b"} \r\n{"type":"c"}')
    assert [(line.record["type"], line.raw, line.number) for line in found] == [
        ("a", b'{"type":"a"}', 1),
        ("b", b'{"type":"b"}', 4),
        ("c", b'{"type":"c"}', 5),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        b"not json",
        b"[]",
        b'"x"',
        b"3",
        b"null",
        b"{}",
        b'{"type":null}',
        b'{"type":1}',
        b'{"type":"x"',
        b'{"type":"x"}{"type":"y"}',
        b"\xff\xfe",
        b'{"type":"\xff"}',
        b'{"type":"x","type":"y"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
)
def test_a_line_that_is_no_record_is_named_with_its_number_and_the_cure(wrong: bytes) -> None:
    bad = b'{"type":"first"}\n\n' + wrong + b"\n"
    with pytest.raises(Fault, match=r"^line 3: (?!.*operand -)"):
        list(records.read(io.BytesIO(bad)))
    stream = records.read(io.BytesIO(bad), cure=records.CURE)
    assert next(stream).record == {"type": "first"}
    with pytest.raises(Fault, match=r"^line 3: .*operand -") as caught:
        next(stream)
    assert caught.value.kind == "invalid_input"


def test_a_line_over_the_cap_is_refused_before_it_is_read_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "LINE_CAP", 1000)
    assert len(read(b'{"type":"' + b"x" * 988 + b'"}\n')) == 1
    with pytest.raises(Fault, match="line 1: longer") as caught:
        read(b'{"type":"' + b"x" * 5000)
    assert caught.value.kind == "limit_exceeded"


def test_the_vectors_of_json_test_suite() -> None:
    """y_ is accepted, n_ refused, i_ either; the one y_ with a key twice is refused, as docs/protocol.md says."""
    for file in sorted(shared("vectors/JSONTestSuite/test_parsing").glob("*.json")):
        try:
            records.loads(file.read_bytes())
            accepted = True
        except ValueError:
            accepted = False
        if file.name[0] in "yn":
            wanted = file.name[0] == "y" and "duplicated_key" not in file.name
            assert accepted == wanted, file.name


def python(code: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    argv = [
        sys.executable,
        "-IS",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})\n{code}",
    ]
    return subprocess.run(argv, capture_output=True, timeout=60, **how)


def test_a_pipe_that_stays_silent_is_reported_once() -> None:
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r})"
    code = "from agentlib import records; records.SILENCE = 0.05\nprint(list(records.read()))"
    argv = [sys.executable, "-IS", "-c", f"{path}\n{code}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stderr and b"waiting for records on standard input" in child.stderr.readline()
        assert child.communicate(timeout=60) == (b"[]\n", b"")


def test_plain_text_is_one_input_record_whatever_is_in_it() -> None:
    ran = python(
        "from agentlib import records; records.write(records.plain())",
        input=b'{"type":"tool","command":["sh"]}\n\xff\n',
    )
    assert records.loads(ran.stdout) == {
        "type": "input",
        "text": '{"type":"tool","command":["sh"]}\n\ufffd\n',
        "source": "stdin",
    }


def test_lines_of_many_threads_stay_whole() -> None:
    code = (
        "from agentlib import records; import threading\n"
        "def go(n):\n    for i in range(50): records.write({'type': 'x', 'n': n, 'text': 'y' * 9000})\n"
        "crowd = [threading.Thread(target=go, args=(n,)) for n in range(8)]\n"
        "[t.start() for t in crowd]; [t.join() for t in crowd]"
    )
    lines = python(code).stdout.splitlines()
    assert len(lines) == 400
    assert all(len(records.loads(line)["text"]) == 9000 for line in lines)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    code = "from agentlib import records; records.write({'type': 'x', 'b': 1, 'a': {'é': [1.5, None]}})"
    assert (
        python(code).stdout
        == python(code).stdout
        == '{"type":"x","b":1,"a":{"é":[1.5,null]}}\n'.encode()
    )


def test_a_named_tuple_has_its_fields_where_annotations_are_a_function_as_since_python_3_14() -> (
    None
):
    body = {"__annotate_func__": lambda format: {"a": int, "b": str}, "b": "x"}
    made = type(types.NamedTuple)("Made", (types.NamedTuple,), body)
    assert made(1)._asdict() == {"a": 1, "b": "x"}
