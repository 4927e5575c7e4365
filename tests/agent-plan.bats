#!/usr/bin/env bats
# agent-plan, agent-execute - plans are sound, steps run in order, together, once

# shellcheck disable=SC2016,SC2154  # texts of other programs; set by run --separate-stderr

load helper

# planner: a model that plans a, b, and c which needs both; anything else is answered in capitals
planner='
import json
def reply(body):
    system, text = body["messages"][0]["content"], body["messages"][-1]["content"]
    if "You plan" in system:
        step = lambda id, needs=(): {"id": id, "task": f"do {id}", "needs": list(needs)}
        return json.dumps({"steps": [step("a"), step("b"), step("c", ["a", "b"])]})
    return text.splitlines()[0].upper()'

plan() { # plan ID[:NEED,NEED]...: step records
    for word; do
        jq -cn --arg id "${word%%:*}" --arg needs "$(cut -sd: -f2 <<<"$word")" \
            '{type:"step", id:$id, task:"do \($id)", needs:($needs | split(","))}'
    done
}

@test "a request becomes a plan record and step records, after the stream" {
    model "$planner"
    run -0 agent-plan "make it so" <<<'{"type":"other"}'
    equal '{"type":"other"}' "${lines[0]}"
    equal '{"type":"plan","request":"make it so"}' "${lines[1]}"
    equal 'a b c' "$(jq -r 'select(.type=="step").id' <<<"$output" | xargs)"
    equal '["a","b"]' "$(jq -c 'select(.id=="c").needs' <<<"$output")"
}

@test "steps without ids have those of their positions, and need only earlier ones" {
    model 'import json
def reply(body):
    return json.dumps({"steps": [{"task": "count", "needs": ["2", "1"]}, {"task": "add", "needs": ["1"], "agent": "architect"}]})'
    {
        echo '{"type":"tool","name":"architect","description":"designs","kind":"agent","command":["/bin/true"]}'
    } | agent-plan --max-steps 3 "x" >plan.jsonl
    equal '1:[] 2:["1"]' "$(jq -r 'select(.type=="step") | "\(.id):\(.needs)"' plan.jsonl | xargs -d '\n' echo)"
    fields=$(requests | jq -c .response_format.json_schema.schema.properties.steps.items.properties)
    equal '["1","2","3"]' "$(jq -c .needs.items.enum <<<"$fields")"
    equal '["architect",""]' "$(jq -c .agent.enum <<<"$fields")"
}

@test "steps that are done can be needed by new ones, whose ids follow" {
    model 'import json
def reply(body):
    return json.dumps({"steps": [{"task": "write", "needs": ["1"]}]})'
    run -0 agent-plan "go on" <<<'{"type":"step","id":"1","task":"read","needs":[],"status":"done"}'
    equal '{"type":"step","task":"write","needs":["1"],"status":"open","id":"2"}' "$(jq -c '{type,task,needs,status,id}' <<<"${lines[2]}")"
    model 'import json
def reply(body):
    return json.dumps({"steps": [{"id": "1", "task": "write", "needs": []}]})'
    run -111 --separate-stderr agent-plan "go on" <<<'{"type":"step","id":"1","task":"read","needs":[],"status":"done"}'
    has "$stderr" 'the id 1 is taken by a step that is done'
}

@test "the plan is asked for with a schema, and knows tools and agents of the stream" {
    model "$planner"
    {
        echo '{"type":"tool","name":"wordcount","description":"count words","command":["/bin/true"]}'
        echo '{"type":"tool","name":"architect","description":"designs","kind":"agent","command":["/bin/true"]}'
    } | agent-plan "x" >/dev/null
    equal object "$(requests | jq -r .response_format.json_schema.schema.type)"
    has "$(requests | jq -r '.messages[0].content')" '- wordcount: count words'
    has "$(requests | jq -r '.messages[0].content')" '- architect: designs'
}

@test "a step goes to the one agent that its words name, where the one chosen has none of them" {
    model 'import json
def reply(body):
    return json.dumps({"steps": [{"task": "Review dl.py", "needs": [], "agent": "shouter"}, {"task": "shout it out", "needs": [], "agent": "shouter"},
        {"task": "do whatever", "needs": [], "agent": "shouter"}, {"task": "review and scan", "needs": [], "agent": "shouter"}]})'
    {
        echo '{"type":"tool","name":"shouter","description":"Write in capitals","kind":"agent","command":["/bin/true"]}'
        echo '{"type":"tool","name":"critic","description":"Judges","kind":"agent","tags":["review"],"command":["/bin/true"]}'
        echo '{"type":"tool","name":"scanner","description":"Looks","kind":"agent","tags":["scan"],"command":["/bin/true"]}'
    } >agents.jsonl
    equal "critic shouter shouter shouter" "$(agent-plan all <agents.jsonl | jq -rs '[.[] | select(.type == "step").agent] | join(" ")')"
}

