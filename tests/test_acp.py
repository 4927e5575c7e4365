"""agent-acp, told from the side of an editor."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import installed
from acp_editor import PNG, TESTS, Place, commands, content


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of the scripted model."""
    argv = [sys.executable, TESTS / "model_server.py", TESTS / "script_model.py"]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    yield server.stdout.readline().strip()
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.fixture
def place(tmp_path: Path, address: str) -> Iterator[Place]:
    """A place, whose editors end with it."""
    made = Place(tmp_path, address)
    yield made
    for editor in made.editors:
        editor.process.kill()
        editor.process.wait()
        assert editor.process.stdin and editor.process.stdout
        editor.process.stdout.close()
        try:
            editor.process.stdin.close()
        except BrokenPipeError:
            pass


def test_an_answer_streams_and_the_conversation_goes_on_also_in_a_later_editor(
    place: Place,
) -> None:
    first = place.editor("wordcount")
    session = first.begin()
    assert first.prompt(session, "= Hello to {messages} of you") == "end_turn"
    assert len(first.updates) > 2 and first.kinds() == ["agent_message_chunk"]
    assert first.text() == "Hello to 1 of you"
    assert first.prompt(session, 'wordcount {"text":"a b"}\n= {messages}') == "end_turn"
    assert first.text() == "5" and first.end() == 0
    later = place.editor("wordcount")
    later.call("initialize", protocolVersion=1)
    later.call("session/load", sessionId=session, cwd=str(place.folder), mcpServers=[])
    reply = ["user_message_chunk", "agent_message_chunk"]
    assert later.kinds() == [
        *reply,
        "user_message_chunk",
        "tool_call",
        "tool_call_update",
        reply[1],
    ]
    assert later.text("user_message_chunk").startswith("= Hello to {messages} of you")
    assert later.prompt(session, "= {messages}") == "end_turn" and later.text() == "7"
    resumed = place.editor("wordcount")
    resumed.call("initialize", protocolVersion=1)
    resumed.call("session/resume", sessionId=session, cwd=str(place.folder), mcpServers=[])
    assert not resumed.updates
    assert resumed.prompt(session, "= {messages}") == "end_turn" and resumed.text() == "9"


def test_a_change_is_shown_as_a_diff_and_made_with_the_users_consent_alone(place: Place) -> None:
    editor = place.editor("edit_file", "write_file", "wordcount")
    session = editor.begin()
    file = place.folder / "a.txt"
    file.write_text("one\ntwo\n")
    edit = 'edit_file {"path":"a.txt","old":"two","new":"three"}\n= done'
    for editor.choice in ("reject", ""):
        assert editor.prompt(session, edit) == "end_turn" and len(editor.asked) == 1
        assert [one.get("status") for one in editor.updates[:2]] == ["pending", "failed"]
        assert file.read_text() == "one\ntwo\n"
    editor.choice = "allow"
    assert editor.prompt(session, edit) == "end_turn" and file.read_text() == "one\nthree\n"
    call, *more = editor.updates
    path = str(file)
    diff = {"type": "diff", "path": path, "oldText": "two", "newText": "three"}
    assert call["content"] == [diff] and call["locations"] == [{"path": path, "line": 2}]
    assert (call["title"], call["kind"], call["status"]) == ("edit_file a.txt", "edit", "pending")
    assert [one.get("status") for one in more[:2]] == ["in_progress", "completed"]
    request = editor.asked[0]["toolCall"]
    assert request["toolCallId"] == call["toolCallId"] and request["content"][0] == diff
    assert "sandbox: work" in request["content"][1]["content"]["text"]
    write = 'write_file {"path":"b.txt","content":"B"}\nwrite_file {"path":"c.txt","content":"C"}\n= done'
    assert editor.prompt(session, write) == "end_turn" and len(editor.asked) == 2
    assert editor.updates[0]["content"][0]["oldText"] is None
    editor.choice = "always"
    assert editor.prompt(session, write) == "end_turn" and len(editor.asked) == 1
    assert editor.prompt(session, write) == "end_turn" and not editor.asked
    assert editor.prompt(editor.new(), write) == "end_turn" and len(editor.asked) == 1


