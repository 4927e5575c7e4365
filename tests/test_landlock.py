"""Landlock by ctypes: on this kernel as it is, and in what is asked of older ones."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentlib import paths
from agentlib.faults import Fault
from agentlib.sandbox import landlock, prepare, rules, workspace
from agentlib.sandbox.mounts import View

needs_kernel = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


def confined(readable, writable, script):
    """Run a piece of Python that may use only these trees; what it printed."""
    head = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1]); from agentlib.sandbox import rules\n"
        "from agentlib.sandbox.kept import fork_server\n"
        "fork_server.limit(rules.ruleset(json.loads(sys.argv[2]), json.loads(sys.argv[3]), False))\n"
        "def tried(act):\n    try: act(); print('done')\n    except OSError as bad: print(bad.strerror)\n"
    )
    lib = paths.TOP + "/lib"
    argv = [
        sys.executable,
        "-IS",
        "-c",
        head + script,
        lib,
        json.dumps(readable),
        json.dumps(writable),
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@needs_kernel
def test_only_what_is_listed_can_be_read_or_written(tmp_path):
    for name in ("seen", "written", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    outcome = confined(
        [str(tmp_path / "seen")],
        [str(tmp_path / "written")],
        f"""
os.chdir({str(tmp_path)!r})
tried(lambda: open("seen/file").read())
tried(lambda: open("written/file").read())
tried(lambda: open("hidden/file").read())
tried(lambda: open("seen/file", "w"))
tried(lambda: open("written/new", "w"))
tried(lambda: os.rename("written/new", "written/other"))
tried(lambda: os.unlink("seen/file"))
tried(lambda: os.listdir("hidden"))
tried(lambda: os.link("hidden/file", "written/link"))
""",
    )
    closed = "Permission denied"
    assert outcome[:8] == ["done", "done", closed, closed, "done", "done", closed, closed]
    assert outcome[8] != "done"


@needs_kernel
def test_a_file_can_be_listed_alone(tmp_path):
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    assert confined(
        [str(tmp_path / "one")],
        [],
        f"""
