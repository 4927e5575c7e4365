"""The choice of provider and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.llm import routing
from agentlib.llm.routing import Providers, Wish


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Providers:
    """Three: `plain` and `other` with a key, `slash` whose models have slashes."""
    folder = tmp_path / "providers"
    folder.mkdir()
    for name, models in (
        ("other", ["o1"]),
        ("plain", ["p1"]),
        ("slash", ["x/s1", "plain/s2", "slash/auto"]),
    ):
        schema = (
            f'{{"name":"{name}","description":"d","kind":"provider","models":{str(models).replace(chr(39), chr(34))},'
            f'"default_model":"{models[0]}","env":[{{"name":"{name.upper()}_KEY","key":true}}]}}'
        )
        file = folder / name
        file.write_text(f"#!/bin/sh\n# --agent-schema\necho '{schema}'\n")
        file.chmod(0o755)
        monkeypatch.delenv(f"{name.upper()}_KEY", raising=False)
    monkeypatch.setenv("AGENT_PROVIDER_PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(routing, "listening", lambda: False)
    return Providers({})


def chosen(providers: Providers, *wishes: Wish) -> tuple[str, str | None]:
    found = routing.target(providers, list(wishes))
    return found.provider.name, found.model


@pytest.mark.parametrize(
    "wishes, wanted",
    [
        ([Wish("plain", None)], ("plain", "p1")),
        ([Wish(None, "m"), Wish("plain", None)], ("plain", "m")),
        ([Wish(None, "other/m"), Wish("plain", None)], ("other", "m")),
        ([Wish("plain", "other/m", firm=True)], ("plain", "other/m")),
        ([Wish("plain", "plain/m", firm=True)], ("plain", "m")),
        ([Wish(None, "nobody/m"), Wish("plain", None)], ("plain", "nobody/m")),
        ([Wish(None, "plain/s2"), Wish("slash", None)], ("slash", "plain/s2")),
        ([Wish(None, "other/m"), Wish("slash", None)], ("slash", "other/m")),
        ([Wish(None, "slash/x/s1")], ("slash", "x/s1")),
        ([Wish(None, "slash/auto")], ("slash", "slash/auto")),
        ([Wish("slash", "slash/auto", firm=True)], ("slash", "slash/auto")),
        ([Wish("slash", "slash/x/s1", firm=True)], ("slash", "x/s1")),
        ([Wish("plain", "hf.co/org/m:Q4", firm=True)], ("plain", "hf.co/org/m:Q4")),
        ([Wish(None, "plain/hf.co/org/m:Q4")], ("plain", "hf.co/org/m:Q4")),
        ([Wish(None, "plain//models/m.gguf")], ("plain", "/models/m.gguf")),
        ([Wish("plain", None, firm=True), Wish("other", "of-other")], ("plain", "p1")),
        ([Wish("plain", None, firm=True), Wish(None, "of-nobody")], ("plain", "of-nobody")),
    ],
)
def test_the_wish_with_most_authority_wins(
    providers: Providers, wishes: list[Wish], wanted: tuple[str, str]
) -> None:
    assert chosen(providers, *wishes) == wanted


def test_the_first_key_chooses_unless_a_provider_lists_the_model(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAIN_KEY", "k")
    assert chosen(providers) == ("plain", "p1")
    monkeypatch.setenv("OTHER_KEY", "k")
    assert chosen(providers) == ("other", "o1")
    assert chosen(providers, Wish(None, "p1")) == ("plain", "p1")
    assert chosen(providers, Wish(None, "unknown")) == ("other", "unknown")


def test_a_name_with_a_slash_goes_to_the_provider_that_lists_it_where_the_prefix_has_no_key(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(providers, Wish(None, "plain/s2")) == ("plain", "s2")
    monkeypatch.setenv("SLASH_KEY", "k")
    assert chosen(providers, Wish(None, "plain/s2")) == ("slash", "plain/s2")
    monkeypatch.setenv("PLAIN_KEY", "k")
    assert chosen(providers, Wish(None, "plain/s2")) == ("plain", "s2")


def test_the_vendors_own_variable_names_its_model(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAIN_MODEL", "p9")
    assert chosen(providers, Wish("plain", None)) == ("plain", "p9")
    assert chosen(providers, Wish("plain", "p1")) == ("plain", "p1")


def test_nobody_to_ask_names_the_keys(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Fault, match="OTHER_KEY, PLAIN_KEY, SLASH_KEY") as caught:
        chosen(providers)
    assert caught.value.status == 100


def test_ollama_and_the_local_model_come_after_the_keys(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("local", "ollama"):
        file = Path(providers.folders[0]) / name
        file.write_text(
            f'#!/bin/sh\n# --agent-schema\necho \'{{"name":"{name}","description":"d","kind":"provider"}}\'\n'
        )
        file.chmod(0o755)
    monkeypatch.setattr(routing, "list_models", lambda *_: ([{"id": "m"}], ""))
    assert chosen(providers) == ("local", None)
    monkeypatch.setattr(routing, "listening", lambda: True)
    assert chosen(providers) == ("ollama", None)
    monkeypatch.setenv("PLAIN_KEY", "k")
    assert chosen(providers) == ("plain", "p1")


@pytest.mark.parametrize(
    ("listed", "model", "taken"),
    [
        (["mxbai-embed-large", "llama3.2:3b"], None, "llama3.2:3b"),
        (["q:latest", "llama3.2:3b"], None, "q"),
        (["llama3.2:3b"], "mine", "mine"),
        ([], None, "q"),
    ],
)
def test_an_ollama_is_asked_for_a_model_that_it_has(
    providers: Providers,
    monkeypatch: pytest.MonkeyPatch,
    listed: list[str],
    model: str | None,
    taken: str,
) -> None:
    file = Path(providers.folders[0]) / "ollama"
    schema = '{"name":"ollama","description":"d","kind":"provider","default_model":"q"}'
    file.write_text(f"#!/bin/sh\n# --agent-schema\necho '{schema}'\n")
    file.chmod(0o755)
    monkeypatch.setattr(routing, "list_models", lambda *_: ([{"id": one} for one in listed], ""))
    monkeypatch.setattr(routing, "listening", lambda: True)
    assert chosen(providers, Wish(None, model)) == ("ollama", taken)
    assert chosen(providers, Wish("ollama", model)) == ("ollama", taken)


@pytest.mark.parametrize("name", ["nosuch", "../providers/plain/", "/nowhere/x", "."])
def test_what_is_not_there_is_not_found(providers: Providers, name: str) -> None:
    with pytest.raises(Fault) as caught:
        providers.get(name)
    assert caught.value.kind == "not_found"


def test_a_provider_without_a_schema_can_be_asked_by_name(providers: Providers) -> None:
    file = Path(providers.folders[0]) / "silent"
    file.write_text("#!/bin/sh\nexit 3\n")
    file.chmod(0o755)
    assert providers.get("silent").schema == {}
    assert "silent" not in providers.all()


@pytest.mark.parametrize(
    "host, here",
    [("127.0.0.1:1", False), ("http://127.0.0.1:1/", False), ("x y:z", False), ("", None)],
)
def test_ollamas_address_may_be_written_in_any_way(
    host: str, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert routing.listening() in ((here,) if here is not None else (True, False))
