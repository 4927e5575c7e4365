"""What stays as it is though a tool may write in the folder: what git's settings and links lead to, the names that
programs start or believe, the suite's own settings; and which files are secrets by their names. Tried from inside."""

from __future__ import annotations

import os
import subprocess

import pytest

from agentlib import secrets
from agentlib.sandbox import guard
from test_sandbox import HAS_BWRAP, ROOT, USERS, Place, scratch, snapshot, without_bwrap  # noqa: F401

EVIL = "for one in hooks gone/hooks scripts docs; do mkdir -p $one; echo evil >$one/x; done"


def pytest_generate_tests(metafunc):
    if "place" in metafunc.fixturenames:
        users = USERS if HAS_BWRAP else []
        metafunc.parametrize("place", users, indirect=True)


@pytest.fixture
def place(request, without_bwrap):  # noqa: F811
    for base in scratch():
        yield Place(base, request.param, "kept-bwrap", without_bwrap)


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def repository(folder, settings):
    """An empty repository's own folder with these settings."""
    for name in ("objects", "refs", "hooks"):
        (folder / name).mkdir(parents=True)
    write(folder / "HEAD", "ref: refs/heads/main\n")
    write(folder / "config", settings)


def in_place(place):
    repository(place.work / ".git", "[core] hooksPath = hooks\n")


def in_two_lines(place):
    repository(place.work / ".git", "[core]\n\thooksPath = ho\\\noks\n")


def by_an_included_file(place):
    repository(place.work / ".git", "[include]\n\tpath = ../one\n")
    write(place.work / "one", '[includeIf "gitdir:~/[a]"] path = deep/two\n')
    write(place.work / "deep/two", "[core]\n\thooksPath = hooks\n")


def of_the_folder_above(place):
    repository(place.work / ".git", "[core]\n\thooksPath = part/hooks\n")
    place.work = place.work / "part"
    place.work.mkdir()


def of_a_work_tree(place):
    repository(place.outside / "main/.git", "[core]\n\thooksPath = hooks\n")
    write(place.outside / "main/.git/worktrees/w/commondir", "../..\n")
    write(place.work / ".git", f"gitdir: {place.outside}/main/.git/worktrees/w\n")


def of_a_folder_elsewhere(place):
    repository(place.outside / "own", "[core]\n\thooksPath = hooks\n")
    write(place.work / ".git", f"gitdir: {place.outside}/own\n")


def of_the_user(place):
    repository(place.work / ".git", "")
    write(place.home / "settings/git/config", "[core]\n\thooksPath = hooks\n")


def by_an_alias_of_any_name(place):
    repository(place.work / ".git", "[alias]\n\tname = !./hooks/x\n")
    write(place.work / "hooks/x", "mine")


def by_a_link(place):
    repository(place.work / ".git", "")
    (place.work / ".git/hooks").rmdir()
    (place.work / ".git/hooks").symlink_to("../hooks")


def by_a_link_in_the_hooks(place):
    repository(place.work / ".git", "")
    write(place.work / "hooks/x", "mine")
    (place.work / ".git/hooks/pre-commit").symlink_to("../../first")
    (place.work / "first").symlink_to("hooks/x")


def by_a_guarded_link(place):
    write(place.work / "hooks/x", "mine")
    (place.work / "CLAUDE.md").symlink_to("hooks/x")


def by_a_link_in_a_guarded_folder(place):
    write(place.work / "hooks/x", "mine")
    (place.work / ".claude").mkdir()
    (place.work / ".claude/commands").symlink_to("../hooks")
    (place.work / ".claude/all").symlink_to("..")  # which would guard everything


LEADS = [
    in_place,
    in_two_lines,
    by_an_included_file,
    of_the_folder_above,
    of_a_work_tree,
    of_a_folder_elsewhere,
]
LEADS += [
    of_the_user,
    by_an_alias_of_any_name,
    by_a_link,
    by_a_link_in_the_hooks,
    by_a_guarded_link,
]
LEADS += [by_a_link_in_a_guarded_folder]


@pytest.mark.parametrize("lead", LEADS, ids=lambda one: one.__name__)
def test_what_something_guarded_leads_to_stays_as_it_is(place, lead):
    lead(place)
    environment = {"XDG_CONFIG_HOME": str(place.home / "settings")}
    ran = place.shell("work", f"{EVIL}; ln -sfn scripts/x first; echo good >made", env=environment)
    assert "hooks" in ran.stderr and (place.work / "made").exists(), ran.stderr
    found = snapshot(place.work)
    assert not any(name.startswith("hooks/") and "evil" in text for name, text in found.items())
    assert "evil\n" in found["scripts/x"]