tried(lambda: open({str(tmp_path / "one")!r}).read())
tried(lambda: open({str(tmp_path / "two")!r}).read())
""",
    ) == ["done", "Permission denied"]


@needs_kernel
def test_what_is_gone_is_left_out(tmp_path):
    assert confined([str(tmp_path / "gone")], [], "print('fine')") == ["fine"]


@pytest.mark.parametrize(
    ("version", "bits"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (6, 16), (9, 16)]
)
def test_no_version_is_asked_for_more_than_it_knows(version, bits, monkeypatch):
    assert rules.handled(version) == (1 << bits) - 1
    request = []
    monkeypatch.setattr(
        landlock._libc, "syscall", lambda number, attributes, *_: request.append(attributes) or 3
    )
    monkeypatch.setattr(landlock, "abi", lambda: version)
    rules.ruleset([], [], False)
    words = struct.unpack(f"={len(request[0]) // 8}Q", request[0])
    assert words == ((1 << bits) - 1, 3, 3)[: 1 + (version >= 4) + (version >= 6)]


def test_a_kernel_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(Fault, match="no Landlock"):
        rules.ruleset([], [], False)


def view(folder, writable):
    """A view of a folder, for /bin/true."""
    return View(["/bin/true"], "/usr/bin", str(folder), "work" if writable else "read")


def test_a_view_leaves_out_what_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr("agentlib.sandbox.host.homes", lambda: (str(tmp_path / "home"),))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".env").write_text("secret")
    (tmp_path / "work" / "notes").write_text("notes")
    folder = str(tmp_path / "work")
    trees = rules.of(view(folder, False), workspace.of(folder))
    for hidden in (
        "/",
        "/proc",
        "/dev",
        "/tmp",
        str(tmp_path / "home"),
        str(tmp_path / "work"),
        str(tmp_path / "work" / ".env"),
    ):
        assert hidden not in trees.readable
    assert not any(
        path.startswith(("/proc/self", f"/proc/{os.getpid()}")) for path in trees.readable
    )
    assert trees.writable == list(rules.DEVICES)


@pytest.mark.parametrize("name", ["AGENTS.md", ".env", "sub/.env"])
def test_a_folder_with_something_to_guard_cannot_be_written(tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text("secret")
    with pytest.raises(Fault) as caught:
        rules.of(view(tmp_path, True), workspace.of(str(tmp_path)))
    assert caught.value.kind == "tool_denied" and name in caught.value.message


def test_nobody_sees_half_of_another_thread_s_look(tmp_path, monkeypatch):
    for name in (".env", "AGENTS.md", "bare/HEAD"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("secret")
    for name in ("objects", "refs"):
        (tmp_path / "bare" / name).mkdir()
    space = workspace.of(str(tmp_path))
    looking = threading.Event()
    go_on = threading.Event()
    seen = view(tmp_path, True)
    scandir = os.scandir

    def slow(path):
        looking.set()
        assert go_on.wait(10)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", slow)
    (tmp_path / "new").touch()
    other = threading.Thread(target=workspace.of, args=(str(tmp_path),))
    other.start()
    try:
        assert looking.wait(10)
        with pytest.raises(Fault, match="AGENTS.md|.env|bare"):
            rules.of(seen, space)
        assert space.found.repositories == [str(tmp_path / "bare")]
    finally:
        go_on.set()
        other.join()


@needs_kernel
def test_however_many_begin_at_once_none_may_write_what_is_guarded(tmp_path, monkeypatch):
    monkeypatch.setitem(prepare._ways, True, ("landlock", ""))
    for name in (".git", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "AGENTS.md").write_text("mine")
    outcome = []

    def begin():
        for _ in range(500):
            try:
                prepare.Sandbox(["/bin/true"], "work", str(tmp_path), env={}).close()
            except Fault as fault:
                outcome.append(fault.kind)

    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=begin) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    finally:
        sys.setswitchinterval(pause)
    assert outcome == ["tool_denied"] * 2000 and os.listdir(tmp_path / "docs") == ["AGENTS.md"]


@pytest.mark.parametrize(
    ("most", "why"), [("LISTED", "too many to look at"), ("ENTRIES", "more than 3 names")]
)
def test_a_folder_that_was_not_looked_at_as_a_whole_cannot_be_written(
    tmp_path, monkeypatch, most, why
):
    monkeypatch.setattr(workspace, most, 3)
    for number in range(5):
        (tmp_path / str(number)).write_text("text")
    with pytest.raises(Fault, match=why) as caught:
        rules.of(view(tmp_path, True), workspace.of(str(tmp_path)))
    assert caught.value.kind == "tool_denied"
    assert rules.of(view(tmp_path, False), workspace.of(str(tmp_path)))


def test_what_is_guarded_is_found_in_installed_packages_too(tmp_path):
    inner = tmp_path / "node_modules" / "a" / ".vscode"
    inner.mkdir(parents=True)
    with pytest.raises(Fault, match="node_modules/a/.vscode"):
        rules.of(view(tmp_path, True), workspace.of(str(tmp_path)))


def test_links_with_names_of_secrets_hide_nothing_however_many(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text("text")
        (tmp_path / f"{number}.env").symlink_to(f"{number}.txt")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "AGENTS.md").write_text("mine")
    found = workspace.of(str(tmp_path)).found
    assert found.guarded == [str(tmp_path / "z" / "AGENTS.md")] and len(found.secrets) == 80


def test_what_has_not_changed_is_not_looked_at_again(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    space = workspace.of(str(tmp_path))
    walk = workspace.Workspace._walk
    walks = []
    monkeypatch.setattr(workspace.Workspace, "_walk", lambda self: walks.append(walk(self)))
    for _ in range(9):
        space.look()
    assert not walks
    (tmp_path / "below" / "new").touch()
    space.look()
    space.look()
    assert len(walks) == 1 and os.stat(tmp_path / "below" / "new").st_ino in space.found.files


def test_calls_that_wait_for_a_look_share_the_next_one(tmp_path, monkeypatch):
    space = workspace.of(str(tmp_path))
    walk = workspace.Workspace._walk
    walks = []
    seen = threading.Event()
    over = threading.Event()
    called = threading.Semaphore(0)

    def slow(self):
        walks.append(self)
        walk(self)
        seen.set()
        over.wait(60)

    def call():
        called.release()
        space.look()
        assert inode in space.found.files

    monkeypatch.setattr(workspace.Workspace, "_walk", slow)
    (tmp_path / "old").touch()
    first = threading.Thread(target=space.look)
    first.start()
    assert seen.wait(60)
    (tmp_path / "new").write_text("made after the first look had seen the folder")
    inode = os.stat(tmp_path / "new").st_ino
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call) for _ in range(8)]
        for _ in calls:
            called.acquire()
        time.sleep(0.5)  # so that all of them wait, which cannot be seen
        over.set()
        for done in calls:
            done.result()
    first.join()
    assert len(walks) == 2