def test_modes_say_what_needs_consent(place: Place) -> None:
    editor = place.editor("write_file", "wordcount", "--mode", "work")
    session = editor.begin()
    write = 'write_file {"path":"b.txt","content":"B"}\nwordcount {"path":"b.txt"}\n= done'
    assert editor.prompt(session, write) == "end_turn" and not editor.asked
    statuses = [
        one["status"] for one in editor.updates if one["sessionUpdate"] == "tool_call_update"
    ]
    assert statuses == ["completed", "completed"]
    assert editor.call("session/set_mode", sessionId=session, modeId="read") == {}
    assert editor.prompt(session, write.replace("B", "C")) == "end_turn" and not editor.asked
    statuses = [
        one["status"] for one in editor.updates if one["sessionUpdate"] == "tool_call_update"
    ]
    assert statuses == ["failed", "completed"] and (place.folder / "b.txt").read_text() == "B"
    assert editor.wrong("session/set_mode", sessionId=session, modeId="yolo")[0] == -32602


def test_a_cancelled_prompt_ends_with_all_that_it_started(place: Place) -> None:
    editor = place.editor(str(place.folder / "slow"))
    session = editor.begin()
    for notice in (("session/cancel", {"sessionId": session}), ("$/cancel_request", {})):
        id = editor.ask("session/prompt", sessionId=session, prompt=content("slow {}\n= done"))
        place.until(sleeping=True)
        began = time.monotonic()
        editor.send(method=notice[0], params=notice[1] or {"requestId": id})
        assert editor.wait(id) == {"result": {"stopReason": "cancelled"}}
        assert time.monotonic() - began < 40
        place.until(sleeping=False)
    editor.send(method="session/cancel", params={"sessionId": session})  # nothing is going on
    assert editor.prompt(session, "= still {messages}") == "end_turn"


def test_a_prompt_is_cancelled_while_its_user_is_asked(place: Place) -> None:
    editor = place.editor("write_file")
    session, editor.choice = editor.begin(), "late"
    write = 'write_file {"path":"b.txt","content":"B"}\n= done'
    id = editor.ask("session/prompt", sessionId=session, prompt=content(write))
    while not editor.asked:
        editor.hear()
    editor.send(method="session/cancel", params={"sessionId": session})
    while "result" not in (answer := editor.hear()):
        pass
    assert (answer["id"], answer["result"]["stopReason"]) == (id, "cancelled")
    assert not (place.folder / "b.txt").exists()


def test_two_sessions_work_at_once_and_each_has_one_prompt_at_a_time(place: Place) -> None:
    editor = place.editor("wordcount", str(place.folder / "slow"))
    one, other = editor.begin(), editor.new()
    id = editor.ask("session/prompt", sessionId=one, prompt=content("slow {}\n= done"))
    place.until(sleeping=True)
    code, why = editor.wrong("session/prompt", sessionId=one, prompt=content("= me too"))
    assert code == -32600 and "a prompt is being worked on" in why
    assert editor.prompt(other, "= meanwhile") == "end_turn" and editor.text() == "meanwhile"
    assert {update["session"] for update in editor.updates} == {other}
    closing = editor.ask("session/close", sessionId=one)
    answers = [editor.hear(), editor.hear()]
    assert {"id": id, "result": {"stopReason": "cancelled"}} in answers
    assert {"id": closing, "result": {}} in answers
    assert editor.wrong("session/prompt", sessionId=one, prompt=content("= hi"))[0] == -32002


