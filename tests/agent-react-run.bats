#!/usr/bin/env bats
# shellcheck disable=SC2016  # what tools and the inner shell expand stands in single quotes
# agent-react: what is in every result, whose name stands in messages, what is read and remembered.
load helper
load react

# fields: output and incomplete of the result, as JSON.
fields() { jq -c 'select(.type == "result") | [.output, .incomplete]' <<<"$output"; }

@test "every result has a text as output, and says whether it is incomplete" {
    scripted
    tool t 'echo 7'
    react --json '= hi'
    equal '["hi",false]' "$(fields)"
    react --json --max-iterations 1 't {}'
    equal '["",true]' "$(fields)"
    react --json '! 401 no'
    equal '["",false]' "$(fields)"
    react --json --transcript /nowhere/t '= hi'
    equal '["",false]' "$(fields)"
    printf '{"type":"task","id":"%s","input":%s}\n' a '"= x"' b 7 c '"! 400 no"' >tools.jsonl
    react
    equal '["x",false] ["",false] ["",false]' "$(jq -sc 'sort_by(.id)[] | [.output, .incomplete]' <<<"$output" | paste -sd' ')"
}

@test "messages of an agent name the agent, not agent-react" {
    scripted
    react --name helper --description x '! 401 no'
    equal 100 "$status"
    [[ $stderr == "helper: "* ]]
    react --name helper --wrong
    equal 2 "$status"
    equal "helper: unrecognized arguments: --wrong; see 'helper --help'" "$stderr"
    run -2 --separate-stderr agent-react --name=helper </dev/null
    [[ $stderr == "helper: no request"*"'helper --help'" ]]
    run -2 --separate-stderr agent-react --name helper hi <<<"no record"
    [[ $stderr == "helper: line 1: "* ]]
}

@test "--quiet says nothing of the provider that was chosen, nor that it waits" {
    scripted
    unset AGENT_PROVIDER
    run --separate-stderr agent-react '= hi' </dev/null
    has "$stderr" "using openai"
    run --separate-stderr bash -c 'sleep 3.5 | agent-react -q "= hi"'
    equal "" "$output$stderr"
}

@test "the short forms of options are the options" {
    scripted
    run -0 agent-react -j -m other -p openai -t 20 -s "Be brief." '= hi' </dev/null
    equal hi "$(jq -r .output <<<"$output")"
    equal '["other","Be brief."]' "$(requests | jq -c '[.model, .messages[0].content]')"
    run -0 agent-react -q '= hi' </dev/null
    equal "" "$output"
}

@test "the round that corrects an answer's shape has the schema and no tools, whatever was called before" {
    tool t 'echo 7'
    model 'def reply(body):
    if "tools" not in body: return "{\"n\":7}"
    return "seven" if body["messages"][-1]["role"] == "tool" else {"tool_calls": [{"name": "t", "arguments": {}}]}'
    react --schema '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}' "How many?"
    equal '{"n":7}' "$output"
    last=$(requests | tail -1)
    equal 'json_schema false' "$(jq -r '"\(.response_format.type) \(has("tools"))"' <<<"$last")"
    equal 0 "$(jq '[.messages[] | select(.tool_calls or .role == "tool")] | length' <<<"$last")"
    has "$(jq -r '.messages | tostring' <<<"$last")" "seven"
    has "$(jq -r '.messages | tostring' <<<"$last")" "Observation"
}

@test "a loop over a file goes through all of it: the list is no standard input of a request" {
    scripted
    printf '%s\n' one two three >list
    loop() { while read -r word; do "$@" "= $word" || echo "status $?"; done <list; }
    equal 'one two three' "$(loop agent-react | paste -sd' ')"
    equal 'one two three' "$(loop agent-llm | paste -sd' ')"
    equal 'two three' "$({ read -r _; agent-react - "= {messages}"; } <list >/dev/null; requests | tail -1 | jq -r '.messages[-1].content' | grep -x 'two\|three' | paste -sd' ')"
    tool t 'echo 7' # a file that nobody has begun to read is a stream, as ever
    equal 7 "$(agent-react 't {}' <tools.jsonl)"
}