@test "a text or a file of the request that all steps have lost is put into the step that it is for" {
    model 'import json
def reply(body):
    return json.dumps({"steps": [{"task": task, "needs": []} for task in ("Count the words in a.txt", "Write the word in capitals", "Measure it")]})'
    agent-plan "Count the words in a.txt and write the word milk in capitals, then measure: four small cats" </dev/null >plan.jsonl
    equal "Count the words in a.txt|Write the word in capitals (write the word milk in capitals)|Measure it (measure: four small cats)" \
        "$(jq -rs '[.[] | select(.type == "step").task] | join("|")' plan.jsonl)"
    agent-plan "Look at a.txt, then write" </dev/null >plan.jsonl
    equal "Count the words in a.txt" "$(jq -rs '[.[] | select(.type == "step")][0].task' plan.jsonl)"
}

@test "a plan with a circle is sent back once, then refused" {
    model 'import json
def reply(body):
    again = "refused" in body["messages"][-1]["content"]
    needs = ["b"] if not again else []
    return json.dumps({"steps": [{"id": "a", "task": "t", "needs": needs}, {"id": "b", "task": "t", "needs": ["a"]}]})'
    run -0 --separate-stderr agent-plan x </dev/null
    has "$stderr" 'these steps wait for each other: a, b'
    equal 2 "$(requests | wc -l)"
    model '{"steps":[{"id":"a","task":"t","needs":["z"]}]}'
    run -111 agent-plan x </dev/null
    has "$output" "step a needs 'z', which is no step"
    equal 2 "$(requests | wc -l)"
}

@test "a plan that is malformed is refused before any step runs" {
    for steps in 'a:b b:a' 'a:z' 'a/b'; do
        # shellcheck disable=SC2086  # one step a word
        run -2 agent-execute -- touch ran < <(plan $steps)
        [ ! -e ran ]
    done
}

@test "steps run in the order of their needs, those that can at the same time" {
    # each step waits until a and b have both begun: it could not end if they ran one after the other
    cat >step <<'S'
#!/bin/bash
echo "begin $1" >>log
case $1 in
*a | *b) until grep -q 'begin do a' log && grep -q 'begin do b' log; do sleep 0.01; done ;;
esac
cat; echo "end $1" >>log
echo "out of $1"
S
    chmod +x step
    run -0 timeout 60 agent-execute --quiet -- ./step < <(plan a b c:a,b)
    equal 'begin do c' "$(tail -2 log | head -1)"
    has "$(jq -r 'select(.id=="c").output' <<<"$output")" 'Output of the step a (do a):'
    has "$(jq -r 'select(.id=="c").output' <<<"$output")" 'out of do b'
    equal 'done done done' "$(jq -r .status <<<"$output" | xargs)"
}

@test "never more steps at once than --jobs" {
    cat >step <<'S'
#!/bin/bash
mkdir one || exit 1
sleep 0.05; rmdir one
S
    chmod +x step
    run -0 agent-execute --quiet --jobs 1 --retry 0 -- ./step < <(plan a b c d)
}

@test "a failed step is tried again; after all tries the steps that need it are skipped and the others run; exit 1" {
    cat >step <<'S'
#!/bin/bash
echo "$1" >>log
[[ $1 != *a ]]
S
    chmod +x step
    run -1 agent-execute --quiet -- ./step < <(plan a b c:a d:c e:b)
    equal 'a=failed b=done c=skipped d=skipped e=done' \
        "$(jq -r 'select(.type=="step") | "\(.id)=\(.status)"' <<<"$output" | sort | xargs)"
    equal 2 "$(grep -c 'do a' log)"
    has "$(jq -r 'select(.id=="a").error.message' <<<"$output")" 'status 1'
}

