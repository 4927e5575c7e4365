"""Keys: what a provider's environment holds, and what is taken out of all that is written."""

from __future__ import annotations

from typing import Any

import pytest

from agentlib import environment
from agentlib.faults import Fault
from agentlib.llm import keys

SCHEMA: dict[str, Any] = {
    "env": [{"name": "A_KEY", "key": True}, {"name": "A_URL"}, "odd", {"key": True}]
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A_KEY", "A_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "A_KEY": "k",
        "OTHER_KEY": "o",
        "LD_PRELOAD": "x",
        "AGENT_DEPTH": "1",
        "AGENT_X": "1",
        "HTTPS_PROXY": "p",
    }.items():
        monkeypatch.setenv(name, value)
    env = keys.environment("a", SCHEMA, {})
    assert {"A_KEY", "AGENT_DEPTH", "HTTPS_PROXY", "PATH"} <= set(env)
    assert not {"OTHER_KEY", "LD_PRELOAD", "AGENT_X"} & set(env)


def test_a_command_is_asked_only_where_no_variable_has_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"keys": {"a": ["printf", "from-command\nrest"]}}
    assert keys.environment("a", SCHEMA, config)["A_KEY"] == "from-command"
    assert keys.source("a", SCHEMA, config) == "config.toml"
    monkeypatch.setenv("A_KEY", "from-variable")
    assert keys.environment("a", SCHEMA, config)["A_KEY"] == "from-variable"
    assert keys.source("a", SCHEMA, config) == "A_KEY"


@pytest.mark.parametrize("command", [["false"], ["true"], ["no-such-command"], [], 5, "'", [1]])
def test_a_command_without_a_key_is_a_fault(command: Any) -> None:
    with pytest.raises(Fault, match=r"\[keys\] a"):
        keys.environment("a", SCHEMA, {"keys": {"a": command}})


def test_secrets_are_keys_passwords_of_proxies_and_what_is_named_so() -> None:
    listed = ("AWS_SECRET_ACCESS_KEY", "AWS_REGION", "LOGIN_COOKIE")
    schema = {"env": [*SCHEMA["env"], *({"name": name} for name in listed)]}
    env = {
        "A_KEY": 'key"quoted',
        "A_URL": "http://host",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_REGION": "eu-west-1",
        "http_proxy": "http://me:password@proxy:1",
        "DATABASE_URL": "postgres://me:p@ssw0rd@db/x",
        "LOGIN_COOKIE": "crumbs",
    }
    assert keys.secrets(schema, env) == {
        b'key"quoted',
        b'key\\"quoted',
        b"very-secret",
        b"password",
        b"p@ssw0rd",
        b"crumbs",
    }
    hidden = keys.secrets(schema, env)
    assert environment.scrub(b'a "key\\"quoted" password', hidden) == b'a "***" ***'


def test_a_short_value_is_no_secret() -> None:
    assert keys.secrets(SCHEMA, {"A_KEY": "k"}) == set()


def test_optional_keys_are_not_required() -> None:
    assert keys.required(SCHEMA)
    assert not keys.required({"env": [{"name": "X", "key": True, "optional": True}]})


def test_a_key_is_optional_where_one_of_the_variables_or_files_is_there(
    monkeypatch, tmp_path
) -> None:
    schema = {
        "env": [{"name": "X", "key": True, "optional": ["OTHER", str(tmp_path / "credentials")]}]
    }
    monkeypatch.delenv("OTHER", raising=False)
    assert keys.required(schema)
    monkeypatch.setenv("OTHER", "1")
    assert not keys.required(schema)
    monkeypatch.delenv("OTHER")
    (tmp_path / "credentials").touch()
    assert not keys.required(schema)
    assert not keys.required({"env": [{"name": "X"}]}) and not keys.required({})


def test_a_name_tells_a_secret() -> None:
    secrets = (
        "OPENAI_API_KEY GH_TOKEN DB_PASS PGPASSWORD APP_AUTH SENTRY_DSN OLD_DB_PWD LOGIN_COOKIE"
    )
    secrets += " RAILS_SESSION TLS_PRIVATE TLS_CERT github_token AWS_SECRET_ACCESS_KEY CREDS dsn"
    secrets += " GITHUB_PAT DB_PW AUTH_HEADER HTTP_AUTHORIZATION APP_JWT SLACK_WEBHOOK_URL STORE_CONNECTION_STRING"
    secrets += " API_PASS_2 LOGIN_COOKIES OLD_PWD_1"
    plain = (
        "PWD OLDPWD PATH DESKTOP_SESSION XDG_SESSION_TYPE SSH_AUTH_SOCK AUTHOR SSL_CERT_FILE DSNS"
        " PATTERN COMPAT OS_AUTH_URL OS_AUTH_TYPE GIT_AUTHOR_NAME"
    )
    assert [name for name in secrets.split() if not environment.secret(name)] == []
    assert [name for name in plain.split() if environment.secret(name)] == []
    assert environment.secret("DATABASE_URL", "postgres://me:p@ss@db/x")
    assert not environment.secret("DATABASE_URL", "postgres://db:5432/x")


@pytest.mark.parametrize(
    "word",
    [
        "ollama",
        "Ollama",
        "LM-Studio",
        "not-needed",
        "NONE123",
        "test1234",
        "sk-no-key-required",
        "k1",
    ],
)
def test_a_placeholder_is_no_secret(word: str) -> None:
    assert not environment.looks_secret(word)


@pytest.mark.parametrize(
    "word", ["sk-planted-key", "key-5ecre7", "AbCdEfGhIj", "abcdefghijklmnopqrstuvwxyz"]
)
def test_what_looks_like_a_key_is_one(word: str) -> None:
    assert environment.looks_secret(word)


def test_the_end_of_a_text_that_may_begin_a_secret_is_parted_from_it() -> None:
    hidden = {b"sk-secret1"}
    assert keys.parted("your key is sk-se", hidden) == ("your key is ", "sk-se")
    assert keys.parted("ask", hidden) == ("a", "sk")
    assert keys.parted("none", hidden) == ("none", "")
    assert keys.parted("it is sk-secret1", hidden) == ("it is sk-secret1", "")
