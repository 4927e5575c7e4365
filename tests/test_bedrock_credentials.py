"""Who asks Bedrock: an API key, or credentials of AWS that sign each request."""

from __future__ import annotations

import datetime
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

import installed
from agentlib.faults import Fault
from vendors import checked, provider, replies, shared, vendor

CLAUDE = "us.anthropic.claude-sonnet-4-6"

bedrock = provider("bedrock")
pytestmark = pytest.mark.usefixtures("no_aws")


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
    """The authorization that bedrock.signature gives the request of a case."""
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
    made: str = bedrock.signature(
        keys, "service", "us-east-1", method, url, headers, data.encode()
    )["Authorization"]
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
    reply = {
        "output": {"message": {"content": [{"text": "yo"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1},
    }
    with vendor((200, {}, json.dumps(reply).encode())) as (url, seen):
        env = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "AWS_PROFILE": "work",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        }
        (out,) = replies("bedrock", env, model="arn:aws:bedrock:eu-west-1:1:inference-profile/x:0")
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
    mine = bedrock.signature(
        keys,
        "bedrock",
        "eu-west-1",
        "POST",
        url + path,
        {"content-type": headers["content-type"]},
        data,
    )
    assert headers["authorization"] == mine["Authorization"], "the signature is of what was sent"


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
