"""providers/bedrock and lib/agentlib/provider/aws.py: what Bedrock is told, signed how, and how it is understood."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

import installed
from agentlib.faults import Fault
from agentlib.provider import aws
from agentlib.provider.eventstream import Frame
from vendors import (
    HI,
    Record,
    asked,
    checked,
    failures,
    heard,
    listed,
    provider,
    recorded,
    run,
    shared,
    vendor,
)

CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-6", "us.amazon.nova-2-lite-v1:0"
TOOL = {"name": "look", "inputSchema": {"type": "object", "properties": {"at": {"type": "string"}}}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "a", "name": "look", "arguments": {"at": "x"}}],
}
RESULT = {"role": "tool", "tool_call_id": "a", "name": "look", "content": "found"}
PDF = {"type": "document", "media_type": "application/pdf", "data": "aGk="}
REGION = {"AWS_REGION": "us-east-1"}
# Citations are shown with the text they are of; the recording's expectation counts plain text blocks only.
CITATIONS = "converse-tool-result-us-anthropic-claude-haiku-4-5-20251001-v1-0"

bedrock = provider("bedrock")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (
        *aws.VARIABLES,
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(aws, "VENDOR", "/nonexistent")
    yield
    aws.session.cache_clear()


def body(*messages: Record, model: str = CLAUDE, **fields: Any) -> Record:
    made: Record = bedrock.body_of(checked(model, *messages, **fields))
    return made


def event(kind: str, **payload: Any) -> Frame:
    return Frame(
        {":message-type": "event", ":event-type": kind},
        json.dumps({**payload, "p": "abcdef"}).encode(),
    )


def delta(index: int, **said: Any) -> Frame:
    return event("contentBlockDelta", contentBlockIndex=index, delta=said)


def packed(frame: Frame) -> bytes:
    """The bytes of a frame whose headers are strings."""
    block = b"".join(
        bytes([len(n)]) + n.encode() + b"\x07" + struct.pack(">H", len(str(v))) + str(v).encode()
        for n, v in frame.headers.items()
    )
    head = struct.pack(">II", 16 + len(block) + len(frame.payload), len(block))
    data = head + struct.pack(">I", binascii.crc32(head)) + block + frame.payload
    return data + struct.pack(">I", binascii.crc32(data))


def test_every_recorded_answer_is_read_as_it_was_meant() -> None:
    assert failures("wire", "bedrock").keys() <= {CITATIONS}


def test_every_recorded_request_is_said_as_it_was_meant() -> None:
    assert failures("wire-requests", "bedrock") == {}


def test_its_bodies_hold_against_awss_own_service_model() -> None:
    pytest.importorskip("botocore")
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    shape = (
        ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
        .operation_model("Converse")
        .input_shape
    )
    picture = {"type": "image", "media_type": "image/jpg", "data": "aGk="}
    bodies = [
        body(),
        body(
            {"role": "system", "content": "x"},
            HI,
            CALL,
            {**RESULT, "is_error": True},
            tools=[TOOL],
            stop=["x"],
            temperature=0,
        ),
        body(
            {"role": "user", "content": [{"type": "text", "text": "see"}, picture, PDF]},
            max_tokens=9,
            reasoning="low",
            model=NOVA,
        ),
        body(
            {
                "role": "user",
                "content": [
                    {"type": "document", "url": "s3://b/k.pdf", "media_type": "application/pdf"}
                ],
            }
        ),
        body(HI, CALL, {**RESULT, "content": ""}),
        body(schema={"type": "object"}, reasoning="high"),
        *(
            body(tools=[TOOL], tool_choice=choice)
            for choice in ("auto", "required", {"name": "look"})
        ),
    ]
    for case, request in recorded("bedrock"):
        report = (
            ParamValidator()
            .validate({"modelId": CLAUDE, **bedrock.body_of(request)}, shape)
            .generate_report()
        )
        assert report == "", case
    for made in bodies:
        assert ParamValidator().validate({"modelId": CLAUDE, **made}, shape).generate_report() == ""


def test_aws_signs_every_case_of_its_own_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth")
    suite = shared("vectors/aws-sigv4/aws4_testsuite")
    monkeypatch.setattr(
        auth, "get_current_datetime", lambda: datetime.datetime(2015, 8, 30, 12, 36)
    )
    cases = sorted(suite.rglob("*.req"))
    assert len(cases) == 34
    assert [
        case.stem for case in cases if signed(case) != case.with_suffix(".authz").read_text()
    ] == []


def signed(case: Path) -> str:
    """The authorization that aws.signature gives the request of a case."""
    head, _, data = case.read_text().replace("\r", "").partition("\n\n")
    first, *rest = head.split("\n")
    method, target = first.removesuffix(" HTTP/1.1").split(" ", 1)
    from botocore.awsrequest import HTTPHeaders

    lines: list[str] = []
    for line in rest:
        if line.startswith(" "):
            lines[-1] += line
        elif line:
            lines.append(line)
    headers = HTTPHeaders()
    for name, _, value in (line.partition(":") for line in lines):
        if name not in ("Host", "X-Amz-Date", "X-Amz-Security-Token"):  # these the signer sets
            headers[name] = value
    token = re.search("x-amz-security-token:(.*)", case.with_suffix(".creq").read_text())
    keys = SimpleNamespace(
        access_key="AKIDEXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token=token and token[1],
    )
    path, mark, query = target.partition("?")
    url = f"https://example.amazonaws.com{path}{mark}{quote(query, safe='=&%')}"  # the signer itself encodes the path
    made: str = aws.signature(keys, "service", "us-east-1", method, url, headers, data.encode())[
        "Authorization"
    ]
    return made


def test_a_request_is_signed_with_the_users_own_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("botocore")
    # an extra: the checkout's .venv has it
    monkeypatch.setattr(installed, "suite", lambda: installed.CHECKOUT)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s3cr3t\naws_session_token = t\n"
    )
    (tmp_path / ".aws" / "config").write_text("[profile work]\nregion = eu-west-1\n")
    said = {
        "output": {"message": {"content": [{"text": "yo"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1},
    }
    with vendor((200, {}, json.dumps(said).encode())) as (url, seen):
        env = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "AWS_PROFILE": "work",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        }
        (out,) = asked("bedrock", env, model="arn:aws:bedrock:eu-west-1:1:inference-profile/x:0")
    assert out["message"]["content"] == "yo"
    ((path, headers, data),) = seen
    assert path == "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fx%3A0/converse"
    assert (
        "Credential=AKIDWORK/" in headers["authorization"]
        and "/eu-west-1/bedrock/aws4_request" in headers["authorization"]
    )
    auth = pytest.importorskip("botocore.auth")
    when = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr(auth, "get_current_datetime", lambda: when)
    keys = SimpleNamespace(access_key="AKIDWORK", secret_key="s3cr3t", token="t")
    own = aws.signature(
        keys,
        "bedrock",
        "eu-west-1",
        "POST",
        url + path,
        {"content-type": headers["content-type"]},
        data,
    )
    assert headers["authorization"] == own["Authorization"], "the signature is of what was sent"


def test_an_api_key_goes_before_credentials_and_needs_no_botocore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    call = bedrock.prepare(checked("us.amazon.nova-2-lite-v1:0", stream=True))
    assert (
        call.url
        == "https://bedrock-runtime.us-west-2.amazonaws.com/model/us.amazon.nova-2-lite-v1%3A0/converse-stream"
    )
    assert (call.headers, call.sign) == ({"authorization": "Bearer k"}, None)


def test_without_key_or_credentials_it_says_at_once_what_to_set() -> None:
    with pytest.raises(Fault, match="AWS_BEARER_TOKEN_BEDROCK, or AWS credentials") as caught:
        bedrock.prepare(checked(CLAUDE))
    assert caught.value.kind == "auth"


def test_credentials_without_botocore_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def need(*names: str) -> None:
        raise Fault("not_found", "not installed")

    monkeypatch.setattr("agentlib.packages.need", need)
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(Fault, match="botocore.*AWS_BEARER_TOKEN_BEDROCK"):
        bedrock.prepare(checked(CLAUDE))


def test_a_profile_that_is_not_there_is_an_auth_error_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(Fault, match="nobody") as caught:
        bedrock.prepare(checked(CLAUDE))
    assert caught.value.kind == "auth"


def test_a_region_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    with pytest.raises(Fault, match="AWS_REGION"):
        bedrock.prepare(checked(CLAUDE))


def test_results_of_one_round_stand_before_the_text_and_say_their_error() -> None:
    turn = body(
        HI, CALL, {"role": "user", "content": "and?"}, {**RESULT, "is_error": True}, tools=[TOOL]
    )["messages"][2]
    assert turn["content"] == [
        {"toolResult": {"toolUseId": "a", "content": [{"text": "found"}], "status": "error"}},
        {"text": "and?"},
    ]


def test_tools_are_told_again_where_the_history_holds_calls() -> None:
    assert body(HI, CALL, RESULT)["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "look",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                }
            }
        ]
    }
    assert "toolConfig" not in body(HI)
    assert "toolConfig" not in body(HI, tools=[TOOL], tool_choice="none")
    with pytest.raises(Fault, match="tool_choice"):
        body(HI, CALL, RESULT, tools=[TOOL], tool_choice="none")


def test_documents_have_names_that_aws_takes() -> None:
    parts = [PDF, PDF, {**PDF, "name": "report_v1.2 (final).pdf"}]
    names = [
        block["document"]["name"]
        for block in body({"role": "user", "content": parts})["messages"][0]["content"]
    ]
    assert names == ["document 1-1", "document 1-2", "report v1 2 (final) pdf"]


@pytest.mark.parametrize(
    "model, fields",
    [
        (CLAUDE, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (
            "anthropic.claude-haiku-4-5-20251001-v1:0",
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        (NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "low"}),
        ("qwen.qwen3-32b-v1:0", {"reasoning_config": "low"}),
        ("us.openai.gpt-5.5", {"reasoning": {"effort": "low"}}),
        ("moonshotai.kimi-k2.5", {"reasoning_config": "low"}),
    ],
)
def test_each_family_of_models_is_told_to_think_in_its_own_words(
    model: str, fields: Record
) -> None:
    assert body(model=model, reasoning="low")["additionalModelRequestFields"] == fields


def test_a_schema_is_a_string_of_json() -> None:
    form = body(schema={"type": "object"})["outputConfig"]["textFormat"]
    assert json.loads(form["structure"]["jsonSchema"]["schema"]) == {
        "type": "object",
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"reasoning": "low", "model": "meta.llama3-1-8b-instruct-v1:0"}, "reasoning"),
        ({"api": "chat"}, "api"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "url": "https://x/y.png"}]}
                ]
            },
            "url",
        ),
        (
            {"messages": [{"role": "user", "content": [{**PDF, "media_type": "application/zip"}]}]},
            "document",
        ),
        ({"messages": [{**HI, "name": "bob"}]}, "name"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_it_cannot_carry_is_refused_by_name(
    fields: Record, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(Fault, match=named) as caught:
        bedrock.prepare(checked(**{"model": CLAUDE, **fields}))
    assert caught.value.kind == "invalid_request"


def test_a_stream_gives_the_message_that_would_have_come_whole() -> None:
    redacted = [base64.b64encode(piece).decode() for piece in (b"ab", b"cd")]
    frames = [
        event("messageStart", role="assistant"),
        delta(0, reasoningContent={"text": "h"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "s"}),
        event("contentBlockStop", contentBlockIndex=0),
        delta(1, reasoningContent={"redactedContent": redacted[0]}),
        delta(1, reasoningContent={"redactedContent": redacted[1]}),
        delta(2, text="ye"),
        delta(2, text="s"),
        event("somethingNew"),
        event(
            "contentBlockStart",
            contentBlockIndex=3,
            start={"toolUse": {"toolUseId": "a", "name": "look"}},
        ),
        event(
            "contentBlockStart",
            contentBlockIndex=4,
            start={"toolUse": {"toolUseId": "b", "name": "look"}},
        ),
        delta(4, toolUse={"input": '{"at"'}),
        delta(3, toolUse={"input": ""}),
        delta(4, toolUse={"input": ':"x"}'}),
        event("messageStop", stopReason="tool_use"),
        event("metadata", usage={"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 20}),
    ]
    deltas, answer = heard(bedrock.stream({}, iter(frames)))
    assert deltas == [{"thinking": "h"}, {"thinking": "m"}, {"text": "ye"}, {"text": "s"}]
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": base64.b64encode(b"abcd").decode()}},
        {"text": "yes"},
        {"toolUse": {"toolUseId": "a", "name": "look", "input": {}}},
        {"toolUse": {"toolUseId": "b", "name": "look", "input": {"at": "x"}}},
    ]
    usage = {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 20}
    assert answer == bedrock.parse(
        {}, {"output": {"message": {"content": content}}, "stopReason": "tool_use", "usage": usage}
    )
    assert answer["usage"] == {"input_tokens": 23, "output_tokens": 4, "cached_input_tokens": 20}
    assert body(HI, answer["message"])["messages"][1]["content"] == content, (
        "and it is given back as it came"
    )


@pytest.mark.parametrize(
    "reason, stop",
    [
        ("end_turn", "end_turn"),
        ("guardrail_intervened", "content_filter"),
        ("max_tokens", "max_tokens"),
        ("content_filtered", "content_filter"),
        ("stop_sequence", "stop_sequence"),
    ],
)
def test_each_reason_to_stop_has_its_word(reason: str, stop: str) -> None:
    assert bedrock.parse({}, {"stopReason": reason})["stop_reason"] == stop


@pytest.mark.parametrize("reason", ["new", "malformed_model_output", None])
def test_a_reason_to_stop_that_is_not_known_is_no_success(reason: str | None) -> None:
    with pytest.raises(Fault):
        bedrock.parse({}, {"stopReason": reason})


def test_an_answer_that_the_model_broke_and_a_stream_without_end_are_errors() -> None:
    for frames in (
        [event("messageStop", stopReason="malformed_tool_use")],
        [delta(0, text="x")],
        [],
    ):
        with pytest.raises(Fault) as caught:
            heard(bedrock.stream({}, iter(frames)))
        assert caught.value.kind in ("bad_response", "network")


@pytest.mark.parametrize(
    "name, want",
    [
        ("throttlingException", "rate_limit"),
        ("serviceUnavailableException", "overloaded"),
        ("modelStreamErrorException", "server"),
        ("validationException", "invalid_request"),
        ("newException", "server"),
    ],
)
def test_an_exception_in_the_stream_comes_after_the_partial_text(name: str, want: str) -> None:
    bad = Frame({":message-type": "exception", ":exception-type": name}, b'{"message":"because"}')
    data = b"".join(
        map(packed, (event("messageStart", role="assistant"), delta(0, text="ye"), bad))
    )
    with vendor((200, {"content-type": "application/vnd.amazon.eventstream"}, data)) as (url, _):
        out = asked(
            "bedrock",
            {**REGION, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url, "AWS_BEARER_TOKEN_BEDROCK": "k"},
            stream=True,
        )
    assert [(r["type"], r.get("text"), r.get("kind"), r.get("message")) for r in out] == [
        ("delta", "ye", None, None),
        ("error", None, want, "because"),
    ]


def test_every_stream_that_does_not_hold_is_a_bad_response() -> None:
    lines = map(
        json.loads, shared("vectors/aws-eventstream/vectors.jsonl").read_text().splitlines()
    )
    bad = [bytes.fromhex(vector["frame_hex"]) for vector in lines if vector["kind"] == "negative"]
    with vendor(
        *((200, {"content-type": "application/vnd.amazon.eventstream"}, data) for data in bad)
    ) as (url, _):
        env = {**REGION, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url, "AWS_BEARER_TOKEN_BEDROCK": "k"}
        out = run(
            "bedrock",
            env,
            [
                {"type": "request", "id": str(n), "messages": [HI], "stream": True}
                for n in range(len(bad))
            ],
        )
    assert len(bad) > 10 and len(out) == len(bad)
    cut_off = [record for record in out if record["kind"] == "network"]
    assert all("eof" in record["message"] for record in cut_off)
    assert {record["kind"] for record in out if record not in cut_off} == {"bad_response"}


@pytest.mark.parametrize(
    "status, name, message, want",
    [
        (403, "UnrecognizedClientException:http://internal.amazon.com/coral/", "bad token", "auth"),
        (429, "ThrottlingException", "slow", "rate_limit"),
        (400, "ValidationException", "The provided model identifier is invalid.", "not_found"),
        (400, "", "bad field", "invalid_request"),
        (400, "ValidationException", "Input Tokens Exceeded: too many", "context_length"),
        (404, "ResourceNotFoundException", "gone", "not_found"),
        (424, "", "model error", "server"),
        (503, "", "busy", "overloaded"),
        (408, "ModelTimeoutException", "late", "timeout"),
    ],
)
def test_each_error_has_its_kind_by_header_or_body_or_status(
    status: int, name: str, message: str, want: str
) -> None:
    body = {"message": message}
    told = {**body, "__type": f"com.amazon#{name.partition(':')[0]}"} if name else body
    for headers, said in (({"x-amzn-errortype": name}, body), ({}, told)):
        fault = bedrock.explain(status, headers, json.dumps(said).encode())
        assert (fault.kind, fault.message) == (want, message)


def test_models_and_inference_profiles_are_listed() -> None:
    def lists(path: str) -> tuple[int, dict[str, str], bytes]:
        said = (
            {"inferenceProfileSummaries": [{"inferenceProfileId": "us.b"}]}
            if "inference" in path
            else {"modelSummaries": [{"modelId": "a"}]}
        )
        return 200, {}, json.dumps(said).encode()

    with vendor(lists) as (url, _):
        assert listed(
            "bedrock", {**REGION, "AWS_ENDPOINT_URL_BEDROCK": url, "AWS_BEARER_TOKEN_BEDROCK": "k"}
        ) == [
            "a",
            "us.b",
        ]
