#!/usr/bin/env bats
# agent-eval - cases, checks, tables and comparisons

# shellcheck disable=SC2016,SC2028,SC2154  # texts of other programs; set by run --separate-stderr

load helper

# case ID INPUT CHECKS [FIELDS]: adds a case to cases.jsonl.
case_() {
    jq -cn --arg id "$1" --arg input "$2" --argjson checks "$3" --argjson more "${4:-{\}}" \
        '{id:$id,input:$input,checks:$checks} + $more' >>cases.jsonl
}

# results FILTER: of the `result` records in $output, in the order of their ids.
results() { jq -cs "sort_by([.id, .repeat])[] | $1" <<<"$output"; }

evaluate() { run --separate-stderr timeout 60 agent-eval cases.jsonl "$@"; }

@test "each kind of check passes and fails, and says what was expected and what came" {
    model 'import json
def reply(body):
    return json.dumps({"passed": "fine" in body["messages"][-1]["content"].split("The output:")[1], "why": "it is not"})'
    local text
    for text in fine '{"n":1}'; do
        case_ "regex $text" "$text" '[{"regex":"(?i)^FINE$"}]'
        case_ "not $text" "$text" '[{"not_regex":"f.n"}]'
        case_ "schema $text" "$text" '[{"schema":{"type":"object","required":["n"]}}]'
        case_ "command $text" "$text" '[{"command":"echo so; grep -q n."}]'
        case_ "judge $text" "$text" '[{"judge":"Is it fine?"}]'
    done
    evaluate --json -- cat
    equal 1 "$status"
    equal '["command fine",true,null,null]
["command {\"n\":1}",true,null,null]
["judge fine",true,null,null]
["judge {\"n\":1}",false,{"judge":"Is it fine?"},"it is not"]
["not fine",false,{"not_regex":"f.n"},"fin"]
["not {\"n\":1}",true,null,null]
["regex fine",true,null,null]
["regex {\"n\":1}",false,{"regex":"(?i)^FINE$"},"{\"n\":1}"]
["schema {\"n\":1}",true,null,null]' "$(results '[.id,.passed,.failed.expected,.failed.got]' | grep -v 'schema fine')"
    has "$(results 'select(.id == "schema fine").failed.got')" 'not JSON'
    has "$stderr" 'agent-eval: not fine: expected {"not_regex":"f.n"}, got: fin'
}

@test "the first check that fails is named; those behind it are not made" {
    case_ a x '[{"regex":"x"},{"command":"echo wrong; false"},{"command":"touch '"$PWD"'/made"}]'
    evaluate --json -- cat
    equal '[{"command":"echo wrong; false"},"wrong"]' "$(results '[.failed.expected, .failed.got]')"
    [[ ! -e made ]]
}

@test "the agent runs in a new folder with the files of the case, and none is left" {
    case_ a 'cat sub/b.txt; ls' '[{"regex":"^two\nsub$"},{"command":"test -s made && ! test -e '"$PWD"'/made"}]' '{"files":{"sub/b.txt":"two\n"}}'
    case_ b 'ls; echo x' '[{"regex":"^x$"}]'
    evaluate --jobs 1 -- sh -c 'sh; echo 1 >made; chmod 0 .'
    equal 0 "$status"
    equal "" "$stderr$(ls "$TMPDIR")"
}

@test "the input is standard input, or the argument {}; records are JSON lines" {
    case_ text $'-n "two words"\nand more' '[{"regex":"(?s)\\A-n \"two words\"\nand more\\Z"}]'
    echo '{"id":"chat","input":[{"role":"user","content":"hi"},{"type":"message","role":"user","content":"ho"}],"checks":[{"command":"test $(grep -c \"type\\\":\\\"message\\\".*user\") = 2"}]}' >>cases.jsonl
    echo '{"id":"task","input":{"type":"task","input":"say"},"checks":[{"regex":"^.\"type\":\"task\",\"input\":\"say\"}$"}]}' >>cases.jsonl
    evaluate -- cat
    equal 0 "$status"
    evaluate -- sh -c 'test -z "$(cat)" && printf "%s\n" "$1"' sh {}
    equal 0 "$status"
}

