"""providers/bedrock: what Bedrock is told, signed how, and how it is understood."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any

import pytest

from agentlib.faults import Fault
from agentlib.provider.eventstream import Frame
from vendors import (
    HI,
    Record,
    checked,
    failures,
    heard,
    listed,
    provider,
    recorded,
    replies,
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
pytestmark = pytest.mark.usefixtures("no_aws")


def body(*messages: Record, model: str = CLAUDE, **fields: Any) -> Record:
    made: Record = bedrock.body_of(checked(model, *messages, **fields))
    return made


def event(kind: str, **payload: Any) -> Frame:
    return Frame(
        {":message-type": "event", ":event-type": kind},
        json.dumps({**payload, "p": "abcdef"}).encode(),
    )


def delta(index: int, **reply: Any) -> Frame:
    return event("contentBlockDelta", contentBlockIndex=index, delta=reply)


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


def test_every_recorded_request_is_sent_as_it_was_meant() -> None:
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


def test_results_of_one_round_stand_before_the_text_and_say_their_error() -> None:
    turn = body(
        HI, CALL, {"role": "user", "content": "and?"}, {**RESULT, "is_error": True}, tools=[TOOL]
    )["messages"][2]
    assert turn["content"] == [
        {"toolResult": {"toolUseId": "a", "content": [{"text": "found"}], "status": "error"}},
        {"text": "and?"},
    ]


def test_tools_are_sent_again_if_the_history_has_calls() -> None:
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
def test_each_family_of_models_gets_its_own_field_for_thinking(model: str, fields: Record) -> None:
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
        out = replies(
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
    found = {**body, "__type": f"com.amazon#{name.partition(':')[0]}"} if name else body
    for headers, reply in (({"x-amzn-errortype": name}, body), ({}, found)):
        fault = bedrock.explain(status, headers, json.dumps(reply).encode())
        assert (fault.kind, fault.message) == (want, message)


def test_models_and_inference_profiles_are_listed() -> None:
    def lists(path: str) -> tuple[int, dict[str, str], bytes]:
        reply = (
            {"inferenceProfileSummaries": [{"inferenceProfileId": "us.b"}]}
            if "inference" in path
            else {"modelSummaries": [{"modelId": "a"}]}
        )
        return 200, {}, json.dumps(reply).encode()

    with vendor(lists) as (url, _):
        assert listed(
            "bedrock", {**REGION, "AWS_ENDPOINT_URL_BEDROCK": url, "AWS_BEARER_TOKEN_BEDROCK": "k"}
        ) == [
            "a",
            "us.b",
        ]
