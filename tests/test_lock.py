"""Files that stay whole: a line is added whole or not at all, a half one at the end is mended first."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agentlib import lock
from agentlib.records import tail
from vendors import ROOT


@pytest.mark.parametrize(
    "before, after",
    [
        (b"", b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"a"', b'{"a":1}\n'),
        (b'{"a":1}', b'{"a":1}\n'),
        (b'{"a', b""),
        (b"# Notes\nof a person", b"# Notes\nof a person\n"),
        (b'{"a":1}\n' + b"\0" * 100, b'{"a":1}\n'),
        (b'{"a":1}\n{"a":"' + b"x" * 300_000, b'{"a":1}\n'),
        (b'{"a":1}\n{"a":"' + "é".encode()[:1], b'{"a":1}\n'),
    ],
)
def test_a_line_goes_behind_whole_lines_alone(before: bytes, after: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(before)
    tail.append(str(file), b'{"b":2}\n')
    assert file.read_bytes() == after + b'{"b":2}\n'
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_made_is_ours_alone(tmp_path: Path) -> None:
    tail.append(str(tmp_path / "file"), b"{}\n")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def limited(body: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Python code run if no file may be longer than 100 bytes, as on a disk that is nearly full."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"from agentlib import lock; from agentlib.records import tail\n{body}",
            str(file),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_where_there_is_no_room_nothing_of_a_line_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b'{"a":1}\n{"half')
    ran = limited("import sys; tail.append(sys.argv[1], b'x' * 200)", file)
    assert os.strerror(errno.EFBIG) in ran.stderr and str(file) in ran.stderr
    assert file.read_bytes() == b'{"a":1}\n'


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "new" / "file"
    lock.replace(str(file), b"old")
    ran = limited("import sys; lock.replace(sys.argv[1], b'x' * 200)", file)
    assert os.strerror(errno.EFBIG) in ran.stderr and str(file) in ran.stderr
    assert file.read_bytes() == b"old" and os.listdir(file.parent) == ["file"]


def test_lines_of_many_writers_are_all_there_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    body = "import sys\nfor n in range(200): tail.append(sys.argv[1], b'{\"text\":\"%s\"}\\n' % (b'x' * n))"
    writers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from agentlib import lock; from agentlib.records import tail\n{body}",
                str(file),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        )
        for _ in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    lines = file.read_bytes().splitlines()
    assert sorted(map(len, lines)) == sorted(
        len('{"text":""}') + n for n in range(200) for _ in range(4)
    )


def test_only_the_last_line_without_an_end_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for text, wanted in ((b"a\nb", [False, True]), (b"a\nb\n", [False, False])):
        file.write_bytes(text)
        with open(file, "rb") as stream:
            seen = []
            while stream.readline():
                at = stream.tell()
                seen.append(tail.cut(stream))
                stream.seek(at)
        assert seen == wanted
