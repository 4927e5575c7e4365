"""The forms that agent-trace writes: each compared with what others read it with."""

from __future__ import annotations

import base64
import json
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import chromium
import installed

HOSTILE = "</pre><script>document.title = 'no'</script><img src=http://127.0.0.1:9/x> \u202e \x1b[31m & <b>"
TRACE = "0123456789abcdef0123456789abcdef"
START = 1_764_200_000.25


def part(
    id: int, parent: int | None, kind: str, name: str, at: float, **fields: Any
) -> dict[str, Any]:
    above = f"{parent:016x}" if parent else None
    head = {"type": "run" if kind == "run" else "span", "id": f"{id:016x}", "trace_id": TRACE}
    times = {"start": START + at, "end": START + at + 0.5, "run": f"{parent or id:016x}"}
    return {
        **head,
        "parent_id": above,
        "kind": kind,
        "name": name,
        **times,
        "status": "ok",
        **fields,
    }


def request(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


CALL = {"id": "c1", "name": "text-processor", "arguments": {"input": "hello"}}
USAGE = {"input_tokens": 100, "output_tokens": 9, "cached_input_tokens": 40}
BROKEN = {"kind": "tool_error", "message": "no such file"}
RUN = [
    part(
        1,
        None,
        "run",
        "coordinator",
        0,
        end=START + 9,
        model="gpt-5-mini",
        provider="bedrock",
        usage=USAGE,
        cost_usd=0.25,
        model_calls=2,
        tool_calls=2,
        input=HOSTILE,
        output="all done",
    ),
    part(
        2,
        1,
        "model",
        "gpt-5-mini",
        1,
        provider="bedrock",
        model="gpt-5-mini",
        usage=USAGE,
        cost_usd=0.25,
        stop_reason="tool_use",
        input=[{"role": "system", "content": "Be brief."}, request(HOSTILE)],
        output={
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "I look."},
            ],
            "tool_calls": [CALL, {"id": "c2", "name": "wc", "arguments": {"path": "x"}}],
        },
    ),
    part(3, 2, "retry", "gpt-5-mini", 1, status="error", error={"kind": "server"}, attempt=1),
    part(
        4,
        1,
        "agent",
        "text-processor",
        2,
        call_id="c1",
        arguments=CALL["arguments"],
        result="HELLO",
    ),
    part(5, 4, "run", "text-processor", 2.1, input="hello", output="HELLO", model="local"),
    part(
        6,
        5,
        "model",
        "local",
        2.2,
        model="local",
        input=[request("hello")],
        output={"role": "assistant", "content": "HELLO"},
    ),
    part(
        7,
        1,
        "tool",
        "wc",
        3,
        call_id="c2",
        arguments={"path": "x"},
        result="no such file",
        status="error",
        error=BROKEN,
    ),
    part(
        8,
        1,
        "model",
        "gpt-5-mini",
        4,
        model="gpt-5-mini",
        output={"role": "assistant", "content": "all done"},
    ),
]