@test "--memory recalls what fits the request, offers its tools, and remembers the run" {
    model 'def reply(body):
    said = body["messages"]
    if "Keep" in str(said[1]["content"]) and said[-1]["role"] != "tool":
        return {"tool_calls": [{"name": "remember", "arguments": {"key": "tabs", "value": "four blanks"}}]}
    return "It is four blanks."'
    run -0 agent-react --memory "$PWD/my store" "Keep that we use four blanks for tabs" </dev/null
    equal '"four blanks"' "$(agent-memory --store "$PWD/my store" recall tabs --json | jq -c .value)"
    equal 1 "$(agent-memory --store "$PWD/my store" list | jq -c 'select(.key | startswith("run ")).value' | wc -l)"
    run -0 agent-react --memory "$PWD/my store" "What do we use for tabs?" </dev/null
    has "$(requests | tail -1 | jq -r '.messages[1].content')" "four blanks"
    equal '["forget","recall","remember","search_memory"]' "$(requests | tail -1 | jq -c '[.tools[].function.name] | sort')"
    model 'def reply(body): return {"status": 401, "body": "no"}'
    run agent-react --memory "$PWD/my store" "Fail" </dev/null
    equal 2 "$(agent-memory --store "$PWD/my store" list | jq -c 'select(.key | startswith("run "))' | wc -l)"
}

@test "--memory and a tape: nothing is recalled, so that the tape answers whatever is kept meanwhile" {
    model "It is four blanks."
    run -0 --separate-stderr agent-react --memory "$PWD/store" --record tape "What do we use for tabs?" </dev/null
    equal "agent-react: --memory: not with a tape: nothing is recalled, nothing is kept" "$stderr"
    agent-memory --store "$PWD/store" remember tabs "four blanks for tabs"
    end_model
    run -0 --separate-stderr agent-react --memory "$PWD/store" --replay tape "What do we use for tabs?" </dev/null
    equal "It is four blanks." "$output"
    AGENT_REPLAY=tape run -0 --separate-stderr agent-react -q --memory "$PWD/store" "What do we use for tabs?" </dev/null
    equal "" "$stderr"
}

@test "arguments too long for a command line are a tool error that says so; a tool of invoke argv without a schema takes args" {
    scripted
    mkdir -p tools
    printf '%s\n' '#!/bin/sh' '[ "$1" = --agent-schema ] || { echo "$# ${#1}"; exit; }' \
        "echo '{\"name\":\"words\",\"description\":\"Count\",\"invoke\":\"argv\",\"annotations\":{\"readOnlyHint\":true}}'" >tools/words
    chmod +x tools/words
    agent-discover tools/words </dev/null >tools.jsonl
    python3 -c 'import json
lines = []
for size, count in (131071, 1), (131072, 1), (130000, 20):
    lines += ["words " + json.dumps({"args": ["x" * size] * count})]
print(json.dumps({"type": "input", "text": "\n".join(lines)}))' >>tools.jsonl
    for sandbox in read off; do
        react --events --sandbox "$sandbox"
        equal 0 "$status"
        has "$(results | sed -n 1p)" "1 131071"
        has "$(results | sed -n 2p)" "words was not run: its arguments are over 131,071 bytes an argument"
        has "$(results | sed -n 3p)" "words was not run: its arguments are over"
    done
}

@test "a provider that leaves out names and ids of calls, and counts no tokens, ends no run" {
    mkdir -p providers && export AGENT_PROVIDER_PATH=$PWD/providers
    cat >providers/poor <<'END'
#!/bin/sh
[ "$1" = --agent-schema ] && echo '{"name":"poor","description":"A test","kind":"provider","models":["poor-1"]}' && exit
while read -r line; do
    id=${line#*\"id\":\"} id=${id%%\"*}
    case $line in
    *'"role":"tool"'*) message='"content":"done"' ;;
    *) message='"content":"","tool_calls":[{"id":"","name":"","arguments":{}},{"id":"","name":null,"arguments":{}}]' ;;
    esac
    printf '{"type":"response","id":"%s","message":{"role":"assistant",%s},"stop_reason":"end_turn"}\n' "$id" "$message"
done
END
    chmod +x providers/poor
    tool t 'echo 7'
    react --provider poor --json --transcript log hi
    equal '["done",true]' "$(jq -c '[.output, .usage.estimated]' <<<"$output")"
    react --provider poor --transcript log again
    equal "done" "$output"
    run --separate-stderr agent-llm --provider poor --json --max-total-tokens 5 "$(seq 100)" </dev/null
    equal true "$(jq -c .usage.estimated <<<"$output")"
}
