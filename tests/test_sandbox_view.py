"""Which sandbox a tool gets, and what it sees in it: the tool itself, homes, what the user granted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentlib.sandbox import guard, references
from test_sandbox import (  # noqa: F401
    HAS_BWRAP,
    IN_SANDBOX,
    PYTHON,
    USERS,
    WAYS,
    Place,
    everywhere,
    scratch,
    with_bwrap,
    without_bwrap,
)


@pytest.fixture
def place(request, without_bwrap):  # noqa: F811
    for base in scratch():
        yield Place(base, *request.param, without_bwrap)


@everywhere
def test_the_tool_is_seen_and_cannot_be_changed_wherever_it_is(place):
    for folder in (place.home / "tools", place.home, place.work / "tools", place.work):
        if place.way == "landlock" and folder == place.work / "tools":
            continue
        folder.mkdir(exist_ok=True)
        tool = folder / "tool"
        tool.write_text('#!/bin/sh\necho evil >>"$0"; rm -f "$0"; mv "$0" x; echo ran\n')
        tool.chmod(0o755)
        text = tool.read_text()
        ran = place.run("read" if place.way == "landlock" else "work", str(tool))
        assert ran.stdout == "ran\n", ran.stderr
        assert tool.read_text() == text
        tool.unlink()


@everywhere
def test_a_tool_in_a_home_does_not_open_that_home(place):
    tool = place.home / "tool"
    tool.write_text("#!/bin/sh\ncat ~/.ssh/id_rsa " + str(place.home) + "/.ssh/id_rsa\n")
    tool.chmod(0o755)
    assert "DECOY" not in place.run("read", str(tool)).stdout


@everywhere
def test_the_lib_beside_a_tool_is_seen_and_what_else_is_there_is_not(place):
    folder = place.home / "suite" / "tools"
    folder.mkdir(parents=True)
    (place.home / "suite" / "lib").mkdir()
    (place.home / "suite" / "lib" / "part").write_text("seen\n")
    (place.home / "suite" / "secret").write_text("DECOY")
    script = 'cd "${0%/*}/.." && cat lib/part secret; echo x >lib/new\n'
    (folder / "tool").write_text(f"#!/bin/sh\n{script}")
    (folder / "tool").chmod(0o755)
    assert place.run("read", str(folder / "tool")).stdout == "seen\n"
    assert not (place.home / "suite" / "lib" / "new").exists()


@everywhere
def test_an_interpreter_of_an_environment_in_a_home_is_seen(place):
    folder = place.home / "env" / "bin"
    folder.mkdir(parents=True)
    (place.home / "env" / "lib").mkdir()
    (place.home / "env" / "lib" / "word").write_text("seen")
    (folder / "speak").write_text(
        f'#!/bin/sh\ncat {place.home}/env/lib/word; echo; exec /bin/sh "$@"\n'
    )
    (folder / "speak").chmod(0o755)
    tool = place.work / "tool"
    tool.write_text(f"#!{folder}/speak\necho ran\n")
    tool.chmod(0o755)
    assert place.run("read", str(tool)).stdout == "seen\nran\n"


@everywhere
def test_the_home_itself_as_working_folder_shows_nothing_of_what_is_hidden(place):
    (place.home / "notes.txt").write_text("notes")
    place.work = place.home
    ran = place.shell("read", "cat notes.txt .ssh/id_rsa .bashrc; echo evil >.bashrc")
    assert ran.stdout == "notes"
    if place.way == "bwrap":
        place.shell(
            "work", "echo evil >.bashrc; rm .bashrc; mv .ssh x; echo evil >.profile; echo fine >new"
        )
        assert (place.home / ".bashrc").read_text() == "# mine"
        assert (place.home / ".ssh" / "id_rsa").read_text() == "DECOY"
        assert (
            not (place.home / ".profile").exists() and (place.home / "new").read_text() == "fine\n"
        )


@with_bwrap
def test_a_home_inside_the_working_folder_stays_hidden_and_in_its_place(place):
    place.work = place.base
    (place.base / "deep").mkdir()
    place.home = place.home.rename(place.base / "deep" / "home")
    ran = place.shell(
        "work",
        f"""cat {place.home}/.ssh/id_rsa; mv deep other; mv deep/home deep/x; echo evil >~/.bashrc
        mkdir -p deep/home; echo fine >new""",
    )
    assert ran.stdout == "" and (place.base / "new").read_text() == "fine\n"
    assert (place.home / ".bashrc").read_text() == "# mine"


@everywhere
def test_a_folder_that_holds_more_than_a_project_is_never_written(place):
    place.work = Path("/")
    ran = place.shell(
        "work", f"cat {place.home}/.ssh/id_rsa; echo x >{place.outside}/new; echo x >/new; echo ran"
    )
    assert ran.stdout == "ran\n"
    assert not (place.outside / "new").exists() and not os.path.exists("/new")


@with_bwrap
def test_a_tool_below_a_masked_folder_of_the_home_is_still_seen(place):
    folder = place.home / ".local" / "share" / "tools"
    folder.mkdir(parents=True)
    (place.home / ".local" / "token").write_text("DECOY")
    (folder / "tool").write_text("#!/bin/sh\necho ran; cat ~/.local/token; echo x >~/.local/new\n")
    (folder / "tool").chmod(0o755)
    place.work = place.home
    assert place.run("work", str(folder / "tool")).stdout == "ran\n"
    assert not (place.home / ".local" / "new").exists()


@everywhere
def test_grants_of_the_user_are_seen_and_written(place):
    for name in ("seen", "written"):
        (place.home / name).mkdir()
        (place.home / name / "file").write_text(name)
    options = ("-r", str(place.home / "seen"), "-w", str(place.home / "written"))
    ran = place.shell(
        "read",
        f"cd {place.home}; cat seen/file written/file; echo x >written/new; echo x >seen/new",
        options=options,
    )
    assert ran.stdout == "seenwritten"
    assert (place.home / "written" / "new").exists() and not (place.home / "seen" / "new").exists()


@pytest.mark.parametrize("place", [one for one in WAYS if "kept" not in one.id], indirect=True)
def test_the_probe_works_in_an_empty_folder(place):
    ran = place.shell(
        "probe", f"pwd; ls -A; echo x >~/.config && echo home; echo x >{place.work}/x"
    )
    assert (
        len(ran.stdout.split()) == 2
        and str(place.work) not in ran.stdout
        and ran.stdout.endswith("home\n")
    )
    assert not (place.work / "x").exists()
    assert not (place.home / ".config").exists()


@with_bwrap
def test_a_bwrap_of_the_project_is_not_believed(place):
    (place.work / "bwrap").write_text("#!/bin/sh\ntouch fooled\n")
    (place.work / "bwrap").chmod(0o755)
    place.programs = f".:{place.work}:{place.programs}"
    assert place.shell("work", "cat /proc/1/comm").stdout == "python3\n"
    assert not (place.work / "fooled").exists()


ONE_WAY = [pytest.param((user, "bwrap"), id=user) for user in USERS if HAS_BWRAP]


@pytest.mark.parametrize("place", ONE_WAY, indirect=True)
def test_where_no_name_space_can_be_made_landlock_takes_over(place):
    inner = [
        "bwrap",
        "--unshare-user",
        "--disable-userns",
        "--dev-bind",
        "/",
        "/",
        "--",
        PYTHON,
        "-IS",
        str(IN_SANDBOX),
    ]
    script = "cat ~/.ssh/id_rsa; echo x >made && echo ran; grep -c . /proc/self/status"
    place.sandbox = [*inner, "work", str(place.work), "/bin/sh", "-c", script]
    ran = place.run("unused")
    assert ran.stdout == "ran\n", ran.stderr  # and /proc/self cannot be read, as with Landlock only


def test_an_old_landlock_is_helped_out_by_the_call_filter(monkeypatch):
    from agentlib.sandbox.kept import fork_server

    wanted = {}
    monkeypatch.setattr(fork_server.seccomp, "installer", lambda code: None)
    monkeypatch.setattr(
        fork_server.seccomp, "program", lambda network, **options: wanted.update(options)
    )
    for version in (1, 2, 3):
        monkeypatch.setattr(fork_server.landlock, "abi", lambda version=version: version)
        fork_server._filters.clear()
        fork_server.filtered(network=False, unseen=True)
        assert wanted == {"unseen": True, "truncate": version < 3, "among": True}


def test_a_tool_that_is_not_there_is_reported(tmp_path):
    from agentlib.faults import Fault
    from agentlib.sandbox import prepare

    with pytest.raises(Fault) as caught:
        prepare.Sandbox([str(tmp_path / "none")], "read", str(tmp_path), env={"PATH": "/usr/bin"})
    assert caught.value.kind == "tool_not_found"


def test_without_bubblewrap_and_landlock_nothing_runs(monkeypatch, tmp_path):
    from agentlib.faults import Fault
    from agentlib.sandbox import landlock, prepare

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(prepare, "_ways", {})
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(Fault) as caught:
        prepare.Sandbox(["/bin/true"], "read", str(tmp_path), env={"PATH": "/usr/bin"})
    assert caught.value.kind == "tool_denied" and caught.value.message.startswith(
        "sandbox unavailable: "
    )
    assert (
        prepare.Sandbox(["/bin/true"], "off", str(tmp_path), env={}).options["args"][-1]
        == "/bin/true"
    )


def test_no_descriptor_of_a_call_stays_open(tmp_path):
    from agentlib.sandbox import prepare
    from agentlib.sandbox.kept.pool import SandboxPool

    pool = SandboxPool()
    try:
        for n in range(20):
            if n == 1:  # the first leaves a sandbox, and the server of processes
                count = len(os.listdir("/proc/self/fd"))
            with prepare.Sandbox(["/bin/true"], "read", str(tmp_path), env={}) as sandbox:
                assert pool.begin(sandbox, 0).reap() == 0
        assert len(os.listdir("/proc/self/fd")) == count
    finally:
        pool.close()


def test_the_page_lists_all_that_is_guarded() -> None:
    page = (Path(__file__).parent.parent / "docs/sandbox.md").read_text().casefold()
    listed = {*guard.NAMES, *references.OF_GIT, *guard.BEGINNINGS, *guard.ENDINGS}
    assert [name for name in sorted(listed) if f"`{name}`" not in page] == []