def written(
    form: str, *options: str, parts: list[dict[str, Any]] = RUN
) -> subprocess.CompletedProcess[str]:
    lines = "".join(json.dumps(one) + "\n" for one in parts)
    argv = [str(installed.suite() / "formats" / form), *options]
    return subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=60)


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def otlp_spans(line: dict[str, Any]) -> list[Any]:
    """The spans of a line, as OpenTelemetry's own protocol buffers read them."""
    from google.protobuf import json_format
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    for resource in line["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            for name in {"traceId", "spanId", "parentSpanId"} & set(span):
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    found = json_format.ParseDict(line, TracesData())
    return list(found.resource_spans[0].scope_spans[0].spans)


def test_otlp_is_read_by_the_protocol_s_own_package() -> None:
    (line,) = records(written("otlp").stdout)
    spans = otlp_spans(line)
    assert [span.name for span in spans] == [
        "invoke_agent coordinator",
        "chat gpt-5-mini",
        "chat gpt-5-mini",
        "execute_tool text-processor",
        "invoke_agent text-processor",
        "chat local",
        "execute_tool wc",
        "chat gpt-5-mini",
    ]
    root, first, retry, *_, broken, _ = spans
    assert root.trace_id.hex() == TRACE and first.parent_span_id == root.span_id
    assert retry.parent_span_id == first.span_id and retry.status.code == 2
    assert root.start_time_unix_nano == 1_764_200_000_250_000_000
    assert (broken.status.code, broken.status.message) == (2, "tool_error")
    values = {one.key: one.value for one in first.attributes}
    assert values["gen_ai.provider.name"].string_value == "aws.bedrock"
    assert values["gen_ai.usage.input_tokens"].int_value == 100
    assert (
        values["gen_ai.response.finish_reasons"].array_value.values[0].string_value == "tool_call"
    )
    scope = line["resourceSpans"][0]["scopeSpans"][0]
    assert scope["schemaUrl"] == "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
    assert written("otlp").stdout == written("otlp").stdout  # a pure filter: ids are derived


def test_otlp_has_texts_only_with_content() -> None:
    assert "no such file" not in written("otlp").stdout
    assert "I look" not in written("otlp").stdout
    (line,) = records(written("otlp", "--content").stdout)
    values = {one.key: one.value.string_value for one in otlp_spans(line)[1].attributes}
    assert json.loads(values["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": HOSTILE}]},
    ]
    [answer] = json.loads(values["gen_ai.output.messages"])
    assert answer["role"] == "assistant"
    assert answer["parts"][:2] == [
        {"type": "reasoning", "content": "hm"},
        {"type": "text", "content": "I look."},
    ]
    assert answer["parts"][2] == {"type": "tool_call", **CALL}
    assert "no such file" in json.dumps(line)