@test "a task record is run by agent-react, and its result is what is checked and counted" {
    model 'def reply(body):
    return body["messages"][-1]["content"].upper()' 
    echo '{"id":"t","input":{"type":"task","id":"7","input":"hello"},"checks":[{"regex":"^HELLO$"}]}' >cases.jsonl
    evaluate --json -- agent-react
    equal '["t",true,"HELLO",true]' "$(results '[.id,.passed,.output,.usage.input_tokens > 0]')"
    echo '{"id":"t","input":{"type":"task","id":"7","input":""},"checks":[{"regex":"."}]}' >cases.jsonl
    evaluate --json -- agent-react
    equal '["t",false,"invalid_input"]' "$(results '[.id,.passed,.error.kind]')"
}

@test "an agent that crashes, hangs, floods or prints junk fails its case and no other" {
    case_ crash 'kill -9 $$' '[{"regex":"."}]'
    case_ flood 'yes' '[{"regex":"."}]'
    case_ good 'echo a; sleep 99 & true' '[{"regex":"^a$"}]'
    case_ hang 'echo some; sleep 99' '[{"regex":"."}]'
    case_ junk 'printf "\377\376\0x"' '[{"schema":true}]'
    case_ status 'echo because >&2; exit 3' '[{"regex":"."}]'
    evaluate --json --timeout 6 -- sh # the others have so long on a busy machine
    equal 1 "$status"
    equal '["crash",false,"tool_error","ended by SIGKILL: killed, perhaps for want of memory"]
["flood",false,"limit_exceeded","ended for an output of more than 4 MiB"]
["good",true,null,null]
["hang",false,"timeout","timed out after 6 s"]
["junk",false,null,null]
["status",false,"tool_error","ended with status 3: because"]' "$(results '[.id,.passed,.error.kind,.error.message]')"
    equal '"some"' "$(results 'select(.id == "hang").output')"
}

