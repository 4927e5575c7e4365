"""Kept sandboxes: which call starts in which, and what becomes of one whose fork server has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlib import paths
from agentlib.faults import Fault
from agentlib.invoke import served
from agentlib.invoke.runner import Runner
from agentlib.invoke.tool import Invocation, Tool
from agentlib.invoke.toolset import Tools
from agentlib.launch.start import Decision
from agentlib.policy.rules import Policy, Rule
from agentlib.process.ordered import KILLED
from agentlib.process.run import Scope
from agentlib.sandbox import prepare, scratch
from agentlib.sandbox.kept import fork_server
from agentlib.sandbox.kept.pool import SandboxPool

pytestmark = pytest.mark.skipif(
    prepare.walled()[0] != "bubblewrap", reason="bubblewrap does not work here"
)


@pytest.fixture
def pool() -> Iterator[SandboxPool]:
    """Where each call starts in a kept sandbox."""
    made = SandboxPool()
    yield made
    made.close()


def call(pool: SandboxPool, folder: Path, script: str, profile: str = "work") -> int:
    """The status of a call."""
    with prepare.Sandbox(
        ["/bin/sh", "-c", script], profile, str(folder), env={"PATH": os.defpath}
    ) as sandbox:
        return pool.begin(sandbox, 0, 1, 2).reap()


def test_calls_with_one_view_share_a_sandbox_whether_they_may_write_or_not(
    pool: SandboxPool, tmp_path: Path
) -> None:
    assert [call(pool, tmp_path, "exit 3", one) for one in ("work", "read", "work")] == [3, 3, 3]
    assert len(pool._kept) == 1
    assert call(pool, tmp_path, "exit 3", "net") == 3
    assert len(pool._kept) == 2


def test_a_call_sees_what_the_one_before_it_made_and_what_the_user_made_since(
    pool: SandboxPool, tmp_path: Path
) -> None:
    for n in range(4):
        assert call(pool, tmp_path, f"echo tool{n} >tool{n}") == 0
        (tmp_path / f"mine{n}").write_text(f"mine{n}")
        for profile in ("work", "read"):
            script = f"test $(cat tool{n}) = tool{n} && test $(cat mine{n}) = mine{n}"
            assert call(pool, tmp_path, script, profile) == 0
    assert len(pool._kept) == 1


NUMBER = "test $$ -lt 3 && exit 7; exit 8"  # of the first process but init in a new sandbox, or of a later one
PYTHON = f"{sys.executable} -IS -c"


@pytest.mark.parametrize("profile", ["read", "work"])
def test_a_cell_that_a_call_left_as_it_was_serves_the_next_of_the_same_program(
    pool: SandboxPool, tmp_path: Path, profile: str
) -> None:
    script = "touch /tmp/one && rm /tmp/one"  # the folder's time tells
    assert call(pool, tmp_path, NUMBER, profile) == 7
    assert [call(pool, tmp_path, NUMBER, profile) for _ in range(3)] == [8, 8, 8]
    assert call(pool, tmp_path, script, profile) == 0
    assert call(pool, tmp_path, NUMBER, profile) == 7
    with prepare.Sandbox(
        ["/bin/bash", "-c", NUMBER], profile, str(tmp_path), env={"PATH": os.defpath}
    ) as sandbox:
        assert pool.begin(sandbox, 0, 1, 2).reap() == 7


@pytest.mark.parametrize(
    "trace",
    [
        "echo mine >/tmp/left",
        "mkdir -p /dev/shm/a/b",
        "ln -s /etc/passwd /var/tmp/left",
        "mkfifo ~/left",
        "mkdir /tmp/a && chmod 0 /tmp/a",
        "chmod 0 /tmp",
        "chmod 700 /tmp",
        "touch -d @1 /tmp",
        "touch -a -d @1 /run; touch -m -d @1 /run",
        f'{PYTHON} \'import os; os.setxattr("/tmp", "user.left", b"")\'',
        "chmod 600 /dev/pts/ptmx",
        "sleep 60 >/dev/null 2>&1 &",
        "setsid sleep 60 >/dev/null 2>&1 &",
        f'{PYTHON} \'import os; os.fork() or os.execv("/bin/sleep", ["sleep", "60"])\'',
        "ipcmk -M 4096",
        "ipcmk -S 2",
        "ipcmk -Q",
        "renice -n 5 -p 1",
        "prlimit --pid 1 --nofile=16:16",
        "prlimit --pid 1 --core=0:0 --nproc=9:9",
        "taskset -p 1 1",
        "chrt --idle -p 0 1",
        "chrt -b -p 0 1",
        "ionice -c 3 -p 1",
        "echo 500 >/proc/1/oom_score_adj",
        "echo 9 >/proc/1/autogroup",
    ],
)
def test_a_cell_in_which_a_call_left_a_trace_serves_no_other(
    pool: SandboxPool, tmp_path: Path, trace: str
) -> None:
    assert call(pool, tmp_path, NUMBER, "read") == 7
    status = call(pool, tmp_path, f"test $$ -gt 2 || exit 9; {trace}", "read")
    if status:
        pytest.skip(f"{trace} does nothing here")
    assert call(pool, tmp_path, f"ps ax | grep -q [s]leep && exit 5; {NUMBER}", "read") == 7


def test_a_mark_on_the_working_folder_is_gone_for_the_next(
    pool: SandboxPool, tmp_path: Path
) -> None:
    names = "user.left", "system.posix_acl_default"
    acl = "0200000001000700ffffffff04000700ffffffff20000700ffffffff"
    for name, value in zip(names, ("", acl), strict=True):
        mark = f"import os; os.setxattr('.', '{name}', bytes.fromhex('{value}'))"
        assert call(pool, tmp_path, f'{PYTHON} "{mark}"') == 0
        seen = f"import os, sys; sys.exit('{name}' in os.listxattr('.'))"
        assert call(pool, tmp_path, f'{PYTHON} "{seen}"') == 0


def test_no_queue_of_posix_can_be_made(pool: SandboxPool, tmp_path: Path) -> None:
    script = "import ctypes; print(ctypes.CDLL(None).mq_open(b'/left', 0o102, 0o600, None))"
    call(pool, tmp_path, f'{PYTHON} "{script}" >made', "work")
    assert (tmp_path / "made").read_text() == "-1\n"


def test_what_a_call_left_in_the_working_folder_is_seen_by_the_next_in_another_cell(
    pool: SandboxPool, tmp_path: Path
) -> None:
    assert call(pool, tmp_path, NUMBER) == 7
    assert call(pool, tmp_path, "echo one >one; test $$ -gt 2") == 0
    assert call(pool, tmp_path, f"test -e one && {{ {NUMBER}; }}") == 7
    (tmp_path / "two").write_text("")
    assert call(pool, tmp_path, f"test -e two && {{ {NUMBER}; }}") == 7


def test_a_warden_that_is_gone_ends_its_calls_and_the_next_have_another(
    pool: SandboxPool, tmp_path: Path
) -> None:
    with prepare.Sandbox(
        ["/bin/sleep", "60"], "work", str(tmp_path), env={"PATH": os.defpath}
    ) as sandbox:
        child = pool.begin(sandbox, 0, 1, 2)
        assert child and not child.ended(0.1)
        kept = next(iter(pool._kept.values()))
        assert kept
        kept._child.signal(9)
        assert kept._child.ended(5)
        assert child.ended(5) and child.reap() == KILLED
    assert call(pool, tmp_path, "exit 3") == 3


def test_where_no_cell_can_be_made_nothing_runs(
    pool: SandboxPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "agentlib.sandbox.kept.sandbox.FORK_SERVER", str(tmp_path / "fork_server.py")
    )
    text = (
        Path(fork_server.__file__)
        .read_text()
        .replace(
            'os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))',
            repr(paths.TOP + "/lib"),
        )
    )
    (tmp_path / "fork_server.py").write_text(text)
    assert call(pool, tmp_path, "exit 3", "net") == 3
    (tmp_path / "fork_server.py").write_text(text.replace('"/dev/pts"', '"/no/such/place"'))
    for _ in range(2):
        with pytest.raises(Fault, match="sandbox unavailable: none can be kept: "):
            call(pool, tmp_path, "touch ran")
    assert not os.path.exists(tmp_path / "ran")


def test_a_call_that_gets_no_descriptors_is_no_harm_to_the_others(
    pool: SandboxPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise OSError(24, "Too many open files")

    with prepare.Sandbox(
        ["/bin/sleep", "60"], "work", str(tmp_path), env={"PATH": os.defpath}
    ) as sandbox:
        child = pool.begin(sandbox, 0, 1, 2)
        assert child
        with monkeypatch.context() as patch:
            patch.setattr("_socket.socketpair", none)
            with pytest.raises(OSError, match="Too many"):
                call(pool, tmp_path, "exit 0")
        assert not child.ended(0.1) and call(pool, tmp_path, "exit 5") == 5
        child.signal(9)
        assert child.reap() == KILLED


def test_a_program_that_cannot_be_started_is_reported(
    pool: SandboxPool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").write_text("#!/no/such/interpreter\n")
    (tmp_path / "odd").chmod(0o755)
    with prepare.Sandbox(
        [str(tmp_path / "odd")], "read", str(tmp_path), env={"PATH": os.defpath}
    ) as sandbox:
        child = pool.begin(sandbox, 0, 1, 2)
        assert child and child.reap() == 126
    assert "odd" in capfd.readouterr().err


def tools(folder: Path, **policy: Any) -> tuple[Tools, Runner]:
    """Two tools, of which none may run that writes without consent."""
    runner = Runner(10.0)
    made = Tools(Policy(**policy), runner)
    for name, notes in (("writes", {}), ("reads", {"readOnlyHint": True})):
        program = folder / name
        program.write_text("#!/bin/sh\necho done\n")
        program.chmod(0o755)
        record = {"type": "tool", "name": name, "command": [str(program)], "annotations": notes}
        made.add({**record, "inputSchema": {"type": "object"}})
    return made, runner


def test_a_sandbox_that_is_prepared_is_the_first_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made, runner = tools(tmp_path)
    try:
        made.prepare()
        prepared = list(runner.pool._kept.values())
        assert len(prepared) == 1 and prepared[0]
        call = {"name": "reads", "id": "1", "arguments": {}}
        assert made.perform(call, Scope())["content"] == "done\n"
        assert list(runner.pool._kept.values()) == prepared
    finally:
        runner.close(0.0)
    assert prepared[0]._child.ended(0)


@pytest.mark.parametrize(
    "policy", ({"sandbox": "off"}, {"rules": [Rule(("*",), verdict="deny")]}), ids=("off", "denied")
)
def test_no_sandbox_is_prepared_that_no_call_would_have(
    policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made, runner = tools(tmp_path, **policy)
    made.prepare()
    assert not runner.pool._kept
    runner.close(0.0)


def test_none_is_prepared_once_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made, runner = tools(tmp_path)
    runner.close(0.0)
    made.prepare()
    assert not runner.pool._kept


def test_a_tool_that_goes_on_is_started_at_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "echo"
    program.write_text(
        """#!/bin/sh\nwhile read -r x; do echo '{"id":"1","content":"heard"}'; done\n"""
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    record = {"type": "tool", "name": "echo", "command": [str(program)], "invoke": "jsonl"}
    for profile in ("work", "off"):
        runner = Runner(10.0)
        made = Tool({**record, "inputSchema": {"type": "object"}})
        try:
            found = served.converse(
                runner, Invocation(made, {}, Decision("allow", profile, ""), Scope())
            )
        finally:
            runner.close(1.0)
        assert found == "heard"


