#!/usr/bin/env bats
# shellcheck disable=SC2016  # what tools and the inner shell expand stands in single quotes
# agent-react: plugins at all hooks, in any language; a broken guard is never skipped.
load helper
load react

# plugin NAME HOOKS BODY: a plugin in Python; BODY handles `ask` (hook, record) and sets `record` or `deny`.
plugin() {
    cat >"$1" <<PY
#!/usr/bin/env python3
"""$1 - a plugin for a test (answers --agent-schema)"""
import json, sys
if "--agent-schema" in sys.argv:
    print(json.dumps({"name": "$1", "description": "a test", "kind": "plugin", "hooks": "$2".split()}))
    sys.exit()
for line in sys.stdin:
    ask = json.loads(line)
    hook, record, deny = ask["hook"], ask["record"], None
    ${3//$'\n'/$'\n'    }
    print(json.dumps({"id": ask["id"], **({"deny": deny} if deny else {"record": record})}), flush=True)
PY
    chmod +x "$1"
}

ALL="install before_run before_model after_model before_tool after_tool after_run"

@test "a plugin sees all seven hooks in their order" {
    scripted
    tool t 'echo 7'
    plugin watch "$ALL" 'open("seen", "a").write(hook + " " + record["type"] + "\n")'
    react --plugin ./watch 't {}'
    equal 0 "$status"
    equal 7 "$output"
    equal "install install,before_run task,before_model request,after_model response,before_tool call,\
after_tool message,before_model request,after_model response,after_run result" "$(paste -sd, seen)"
}

@test "a plugin can change what passes: request, arguments, result, answer" {
    scripted
    tool t 'read -r line; echo "got $line secret"'
    plugin change "before_run before_tool after_tool after_run" '
if hook == "before_run": record["input"] = "t {\"a\":1}"
if hook == "before_tool": record["arguments"]["a"] = 2
if hook == "after_tool": record["content"] = record["content"].replace("secret", "***")
if hook == "after_run": record["output"] = record["output"].strip() + "!"'
    react --plugin ./change 'something else'
    equal 'got {"a":2} ***!' "$output"
}

@test "a denied call is reported to the model, and the loop continues" {
    scripted
    tool t 'touch ran'
    plugin guard before_tool 'deny = "not on Sundays"'
    react --events --plugin ./guard $'t {}\n= went on'
    equal 0 "$status"
    equal '["plugin guard: not on Sundays","tool_denied"]' "$(jq -c 'select(.role == "tool") | [.content, .error.kind]' <<<"$output")"
    equal "went on" "$(jq -r 'select(.type == "result").output' <<<"$output")"
    [[ ! -e ran ]]
}

@test "a denied run never reaches the model" {
    scripted
    plugin guard before_run 'deny = "closed"'
    react --json --plugin ./guard '= hi'
    equal 100 "$status"
    equal tool_denied "$(jq -r .error.kind <<<"$output")"
    equal 0 "$(requests | wc -l)"
}

@test "changed arguments are compared with the schema again" {
    scripted
    tool t 'echo ran' '{"annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}'
    plugin bend before_tool 'record["arguments"] = {"n": "x"}'
    react --events --plugin ./bend 't {"n":1}'
    equal invalid_arguments "$(jq -r 'select(.role == "tool").error.kind' <<<"$output")"
}

@test "a plugin brings tools along" {
    scripted
    tool extra 'echo from the plugin'
    plugin bring install "record['tools'] = [json.loads(open('tools.jsonl').read())]"
    run --separate-stderr agent-react --plugin ./bring 'extra {}' </dev/null
    equal "from the plugin" "$output"
}

@test "several plugins are asked in the order they are given" {
    scripted
    plugin one before_run 'record["input"] += " one"'
    plugin two before_run 'record["input"] += " two"'
    react --plugin ./one --plugin ./two '= hi'
    equal "hi one two" "$output"
}

@test "a plugin that crashes stops the run, with its name" {
    scripted
    tool t 'touch ran'
    plugin crash before_tool 'sys.exit(3)'
    react --json --plugin ./crash 't {}'
    equal 1 "$status"
    has "$(jq -r .error.message <<<"$output")" "plugin crash: ended with status 3"
    [[ ! -e ran ]]
}

@test "a plugin that answers nonsense stops the run, with its name" {
    scripted
    plugin mad before_model 'print("what?", flush=True)'
    react --json --plugin ./mad '= hi'
    equal 1 "$status"
    has "$(jq -r .error.message <<<"$output")" "plugin mad"
    equal 0 "$(requests | wc -l)"
}

@test "a plugin that stays silent stops the run, with its name" {
    scripted
    plugin mute before_model 'import time; time.sleep(60)'
    react --json --plugin-timeout 1 --plugin ./mute '= hi'
    equal 1 "$status"
    equal '["tool_timeout",true]' "$(jq -c '[.error.kind, (.error.message | contains("plugin mute"))]' <<<"$output")"
}

@test "a program that is no plugin is refused before anything is run" {
    scripted
    printf '#!/bin/sh\necho "{}"\n' >none
    chmod +x none
    react --plugin ./none '= hi'
    [[ $status -ne 0 ]]
    has "$stderr" './none'
    react --plugin nowhere '= hi'
    has "$stderr" "nowhere"
    equal 0 "$(requests | wc -l)"
}

@test "a plugin in fifteen lines of sh works" {
    uses jq
    scripted
    cat >shout <<'SH'
#!/bin/sh
# shout - put every answer into capitals (a plugin: answers --agent-schema)
if [ "$1" = --agent-schema ]; then
    echo '{"name":"shout","description":"Put every answer into capitals","kind":"plugin","hooks":["after_run"]}'
    exit
fi
while read -r line; do
    printf '%s\n' "$line" | jq -c '{id, record: (.record | .output |= ascii_upcase)}'
done
SH
    chmod +x shout
    react --plugin ./shout '= hi there'
    equal "HI THERE" "$output"
}

@test "plugins serve every task of a batch" {
    scripted
    plugin count before_run 'record["input"] = "= " + record["id"]'
    for n in 1 2 3; do echo "{\"type\":\"task\",\"id\":\"t$n\",\"input\":\"x\"}"; done >tools.jsonl
    react --ordered --plugin ./count
    equal $'t1\nt2\nt3' "$(jq -r .output <<<"$output")"
}

@test "redact takes secrets and patterns out of what goes to the model" {
    scripted
    export SERVICE_TOKEN=hunter2hunter2
    tool leak 'echo "token hunter2hunter2 mail a@b.example key sk-abcdefghijklmnopqrstuvwx"'
    react --events --plugin "redact --pattern '[a-z]+@[a-z.]+'" $'leak {}'
    equal 0 "$status"
    lacks "$output$(requests)" hunter2
    lacks "$(requests)" sk-abcdef
    lacks "$(requests)" a@b.example
    has "$(requests)" 'token *** mail ***'
}

@test "audit writes every hook to a file that it only ever adds to" {
    scripted
    tool t 'echo 7'
    echo '{"old":1}' >log.jsonl
    react --plugin 'audit log.jsonl' 't {}'
    equal 0 "$status"
    equal '{"old":1}' "$(head -n 1 log.jsonl)"
    equal 'before_run before_model after_model before_tool after_tool before_model after_model after_run' \
        "$(jq -r '.hook // empty' log.jsonl | paste -sd' ')"
    equal 600 "$(rm log.jsonl; react --plugin 'audit log.jsonl' '= hi'; stat -c %a log.jsonl)"
}

@test "policy lets only those calls run that its file allows too" {
    scripted
    tool t 'echo 7' '{}'
    printf '[[rule]]\ntool = "t"\nverdict = "allow"\narguments = { path = "src/*" }\n' >p.toml
    react --events --allow t --plugin 'policy p.toml' $'t {"path":"src/a"}\nt {"path":"etc/a"}'
    equal 'none tool_denied' "$(jq -r 'select(.role == "tool") | .error.kind // "none"' <<<"$output" | paste -sd' ')"
    react --events --plugin 'policy p.toml' 't {"path":"src/a"}'
    equal tool_denied "$(jq -r 'select(.role == "tool") | .error.kind' <<<"$output")"
}

@test "memory recalls before the run and brings its tools" {
    model 'def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool": return last["content"]
    if "indent" in last["content"]: return "tabs" if "tabs are mine" in last["content"] else "no idea"
    return {"tool_calls": [{"name": "remember", "arguments": {"key": "indent", "value": "tabs are mine"}}]}'
    react --plugin agent-memory --allow remember 'Remember that I like tabs'
    equal 0 "$status"
    equal "tabs are mine" "$(agent-memory recall indent)"
    react --plugin 'agent-memory' 'How do I indent?'
    equal tabs "$output"
}
