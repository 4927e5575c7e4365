"""What goes out, fitted to what each vendor takes: ids of calls, schemas, texts, pictures; and lists without end."""

from __future__ import annotations

import re
from base64 import b64encode
from types import ModuleType
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider import answer, http
from agentlib.provider.openai import chat, responses
from agentlib.provider.openai.chat import Vendor
from vendors import HI, checked, provider

Record = dict[str, Any]


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    return {name: provider(name) for name in ("anthropic", "bedrock", "gemini", "ollama")}


CALL = {"id": "functions.look:0|x" + "y" * 60, "name": "look", "arguments": {"q": 1}}
TURNS = [
    HI,
    {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "q"}]},
    {"role": "tool", "tool_call_id": CALL["id"], "name": "look", "content": "one"},
    {"role": "tool", "tool_call_id": "q", "name": "look", "content": "two"},
]


def test_ids_of_calls_have_the_form_that_each_vendor_takes(modules: dict[str, ModuleType]) -> None:
    forms = {"mistral": r"[a-zA-Z0-9]{9}", "openai": r".{1,40}"}
    request = checked("m", *TURNS)
    for name, form in forms.items():
        vendor = Vendor(name, "https://x", "X", ("K",), call_ids=form)
        turns = chat.body(vendor, request)["messages"]
        replies = [call["id"] for call in turns[1]["tool_calls"]]
        assert replies == [turn["tool_call_id"] for turn in turns[2:]]
        assert all(re.fullmatch(form, id) for id in replies) and replies[0] != replies[1]
    items = responses.body(vendor, request)["input"]
    replies = [item["call_id"] for item in items if "call_id" in item]
    assert replies[:2] == replies[2:] and max(map(len, replies)) <= 64
    body = modules["anthropic"].body_of(request)["messages"]
    replies = [block["id"] for block in body[1]["content"]]
    assert replies == [block["tool_use_id"] for block in body[2]["content"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", id) for id in replies)
    body = modules["bedrock"].body_of({**request, "model": "claude"})["messages"]
    replies = [block["toolUse"]["toolUseId"] for block in body[1]["content"]]
    assert replies == [block["toolResult"]["toolUseId"] for block in body[2]["content"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", id) for id in replies)


def test_an_id_of_the_vendors_own_form_stays() -> None:
    assert answer.call_id("abcDEF123", "[a-zA-Z0-9]{9}") == "abcDEF123"
    assert answer.call_id(None, ".+") == answer.call_id(None, ".+")


@pytest.mark.parametrize("model", ["us.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6"])
def test_a_last_turn_of_claudes_does_not_end_with_white_space(
    modules: dict[str, ModuleType], model: str
) -> None:
    turns = [HI, {"role": "assistant", "content": "The answer is \n"}]
    for name in ("anthropic", "bedrock"):
        body = modules[name].body_of(checked(model, *turns))
        assert body["messages"][-1]["content"][-1]["text"] == "The answer is"
        body = modules[name].body_of(checked(model, *turns, HI))
        assert body["messages"][1]["content"][-1]["text"] == "The answer is \n"


def test_empty_texts_are_left_out_for_every_vendor(modules: dict[str, ModuleType]) -> None:
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]
    request = checked("claude", {"role": "user", "content": parts})
    vendor = Vendor("v", "https://x", "X", ("K",))
    assert len(chat.body(vendor, request)["messages"][0]["content"]) == 1
    assert len(responses.body(vendor, request)["input"][0]["content"]) == 1
    assert len(modules["anthropic"].body_of(request)["messages"][0]["content"]) == 1
    assert len(modules["bedrock"].body_of(request)["messages"][0]["content"]) == 1
    assert len(modules["gemini"].body_of(request)["contents"][0]["parts"]) == 1


@pytest.mark.parametrize("schema", [{"type": "object"}, {"properties": {}}, {"type": None}, None])
def test_the_schema_of_a_tool_has_type_and_properties_for_every_vendor(
    modules: dict[str, ModuleType], schema: Any
) -> None:
    request = checked("m", tools=[{"name": "look", "input_schema": schema}])
    vendor, want = Vendor("v", "https://x", "X", ("K",)), {"type": "object", "properties": {}}
    assert chat.body(vendor, request)["tools"][0]["function"]["parameters"] == want
    assert responses.body(vendor, request)["tools"][0]["parameters"] == want
    assert modules["anthropic"].body_of(request)["tools"][0]["input_schema"] == want
    specs = modules["bedrock"].body_of(request)["toolConfig"]["tools"]
    assert specs[0]["toolSpec"]["inputSchema"]["json"] == want
    assert modules["ollama"].body_of(request)["tools"][0]["function"]["parameters"] == want


HEIC = b64encode(b"\0\0\0\x18ftypheic\0\0\0\0").decode()


@pytest.mark.parametrize("name", ["anthropic", "bedrock"])
def test_a_picture_of_a_kind_that_a_vendor_does_not_take_is_refused_by_name(
    modules: dict[str, ModuleType], name: str
) -> None:
    part = {"type": "image", "media_type": "image/jpeg", "data": HEIC}
    with pytest.raises(Fault, match="image/heic"):
        modules[name].body_of(checked("claude", {"role": "user", "content": [part]}))


# Lists of models.


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_a_list_of_models_whose_pages_never_end_ends(
    modules: dict[str, ModuleType], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter(range(10**6))

    def fetch(*_: Any) -> Record:
        number = next(pages)
        model = {"id": f"m{number}", "name": f"m{number}"}
        rows = [{**model, "supportedGenerationMethods": ["generateContent"]}, "odd"]
        more = {"has_more": True, "last_id": number, "nextPageToken": str(number)}
        return {"data": rows, "models": rows, **more}

    monkeypatch.setattr(http.Connection, "send", fetch)
    monkeypatch.setattr(modules[name], "place", lambda: ("http://x", {}))
    assert len(list(modules[name].models())) == answer.PAGES


HOST = "https://res.openai.azure.com"
V1 = HOST + "/openai/v1/chat/completions"
FOUNDRY = "https://res.services.ai.azure.com"
DATED = "/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("endpoint", "model", "url", "sent"),
    [
        (HOST, "m", V1, "m"),
        (HOST + "/", "m", V1, "m"),
        (HOST + "/openai", "m", V1, "m"),
        (HOST + "/openai/v1", "m", V1, "m"),
        (HOST + "/openai/v1/", "m", V1, "m"),
        (V1, "m", V1, "m"),
        (V1 + "/?api-version=preview", "m", V1, "m"),
        (HOST + "?api-version=2024-10-21", "m", f"{HOST}/openai/deployments/m{DATED}", "m"),
        (
            f"{HOST}/openai/deployments/my-gpt{DATED}",
            "",
            f"{HOST}/openai/deployments/my-gpt{DATED}",
            "my-gpt",
        ),
        (
            f"{HOST}/openai/deployments/my-gpt{DATED}",
            "m",
            f"{HOST}/openai/deployments/m{DATED}",
            "m",
        ),
        (f"{HOST}/openai/deployments/my%20gpt", "", V1, "my gpt"),
        (f"{HOST}/openai/deployments/my-gpt/", "", V1, "my-gpt"),
        (
            f"{FOUNDRY}/models",
            "m",
            f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview",
            "m",
        ),
        (
            f"{FOUNDRY}/models/chat/completions?api-version=2025-01-01",
            "m",
            f"{FOUNDRY}/models/chat/completions?api-version=2025-01-01",
            "m",
        ),
        (f"{FOUNDRY}/api/projects/p", "m", f"{FOUNDRY}/openai/v1/chat/completions", "m"),
        (
            f"{FOUNDRY}/api/projects/p/openai/v1",
            "m",
            f"{FOUNDRY}/api/projects/p/openai/v1/chat/completions",
            "m",
        ),
        (
            "http://127.0.0.1:80/gateway/",
            "m",
            "http://127.0.0.1:80/gateway/openai/v1/chat/completions",
            "m",
        ),
    ],
)
def test_azures_endpoint_may_be_pasted_as_the_portal_has_it(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, model: str, url: str, sent: str
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    monkeypatch.delenv("OPENAI_API_VERSION", raising=False)
    azure = provider("azure")
    request = azure.VENDOR.fitted(checked(model or azure.SCHEMA["default_model"]))
    assert (request["model"], azure.VENDOR.url("chat/completions", request["model"])) == (sent, url)


def test_azures_endpoint_of_responses_is_called_by_responses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = HOST + "/openai/responses?api-version=2025-04-01-preview"
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    azure = provider("azure")
    assert azure.VENDOR.fitted(checked("m"))["api"] == "responses"
    assert azure.VENDOR.url("responses", "m") == endpoint


@pytest.mark.parametrize(
    "page", ["https://ai.azure.com/resource/x?tid=1", "https://portal.azure.com/#home"]
)
def test_a_page_of_azures_portal_is_no_endpoint(monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", page)
    with pytest.raises(Fault, match="a page of the portal"):
        provider("azure").VENDOR.address()


@pytest.mark.parametrize(
    ("deployment", "field"),
    [
        ("gpt-4o", "max_tokens"),
        ("prod-chat", "max_completion_tokens"),
        ("gpt-5-mini", "max_completion_tokens"),
    ],
)
def test_a_deployment_of_any_name_gets_the_field_that_its_limit_has(
    monkeypatch: pytest.MonkeyPatch, deployment: str, field: str
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    assert provider("azure").VENDOR.limit_of(deployment) == field
