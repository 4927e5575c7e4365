"""The sandbox, told from inside: as root and as a plain user, with bubblewrap and with bubblewrap hidden."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
IN_SANDBOX = ROOT / "tests" / "in_sandbox.py"
ESCAPE = ROOT / "tests" / "escape.py"
USERS = {"root": 0, "user": 65534} if os.getuid() == 0 else {"user": os.getuid()}
HAS_BWRAP = shutil.which("bwrap") is not None
WAYS = [
    pytest.param(
        (user, way),
        id=f"{user}-{way}",
        marks=[]
        if HAS_BWRAP or "landlock" in way
        else pytest.mark.skip("bubblewrap is not installed"),
    )
    for user in USERS
    for way in ("bwrap", "kept-bwrap", "landlock", "kept-landlock")
]
OPEN = {"write_work", "write_tmp", "write_home"}
UNSEEN_BY_LANDLOCK = {"chmod_outside", "utime_outside", "setxattr_outside"}


class Place:
    """A scratch place beside the checkout: home, work and an outside folder, all of one user, and who listens."""

    def __init__(self, base, user, way, without_bwrap):
        kept, self.way = ["-k"] if way.startswith("kept-") else [], way.removeprefix("kept-")
        self.base = base
        self.uid = USERS[user]
        self.kept = kept
        self.programs = "/usr/bin:/bin" if self.way == "bwrap" else str(without_bwrap)
        self.sandbox = None
        self.home = base / "home"
        self.work = base / "work"
        self.outside = base / "outside"
        for folder in (self.home, self.work, self.outside):
            folder.mkdir()
        (self.outside / "file").write_text("outside")
        (self.home / ".ssh").mkdir()
        (self.home / ".ssh" / "id_rsa").write_text("DECOY")
        (self.home / ".bashrc").write_text("# mine")

    def run(self, profile, *command, options=(), env=None, timeout=60):
        """Run a command in the sandbox from the working folder."""
        for path in (self.base, *self.base.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)
        environment = {
            "PATH": self.programs,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "OPENAI_API_KEY": "PLANTED",
            **(env or {}),
        }
        plain = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]
        sandbox = self.sandbox or [
            PYTHON,
            "-IS",
            str(IN_SANDBOX),
            *self.kept,
            *options,
            profile,
            str(self.work),
            *command,
        ]
        argv = [*(plain if self.uid != os.getuid() else []), *sandbox]
        return subprocess.run(
            argv,
            env=environment,
            cwd=str(self.work),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def shell(self, profile, script, **more):
        """The same for a piece of shell."""
        return self.run(profile, "/bin/bash", "-c", script, **more)


def scratch():
    """A folder beside the programs, which all may enter: not in /tmp, which is empty inside."""
    if os.getuid() == 0 and not os.stat(ROOT).st_mode & 0o001:
        pytest.skip("the checkout cannot be read by a plain user")
    (ROOT / "build").mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="sandbox-", dir=ROOT / "build"))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def without_bwrap():
    """A search path with every program but bwrap."""
    for folder in scratch():
        for file in Path("/usr/bin").iterdir():
            if file.name != "bwrap":
                (folder / file.name).symlink_to(file)
        yield folder


@pytest.fixture
def place(request, without_bwrap):
    """A Place for the user and the way that the test asks for."""
    for base in scratch():
        yield Place(base, *request.param, without_bwrap)


def everywhere(function):
    """Run the test as each user and each way."""
    return pytest.mark.parametrize("place", WAYS, indirect=True)(function)


def with_bwrap(function):
    """Run the test as each user, with bubblewrap only: Landlock refuses what it is about."""
    return pytest.mark.parametrize(
        "place", [one for one in WAYS if one.id.endswith("bwrap")], indirect=True
    )(function)


@contextlib.contextmanager
def listeners(place):
    """Everyone who would hear of a leak; yields the port, and a function that tells what was heard."""
    with contextlib.ExitStack() as open_ones:
        tcp, udp, named, abstract = (
            open_ones.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            )
        )
        tcp.bind(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        named.bind(str(place.outside / "socket"))
        (place.outside / "socket").chmod(0o777)
        abstract.bind(f"\0agentutils-test-{os.getpid()}")
        for one in (tcp, named, abstract):
            one.listen()
        for one in (tcp, udp, named, abstract):
            one.setblocking(False)

        def heard():
            found = []
            for name, one in (("tcp", tcp), ("unix", named), ("abstract", abstract)):
                with contextlib.suppress(BlockingIOError):
                    one.accept()[0].close()
                    found.append(name)
            with contextlib.suppress(BlockingIOError):
                found.append(udp.recv(10))
            return found

        yield port, heard


def attempts(place, profile):
    """What each way out said, from inside."""
    with listeners(place) as (port, heard):
        before = (place.outside / "file").stat()
        ran = place.run(
            profile,
            PYTHON,
            "-IS",
            str(ESCAPE),
            str(place.outside),
            str(os.getpid()),
            str(port),
            options=("-r", str(ESCAPE)),
        )
        assert ran.returncode == 0, ran.stderr
        after = (place.outside / "file").stat()
        result = json.loads(ran.stdout)
        assert (place.outside / "file").read_text() == "outside"
        assert sorted(os.listdir(place.outside)) == ["file", "socket"]
        assert (place.home / ".bashrc").read_text() == "# mine"
        return result, heard(), (before.st_mode, before.st_mtime) == (after.st_mode, after.st_mtime)


@everywhere
def test_read_lets_a_tool_change_nothing_and_reach_nobody(place):
    result, heard, same = attempts(place, "read")
    assert {name for name, what in result.items() if what == "done"} == OPEN - {"write_work"}
    assert heard == [] and same
    assert not (place.work / "made-by-tool").exists()


@everywhere
def test_work_lets_a_tool_change_its_folder_and_nothing_else(place):
    result, heard, same = attempts(place, "work")
    unseen = UNSEEN_BY_LANDLOCK if place.way == "landlock" else set()
    assert {name for name, what in result.items() if what == "done"} - unseen == OPEN
    assert heard == [] and same | bool(unseen)
    assert (place.work / "made-by-tool").read_text() == "work"


@everywhere
def test_net_opens_the_internet_and_no_socket_of_this_machine_by_path(place):
    result, heard, same = attempts(place, "net")
    unseen = UNSEEN_BY_LANDLOCK if place.way == "landlock" else set()
    assert {name for name, what in result.items() if what == "done"} - unseen == OPEN | {
        "tcp",
        "udp",
    }
    assert heard == ["tcp", b"udp"]


@everywhere
def test_a_networked_tool_that_only_reads_cannot_write_either(place):
    result, heard, same = attempts(place, "read+net")
    assert {name for name, what in result.items() if what == "done"} == OPEN - {"write_work"} | {
        "tcp",
        "udp",
    }
    assert heard == ["tcp", b"udp"] and same


@everywhere
def test_system_calls_that_lead_out_are_refused_with_eperm(place):
    result, _, _ = attempts(place, "work")
    for name in (
        "io_uring",
        "ptrace_me",
        "process_vm_readv",
        "unshare_user",
        "clone_user",
        "mount",
        "mknod",
        "chroot",
        "keyring",
        "tcp",
        "udp",
        "unix_socket",
        "abstract_socket",
    ):
        assert result[name] == "EPERM", name


SECRETS = (
    "AGENT_TOKEN AGENT_PASS AGENT_AUTH AGENT_DSN AGENT_DB_PWD AGENT_COOKIE AGENT_SESSION".split()
)
SECRETS += (
    "AGENT_PRIVATE AGENT_CERT AGENT_DATABASE_URL AGENT_MINE AGENT_ DATABASE_URL PASSWORD".split()
)


@everywhere
def test_the_environment_holds_no_key(place):
    ran = place.shell(
        "work",
        "env",
        env={
            "AWS_SECRET_ACCESS_KEY": "PLANTED",
            "BASH_ENV": "/x",
            "LD_PRELOAD": "",
            "PYTHONPATH": "/x",
            "AGENT_DEPTH": "1",
            **dict.fromkeys(SECRETS, "PLANTED"),
        },
    )
    names = {line.partition("=")[0] for line in ran.stdout.splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD", "AGENT_DEPTH"}
    assert "AGENT_DEPTH" in names and "PLANTED" not in ran.stdout


@everywhere
def test_homes_are_empty_and_their_secrets_not_there(place):
    ran = place.shell("read", f"cat {place.home}/.ssh/id_rsa /ro''ot/.bashrc; ls -A ~")
    assert "DECOY" not in ran.stdout and ran.stdout.strip() == ""


@with_bwrap
def test_secrets_of_the_working_folder_cannot_be_read(place):
    (place.work / "sub").mkdir()
    for name in (
        ".env",
        ".env.local",
        "id_rsa",
        "sub/.env",
        "sub/credentials.json",
        "server.key",
        "sub/linked",
    ):
        (place.work / name).write_text("-----BEGIN PRIVATE KEY-----\nDECOY")
    (place.work / "sub" / "linked").unlink()
    (place.work / "sub" / "store").mkdir()
    (place.work / "sub" / "store" / "real").write_text("DECOY")
    (place.work / "sub" / ".env.production").symlink_to("store/real")
    (place.base / ".env").write_text("DECOY")
    (place.work / ".env.example").write_text("KEY=yours")
    (place.work / "public.key").write_text("no secret")
    for profile in ("read", "work"):
        ran = place.shell(
            profile,
            "cat .env .env.* id_rsa sub/.env* sub/*.json *.key sub/store/real ../.env; cp .env "
            "copy; mv sub other; cat other/.env; ln .env hard && cat hard; grep -r DECOY .",
        )
        assert "DECOY" not in ran.stdout
        assert "KEY=yours" in ran.stdout and "no secret" in ran.stdout


@everywhere
def test_secrets_are_masked_for_reading_whatever_the_way(place):
    (place.work / ".env").write_text("DECOY")
    (place.work / "notes.txt").write_text("notes")
    ran = place.shell("read", "cat .env; cat notes.txt")
    assert ran.stdout == "notes" and "Permission denied" in ran.stderr


def repository(folder):
    """A repository with a hook and a submodule, an AGENTS.md, as git leaves it."""
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(parents=True)
    (folder / ".git" / "modules" / "sub").mkdir(parents=True)
    for path in (
        ".git/config",
        ".git/HEAD",
        ".git/hooks/pre-commit",
        ".git/modules/sub/config",
        "AGENTS.md",
    ):
        (folder / path).write_text("mine")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "AGENTS.md").write_text("mine")


@with_bwrap
def test_what_runs_or_is_believed_later_stays_as_it_is(place):
    repository(place.work)
    before = snapshot(place.work)
    script = """
        for f in .git/config .git/hooks/{pre-commit,new} .git/modules/sub/config AGENTS.md deep/er/AGENTS.md
        do echo evil >"$f"; echo evil >>"$f"; mv "$f" x; rm -f "$f" x; ln -sf /dev/null "$f"; done
        mv .git git; mv deep shallow; mv deep/er deep/x; chmod 777 AGENTS.md; echo x >.git/COMMIT_EDITMSG; REST"""
    ran = place.shell("work", script.replace("REST", ""))
    after = snapshot(place.work)
    assert after.pop(".git/COMMIT_EDITMSG", "") == "x\n" or ".git: a tool" in ran.stderr
    assert {name: text for name, text in after.items() if name in before} == before
    assert "evil" not in "".join(after.values())
    assert "AGENTS.md: a tool may not change this: left as it was" in ran.stderr
    place.shell(
        "work",
        script.replace("REST", "rm -rf .git; mkdir -p .git/hooks; echo evil >.git/hooks/new"),
    )
    after = snapshot(place.work)
    assert {name: text for name, text in after.items() if name in before} == before
    assert "evil" not in "".join(after.values())
    assert place.shell("work", "echo again").stdout == "again\n"


def others(place):
    """The names in the working folder, without what makes those of things moved aside unlike."""
    return sorted(re.sub("-[0-9a-f]{8}$", "", name) for name in os.listdir(place.work))


@everywhere
def test_guarded_files_that_a_tool_makes_again_do_not_stay(place):
    ran = place.shell(
        "work",
        "mkdir -p .git/hooks; echo evil >.git/hooks/new; echo evil >AGENTS.md; ln -s x .envrc",
    )
    if place.way == "landlock":
        assert others(place) == ["refused-.envrc", "refused-.git", "refused-AGENTS.md"]
        assert "AGENTS.md: a tool may not make this: moved to refused-AGENTS.md-" in ran.stderr
    else:
        assert others(place) == []
        assert "AGENTS.md: a tool may not make this: it was not made" in ran.stderr


@everywhere
def test_a_tool_that_locks_the_folder_hides_nothing_so(place):
    place.shell("work", "mkdir -p .git/hooks; echo evil >.git/hooks/new; chmod 0 .git; chmod 0 .")
    assert others(place) == (["refused-.git"] if place.way == "landlock" else [])
    for one in place.work.iterdir():
        one.chmod(0o700)


@with_bwrap
def test_a_guarded_link_stays(place):
    (place.work / "real").write_text("mine")
    (place.work / "AGENTS.md").symlink_to("real")
    place.shell("work", "rm AGENTS.md; echo evil >AGENTS.md")
    assert os.readlink(place.work / "AGENTS.md") == "real"
    assert others(place) == ["AGENTS.md", "real"]


@pytest.mark.parametrize("name", [".git/hooks", "AGENTS.md", ".env"])
@pytest.mark.parametrize(
    "place", [pytest.param((user, "landlock"), id=user) for user in USERS], indirect=True
)
def test_without_bubblewrap_a_folder_that_needs_guarding_is_refused_not_opened(place, name):
    (place.work / name).mkdir(parents=True)
    ran = place.shell("work", "echo ran")
    assert (ran.returncode, ran.stdout) == (100, "")
    assert ran.stderr.startswith("refused: sandbox unavailable: without bubblewrap")
    assert place.shell("read", "echo ran").stdout == "ran\n"


@pytest.mark.parametrize("place", [pytest.param(("user", "landlock"), id="user")], indirect=True)
def test_without_bubblewrap_a_folder_with_something_locked_is_refused_not_opened(place):
    (place.work / "locked").mkdir()
    (place.work / "locked" / "AGENTS.md").write_text("mine")
    (place.work / "locked").chmod(0)
    script = "chmod 700 locked && echo evil >locked/AGENTS.md"
    ran = place.shell("work", script)
    assert (ran.returncode, ran.stdout) == (100, "") and "cannot be looked at" in ran.stderr
    (place.work / "locked").chmod(0o700)
    assert (place.work / "locked" / "AGENTS.md").read_text() == "mine"
    (place.work / "locked" / "AGENTS.md").rename(place.work / "locked" / "plain")
    (place.work / "locked" / "plain").chmod(0)
    assert "locked/plain: Permission denied" in place.shell("work", "cat locked/plain").stderr
    (place.work / "locked" / "plain").chmod(0o600)
    assert place.shell("work", "cat locked/plain").stdout == "mine"


@everywhere
def test_a_cell_holds_nothing_of_another_and_no_more_descriptors_than_three(place):
    ran = place.shell(
        "work",
        "ls -A /tmp /var/tmp /dev/shm ~ | grep left; ls /proc/self/fd 2>/dev/null; echo x >&3",
    )
    assert (
        ran.stdout.split() in (["0", "1", "2", "3"], []) and "3: Bad file descriptor" in ran.stderr
    )  # 3: ls's own


@everywhere
def test_processes_memory_files_and_cores_are_limited(place):
    ran = place.shell("work", "ulimit -c; ulimit -v; ulimit -f; ulimit -n; ulimit -u")
    core, memory, file, files, processes = (
        0 if word == "unlimited" else int(word) for word in ran.stdout.split()
    )
    assert (
        core == 0
        and memory >= 4 << 20
        and file == 1 << 20
        and files == 1024
        and 0 < processes < 5000
    )


@everywhere
def test_a_fork_bomb_meets_a_limit_and_leaves_nothing(place):
    if place.uid == 0 and not os.path.isdir("/sys/fs/cgroup/pids"):
        pytest.skip("root's processes cannot be limited here: no pids control group")
    script = "import os, time\nmade = 0\ntry:\n while made < 3000:\n  if not os.fork(): time.sleep(20); os._exit(0)\n"
    script += "  made += 1\nexcept OSError: pass\nprint(made, flush=True)\nos.killpg(0, 9)\n"
    ran = place.run("work", "/usr/bin/setsid", "-w", PYTHON, "-ISc", script)
    assert 0 < int(ran.stdout) < 3000


def snapshot(folder, encoding="utf-8"):
    """Every file's text, by its path below the folder."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding)
        for path in folder.rglob("*")
        if path.is_file()
    }