@pytest.mark.parametrize("death", ["close", "kill", "deaf"])
def test_nothing_is_left_when_the_editor_or_agent_acp_dies(place: Place, death: str) -> None:
    editor = place.editor(str(place.folder / "slow"))
    editor.ask("session/prompt", sessionId=editor.begin(), prompt=content("slow {}\n= done"))
    place.until(sleeping=True)
    assert editor.process.stdin and editor.process.stdout
    if death == "close":
        editor.process.stdin.close()
    elif death == "kill":
        editor.process.kill()
    else:
        editor.process.stdout.close()
    place.until(sleeping=False)
    editor.process.wait(20)


def test_files_and_pictures_go_to_the_model(place: Place) -> None:
    editor = place.editor("wordcount")
    session = editor.begin()
    (place.folder / "a b.txt").write_text("in the file\n")
    link = {"type": "resource_link", "name": "a b.txt", "uri": f"file://{place.folder}/a%20b.txt"}
    resource = {"uri": f"file://{place.folder}/unsaved.py", "text": "in the buffer"}
    blob = {
        "uri": "file:///x.pdf",
        "mimeType": "application/pdf",
        "blob": base64.b64encode(b"%PDF-1").decode(),
    }
    blocks = [
        link,
        {"type": "resource", "resource": resource},
        {"type": "image", "mimeType": "image/png", "data": PNG},
    ]
    assert editor.prompt(session, "= {messages} ", *blocks) == "end_turn"
    assert editor.text() == "1 a b.txt unsaved.py"
    sent = place.history()
    assert "in the file" in sent and "in the buffer" in sent and PNG in sent
    later = place.editor("wordcount")
    later.call("initialize", protocolVersion=1)
    later.call("session/load", sessionId=session, cwd=str(place.folder), mcpServers=[])
    image = {"type": "image", "mimeType": "image/png", "data": PNG}
    assert [one["content"] for one in later.updates][:2] == [
        {"type": "text", "text": "= {messages} a b.txt unsaved.py"},
        image,
    ]
    assert editor.prompt(session, "= ok", {"type": "resource", "resource": blob}) == "end_turn"
    assert '"type":"document","media_type":"application/pdf","data":"JVBERi0x"' in place.history()


def test_any_agent_of_the_suite_and_a_script_of_ones_own(place: Place) -> None:
    editor = place.editor("--", "text-processor")
    session = editor.begin()
    assert editor.prompt(session, 'uppercase {"text":"loud"}') == "end_turn"
    assert editor.text() == "LOUD" and "tool_call" in editor.kinds()
    (place.folder / "note.txt").write_text("in the note")
    link = {"type": "resource_link", "name": "n", "uri": f"file://{place.folder}/note.txt"}
    image = {"type": "image", "mimeType": "image/png", "data": PNG}
    assert editor.prompt(session, "= {messages}", link, image) == "end_turn"
    assert editor.text().startswith("5 note.txt") and "in the note" in place.history()
    assert editor.prompt(session, "= {messages}") == "end_turn" and editor.text() == "7"
    script = place.folder / "mine"
    script.write_text(
        '#!/bin/sh\nread -r line; echo "heard $line"; echo \'{"type":"step","id":"1","task":"Hear","status":"done"}\'\n'
    )
    script.chmod(0o755)
    plain = place.editor("--", "./mine")
    session = plain.begin()
    assert plain.prompt(session, "a word") == "end_turn" and plain.text() == "heard a word\n"
    entry = {"content": "Hear", "priority": "medium", "status": "completed"}
    assert plain.updates[-1]["entries"] == [entry]
    script.write_text("#!/bin/sh\necho 'mine: no luck' >&2; exit 100\n")
    assert plain.wrong("session/prompt", sessionId=session, prompt=content("hi")) == (
        -32603,
        "mine: no luck",
    )


