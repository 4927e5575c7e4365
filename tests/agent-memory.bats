#!/usr/bin/env bats
# agent-memory - what is remembered is there: after kill -9, under many writers, in damaged and full places

load helper

folder=.local/share/agentutils/memory

# many N: N memory records
many() { jq -cn --argjson n "$1" 'range($n) | {type:"memory", key:"key \(.)", value:"value \(.)"}'; }

@test "a value is remembered, recalled, forgotten and brought back" {
    agent-memory remember editor vim
    equal vim "$(agent-memory recall editor)"
    agent-memory forget editor
    run ! agent-memory recall editor
    [ -z "$output" ]
    agent-memory undo editor
    equal vim "$(agent-memory recall editor)"
}

@test "JSON is kept as JSON, digits and all; text as text" {
    agent-memory remember n '{"a":[9007199254740993,1.0,-0]}'
    equal '{"a":[9007199254740993,1.0,0]}' "$(agent-memory recall n)"
    printf 'two\nlines\n' | agent-memory remember t -
    equal $'two\nlines' "$(agent-memory recall t)"
}

@test "the history of a key is kept as records" {
    agent-memory remember k 1
    agent-memory remember k 2
    equal $'1\n2' "$(agent-memory recall k --history | jq .value)"
}

@test "search finds by words, best first, and exits 1 if there is nothing" {
    agent-memory remember a 'the red fox'
    agent-memory remember b 'the red car' --tag car
    equal b "$(agent-memory search red car | jq -r .key)"
    equal b "$(agent-memory search red --tag car | jq -r .key)"
    run -1 agent-memory search zebra
}

@test "words with the syntax of the search engine are plain text" {
    agent-memory remember k 'plain'
    for words in '"' '*' '(' '-x' ':' '^' 'NEAR(' 'AND' "'; DROP TABLE versions; --"; do
        run agent-memory search -- "$words"
        [ "$status" -le 1 ]
        lacks "$output" syntax
    done
    equal plain "$(agent-memory recall k)"
}

@test "a time to live ends a value; namespaces and stores are kept apart" {
    agent-memory remember k v --ttl 1h
    agent-memory remember k other --namespace agent
    agent-memory remember k third --store reviews
    equal v "$(agent-memory recall k)"
    equal other "$(AGENT_NAMESPACE=agent agent-memory recall k)"
    equal third "$(agent-memory recall k --store reviews)"
    agent-memory remember k v --ttl 1s
    timeout 60 bash -c 'while agent-memory recall k >/dev/null; do sleep 0.05; done'
    run -1 agent-memory recall k
    run -2 agent-memory remember k v --ttl soon
}

@test "load passes the stream on byte for byte and adds the memories that fit" {
    agent-memory remember tabs 'we indent with tabs'
    agent-memory remember colour 'the logo is green'
    line='{"type":"input" ,  "text":"tabs or blanks?"}'
    run -0 agent-memory load <<<"$line"
    equal "$line" "${lines[0]}"
    equal 'tabs memory' "$(jq -r '.key + " " + .type' <<<"${lines[1]}")"
    equal 2 "${#lines[@]}"
    run -0 agent-memory load logo <<<"$line"
    equal colour "$(jq -r .key <<<"${lines[1]}")"
}

@test "load stays within its tokens" {
    many 100 | agent-memory import
    run -0 agent-memory load value --max-tokens 100 </dev/null
    [ "${#lines[@]}" -ge 2 ] && [ "${#output}" -le 400 ]
}

@test "save keeps the memories that pass and passes everything" {
    printf '%s\n' '{"type":"other"}' '{"type":"memory","key":"k","value":1}' >in
    agent-memory save <in >out
    cmp in out
    equal 1 "$(agent-memory recall k)"
}

@test "export and import carry a store over, flat or as records, and again changes nothing" {
    agent-memory remember a 1 --tag t
    agent-memory remember b '"x"'
    agent-memory export >all
    agent-memory import --store copy <all
    agent-memory import --store copy <all
    cmp all <(agent-memory export --store copy)
    equal 2 "$(agent-memory stats --store copy | jq .versions)"
    equal '{"a":1,"b":"x"}' "$(agent-memory export --flat)"
    agent-memory export --flat | agent-memory import --flat --store flat
    equal '{"a":1,"b":"x"}' "$(agent-memory export --flat --store flat)"
}

@test "a malformed line ends the reading with its number; what came before it is kept" {
    { many 2; echo 'not json'; many 5; } >in
    run -2 agent-memory import <in
    has "$output" 'line 3: not JSON'
    equal 2 "$(agent-memory stats | jq .memories)"
}

