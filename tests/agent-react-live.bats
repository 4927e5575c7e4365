#!/usr/bin/env bats
# agent-react as it works: the answer as it is made, to a pipe and to a terminal; what a person sees while it waits.

# shellcheck disable=SC2016  # what a shell inside expands stands in single quotes
load helper
load react

# words [FIELD...]: a model that says seven words, one each 0.2 s; more fields of its answer in Python.
words() { model "def reply(body):
    return {'text': 'one two three four five six seven', 'pace': 0.2, $*}"; }

# terminal [OPTION...] COMMAND...: what a terminal gets, see watch_terminal.py; in PIECES what was shown, in ENDED the status.
terminal() {
    local all
    all=$(timeout 100 "$TESTS/watch_terminal.py" "$@") || return
    ENDED=${all##*$'\n'}
    LINES_SHOWN=$(sed '$d' <<<"$all")
    PIECES=$(cut -f 2 <<<"$LINES_SHOWN" | jq -sj 'add // ""')
}

# screen [COLUMNS]: what stands on the screen in the end, of what the terminal got; lines are stripped at their end.
screen() {
    python3 - "$PIECES" "${1:-80}" <<'PY'
import re, sys
rows, row, column, columns = [""], 0, 0, int(sys.argv[2])
for piece in re.findall(r"\x1b\[\d*[A-Za-z]|[^\x1b]", sys.argv[1]):
    if piece == "\r":
        column = 0
    elif piece == "\n":
        row += 1
        rows += [""] * (row == len(rows))
    elif piece == "\x1b[J":
        rows[row:] = [rows[row][:column]]
    elif piece == "\x1b[A":
        row -= 1
    elif piece[0] != "\x1b":
        if column == columns:
            row, column = row + 1, 0
            rows += [""] * (row == len(rows))
        rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + 1:]
        column += 1
print("\n".join(line.rstrip() for line in rows).rstrip("\n"))
PY
}

@test "the answer goes down a pipe as it is made, and is exactly the answer" {
    words
    agent-react hi </dev/null >out
    equal "one two three four five six seven" "$(<out)"
    words "'rest': 'go'"
    agent-react hi </dev/null 3>&- | cat >out 3>&- &
    wait_until grep -q one out
    equal "one ." "$(<out)." # the others wait
    touch go
    wait $!
    equal "one two three four five six seven" "$(<out)"
}

@test "--events has the deltas of each message before it; with --json, --quiet and --schema there are none" {
    words
    agent-react --events hi </dev/null >events
    equal 'message delta message result' "$(jq -r .type events | uniq | paste -sd' ')"
    equal "one two three four five six seven" "$(jq -rj 'select(.type == "delta").text' events)"
    equal "one two three four five six seven" "$(jq -r 'select(.role == "assistant").content' events)"
    equal result "$(agent-react --json hi </dev/null | jq -r .type)"
    equal "" "$(agent-react --quiet hi </dev/null 2>&1)"
    model '{"a":1}'
    equal '{"a":1}' "$(agent-react --schema '{"type":"object"}' hi </dev/null)"
    equal 'false' "$(requests | jq -c '.stream // false' | sort -u)"
}

@test "deltas that come down the pipe again are no part of the conversation" {
    words
    agent-react --events hi </dev/null >events
    model ok
    agent-react --events more <events >again
    equal "hi|one two three four five six seven|more" "$(requests | jq -r '[.messages[] | select(.role != "system").content] | join("|")')"
    equal ok "$(jq -rj 'select(.type == "delta").text' again)"
}

@test "what the model says before a call does not go down the pipe" {
    tool t 'echo 7'
    model 'def reply(body):
    if body["messages"][-1]["role"] == "tool": return "seven"
    return {"text": "Let me look.", "tool_calls": [{"name": "t", "arguments": {}}]}'
    react hi
    equal seven "$output"
    react --events hi
    equal 'Let me look.|seven' "$(jq -sr '[.[] | select(.role == "assistant").content] | join("|")' <<<"$output")"
}

@test "a plugin that changes or refuses answers sees them before anybody else does" {
    uses jq
    words
    cat >loud <<'SH'
#!/bin/sh
# loud - a plugin (--agent-schema)
[ "$1" = --agent-schema ] && { echo '{"name":"loud","description":"x","kind":"plugin","hooks":["HOOK"]}'; exit; }
while read -r line; do ANSWER; done
SH
    chmod +x loud
    sed -i 's/HOOK/after_run/; s/ANSWER/echo "$line" | jq -c "{id, record: (.record | .output |= ascii_upcase)}"/' loud
    equal "ONE TWO THREE FOUR FIVE SIX SEVEN" "$(agent-react --plugin ./loud hi </dev/null)"
    sed -i 's/after_run/after_model/; s/done$/done/; s/while.*/while read -r line; do echo "$line" | jq -c "{id, deny: \\"no\\"}"; done/' loud
    run -100 --separate-stderr agent-react --events --plugin ./loud hi </dev/null
    lacks "$output" one
}

@test "a stream that breaks off ends with its line end, one line that says so, and the status of its kind" {
    words "'cut': 4"
    run -111 --separate-stderr agent-react hi </dev/null
    equal "one two three " "$output"
    equal 1 "${#stderr_lines[@]}"
    has "$stderr" "(the answer above is not whole)"
    equal 1 "$(requests | wc -l)"
    run -111 --separate-stderr agent-react --json --retry 1 hi </dev/null # nothing went out: it is tried again
    equal 3 "$(requests | wc -l)"
}

@test "a reader that goes away in the middle of a stream ends it in silence" {
    words
    run --separate-stderr bash -c 'agent-react hi </dev/null | head -c 3 >out; echo "${PIPESTATUS[0]}"'
    equal 141 "$output"
    equal "" "$stderr"
    equal one "$(<out)"
}

@test "a tape that was recorded without streaming is replayed, also into a stream, and the other way round" {
    words
    agent-react --json --record t.jsonl hi </dev/null >/dev/null
    end_model
    equal "one two three four five six seven" "$(agent-react --replay t.jsonl hi </dev/null)"
    words
    agent-react --record u.jsonl hi </dev/null >/dev/null
    end_model
    equal "one two three four five six seven" "$(agent-react --replay u.jsonl --json hi </dev/null | jq -r .output)"
    equal "one two three four five six seven" "$(agent-react --replay u.jsonl hi </dev/null)"
}

@test "a terminal shows within half a second what is waited for, then the answer, then what it cost" {
    model 'def reply(body): return {"text": "the answer", "delay": 4}'
    terminal agent-react hi </dev/null
    equal 0 "$ENDED"
    # 4 s pass until the answer: the line was there for a second of them, at least, on a busy machine too
    awk -F '\t' '/waiting for test-model/ && !seen { seen = $1 } /the answer/ { exit !(seen && $1 - seen > 1) }' <<<"$LINES_SHOWN"
    [[ $PIECES =~ "waiting for test-model, "[1-4]" s" ]]
    equal 'the answer' "$(screen | head -1)"
    equal 2 "$(screen | wc -l)"
    [[ $(screen | tail -1) =~ ^[0-9,]+\ tokens\ in,\ 2\ out,\ .*[0-9]\.[0-9]\ s$ ]]
}

@test "what a program makes of the records never shares a row of the terminal with the line that says what is waited for" {
    scripted
    tool slow 'sleep 2; echo done'
    terminal bash -c 'agent-react --events "slow {}
= end" <tools.jsonl | while read -r line; do echo "seen $line"; done'
    has "$PIECES" "waiting for slow"
    has "$(screen 1000)" 'seen {"type":"result"'
    lacks "$(grep seen < <(screen 1000))" waiting
}

@test "a terminal shows the tool that is waited for, and what it was and gave" {
    scripted
    tool slow 'sleep 3; echo done'
    terminal agent-react $'slow {}\n= end' <tools.jsonl
    [[ $PIECES =~ "waiting for slow, "[1-3]" s" ]]
    equal '→ slow {}' "$(screen | head -1)"
    lacks "$(screen)" waiting
    equal end "$(screen | sed -n 3p)"
}

@test "text that a model streams to a terminal and the line of what is waited for never share a row" {
    words "'delay': 0.5"
    terminal agent-react hi </dev/null
    equal "one two three four five six seven" "$(screen | head -1)"
    words "'cut': 4"
    terminal agent-react hi </dev/null
    equal 111 "$ENDED"
    equal "one two three" "$(screen | head -1)"
    [[ $(screen | sed -n 2p) == agent-react:* ]]
}

@test "an escape of the model's is shown as its code point, in pieces too" {
    model "def reply(body): return {'text': 'a\\x1b[31m b', 'pace': 0.1}"
    terminal agent-react hi </dev/null
    has "$PIECES" 'a\u001b[31m'
    equal $'a\033[31m b' "$(agent-react hi </dev/null)"
}

@test "Ctrl-C leaves a clean screen and the status 130" {
    words "'delay': 90"
    terminal --interrupt waiting agent-react hi </dev/null
    equal 130 "$ENDED"
    lacks "$(screen)" waiting
}

@test "--quiet and a pipe get no line of what is waited for" {
    words "'delay': 0.6"
    terminal agent-react --quiet hi </dev/null
    equal "" "$PIECES"
    run --separate-stderr agent-react hi </dev/null
    equal "" "$stderr"
}

@test "a dumb terminal, and NO_COLOR, get no escapes; a narrow one gets no second row" {
    words "'delay': 2.5"
    TERM=dumb terminal agent-react hi </dev/null
    lacks "$PIECES" $'\033'
    has "$PIECES" waiting
    NO_COLOR=1 terminal agent-react hi </dev/null
    lacks "$PIECES" $'\033'
    equal "one two three four five six seven" "$(screen | head -1)"
    terminal --columns 12 agent-react hi </dev/null
    lacks "$PIECES" "waiting for t"
    has "$PIECES" "waiting for"
    terminal --narrow waiting:12 agent-react hi </dev/null
    lacks "$(screen 80)" waiting
}

@test "records of a batch and its progress never share a row" {
    model 'def reply(body): return {"text": "x", "delay": 0.4}'
    printf '{"type":"task","input":"%s"}\n' a b c d >tasks.jsonl
    terminal agent-react --jobs 1 <tasks.jsonl
    equal 0 "$ENDED"
    has "$PIECES" "/4 done"
    equal 4 "$(screen 1000 | grep -c '^{"type":"result".*}$')"
    has "$(screen 1000 | tail -1)" "4/4 done"
    equal 5 "$(screen 1000 | wc -l)"
}

@test "what a program makes of a batch's records and its progress never share a row" {
    model 'def reply(body): return {"text": "x", "delay": 1.2}'
    printf '{"type":"task","input":"%s"}\n' a b c d >tasks.jsonl
    terminal bash -c 'agent-react --jobs 1 <tasks.jsonl | while read -r line; do sleep 0.3; echo "seen $line"; done'
    equal 4 "$(screen 1000 | grep -c '^seen {"type":"result".*}$')"
    has "$(screen 1000)" "0/4 done"
    has "$(screen 1000)" "4/4 done"
    lacks "$(grep -F ' done' <<<"$(screen 1000)")" seen
    agent-react --jobs 1 <tasks.jsonl >quiet.jsonl 2>errors
    equal "" "$(cat errors)"
}

@test "usage that is estimated is marked so" {
    model 'def reply(body): return {"status": 200, "headers": {"content-type": "text/event-stream"}, "body":
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"}'
    terminal agent-react hi </dev/null
    has "$(screen | tail -1)" "(estimated)"
    equal true "$(agent-react --json hi </dev/null | jq .usage.estimated)"
}

@test "deltas of a provider that was not asked for a stream are not printed" {
    mkdir providers
    cat >providers/eager <<'END'
#!/bin/sh
[ "$1" != --agent-schema ] || { echo '{"name":"eager","description":"d","kind":"provider","default_model":"m"}'; exit; }
while read -r line; do
    id=$(echo "$line" | sed 's/.*"id": *"\([^"]*\)".*/\1/')
    echo "{\"type\":\"delta\",\"id\":\"$id\",\"text\":\"well\"}"
    echo "{\"type\":\"response\",\"id\":\"$id\",\"message\":{\"role\":\"assistant\",\"content\":\"well\"},\"stop_reason\":\"end_turn\"}"
done
END
    chmod +x providers/eager
    export AGENT_PROVIDER_PATH=$PWD/providers AGENT_PROVIDER=eager
    equal "well" "$(agent-react hi </dev/null)"
    equal '"well"' "$(agent-react --json hi </dev/null | jq .output)"
    equal "" "$(agent-react --quiet hi </dev/null)"
}