def test_a_secret_under_a_second_name_among_packages_or_in_git_is_not_read(place):
    write(place.work / "conf/.env", "DECOY")
    write(place.work / "node_modules/named", "DECOY")
    (place.work / "z").mkdir()
    (place.work / "z/.env").symlink_to("../node_modules/named")
    for name in ("node_modules/hard", ".git/hard"):
        write(place.work / name)
        (place.work / name).unlink()
        os.link(place.work / "conf/.env", place.work / name)
    write(place.work / "node_modules/good", "good")
    ran = place.shell(
        "work", "cat node_modules/hard .git/hard node_modules/named; cat node_modules/good"
    )
    assert "DECOY" not in ran.stdout and "good" in ran.stdout


def test_a_home_gets_nothing_that_begins_with_a_dot_and_no_folder_of_programs(place):
    place.work = place.home
    names = ".bash_aliases .forward .psqlrc .gnupg/x .emacs.d/init.el bin/ls .Xresources .config/autostart/a"
    place.shell(
        "work", f"for one in {names}; do mkdir -p $(dirname $one); echo x >$one; done; echo x >made"
    )
    ours = {".cache", "left"}  # the changes of calls; what the call before left
    assert {*os.listdir(place.home)} - ours == {".bashrc", ".ssh", "made"}


def test_the_suite_s_own_settings_in_the_folder_are_not_made_or_changed(place):
    folders = {
        "XDG_CONFIG_HOME": "conf",
        "XDG_DATA_HOME": "data",
        "AGENT_PROVIDER_PATH": "mine/providers",
    }
    environment = {name: str(place.work / folder) for name, folder in folders.items()}
    write(place.work / "mine/providers/known", "mine")
    place.shell(
        "work",
        """for one in conf/agentutils/policy.toml data/agentutils/tools/x conf/made mine/providers/{known,new}
        do mkdir -p $(dirname $one); echo evil >$one; done""",
        env=environment,
    )
    evil = {name for name, text in snapshot(place.work).items() if "evil" in text}
    assert evil == {"conf/made"}


def test_what_a_program_starts_or_believes_unasked_is_guarded_by_name() -> None:
    guarded = ".vimrc _vimrc .lvimrc .pdbrc .Rprofile .irbrc .dir-locals-2.el lefthook-local.yml .lefthook.toml .husky"
    guarded += " .huskyrc.js .lintstagedrc .mise.local.toml mise.toml CRUSH.md .kilocode .augment .trae .crush.json"
    guarded += " a.instructions.md x.prompt.md SKILL.md x.sublime-project x.code-workspace .git-hooks .GIT Agents.MD"
    assert [one for one in guarded.split() if not guard.name(one, False)] == []
    plain = "Makefile package.json README.md .gitignore .editorconfig bin .npmrc rules mise agents .github"
    assert [one for one in plain.split() if guard.name(one, False)] == []


def test_a_copy_of_a_secret_is_one_by_its_name() -> None:
    known = ".env~ #.env# .#.env .env.bak .env-prod .env_prod .netrc.old credentials.json.orig id_rsa.bak~ x.p12.1"
    known += " secrets.prod.yaml x.tfstate aws_credentials credentials-prod.json auth.json token.json .secrets"
    assert [one for one in [*known.split(), "credentials (1).json"] if not secrets.named(one)] == []
    plain = ".env.example .env.example.bak .env-sample id_rsa.pub id_rsa.pub.bak secrets.py environment notes~ a.bak"
    assert [one for one in plain.split() if secrets.named(one)] == []


def test_a_token_is_a_secret_in_what_has_no_ending_or_is_json_too() -> None:
    token = b"x = ghp_0123456789abcdefghijABCDEFGHIJ012345\n"
    assert secrets.holds("creds", token) and secrets.holds("key.bin", b' {"a": 1, ' + token)
    assert not secrets.holds("page.md", token) and not secrets.holds("test_a.py", token)


def test_a_checkout_whose_environment_is_reached_by_two_links_is_seen_whole(tmp_path) -> None:
    """As install.sh makes it; with its bin on PATH all of the checkout is shown, and the links in it lead on."""
    for name in ("bin", "lib"):
        (tmp_path / "src" / name).mkdir(parents=True)
    (tmp_path / "home/tree-1/.venv").mkdir(parents=True)
    (tmp_path / "home/tree").symlink_to("tree-1")
    (tmp_path / "src/.venv").symlink_to(tmp_path / "home/tree/.venv")
    script = f"""
import sys; sys.path.insert(0, {str(ROOT / "lib")!r})
from agentlib import paths; paths.TOP = {str(tmp_path / "src")!r}
from agentlib.sandbox import host; print(*host.suite(), sep="\\n")
"""
    done = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=True)
    seen = done.stdout.splitlines()
    assert {str(tmp_path / f"home/{name}/.venv") for name in ("tree", "tree-1")} <= set(seen)