@test "a memory without value is an error record; the others are kept; exit 1" {
    run -1 --separate-stderr agent-memory import <<<$'{"type":"memory","key":"a"}\n{"type":"memory","key":"b","value":2}'
    equal invalid_input "$(jq -r 'select(.type=="error").kind' <<<"$output")"
    equal 2 "$(agent-memory recall b)"
}

@test "kill -9 in the middle of 100,000 remembers loses none that was counted" {
    many 100000 >in
    agent-memory import <in >acks 2>/dev/null &
    pid=$!
    until [ "$(wc -l <acks)" -ge 5 ]; do sleep 0.01; done
    kill -9 "$pid"
    wait "$pid" || true
    counted=$(tail -1 acks | jq .count)
    there=$(agent-memory stats | jq .memories)
    [ "$counted" -ge 1000 ] && [ "$counted" -lt 100000 ] && [ "$there" -ge "$counted" ]
    equal ok "$(agent-memory check && echo ok)"
    equal "value $((counted - 1))" "$(agent-memory recall "key $((counted - 1))")"
}

@test "16 processes of 1,000 remembers at once: 16,000 are there, none failed" {
    for p in {1..16}; do
        jq -cn --argjson p "$p" 'range(1000) | {type:"memory", key:"\($p) \(.)", value:.}' |
            agent-memory import >/dev/null 2>"err$p" || touch "failed$p" &
    done
    wait
    run ! compgen -G 'failed*'
    equal 16000 "$(agent-memory stats | jq .memories)"
}

@test "many single remembers at once are all kept" {
    seq 64 | xargs -P 8 -I{} agent-memory remember 'key {}' '{}'
    equal 64 "$(agent-memory stats | jq .memories)"
}

@test "a writer that holds the lock: others wait, then say timeout with 111; reading goes on" {
    agent-memory remember k 1
    python3 - "$HOME/$folder/default.db" >locked <<'P' &
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(20)
P
    pid=$!
    until [ -s locked ]; do sleep 0.02; done
    run -111 agent-memory remember k 2 --wait 0.3
    has "$output" 'another program is writing'
    equal 1 "$(agent-memory recall k)"
    kill "$pid"
}

@test "a full disk is reported, and what was there before is whole" {
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    many 20000 >in
    run bwrap --bind / / --dev /dev --size 600000 --tmpfs "$TMPDIR" bash -c \
        "agent-memory --store $TMPDIR/m.db remember first 1 && agent-memory --store $TMPDIR/m.db import <in >/dev/null
         echo status \$?; agent-memory --store $TMPDIR/m.db recall first"
    has "$output" 'the disk is full'
    has "$output" 'status 1'
    equal 1 "${lines[-1]}"
}

@test "a foreign, empty or damaged file is an error that names it and stays as it is" {
    : >empty.db
    echo 'some text, long enough to be mistaken for something else' >text.db
    sqlite3 -version >/dev/null 2>&1 && sqlite3 foreign.db 'CREATE TABLE t(a)'
    python3 -c 'import sqlite3; d = sqlite3.connect("foreign.db"); d.execute("CREATE TABLE IF NOT EXISTS t(a)"); d.commit()'
    many 500 | agent-memory import --store ./half.db >/dev/null
    truncate -s 20000 half.db
    for file in empty text foreign half; do
        before=$(sha256sum "$file.db")
        run -2 agent-memory recall k --store "./$file.db"
        has "$output" "$file.db: "
        run -2 agent-memory remember k v --store "./$file.db"
        equal "$before" "$(sha256sum "$file.db")"
    done
}

@test "a folder, a pipe, a loop of links and /dev/null are reported at once" {
    mkdir folder.db
    mkfifo pipe.db
    ln -s loop.db loop.db
    for file in ./folder.db ./pipe.db ./loop.db /dev/null; do
        run -2 timeout 60 agent-memory remember k v --store "$file"
        has "$output" "$file: "
    done
}

@test "in a folder that cannot be written one can still recall and search" {
    agent-memory remember k 'the value' --store ./m.db
    if [ "$(id -u)" = 0 ]; then
        command -v bwrap >/dev/null || skip "bubblewrap is not installed"
        inside() { bwrap --ro-bind / / --dev /dev "$@"; }
    else
        inside() { "$@"; }
        chmod a-w .
    fi
    equal 'the value' "$(inside agent-memory recall k --store ./m.db)"
    equal k "$(inside agent-memory search value --store ./m.db | jq -r .key)"
    run -100 inside agent-memory remember k v --store ./m.db
    has "$output" 'read only'
    chmod u+w .
    run ! compgen -G '*-wal'
}

