#!/usr/bin/env bats
# agent-discover beside its listing: the registry AGENTS.md, find, PATH, --help-probe, --new-tool; find_agent, call_agent
# shellcheck disable=SC2016,SC2088  # the scripts in single quotes are for another shell
load helper

executable() { mkdir -p "$(dirname "$1")" && cat >"$1" && chmod +x "$1"; }

# agent FILE DESCRIPTION [BODY]: makes an agent that answers --agent-schema, else does BODY.
agent() {
    printf '#!/bin/sh\nif [ "$1" = --agent-schema ]; then\n    echo '\''{"name":"%s","kind":"agent","description":"%s"}'\''\n    exit\nfi\n%s\n' \
        "${1##*/}" "$2" "${3-cat}" | executable "$1"
}

# registry FILE NAME BINARY...: makes a registry with these entries.
registry() {
    local file=$1
    shift
    while (($#)); do
        printf '## %s\n\nDoes the work of %s\n\n- **Binary**: %s\n\n' "$1" "$1" "$2"
        shift 2
    done >"$file"
}

discover() { run --separate-stderr timeout 60 agent-discover "$@" </dev/null; }
tool() { run --separate-stderr timeout 60 "$ROOT/tools/$1" "${@:3}" <<<"$2"; }

@test "what is never closed in a registry hides nothing, before it or after it" {
    agent bin/one One
    local entry='## one\n\n- **Binary**: bin/one\n'
    for text in "\`\`\`npm test\`\`\` runs\n$entry" "\`\`\`sh\nnever\n$entry" "$entry\`\`\`sh\n" "<!-- never\n$entry" "$entry<!-- never" \
        "~~~~\n$entry~~~\n" "<!-- a\n\`\`\`\n-->\n$entry" "\`\`\`\n<!--\n\`\`\`\n$entry" "<!-- one --> and more\n$entry" \
        "\xef\xbb\xbf$entry" "${entry//\\n/\\r\\n}" "${entry//\\n/\\r}" "   ## one ##\n  - **Binary**: bin/one\n"; do
        printf %b "$text" >AGENTS.md
        discover --agents one
        equal "0 one" "$status $(jq -r .name <<<"$output")"
    done
    for text in "\`\`\`\n$entry\`\`\`\n" "  ~~~~\n$entry  ~~~~\n" "<!--\n$entry-->\n" "    ## one\n    - **Binary**: bin/one\n" "## a\u2028$entry"; do
        printf %b "$text" >AGENTS.md
        discover --agents one
        equal 1 "$status"
    done
}

@test "an agent that was entered is listed, once, and removed byte for byte, whatever is before it" {
    agent ag Ag
    for text in '# P\n\n```npm test``` runs.\n' '# P\n\n```sh\nnever closed\n' '# P\n\n<!-- never closed\n' '\xef\xbb\xbf# P\n' '# P\r\n'; do
        printf %b "$text" | tee before >AGENTS.md
        discover --register ag
        discover --agents ag
        equal 0 "$status"
        run -2 agent-discover --register ag </dev/null
        equal 1 "$(grep -c '^## ag' AGENTS.md)"
        discover --unregister ag
        cmp before AGENTS.md
    done
}

@test "an entry is a second-level heading with a Binary bullet; listing it runs nothing" {
    agent bin/one "One" "touch MARKER"
    cat >AGENTS.md <<'END'
# The guide

## Rules
- **Note**: no program here

## one
The first
paragraph.

Another.

* **Binary:** `bin/one`
* **Tags**: alpha, beta

### A part of one

```
## fenced
- **Binary**: bin/one
```
<!-- ## hidden
- **Binary**: bin/one
-->
# End
- **Binary**: bin/one
END
    discover --agents one fenced hidden End
    equal 1 "$status"
    equal '["tool","one","agent","The first paragraph.","text",["alpha","beta"],["'"$PWD"'/bin/one"]]' \
        "$(jq -c '[.type,.name,.kind,.description,.invoke,.tags,.command]' <<<"$output")"
    [[ ! -e MARKER ]]
    has "$stderr" "fenced: not in $PWD/AGENTS.md"
}

@test "the nearest AGENTS.md upward counts, but the user's names and the suite's are not for it to take" {
    mkdir -p deep/er "$HOME/.local/share/agentutils"
    agent bin/mine "Not mine"
    agent bin/ours "Ours"
    agent "$HOME/bin/mine" "Mine"
    agent "$HOME/bin/theirs" "Theirs"
    registry AGENTS.md mine bin/mine ours bin/ours text-processor bin/ours
    registry "$HOME/.local/share/agentutils/AGENTS.md" mine "$HOME/bin/mine" theirs "$HOME/bin/theirs"
    cd deep/er || return
    discover --agents
    equal 0 "$status"
    equal "$SCRATCH/here/bin/ours" "$(jq -r 'select(.name=="ours").command[0]' <<<"$output")"
    equal "$HOME/bin/mine" "$(jq -r 'select(.name=="mine").command[0]' <<<"$output")"
    has "$stderr" "AGENTS.md: left out: mine is the name of $HOME/bin/mine, and $SCRATCH/here/bin/mine is another program"
    equal "$HOME/bin/theirs" "$(jq -r 'select(.name=="theirs").command[0]' <<<"$output")"
    equal "$ROOT/bin/text-processor" "$(jq -r 'select(.name=="text-processor").command[0]' <<<"$output")"
    has "$stderr" "text-processor is the name of $ROOT/bin/text-processor"
}

@test "a program outside of the registry's folder is left out unless the user's configuration allows it" {
    mkdir project
    agent elsewhere/tool "Elsewhere"
    registry project/AGENTS.md curl /usr/bin/curl up ../elsewhere/tool tilde '~/x' command '$(touch MARKER)' ticks '`touch MARKER`' \
        gone bin/gone
    cd project || return
    ln -s ../elsewhere/tool link
    printf '\n## link\n- **Binary**: link\n' >>AGENTS.md
    discover --agents curl up tilde command ticks gone link
    equal 1 "$status"
    equal "" "$output"
    has "$stderr" "curl: /usr/bin/curl lies outside"
    has "$stderr" "up: ../elsewhere/tool lies outside"
    has "$stderr" "link: link lies outside"
    has "$stderr" "tilde: ~/x: No such file"
    [[ ! -e MARKER && ! -e ../MARKER ]]
    mkdir -p "$HOME/.config/agentutils"
    printf '[discover]\nallow = ["%s"]\n' "$SCRATCH/here/elsewhere/tool" >"$HOME/.config/agentutils/config.toml"
    discover --agents up
    equal 0 "$status"
    equal "$SCRATCH/here/elsewhere/tool" "$(jq -r '.command[0]' <<<"$output")"
}

@test "an AGENTS.md that is a FIFO, a folder, or a link to elsewhere is not read" {
    local before=$SECONDS
    mkfifo AGENTS.md
    discover --agents
    has "$stderr" "not a plain file"
    rm AGENTS.md
    ln -s /etc/shadow AGENTS.md
    discover --agents
    has "$stderr" "a link that leads outside of its folder"
    rm AGENTS.md
    mkdir AGENTS.md
    discover --agents
    has "$output" text-processor
    ((SECONDS - before < 60))
    rmdir AGENTS.md
    agent bin/one One
    registry GUIDE.md one bin/one
    ln -s GUIDE.md AGENTS.md
    discover --agents one
    equal 0 "$status"
}

@test "--register and --unregister leave every other byte as it was" {
    agent bin/new "Something new"
    local text
    for text in $'# Guide\n\ntext\n' $'# Guide' $'# Guide\r\n\r\n## x\r\ny\r\n' $'\xff\xfe bytes\n' '' $'## old\n- **Binary**: bin/old\n\n\n'; do
        printf '%s' "$text" >AGENTS.md
        cp AGENTS.md before
        chmod 640 AGENTS.md
        discover --register bin/new
        equal 0 "$status"
        discover --agents new
        equal "Something new" "$(jq -r .description <<<"$output")"
        discover --register bin/new
        equal 2 "$status"
        has "$stderr" "has an entry new already"
        discover --unregister new
        cmp AGENTS.md before
        equal 640 "$(stat -c %a AGENTS.md)"
    done
    discover --unregister new
    equal 100 "$status"
}

@test "--unregister takes out one entry in the middle and nothing else" {
    agent bin/x X
    printf '# T\n\n## a\n\n- **Binary**: bin/x\n\n## b\n\nB\n\n- **Binary**: bin/x\n\n## c\n\n- **Binary**: bin/x\n' >AGENTS.md
    discover --unregister b
    equal $'# T\n\n## a\n\n- **Binary**: bin/x\n\n## c\n\n- **Binary**: bin/x' "$(<AGENTS.md)"
}

@test "many registrations at once all count" {
    local n
    : >AGENTS.md
    for n in 1 2 3 4 5 6; do agent "bin/a$n" "Number $n"; done
    for n in 1 2 3 4 5 6; do agent-discover --register "bin/a$n" </dev/null & done
    wait
    equal 6 "$(grep -c Binary AGENTS.md)"
}

@test "--register refuses what does not answer, and what is elsewhere; --user takes it" {
    echo x >plain
    : >AGENTS.md
    discover --register plain
    equal 126 "$status"
    agent "$HOME/far" "Far away"
    discover --register "$HOME/far"
    equal 2 "$status"
    has "$stderr" "--user"
    discover --user --register "$HOME/far"
    equal 0 "$status"
    discover --agents far
    equal "$HOME/far" "$(jq -r '.command[0]' <<<"$output")"
    equal "" "$(<AGENTS.md)"
}

@test "an agent of the user's registry is found by its name, wherever one is; one of a project is not" {
    agent here/bin/helper Helps
    (cd here && discover --register bin/helper)
    mkdir elsewhere && cd elsewhere
    run -127 agent-discover helper </dev/null
    (cd ../here && discover --register --user bin/helper)
    discover helper
    equal "0 helper $(realpath ../here)/bin/helper" "$status $(jq -r '.name + " " + .command[0]' <<<"$output")"
}

@test "find ranks agents and tools by what they do" {
    agent bin/code-reviewer "Reviews code for issues"
    agent bin/poet "Writes verses"
    registry AGENTS.md poet bin/poet code-reviewer bin/code-reviewer
    sed -i 's/Does the work of code-reviewer/Reviews code for issues/' AGENTS.md
    discover find someone who can review my code
    equal code-reviewer "$(head -n 1 <<<"$output" | jq -r .name)"
    discover find count the words of a file
    equal wordcount "$(head -n 1 <<<"$output" | jq -r .name)"
    discover find xylophone
    equal 1 "$status"
    equal "agent-discover: no agent or tool fits: xylophone" "$stderr"
}

@test "--path describes every program and runs none" {
    printf '#!/bin/sh\ntouch "%s/MARKER"\n' "$PWD" | executable programs/odd
    cp programs/odd $'programs/new\nline'
    cp programs/odd $'programs/\xff'
    mkdir -p other open && cp programs/odd other/odd && chmod 777 open
    mkfifo programs/fifo && ln -s nowhere programs/dangling
    PATH=$PWD/programs:$PWD/other:$PWD/open:.:$PATH discover --path
    equal 0 "$status"
    [[ ! -e MARKER ]]
    has "$stderr" "'.' is not an absolute folder"
    has "$stderr" "anyone may write to $PWD/open"
    equal "$PWD/programs/odd" "$(jq -r --arg p "$PWD/other/odd" 'select(.path == $p).shadowed_by' <<<"$output")"
    printf '%s\n' "$output" >listing
    python3 - <<'PYTHON'
import json, os
rows = [json.loads(line) for line in open("listing")]
assert all(row["type"] == "program" for row in rows)
here = {row["path"] for row in rows if os.path.dirname(row["path"]) == os.path.abspath("programs")}
assert here == {os.path.abspath("programs/" + name) for name in ("odd", "new\nline", "\udcff")}, here
assert any(row["name"] == "sort" for row in rows)
PYTHON
}

@test "--path takes descriptions from man pages: both kinds, packed, redirected, with fonts" {
    local one
    command -v lexgrog >/dev/null || skip "man-db is not installed"
    mkdir -p man/man1
    for one in plain packed mdoc again; do printf '#!/bin/sh\n' | executable "p/$one"; done
    printf '.TH X 1\n.SH NAME\n.B plain\n\\fBplain\\fR, other \\- do \\fIplain\\fP things\\&, don\\(aqt \\-\\-worry\n.SH SYNOPSIS\nno - never\n' >man/man1/plain.1
    printf '.TH X 1\n.SH "NAME"\npacked \\(em in a gz\n' | gzip >man/man1/packed.1.gz
    printf '.Dd now\n.Sh NAME\n.Nm mdoc\n.Nd of the BSD kind\n.Sh SYNOPSIS\n' >man/man1/mdoc.1
    printf '.so man1/plain.1\n' >man/man1/again.1
    PATH=$PWD/p:$PATH MANPATH=$PWD/man discover --path
    equal "again: do plain things, don't --worry (man)
mdoc: of the BSD kind (man)
packed: in a gz (man)
plain: do plain things, don't --worry (man)" \
        "$(jq -r --arg p "$PWD/p/" 'select(.path | startswith($p)) | "\(.name): \(.description) (\(.source))"' <<<"$output")"
}

@test "--path is remembered until a folder changes" {
    printf '#!/bin/sh\n' | executable p/one
    PATH=$PWD/p:$PATH discover --path
    has "$output" "$PWD/p/one"
    printf '#!/bin/sh\n' | executable p/two
    PATH=$PWD/p:$PATH discover --path
    has "$output" "$PWD/p/two"
}

@test "--help-probe makes a tool of a program by its --help, never by -h or help" {
    printf '#!/bin/sh\n[ "$*" = --help ] || { touch "%s/MARKER"; exit; }\necho "usage: greet [--loud] NAME"\ntouch "$HOME/left"\n' "$PWD" |
        executable p/greet
    PATH=$PWD/p:$PATH discover --help-probe greet
    equal 0 "$status"
    equal '["greet","argv",["'"$PWD"'/p/greet"]]' "$(jq -c '[.name,.invoke,.command]' <<<"$output")"
    has "$(jq -r .inputSchema.properties.args.description <<<"$output")" "usage: greet [--loud] NAME"
    [[ ! -e MARKER && ! -e $HOME/left ]]
    printf '#!/bin/sh\nsleep 300\n' | executable p/slow
    PATH=$PWD/p:$PATH discover --timeout 1 --help-probe slow nosuch
    equal 1 "$status"
    has "$stderr" "slow: --help prints nothing (no answer within 1 s)"
    has "$stderr" "nosuch: not found on PATH"
}

@test "--new-tool writes a tool in each language that works and passes the check" {
    uses node
    local lang
    discover --new-tool say_sh --lang sh
    equal 0 "$status"
    discover --check ./say_sh
    equal "say_sh: well" "$output"
    run --separate-stderr ./say_sh <<<'hé'
    equal "0 hé" "$status $output"
    run --separate-stderr ./say_sh </dev/null
    equal "100 say_sh: give a text on standard input" "$status $stderr"
    run --separate-stderr ./say_sh --no-such-flag </dev/null
    equal 2 "$status"
    for lang in python js perl; do
        discover --new-tool "say_$lang" --lang "$lang"
        equal 0 "$status"
        discover --check "./say_$lang"
        equal "say_$lang: well" "$output"
        run --separate-stderr "./say_$lang" <<<'{"text":"hé"}'
        equal hé "$output"
        run --separate-stderr "./say_$lang" <<<'nonsense'
        equal "100 say_$lang: give a text: {\"text\":\"good morning\"}" "$status $stderr"
        run --separate-stderr "./say_$lang" --no-such-flag </dev/null
        equal 2 "$status"
    done
    discover --new-tool say_sh
    equal "2 agent-discover: say_sh: File exists" "$status $stderr"
    discover --new-tool 'bad name'
    equal 2 "$status"
}

@test "find_agent names the agents that fit, and runs none" {
    agent bin/go-reviewer "x" "touch MARKER"
    registry AGENTS.md go-reviewer bin/go-reviewer
    sed -i 's/Does the work of .*/Reviews code written in Go/' AGENTS.md
    tool find_agent '{"request":"review go code"}'
    equal "Found: go-reviewer - Reviews code written in Go" "${lines[0]}"
    tool find_agent '{"request":"xylophone"}'
    equal 1 "$status"
    has "$stderr" "there are: go-reviewer, text-processor, "
    [[ ! -e MARKER ]]
}

@test "call_agent hands the input over and gives the answer back" {
    agent bin/echo "Echo" 'printf "got: "; cat; printf "|%s" "$SECRET_KEY"'
    registry AGENTS.md echo bin/echo
    SECRET_KEY=sk-1 tool call_agent '{"name":"echo","input":"some text"}'
    equal "100 " "$status $output"
    has "$stderr" "the user has not allowed it (--allow echo)"
    SECRET_KEY=sk-1 tool call_agent '{"name":"echo","input":"some text"}' --allow echo
    equal 0 "$status"
    equal "got: some text|" "$output"
    tool call_agent '{"name":"nobody","input":"x"}'
    equal 1 "$status"
    has "$stderr" "there is no agent 'nobody'"
}

@test "call_agent gives our environment only to agents that the user knows" {
    agent "$HOME/mine" "Mine" 'printf "%s" "$SECRET_KEY"'
    agent-discover --user --register "$HOME/mine" </dev/null
    SECRET_KEY=sk-1 tool call_agent '{"name":"mine","input":"x"}'
    equal sk-1 "$output"
    SECRET_KEY=sk-1 tool call_agent '{"name":"mine","input":"x"}' --deny mine
    equal "100 " "$status $output"
}

@test "call_agent ends where agents call agents too deep, tells a failure, and ends a flood" {
    agent bin/bad "Bad" 'echo "bad: no luck" >&2; exit 3'
    agent bin/flood "Flood" 'yes'
    registry AGENTS.md bad bin/bad flood bin/flood
    AGENT_DEPTH=5 tool call_agent '{"name":"bad","input":"x"}'
    equal 1 "$status"
    has "$stderr" "5 deep already"
    tool call_agent '{"name":"bad","input":"x"}' --allow bad
    equal 1 "$status"
    has "$stderr" "bad failed: ended with status 3."
    has "$stderr" "bad: no luck"
    tool call_agent '{"name":"flood","input":"x"}' --allow flood
    equal "1 " "$status $output"
    has "$stderr" "flood was ended, it printed too much"
}