def test_the_steps_of_a_coordinator_are_a_plan(place: Place) -> None:
    editor = place.editor("--", "coordinator")
    steps = [
        {"id": "a", "task": "= one", "agent": "text-processor", "needs": []},
        {"id": "b", "task": "= two", "agent": "text-processor", "needs": ["a"]},
    ]
    assert editor.prompt(editor.begin(), f"= {json.dumps({'steps': steps})}") == "end_turn"
    plans = [one["entries"] for one in editor.updates if one["sessionUpdate"] == "plan"]
    assert [[entry["content"] for entry in one] for one in plans[1:]] == [["= one", "= two"]] * 3
    assert [[entry["status"] for entry in one] for one in plans[1:]] == [
        ["in_progress", "pending"],
        ["completed", "in_progress"],
        ["completed", "completed"],
    ]


def test_without_a_history_each_prompt_stands_alone(place: Place) -> None:
    editor = place.editor("wordcount", AGENT_HISTORY="off")
    session = editor.begin()
    for _ in range(2):
        assert editor.prompt(session, "= {messages}") == "end_turn" and editor.text() == "1"


def test_why_the_agent_stopped(place: Place) -> None:
    editor = place.editor("wordcount", "--", "agent-react", "--max-iterations", "1")
    session = editor.begin()
    assert editor.prompt(session, 'wordcount {"text":"a"}\n= never') == "max_turn_requests"
    code, why = editor.wrong("session/prompt", sessionId=session, prompt=content("! 400 not so"))
    assert code == -32603 and "not so" in why


def test_what_is_wrong_gets_one_clear_error_each(place: Place) -> None:
    editor = place.editor("wordcount")
    here = str(place.folder)
    assert editor.raw("not json")["error"]["code"] == -32700
    assert editor.raw("[1,2]")["error"]["code"] == -32600
    assert editor.raw('{"jsonrpc":"2.0","id":[1],"method":"initialize"}')["error"]["code"] == -32600
    assert editor.wrong("session/new", cwd=here, mcpServers=[]) == (
        -32600,
        "session/new: `initialize` comes first",
    )
    assert editor.wrong("initialize")[0] == -32602
    assert editor.wrong("initialize", protocolVersion="1")[0] == -32602
    newer = editor.call(
        "initialize", protocolVersion=2, capabilities={}, info={"name": "new", "version": "1"}
    )
    assert newer["protocolVersion"] == 1 and newer["info"]["name"] == "agentutils"
    assert editor.wrong("session/fly") == (-32601, "Method not found: session/fly")
    assert editor.wrong("session/new", cwd="here", mcpServers=[])[0] == -32602
    assert editor.wrong("session/new", cwd=f"{here}/none", mcpServers=[])[1].endswith(
        "no such folder"
    )
    assert editor.wrong("session/new", cwd=7, mcpServers=[])[0] == -32602
    assert editor.wrong("session/new", cwd=here, mcpServers={})[0] == -32602
    assert editor.wrong("session/load", sessionId="0" * 32, cwd=here, mcpServers=[])[0] == -32002
    assert editor.wrong("session/prompt", sessionId="none", prompt=[])[0] == -32002
    session = editor.new()
    for blocks in (
        "hi",
        [],
        [7],
        [{"type": "text"}],
        [{"type": "audio", "data": "", "mimeType": "audio/wav"}],
        content("  "),
    ):
        assert editor.wrong("session/prompt", sessionId=session, prompt=blocks)[0] == -32602, blocks
    image = {"type": "image", "mimeType": "image/png", "data": "no base64!"}
    assert editor.wrong("session/prompt", sessionId=session, prompt=[image])[0] == -32602
    editor.send(method="session/fly", params={})  # a notification gets no answer
    editor.send(id=99, result={})  # nor does an answer to nothing
    large = "x" * (1 << 22)
    assert (
        editor.prompt(session, "= {messages}", f"\n\n{large}") == "end_turn"
        and editor.text() == "1"
    )
    assert editor.raw("x" * (64 << 20 | 1))["error"]["code"] == -32700
    assert editor.prompt(session, "= {messages}") == "end_turn" and editor.text() == "3"
    assert editor.end() == 0