@test "a run that is killed goes on where it was: no step runs twice" {
    cat >step <<'S'
#!/bin/bash
echo "$1" >>log
[[ $1 != *c || -e go ]] || exec sleep 60
S
    chmod +x step
    plan a b:a c:b d:c >plan.jsonl
    agent-execute --quiet --state state.jsonl -- ./step <plan.jsonl >/dev/null 2>&1 &
    pid=$!
    until grep -q 'do c' log 2>/dev/null; do sleep 0.02; done
    kill -9 "$pid"
    wait "$pid" || true
    touch go
    truncate -s -3 state.jsonl # as if it was cut in the middle of a line: that step runs again, no other
    run -0 agent-execute --quiet --state state.jsonl -- ./step <plan.jsonl
    equal '1 2 2 1' "$(for s in a b c d; do grep -c "do $s" log; done | xargs)"
}

@test "of two runs with one --state the second waits, says so, and runs no step again" {
    printf '#!/bin/bash\necho "$1" >>log\nuntil [[ -e go ]]; do sleep 0.02; done\necho out\n' >step
    chmod +x step
    plan a b:a c >plan.jsonl
    agent-execute --quiet --state state -- ./step <plan.jsonl >first &
    first=$!
    until [[ -s log ]]; do sleep 0.02; done
    agent-execute --quiet --state state -- ./step <plan.jsonl >second 2>said &
    second=$!
    until [[ -s said ]]; do sleep 0.02; done
    touch go
    wait "$first"
    wait "$second"
    equal 'agent-execute: state: waiting for another run that has it' "$(cat said)"
    equal 3 "$(wc -l <log)"
    equal 3 "$(wc -l <state)"
    run -2 agent-execute --quiet --state no/such -- ./step <plan.jsonl
    equal 'agent-execute: --state no/such: No such file or directory' "$output"
}

@test "killed after any number of steps, the run ends the same" {
    printf '#!/bin/bash\necho "$1" >>log\necho "out $1"\n' >step
    chmod +x step
    plan a b:a c:b >plan.jsonl
    agent-execute --quiet --state whole -- ./step <plan.jsonl | jq -c '[.id,.output]' | sort >want
    for n in 0 1 2 3; do
        head -n "$n" whole >"part$n"
        : >log
        run -0 agent-execute --quiet --state "part$n" -- ./step <plan.jsonl
        equal "$((3 - n))" "$(wc -l <log)"
        jq -c '[.id,.output]' "part$n" | sort | cmp - want
    done
}

@test "planner and executor may be different models; the outputs are synthesized" {
    model "$planner"
    agent-plan --model big "make it so" </dev/null >plan.jsonl
    run -0 --separate-stderr agent-execute --model small --planner big --synthesize <plan.jsonl
    equal 'MAKE IT SO' "$output"
    equal 'big small small small big' "$(requests | jq -r .model | xargs)"
    has "$stderr" '> Synthesis complete: MAKE IT SO'
    has "$(requests | tail -1 | jq -r '.messages[-1].content')" 'DO C'
}

@test "the steps and their outputs go on to agent-llm" {
    model "$planner"
    run -0 agent-execute --quiet -- echo < <(plan a)
    agent-llm "Sum up." <<<"$output"
    has "$(requests | jq -r '.messages[-1].content')" 'do a'
}

@test "a plan edited by hand runs as it was edited" {
    model "$planner"
    agent-plan "x" </dev/null | jq -c 'select(.type!="step" or .id!="b") | if .id=="c" then .needs=["a"] else . end' >edited
    run -0 agent-execute --quiet -- echo <edited
    equal 'a c' "$(jq -r 'select(.type=="step").id' <<<"$output" | xargs)"
}

@test "a step that names an agent is run by it" {
    printf '#!/bin/bash\necho "designed: $(cat)"\n' >designer
    chmod +x designer
    {
        echo "{\"type\":\"tool\",\"name\":\"designer\",\"description\":\"d\",\"kind\":\"agent\",\"command\":[\"$PWD/designer\"]}"
        echo '{"type":"step","id":"a","task":"the doors","needs":[],"agent":"designer"}'
    } >plan.jsonl
    run -0 --separate-stderr agent-execute --allow designer <plan.jsonl
    equal 'designed: the doors' "$(jq -r .output <<<"$output")"
    has "$stderr" '> Calling designer for the doors'
}