@test "a new store is the user's alone, whatever the umask" {
    (umask 000 && agent-memory remember k v)
    equal '600 700' "$(stat -c %a "$HOME/$folder/default.db" "$HOME/$folder" | xargs)"
}

@test "a store that is not there yet is an empty answer, not a new file" {
    run -1 agent-memory recall k
    run -1 agent-memory search k
    run -0 agent-memory load k </dev/null
    run ! compgen -G "$HOME/$folder/*"
    run -2 agent-memory recall k --store 'no name'
}

@test "TERM in the middle of an import leaves what was counted, and a second run brings the rest" {
    many 100000 >in
    agent-memory import <in >acks 2>err &
    pid=$!
    until [ "$(wc -l <acks)" -ge 3 ]; do sleep 0.01; done
    kill -TERM "$pid"
    wait "$pid" || ended=$?
    equal 143 "$ended"
    has "$(cat err)" kept
    agent-memory import <in >/dev/null 2>&1
    equal '100000 100000' "$(agent-memory stats | jq -r '"\(.memories) \(.versions)"')"
}

@test "a model's calls: remember, recall, search_memory, forget" {
    equal 'remember recall search_memory forget memory' "$(agent-memory --agent-schema | jq -r .name | xargs)"
    equal remembered "$(echo '{"key":"k","value":{"n":1},"tags":["t"]}' | agent-memory tool remember)"
    equal '{"n":1}' "$(echo '{"key":"k"}' | agent-memory tool recall)"
    equal k "$(echo '{"words":"n"}' | agent-memory tool search_memory | jq -r .key)"
    equal forgotten "$(echo '{"key":"k"}' | agent-memory tool forget)"
    equal "nothing is kept under 'k'" "$(echo '{"key":"k"}' | agent-memory tool recall)"
    run -100 agent-memory tool remember <<<'[]'
}

@test "as tools of agent-react: recall reads, remember needs consent, both reach the store from the sandbox" {
    agent-memory remember colour green
    model '
def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool":
        return last["content"]
    name, _, rest = last["content"].partition(" ")
    return {"tool_calls": [{"name": name, "arguments": {"key": "colour", **({"value": rest} if rest else {})}}]}'
    equal green "$(agent-discover agent-memory | agent-react recall)"
    has "$(agent-discover agent-memory | agent-react "remember blue")" 'not allowed'
    equal green "$(agent-memory recall colour)"
    equal remembered "$(agent-discover agent-memory | agent-react --allow remember "remember blue")"
    equal blue "$(agent-memory recall colour)"
}

@test "as a plugin of agent-react: what fits comes before the run, the tools are there during it" {
    agent-memory remember tabs 'we indent with tabs' --store team
    model '
def reply(body):
    names = sorted(t["function"]["name"] for t in body["tools"])
    return ("knows " if "we indent with tabs" in str(body["messages"]) else "lost ") + " ".join(names)'
    run -0 agent-react --plugin 'agent-memory --store team' "tabs or blanks?" </dev/null
    equal 'knows forget recall remember search_memory' "$output"
}

@test "a number that would be written otherwise stays the text that it is" {
    local value
    for value in 3.10 1.20.0 0.1000 12345678901234567890.123 1e5 -0 4.360 1234567890123456789; do
        agent-memory remember k -- "$value"
        equal "$value" "$(agent-memory recall k)"
    done
    run -2 agent-memory remember k v --ttl 999999999999d
    has "$output" "longer than a thousand years"
}

@test "search filters by namespace, time and tag before it limits" {
    agent-memory remember mine 'deploy key' --tag prod --namespace alice
    seq 2500 | sed 's/.*/{"type":"memory","key":"k&","value":"deploy &","tags":["dev"]}/' | agent-memory import
    seq 2500 | sed 's/.*/{"type":"memory","key":"o&","value":"deploy &","expires":"2020-01-01T00:00:00Z"}/' |
        agent-memory --namespace alice import
    equal mine "$(agent-memory --namespace alice search deploy | jq -r .key)"
    agent-memory remember ours 'deploy key' --tag prod
    seq 2500 | sed 's/.*/{"type":"memory","key":"l&","value":"deploy &","tags":["dev"]}/' | agent-memory import
    equal ours "$(agent-memory search deploy --tag prod | jq -r .key)"
}