def test_an_agent_that_cannot_be_started(place: Place) -> None:
    editor = place.editor("--", "./no-such-agent")  # of a session's folder
    editor.call("initialize", protocolVersion=1)
    code, why = editor.wrong("session/new", cwd=str(place.folder), mcpServers=[])
    assert code == -32603 and why == "./no-such-agent: no such program"


def _server(*words: str, name: str = "mine", **env: str) -> dict[str, Any]:
    pairs = [{"name": key, "value": value} for key, value in env.items()]
    return {"name": name, "command": str(TESTS / "mcp_server.py"), "args": [*words], "env": pairs}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_editors_servers_have_one_connection_for_a_session(place: Place, era: str) -> None:
    editor = place.editor("wordcount")
    servers = [_server(era, A_KEY="hidden"), _server("legacy", "dead", name="dead")]
    session = editor.begin(mcpServers=servers)
    for text in ("one", "two"):
        assert editor.prompt(session, f'echo {{"text":"{text}"}}\n= done') == "end_turn"
        result = editor.updates[2]
        assert (result["status"], result["content"][0]["content"]["text"]) == (
            "completed",
            f"echo: {text}",
        )
        assert len(editor.asked) == 1
    assert len(place.running("mcp_server.py")) == 1
    assert "hidden" not in place.history() + "".join(commands())
    editor.call("session/set_mode", sessionId=session, modeId="read")
    assert editor.prompt(session, 'echo {"text":"three"}\n= done') == "end_turn"
    assert editor.updates[1]["status"] == "failed" and not editor.asked
    assert editor.end() == 0
    assert not place.running("mcp_server.py")


def test_a_server_at_an_address_that_the_editor_hands_over_gets_its_headers(place: Place) -> None:
    argv = [installed.prefix() / "bin/agent-mcp-http", "0", "--", "wordcount"]
    with subprocess.Popen(argv, cwd=place.folder, env=place.env, stdout=subprocess.PIPE) as server:
        assert server.stdout
        url = server.stdout.readline().decode().strip()
        token = (place.folder.parent / ".local/state/agentutils/mcp-token").read_text().strip()
        for value, kinds in (token, ["completed"]), ("wrong-token-of-16", []):
            headers = [{"name": "Authorization", "value": f"Bearer {value}"}]
            mine = {"type": "http", "name": "mine", "url": url, "headers": headers}
            editor = place.editor("wordcount")
            session = editor.begin(mcpServers=[mine])
            script = 'mine__wordcount {"text":"a b"}\n= {results}'
            assert editor.prompt(session, script) == "end_turn"
            statuses = [one.get("status") for one in editor.updates]
            assert [one for one in statuses if one == "completed"] == kinds
            assert len(editor.asked) == len(kinds) and ('"words":2' in editor.text()) == bool(kinds)
            assert value not in place.history() + "".join(commands())
            assert editor.end() == 0
        server.terminate()


def test_a_server_of_the_editor_that_ends_is_an_error_of_its_calls(place: Place) -> None:
    editor = place.editor("wordcount", "--mode", "work")
    session = editor.begin(mcpServers=[_server("legacy")])
    assert editor.prompt(session, 'ends {}\necho {"text":"x"}\n= done') == "end_turn"
    statuses = [
        one.get("status") for one in editor.updates if one["sessionUpdate"] == "tool_call_update"
    ]
    assert statuses == ["failed", "failed"]


def test_servers_that_are_not_of_the_form_are_refused(place: Place) -> None:
    editor = place.editor("wordcount")
    editor.call("initialize", protocolVersion=1)
    sse = {"type": "sse", "name": "a", "url": "http://x", "headers": []}
    odd = {"name": "a", "command": "x", "args": [7], "env": []}
    pair = {"name": "a", "command": "x", "args": [], "env": [{"name": "A"}]}
    for one in (sse, odd, pair, {"name": "a"}, 7):
        code, why = editor.wrong("session/new", cwd=str(place.folder), mcpServers=[one])
        assert code == -32602 and why, one