@test "--rewoo: two model calls in all, results put in for their names" {
    model 'import json
def reply(body):
    if "You plan" in body["messages"][0]["content"]:
        call = lambda id, tool, text: {"id": id, "task": "t", "tool": tool, "arguments": json.dumps({"text": text}), "needs": []}
        return json.dumps({"steps": [call("E1", "reverse", "abc"), call("E2", "uppercase", "#E1")]})
    return "it is CBA" if "CBA" in body["messages"][-1]["content"] else "lost"'
    agent-discover reverse uppercase | agent-plan --rewoo "turn abc round, in capitals" >plan.jsonl
    equal '["E1"]' "$(jq -c 'select(.id=="E2").needs' plan.jsonl)"
    run -0 --separate-stderr agent-execute --synthesize <plan.jsonl
    equal 'it is CBA' "$output"
    equal 2 "$(requests | wc -l)"
}

@test "--rewoo: a tool that needs consent is not run without it, and what needs it neither" {
    {
        agent-discover write_file
        echo '{"type":"step","id":"E1","task":"t","tool":"write_file","arguments":{"path":"x","content":"y"},"needs":[]}'
        echo '{"type":"step","id":"E2","task":"t","tool":"write_file","arguments":{"path":"z","content":"#E1"},"needs":["E1"]}'
    } >plan.jsonl
    run -1 agent-execute --quiet <plan.jsonl
    equal tool_denied "$(jq -r 'select(.id=="E1").error.kind' <<<"$output")"
    equal skipped "$(jq -r 'select(.id=="E2").status' <<<"$output")"
    [ ! -e x ]
}

@test "--replan: what is left is planned again, once" {
    model 'import json
def reply(body):
    assert "failed" in body["messages"][-1]["content"]
    return json.dumps({"steps": [{"id": "other", "task": "another way", "needs": ["a"]}]})'
    printf '#!/bin/bash\n[[ $1 != *b ]]\n' >step
    chmod +x step
    run -0 agent-execute --quiet --replan -- ./step < <(plan a b:a c:b)
    equal 'a=done b=failed other=done' "$(jq -r 'select(.type=="step") | "\(.id)=\(.status)"' <<<"$output" | xargs)"
    equal 1 "$(requests | wc -l)"
}

@test "a long plan, long outputs, empty ones, any letters" {
    jq -cn 'range(200) | {type:"step", id:"s\(.)", task:"täsk 😀 \(.)", needs:(if . > 0 then ["s\(. - 1)"] else [] end)}' >plan
    run -0 agent-execute --quiet -- echo ä <plan
    equal 200 "${#lines[@]}"
    equal 'ä täsk 😀 199' "$(jq -r .output <<<"${lines[199]}")"
    printf '#!/bin/bash\nhead -c "$(wc -c <<<"$1")"000000 /dev/zero | tr "\\0" x\n' >big # so many MB as the task has letters, and one
    chmod +x big
    jq -cn '{type:"step", id:("a", "b"), task:"12"}, {type:"step", id:"c", task:"123456", needs:["a"]}' >plan
    agent-execute --quiet -- ./big <plan >out || true
    equal '["a","done",3000000] ["b","done",3000000] ["c","failed","ended for an output of more than 4 MiB"]' \
        "$(jq -c '[.id, .status, .error.message // (.output | length)]' out | sort | xargs -d'\n')"
    run -0 agent-execute --quiet -- true < <(plan a b:a)
    equal '["done",""]' "$(jq -c '[.status, .output]' <<<"${lines[1]}")"
}

@test "a reader that leaves ends the run, silently" {
    run --separate-stderr timeout 60 bash -c 'agent-execute --quiet -- echo | head -n 0; exit "${PIPESTATUS[0]}"' < <(plan a b:a)
    equal 141 "$status"
    equal '' "$stderr"
}

@test "a step whose model or program is not there, or cannot be run, is not tried again" {
    for words in "--provider nosuch" "--provider $PWD/plan" "-- sh -c 'exit 127'"; do
        : >plan
        run -1 --separate-stderr bash -c "agent-execute --quiet --retry 3 $words" < <(plan a)
        equal 'failed 1' "$(jq -r '"\(.status) \(.attempts)"' <<<"$output")"
    done
}

@test "a step that a budget refused is not tried again" {
    model 'def reply(body): return "x"'
    AGENT_BUDGET=$(agent-llm budget 0.000000001)
    export AGENT_BUDGET
    agent-llm hi </dev/null >/dev/null 2>&1 || true # spends it, or shows that the price is not known
    run -1 --separate-stderr agent-execute --quiet --retry 3 --replan < <(plan a)
    equal 'failed 1 limit_exceeded' "$(jq -r '"\(.status) \(.attempts) \(.error.kind)"' <<<"$output")"
    equal 1 "$(requests | wc -l)"
}