def test_otlp_has_results_pictures_and_the_words_of_a_run_as_parts() -> None:
    tool = {"role": "tool", "tool_call_id": "c1", "content": "two"}
    image = {"type": "image", "media_type": "image/png", "data": "aGk="}
    link = {"type": "document", "url": "https://example.org/a.pdf"}
    seen = {"role": "user", "content": [image, link]}
    run = part(1, None, "run", "a", 0, system="Be brief.", input="go", output="done")
    model = part(2, 1, "model", "m", 1, input=[tool, seen], output={})
    (line,) = records(written("otlp", "--content", parts=[run, model]).stdout)
    spans = otlp_spans(line)
    of = [{one.key: one.value.string_value for one in span.attributes} for span in spans]
    assert json.loads(of[0]["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Be brief."}
    ]
    assert json.loads(of[0]["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "done"}]}
    ]
    result, sent = json.loads(of[1]["gen_ai.input.messages"])
    assert result["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "two"}]
    assert [one["type"] for one in sent["parts"]] == ["blob", "uri"]
    assert sent["parts"][0]["content"] == "aGk=" and sent["parts"][1]["uri"] == link["url"]


def test_otlp_posts_to_a_collector_and_says_why_it_was_not_taken() -> None:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got: list[dict[str, Any]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            got.append({"path": self.path, "kind": self.headers["content-type"], "body": body})
            self.send_response(200 if self.path == "/v1/traces" else 404, "sorry")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        fine = written("otlp", "--endpoint", f"{url}/v1/traces")
        base = written("otlp", "--endpoint", url)
        bad = written("otlp", "--endpoint", f"{url}/elsewhere")
        server.shutdown()
    none = written("otlp", "--endpoint", f"{url}/v1/traces")
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "")
    assert got[0]["kind"] == "application/json" and len(otlp_spans(got[0]["body"])) == 8
    assert json_format.ParseDict(got[0]["body"], ExportTraceServiceRequest()).resource_spans
    assert (base.returncode, base.stderr, got[1]["path"]) == (0, "", "/v1/traces")
    assert got[1]["body"] == got[2]["body"]
    assert bad.returncode and f"{url}/elsewhere: 404" in bad.stderr
    assert none.returncode and len(none.stderr.splitlines()) == 1


def test_atif_says_what_it_has_no_place_for() -> None:
    image = {"type": "image", "media_type": "image/png", "data": "aGk="}
    seen = part(9, 1, "model", "m", 5, input=[{"role": "user", "content": [image]}], output={})
    hook = part(10, 1, "plugin", "audit", 6, hook="after_run")
    got = written("atif", parts=[*RUN, seen, hook])
    assert got.stderr == "atif: not taken over: 1 retry records, 1 image parts, 1 plugin records\n"
    assert written("atif", parts=[RUN[0], RUN[-1]]).stderr == ""


def test_atif_is_read_by_its_own_package() -> None:
    from atif import Trajectory

    found = Trajectory.model_validate_json(written("atif").stdout)
    assert [step.source for step in found.steps] == ["system", "user", "agent", "agent"]
    look = found.steps[2]
    assert (look.message, look.reasoning_content) == ("I look.", "hm")
    assert look.tool_calls and look.observation and look.metrics
    assert [call.function_name for call in look.tool_calls] == ["text-processor", "wc"]
    assert [one.content for one in look.observation.results] == ["HELLO", "no such file"]
    assert look.metrics.cached_tokens == 40
    assert found.subagent_trajectories
    (inner,) = found.subagent_trajectories
    (ref,) = look.observation.results[0].subagent_trajectory_ref or []
    assert ref.trajectory_id == inner.trajectory_id and inner.steps[1].message == "HELLO"


@pytest.mark.parametrize("form", ["claude-code", "gemini-cli"])
def test_a_conversation_goes_to_another_agent_s_stream_and_back(form: str) -> None:
    there = written("stream", form)
    assert "1 system messages" in there.stderr
    argv = [str(installed.suite() / "formats/stream"), form, "--from"]
    back = subprocess.run(argv, input=there.stdout, capture_output=True, text=True, timeout=60)
    *messages, result = records(back.stdout)
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert messages[0]["content"] == HOSTILE
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert messages[1]["tool_calls"][0] == CALL
    assert (messages[3]["content"], messages[3]["is_error"]) == ("no such file", True)
    assert messages[3]["name"] == "wc"
    assert result["output"] == "all done" and result["usage"]["input_tokens"] == 100


def test_codex_has_calls_and_answers_and_says_that_it_has_no_requests() -> None:
    there = written("stream", "codex-exec")
    assert "1 requests" in there.stderr
    for lost in ("1 system messages", "1 retry records", "1 run records", "1 model", "1 cost_usd"):
        assert lost in there.stderr
    kinds = [one.get("item", one)["type"] for one in records(there.stdout)]
    assert kinds == [
        "thread.started",
        "turn.started",
        "reasoning",
        "agent_message",
        "mcp_tool_call",
        "mcp_tool_call",
        "agent_message",
        "turn.completed",
    ]


STREAMS = Path(__file__).with_name("fixtures") / "streams"
FOREIGN = {file.stem: file.read_text() for file in sorted(STREAMS.iterdir())}


@pytest.mark.parametrize("form", FOREIGN)
def test_streams_of_other_agents_are_read_and_what_is_lost_is_reported(form: str) -> None:
    argv = [str(installed.suite() / "formats/stream"), form, "--from"]
    got = subprocess.run(argv, input=FOREIGN[form], capture_output=True, text=True, timeout=60)
    first, tool, last, result = records(got.stdout)
    assert first["content"] == "I run it." and len(first["tool_calls"]) == 1
    assert (tool["tool_call_id"], tool["content"]) == (first["tool_calls"][0]["id"], "a.py")
    assert (last["content"], result["output"]) == ("One file.", "One file.")
    assert result["usage"]["output_tokens"] == 8
    lost = {
        "claude-code": "stream_event records",
        "codex-exec": "web_search items",
        "gemini-cli": "error records",
    }
    assert got.stderr == f"stream: not taken over: 1 {lost[form]}\n"


@pytest.mark.parametrize("form", FOREIGN)
def test_streams_of_other_agents_with_anything_in_any_place_are_no_python_error(form: str) -> None:
    argv = [str(installed.suite() / "formats/stream"), form, "--from"]
    lines = ["no json", "[]", '{"type":5}']
    for line in FOREIGN[form].strip().splitlines():
        record = json.loads(line)
        for name in record:
            lines += [
                json.dumps({**record, name: odd})
                for odd in (None, 5, "x", [], {}, [None], [5], [{}])
            ]
    got = subprocess.run(argv, input="\n".join(lines), capture_output=True, text=True, timeout=60)
    assert got.returncode == 0 and "Error" not in got.stderr, got.stderr
    found = records(got.stdout)
    assert all(one["type"] in ("message", "result") for one in found)
    calls = [call for one in found for call in one.get("tool_calls") or []]
    assert all(isinstance(call[key], str) for call in calls for key in ("id", "name"))


ODD = (None, 5, "x", [], {}, [None], [5], [{}], [{"type": "text"}], 1e300, True)
FORMS = (
    ["html-page"],
    ["otlp", "--content"],
    ["atif"],
    ["tree"],
    *(["stream", name] for name in FOREIGN),
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[-1])
def test_a_record_with_anything_in_any_field_is_left_out_or_shown(form: list[str]) -> None:
    variants = []
    for one in RUN:
        for name in set(one) - {"type"}:
            for odd in ODD:
                variants.append({**one, "id": f"{len(variants) + 100:016x}", name: odd})
        for name in {"input", "output"} & set(one):
            for inner in ("role", "content", "tool_calls"):
                for odd in ODD:
                    message = {"role": "user", "content": "x", inner: odd}
                    value = [message] if name == "input" else message
                    variants.append({**one, "id": f"{len(variants) + 100:016x}", name: value})
    got = written(*form, parts=[*RUN, *variants])
    assert got.returncode == 0 and "internal" not in got.stderr, got.stderr[-500:]
    assert "left out: a run record with a wrong 'start'" in got.stderr


def page_of(folder: Path, parts: list[dict[str, Any]]) -> Path:
    path = folder / "page.html"
    path.write_text(written("html-page", parts=parts).stdout)
    return path


browser = pytest.mark.skipif(not chromium.PROGRAM, reason="chromium is not on this machine")


@browser
def test_the_page_shows_steps_that_unfold_and_hostile_text_as_text(tmp_path: Path) -> None:
    path = page_of(tmp_path, RUN)
    with chromium.Page(tmp_path / "profile") as page:
        page.open(path)
        assert page.value("document.title") == "coordinator 00000000"
        assert page.value("document.querySelectorAll('script, img, link').length") == 0
        assert page.value("document.querySelectorAll('details.step').length") == 8
        assert "coordinator" in page.value("document.body.innerText")
        hidden = (
            "!document.querySelectorAll('details.step')[1].querySelector('pre').checkVisibility()"
        )
        assert page.value(hidden) is True
        light = page.picture()
        page.click("details.step:nth-of-type(2) > summary")
        text = page.value("document.querySelectorAll('details.step')[1].innerText")
        assert page.value(hidden) is False
        assert "I look." in text and "</pre><script>" in text and "\\u202e" in text
        assert page.picture() != light
        bars = "[...document.querySelectorAll('.bar')].map(bar => bar.getBoundingClientRect().x)"
        places = page.value(bars)
        assert places[1] > places[0] and places[-1] == max(places)
        assert page.requests == [path.as_uri()]


@browser
def test_the_page_is_dark_where_that_is_preferred(tmp_path: Path) -> None:
    path = page_of(tmp_path, RUN)
    color = "getComputedStyle(document.body).backgroundColor"
    with chromium.Page(tmp_path / "profile") as page:
        page.open(path)
        assert page.value(color) == "rgb(255, 255, 255)"
        page.dark()
        assert page.value(color) == "rgb(20, 23, 26)"


@browser
def test_a_batch_has_totals_and_a_histogram_and_opens_with_2000_steps_within_2_seconds(
    tmp_path: Path,
) -> None:
    runs = [{**RUN[0], "id": f"{number:016x}", "end": START + number} for number in range(1, 11)]
    steps = [
        {**RUN[6], "id": f"a{number:015x}", "parent_id": runs[number % 10]["id"]}
        for number in range(2000)
    ]
    path = page_of(tmp_path, [*runs, *steps])
    with chromium.Page(tmp_path / "profile") as page:
        assert min(page.open(path) for _ in range(3)) < 2
        assert page.value("document.querySelectorAll('details.step').length") == 2010
        assert page.value("document.querySelectorAll('svg rect').length") == 20
        first = page.value("document.querySelector('details.run > summary').innerText")
        assert "<b>" in first and "done" in first and "$0.250000" in first
        assert "$2.500000" in page.value("document.querySelector('table').innerText")
