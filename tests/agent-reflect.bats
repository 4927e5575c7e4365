#!/usr/bin/env bats
# agent-reflect, agent-vote - tries with lessons between them, and the answer of most

# shellcheck disable=SC2016,SC2154  # texts of other programs; set by run --separate-stderr

load helper

teacher='
def reply(body):
    return "Lesson: read " + str(body["messages"][-1]["content"].count("status"))'

@test "the first try that passes is the last, and no model is asked" {
    model "$teacher"
    run -0 agent-reflect --quiet --check true -- echo fine </dev/null
    equal fine "$output"
    equal 0 "$(requests | wc -l)"
}

@test "a lesson comes before the next try, as a memory record after the stream" {
    model "$teacher"
    printf '#!/bin/bash\ntee -a seen | grep -c lesson\n' >try
    chmod +x try
    run -0 --separate-stderr agent-reflect --check 'grep -q 2' -- ./try <<<'{"type":"input","text":"x"}'
    equal 2 "$output"
    equal '{"type":"input","text":"x"}' "$(head -1 seen)"
    equal 'lesson 1,lesson 1,lesson 2' "$(jq -r 'select(.type=="memory").key' seen | paste -sd,)"
    has "$stderr" '> try 3: passed'
}

@test "with - standard input is text, and the lessons come before it" {
    model "$teacher"
    printf '#!/bin/bash\ntee -a seen | grep -c Lesson\n' >try
    chmod +x try
    run -0 agent-reflect --quiet --check 'grep -q 1' - -- ./try <<<'the text'
    equal 'the text|Lesson of an earlier try: Lesson: read 1||the text' "$(paste -sd'|' seen)"
}

@test "the model gets what the check prints" {
    model "$teacher"
    run -1 agent-reflect --quiet --tries 2 --check 'echo it is too short; false' -- echo x </dev/null
    has "$(requests | jq -r '.messages[-1].content')" 'it is too short'
    has "$(requests | jq -r '.messages[-1].content')" 'echo x'
}

@test "no try passes: exit 1, the last output, every try kept in the record" {
    model "$teacher"
    run -1 agent-reflect --quiet --tries 3 --json --check false -- echo out </dev/null
    equal '3 true' "$(jq -r '"\(.tries | length) \(.incomplete)"' <<<"$output")"
    equal '[true,true,false]' "$(jq -c '[.tries[] | has("reflection")]' <<<"$output")"
}

@test "--schema and --critic judge too; a command that fails has not passed" {
    model 'import json
def reply(body):
    if "You judge" in body["messages"][0]["content"]:
        return json.dumps({"passed": "good" in body["messages"][-1]["content"], "why": "not good"})
    return "do better"'
    echo '{"type":"object","required":["n"]}' >schema.json
    run -0 agent-reflect --quiet --schema schema.json -- echo '{"n":1}' </dev/null
    run -1 agent-reflect --quiet --tries 1 --schema schema.json -- echo '{}' </dev/null
    run -0 agent-reflect --quiet --critic "Is it?" -- echo good </dev/null
    run -1 --separate-stderr agent-reflect --tries 1 --critic "Is it?" -- echo bad </dev/null
    has "$stderr" 'not good'
    run -1 agent-reflect --quiet --tries 1 --check true -- false </dev/null
}

@test "lessons are kept in a store and come back in another run" {
    model "$teacher"
    run -1 agent-reflect --quiet --store lessons --tries 2 --check false -- echo task </dev/null
    printf '#!/bin/bash\ncat >seen\n' >echo2 && chmod +x echo2
    equal 1 "$(agent-memory list --store lessons --tag lesson | wc -l)"
    run -0 agent-reflect --quiet --store lessons --check true -- sh -c 'cat >seen; : echo task' </dev/null
    has "$(cat seen)" 'Lesson: read'
}

@test "without judge or command: wrong usage" {
    run -2 agent-reflect -- true
    run -2 agent-reflect --check true
    run -127 agent-reflect --check true -- no-such-program </dev/null
}

@test "the answer of most wins, every run gets the same standard input" {
    printf '#!/bin/bash\nread -r line; n=$(ls run.* 2>/dev/null | wc -l); touch run.$BASHPID\nsleep 0.0$n\n' >vote
    echo '[ "$n" = 1 ] && echo other || echo "$line"' >>vote
    chmod +x vote
    run -0 --separate-stderr agent-vote -n 4 --jobs 1 -- ./vote <<<same
    equal same "$output"
    has "$stderr" '> 3 of 4 votes'
}

@test "a tie is reported, exit 1; a field of JSON counts alone" {
    printf '#!/bin/bash\nmkdir first 2>/dev/null && v=1 || v=2\necho "{\\"v\\":$v,\\"r\\":$RANDOM}"\n' >vote
    chmod +x vote
    run -1 --separate-stderr agent-vote -n 2 --jobs 1 --field v -- ./vote </dev/null
    has "$stderr" 'a tie: 2 answers have 1 each'
    run -0 --separate-stderr agent-vote -n 3 --field v --json -- ./vote </dev/null
    equal 3 "$(jq '.votes[0].votes' <<<"$output")"
}

@test "a model judges which answers mean the same" {
    model '{"groups":[[0,2],[1]]}'
    printf '#!/bin/bash\nmkdir a 2>/dev/null && echo yes && exit; mkdir b 2>/dev/null && echo no && exit; echo aye\n' >vote
    chmod +x vote
    run -0 --separate-stderr agent-vote -n 3 --jobs 1 --judge -- ./vote </dev/null
    equal yes "$output"
}

@test "runs that fail do not vote; when all fail that is the error" {
    printf '#!/bin/bash\nmkdir a 2>/dev/null && exit 3; echo fine\n' >vote
    chmod +x vote
    run -0 --separate-stderr agent-vote -n 3 --jobs 1 -- ./vote </dev/null
    has "$stderr" 'a run failed: ended with status 3'
    run -1 agent-vote -n 2 -- false </dev/null
}

@test "agent-vote --field: answers that lack the field are no votes, and agree on nothing" {
    printf '#!/bin/bash\nhead -n 1 answers; sed -i 1d answers\n' >vote
    chmod +x vote
    printf '%s\n' no '{"w":1}' '{"v":3}' >answers
    run -0 --separate-stderr agent-vote -n 3 --jobs 1 --field v --json -- ./vote </dev/null
    equal '{"v":3} 1' "$(jq -r '"\(.output) \(.votes[0].votes)"' <<<"$output")"
    equal 2 "$(grep -c "no field 'v' in its answer" <<<"$stderr")"
    printf '%s\n' no '{"w":1}' 7 >answers
    run -1 --separate-stderr agent-vote -n 3 --jobs 1 --field v -- ./vote </dev/null
    equal "" "$output"
    has "$stderr" "no field 'v'"
}

@test "what no other try can change ends it at once, with its status" {
    local status_of
    for status_of in 2 100 127; do
        run "-$status_of" --separate-stderr agent-reflect --tries 3 --check true -- sh -c "echo 'x: no request' >&2; echo >>tries; exit $status_of" </dev/null
        equal "> try 1: failed: the command ended with status $status_of: x: no request" "$stderr"
    done
    equal 3 "$(wc -l <tries)"
}