@test "a check without end fails its case: a pattern, a command, a judge" {
    model 'def reply(body):
    return {"text": "{}", "delay": 30}'
    case_ command x '[{"command":"sleep 99"}]'
    case_ judge x '[{"judge":"Is it?"}]'
    case_ not aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab '[{"not_regex":"^(a+)+$"}]'
    case_ regex aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab '[{"regex":"^(a+)+$"}]'
    evaluate --json --timeout 4 -- cat
    equal '["command",false,"no end within 4 s"]
["judge",false,"agent-llm: no answer within 4 s"]
["not",false,"no end within 4 s"]
["regex",false,"no end within 4 s"]' "$(results '[.id,.passed,.failed.got // .error.message]')"
}

@test "every line that is no case is named with its number, and nothing is run" {
    cat >cases.jsonl <<'END'
{"id":"a","input":"touch ran","checks":[{"regex":""}]}
{"id":"a","input":"x","checks":[{"regex":"a"}]}
not JSON
{"input":"x","checks":[]}
{"input":"x"}
{"input":"x","checks":[{"regex":"("}]}
{"input":"x","checks":[{"regex":"a","judge":"b"}]}
{"input":"x","checks":[{"schema":{"type":"thing"}}]}
{"input":"x","checks":[{"regex":"a"}],"files":{"../a":"x"}}
{"input":"x","checks":[{"regex":"a"}],"files":{"/a":"x"}}
{"input":"x","checks":[{"regex":"a"}],"files":{"a":"x","a/b":"x"}}
END
    evaluate -- sh
    equal 2 "$status"
    equal '2 3 4 5 6 7 8 9 10 11' "$(sed -n 's/agent-eval: cases.jsonl: line \([0-9]*\): ..*/\1/p' <<<"$stderr" | paste -sd' ')"
    has "$stderr" 'cases.jsonl: lines that are no cases: 10; nothing was run'
    [[ ! -e ran ]]
    : >cases.jsonl
    evaluate -- sh
    equal '2 agent-eval: cases.jsonl: it has no cases; nothing was run' "$status $stderr"
    run -2 agent-eval nowhere.jsonl -- sh
    has "$output" 'nowhere.jsonl: No such file'
    run -2 agent-eval cases.jsonl
    run -2 agent-eval cases.jsonl --min 80 -- sh
    run -127 agent-eval cases.jsonl -- no-such-program
}

@test "a table by kind with the rate, its interval and the cost; --min decides the status" {
    for n in 1 2 3 4 5 6 7 8; do case_ "$n" "$n" '[{"regex":"[1-7]"}]' '{"kind":"digits"}'; done
    case_ x x '[{"regex":"x"}]' '{"kind":"letters"}'
    evaluate -- cat
    equal 1 "$status"
    # Wilson's interval of 7 of 8 is 52.9 % to 97.8 %, of 1 of 1 20.7 % to 100 %, of 8 of 9 56.5 % to 98.0 %
    equal 'kind     passed  rate  95% interval  cost  p50
digits   7/8     88%   53% to 98%    -     0.0 s
letters  1/1     100%  21% to 100%   -     0.0 s
all      8/9     89%   57% to 98%    -     0.0 s' "${output// 0.[1-9] s/ 0.0 s}"
    evaluate --quiet --min 0.88 -- cat
    equal '0 ' "$status $output$stderr"
    evaluate --quiet --min 0.9 -- cat
    equal 1 "$status"
}

@test "usage and cost are those of all models that the agent calls, whatever it prints" {
    mkdir -p "$HOME/.config/agentutils"
    printf '[prices."test-model"]\ninput = 1000000\noutput = 0\n' >"$HOME/.config/agentutils/config.toml"
    model 'def reply(body):
    return {"text": "yes", "usage": {"prompt_tokens": 2, "completion_tokens": 3}}'
    case_ a q '[{"regex":"yes"}]'
    evaluate --json -- sh -c 'agent-llm --budget 9 one </dev/null; agent-react --budget 9 two </dev/null'
    equal '[{"input_tokens":4,"output_tokens":6},4]' "$(results '[.usage,.cost_usd]')"
    evaluate -- agent-llm {}
    has "$output" '  $2.000000  '
    AGENT_BUDGET=$(agent-llm budget 3) evaluate --json -- sh -c 'for word in one two three; do agent-llm $word </dev/null; done'
    equal '[true,4]' "$(results '[(.error.message | test("budget of 3 USD")), .cost_usd]')"
}

@test "--repeat runs a case several times, --compare says what became better and worse" {
    case_ same x '[{"regex":"x"}]'
    case_ up a '[{"regex":"A"}]'
    case_ down b '[{"regex":"b"}]'
    case_ often c '[{"regex":"[cC]"}]'
    evaluate --json --repeat 2 -- cat
    equal 'down 1,down 2,often 1,often 2,same 1,same 2,up 1,up 2' "$(results '"\(.id) \(.repeat)"' | tr -d '"' | paste -sd,)"
    has "$stderr" 'agent-eval: up (2): expected'
    printf '%s\n' "$output" >before
    printf '{"type":"result","id":"gone","passed":true}\n{"type":"resu' >>before
    case_ fresh X '[{"regex":"X"}]'
    evaluate --quiet --compare before -- tr a-z A-Z
    equal '' "$output"
    evaluate --compare before -- tr a-z A-Z
    equal 'since before, 4 cases in both: 75%, now 50%
better: up
worse: down, same
new: fresh
not run: gone' "$(sed -n '/^since/,$p' <<<"$output")"
    run -2 agent-eval cases.jsonl --compare cases.jsonl -- cat
    has "$output" 'not the output of agent-eval --json'
}

@test "a run is recorded on a tape, with its judge, and replayed without a model" {
    model 'import json
count = 0
def reply(body):
    global count
    if "You judge" in body["messages"][0]["content"]:
        return json.dumps({"passed": True, "why": ""})
    count += 1
    return "take %d" % count'
    case_ a question '[{"judge":"Is it a take?"}]'
    evaluate --json --jobs 1 --repeat 3 --record tape -- agent-llm {}
    equal 0 "$status"
    equal '"take 1" "take 2" "take 3"' "$(results .output | paste -sd' ')"
    end_model
    evaluate --json --repeat 3 --replay tape -- agent-llm {}
    equal 0 "$status"
    equal '"take 1" "take 2" "take 3"' "$(results .output | paste -sd' ')"
    AGENT_REPLAY=tape evaluate --json -- agent-llm {}
    equal '"take 1"' "$(results .output)"
    run -2 agent-eval cases.jsonl --record x --replay tape -- agent-llm {}
}

@test "Ctrl-C ends what runs and prints the table of what was done" {
    case_ a 'echo 1' '[{"regex":"1"}]'
    case_ b 'touch '"$PWD"'/begun; sleep 99' '[{"regex":"1"}]'
    run -130 python3 - <<'PY'
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
argv = ["agent-eval", "cases.jsonl", "--jobs", "1", "--", "sh"]
child = subprocess.Popen(argv, stdout=open("out", "w"), stderr=open("err", "w"), start_new_session=True)
while not os.path.exists("begun"):
    time.sleep(0.02)
child.send_signal(signal.SIGINT)
sys.exit(child.wait(60))
PY
    has "$(<out)" 'all   1/1'
    has "$(<err)" 'interrupted: 1 of 2 runs are done, 0 failed'
    equal "" "$(ls "$TMPDIR")"
}

@test "so many at once as --jobs says" {
    for n in 1 2 3 4; do case_ "$n" "$n" '[{"regex":"seen"}]'; done
    evaluate --jobs 4 --timeout 50 -- sh -c 'touch "'"$PWD"'/at.$1"; until [ $(ls '"$PWD"' | grep -c at.) = 4 ]; do sleep 0.05; done; echo seen' sh {}
    equal 0 "$status"
}

@test "a file named as an argument of the agent is pointed at: the agent runs elsewhere" {
    echo 'echo yes' >agent.sh
    case_ a x '[{"regex":"yes"}]'
    evaluate -- sh agent.sh
    equal 1 "$status"
    has "$stderr" "agent-eval: AGENT runs in another folder: write $PWD/agent.sh, not agent.sh"
    chmod +x agent.sh && sed -i '1i#!/bin/sh' agent.sh
    evaluate -- ./agent.sh
    equal '0 ' "$status $stderr"
}

@test "what a model wrote reaches a terminal only made visible" {
    case_ a x '[{"regex":"good"}]'
    run "$TESTS/terminal.py" never "" agent-eval cases.jsonl -- printf '\033[2Jbad\n'
    lacks "$output" $'\033[2J'
    has "$output" '\u001b[2Jbad'
}

@test "the cases of the local model's bench, and their older form, run by it" {
    cat >old.jsonl <<'END'
{"id":"a-1","kind":"a","run":"echo \"one 2\" | tee out.txt","expect":["(?i)ONE","\\b2\\b"],"reject":["three"],"written":{"out.txt":"o.e"}}
{"id":"a-2","kind":"a","run":"echo one","expect":["two"]}
{"id":"a-3","kind":"a","run":"echo one","reject":["one"]}
{"id":"a-4","kind":"a","run":"touch out.txt","written":{"out.txt":"x"}}
{"id":"b-1","kind":"b","run":"echo '{\"n\":[\"it is 7\"]}'","json":{"n":"7"}}
{"id":"b-2","kind":"b","run":"echo '{\"n\":8}'","json":{"n":"7"}}
{"id":"c-1","kind":"c","files":{"f":"1\n"},"git":true,"then":{"f":"it's 2\n"},"run":"git diff","expect":["-1\n\\+it's 2"]}
{"id":"c-2","kind":"c","input":"exit 3","checks":[{"regex":""}]}
END
    run -1 --separate-stderr python3 "$TESTS/bench/agents_eval.py" --bin "$ROOT/bin" old.jsonl -- --json
    equal '"a-1" "b-1" "c-1"' "$(results 'select(.passed).id' | paste -sd' ')"
    equal '"a-2" "a-3" "a-4" "b-2" "c-2"' "$(results 'select(.passed | not).id' | paste -sd' ')"
    run -0 python3 "$TESTS/bench/agents_eval.py" --bin "$ROOT/bin" -k a-1 old.jsonl
    has "$output" '1/1'
    run -2 agent-eval "$TESTS/bench/agents.jsonl" --replay nowhere
    equal 47 "$(jq -s length "$TESTS/bench/agents.jsonl")"
    run -1 --separate-stderr agent-eval "$TESTS/bench/agents.jsonl" --json --quiet -- false
    equal 47 "$(results .id | wc -l)"
}

@test "of a model whose price is not known the cost is -, not what its provider may take" {
    model fine
    echo '{"input":"hi","checks":[{"regex":"fine"}]}' >cases.jsonl
    run -0 agent-eval cases.jsonl -- agent-llm {}
    has "${lines[1]}" "  -  "
    run -0 agent-eval cases.jsonl -- agent-llm --model gpt-5-mini {}
    has "${lines[1]}" '  $0.00'
}
