#!/usr/bin/env bats
# the tutorial and the patterns - every stage and every recipe is run

# shellcheck disable=SC2154  # set by run --separate-stderr

load helper

# stage N: writes the Nth agent of the tutorial to ./helper
stage() {
    awk -v n="$1" '/^```sh$/ { inside = 1; text = ""; next } /^```$/ { if (inside && text ~ /^#!/ && ++count == n) printf "%s", text; inside = 0 }
        inside { text = text $0 "\n" }' "$ROOT/docs/tutorial.md" >helper
    chmod +x helper
}

@test "there are five stages, each one line longer than the last, all under 30 lines" {
    before=0
    for n in 1 2 3 4 5; do
        stage "$n"
        count=$(wc -l <helper)
        [ "$count" -lt 30 ] && { [ "$n" = 1 ] || [ "$count" = $((before + 1)) ]; }
        before=$count
    done
    stage 6
    equal 0 "$(wc -l <helper)"
}

@test "every stage answers, and says what it is" {
    model '
import json
def reply(body):
    if body.get("response_format"):
        return json.dumps({"passed": True, "why": ""})
    return "It is in setup.cfg."'
    for n in 1 2 3 4 5; do
        stage "$n"
        run -0 --separate-stderr ./helper "Where is the version set?" </dev/null
        equal 'It is in setup.cfg.' "$output"
    done
}

@test "an agent leaves the list of a loop to the loop, and reads what is a file of its own or comes down a pipe" {
    model '
def reply(body):
    text = body["messages"][-1]["content"]
    return next((word for word in ("fjord", "four") if word in text), "none") + " " + text.split()[0]'
    printf 'one\ntwo fjord\nthree four\n' >list
    for n in 1 5; do
        stage "$n"
        [ "$n" = 1 ] || model 'import json
def reply(body):
    if body.get("response_format"):
        return json.dumps({"passed": True, "why": ""})
    return "ok"'
        equal 3 "$(while read -r line; do ./helper "$line" 2>>notes; done <list | wc -l)"
        has "$(cat notes)" 'agent-discover: a loop is reading standard input, so it is left alone; cat | has it read'
    done
    stage 1
    model 'def reply(body): return "fjord" if "fjord" in str(body["messages"]) else "none"'
    equal fjord "$(./helper "which?" <list)"
    equal fjord "$(cat list | ./helper "which?")"
    equal fjord "$({ read -r line && cat; } <list | ./helper "which?")"
}

@test "from stage 2 the agent knows its memories, from stage 5 the project" {
    model '{"passed":true,"why":""}'
    agent-memory remember style 'we indent with tabs' --store helper
    echo 'Answer in verse.' >AGENTS.md
    stage 1
    ./helper "tabs?" </dev/null >/dev/null
    lacks "$(requests | tail -1)" 'we indent with tabs'
    stage 2
    echo "tabs?" | ./helper >/dev/null
    has "$(requests | tail -1)" 'we indent with tabs'
    stage 5
    echo "tabs?" | ./helper >/dev/null
    has "$(requests)" 'Answer in verse.'
}

# recipe NAME: defines the function of that name from docs/patterns.md
recipe() {
    awk -v head="$1() {" '$0 == head { on = 1 } on { print } on && /^}$/ { exit }' "$ROOT/docs/patterns.md" >recipe.sh
    # shellcheck disable=SC1091
    source ./recipe.sh
}

@test "each recipe is at most 20 lines" {
    for name in chain route each orchestrate improve many; do
        recipe "$name"
        count=$(wc -l <recipe.sh)
        [ "$count" -ge 3 ] && [ "$count" -le 20 ]
    done
}

@test "chaining: the second question is about the first answer" {
    model '
def reply(body):
    text = str(body["messages"])
    return "a whole text" if "1. point" in text else "1. point"'
    recipe chain
    equal 'a whole text' "$(chain birds)"
}

@test "routing: the kind chooses the model" {
    model '
def reply(body):
    if body.get("response_format"):
        return "{\"kind\": \"hard\"}" if "proof" in str(body["messages"]) else "{\"kind\": \"easy\"}"
    return "by " + body["model"]'
    recipe route
    equal 'by big' "$(route 'a proof?')"
    equal 'by small' "$(route 'a name?')"
}

@test "parallelisation: one request a file, all in flight at once" {
    model '
def reply(body):
    return {"text": body["messages"][-1]["content"].split()[-1].upper(), "together": 3}'
    echo one >a && echo two >b && echo three >c
    recipe each
    equal $'a: ONE\nb: TWO\nc: THREE' "$(each a b c)"
}

@test "orchestrator and workers: planned by one model, done by another, put together" {
    model '
import json
def reply(body):
    if "You plan" in body["messages"][0]["content"]:
        return json.dumps({"steps": [{"id": "a", "task": "t", "needs": []}]})
    return body["model"] + " did it"'
    recipe orchestrate
    equal 'big did it' "$(orchestrate x)"
    equal 'big small big' "$(requests | jq -r .model | xargs)"
}

@test "evaluator and optimizer: judged, then better" {
    model '
import json
def reply(body):
    text = str(body["messages"])
    if body.get("response_format"):
        return json.dumps({"passed": "short" in text, "why": "too long"})
    if "A try at a task" in text:
        return "Be brief."
    return "short" if "Be brief." in text else "a long one"'
    recipe improve
    equal short "$(improve it)"
}

@test "many tasks: one result each, in order" {
    model '
def reply(body):
    return body["messages"][-1]["content"].upper()'
    printf '%s\n' '{"type":"task","id":"1","input":"a"}' '{"type":"task","id":"2","input":"b"}' >tasks
    recipe many
    equal $'1: A\n2: B' "$(many tasks)"
}

@test "where a new agent cannot be written it says so in one line, and leaves nothing" {
    mkdir here
    chmod a-w here
    cd here
    if [[ -w . ]]; then cd /proc; fi # of root
    run ! --separate-stderr agent-new greeter
    equal 1 "${#stderr_lines[@]}"
    has "$stderr" "agent-new: "
    [[ ! -e greeter && ! -e tests ]]
}

@test "agent-new writes an agent whose test passes, and never over something" {
    mkdir bin
    agent-new greeter --description 'Greet whoever asks'
    run -0 "$TESTS/../.venv/bin/bats" tests/greeter.bats
    equal Greet "$(bin/greeter --agent-schema | jq -r .description | cut -c1-5)"
    has "$(cat AGENTS.md)" '- **Binary**: bin/greeter'
    run -2 agent-new greeter
    run -2 agent-new 'Bad Name'
}