def test_a_call_that_was_never_started_leaves_what_is_guarded(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("mine")
    with prepare.Sandbox(["/bin/true"], "work", str(tmp_path), env={"PATH": os.defpath}) as sandbox:
        pass
    assert not sandbox.removed and os.listdir(tmp_path) == ["AGENTS.md"]


def test_with_landlock_alone_a_mount_on_the_machine_is_no_harm(tmp_path: Path) -> None:
    script = f"""
import os, subprocess, sys; sys.path.insert(0, {paths.TOP + "/lib"!r})
from agentlib.sandbox import prepare
from agentlib.sandbox import scratch
from agentlib.sandbox.kept.pool import SandboxPool
prepare._ways[True] = ("landlock", "")
pool = SandboxPool()
for n in range(2):
    with prepare.Sandbox(["/bin/true"], "read", {str(tmp_path)!r}, env={{}}) as sandbox:
        print(pool.begin(sandbox, 0).reap())
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True)
pool.close()
"""
    argv = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-IS", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n0\n", done.stderr


def test_folders_deeper_than_can_be_followed_are_no_harm(pool: SandboxPool, tmp_path: Path) -> None:
    made = (
        "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"
    )
    (tmp_path / "deep.py").write_text(made)
    work = tmp_path / "work"
    (work / "there").mkdir(parents=True)
    subprocess.run([sys.executable, tmp_path / "deep.py", work / "there"], check=True)
    scripts = ("rm -rf there", 'python3 -c "$0" . && echo x >beside', "rm -rf d")
    for script in scripts:
        argv = ["/bin/sh", "-c", script, made]
        with prepare.Sandbox(argv, "work", str(work), env={"PATH": os.defpath}) as sandbox:
            assert pool.begin(sandbox, 0, 1, 2).reap() == 0
        place = sandbox.changes
        assert any("deeper than 200 folders" in note for note in sandbox.removed) == (
            script != "rm -rf d"
        )
    assert (work / "beside").read_text() == "x\n"
    scratch.clear(place)
    assert not os.path.exists(place)
    scratch.clear(str(work))  # pytest could not


def test_a_work_tree_of_git_is_not_made_by_half(pool: SandboxPool, tmp_path: Path) -> None:
    made = "git init -q; git config user.email a@b; git config user.name n; git commit -q --allow-empty -m 1"
    subprocess.run(made, shell=True, cwd=tmp_path, check=True)
    argv = ["/bin/sh", "-c", "git worktree add -q other"]
    with prepare.Sandbox(argv, "work", str(tmp_path), env={"PATH": os.defpath}) as sandbox:
        assert pool.begin(sandbox, 0, 1, 2).reap() == 0
    assert any(note.startswith(".git/worktrees/other: ") for note in sandbox.removed)
    assert not os.path.exists(tmp_path / ".git/worktrees/other")
