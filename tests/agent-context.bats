#!/usr/bin/env bats
# agent-context - files, folders, diffs and skills become context records, and what is left out is said

load helper

repository() {
    git init -q . && git config user.email t@example.com && git config user.name t
    mkdir -p src
    echo 'build/' >.gitignore
    mkdir build && echo made >build/out.txt
    echo 'def retry(): pass' >src/retry.py
    echo 'def colour(): pass' >src/colour.py
    printf 'a\0b' >src/blob.bin
    git add -A && git commit -qm first
}

sources() { jq -r 'select(.type=="context").source' <<<"$1" | xargs; }

@test "a file becomes one context record with its text" {
    printf 'one\ntwo\n' >f.txt
    equal '{"type":"context","source":"f.txt","text":"one\ntwo\n"}' "$(agent-context f.txt </dev/null)"
}

@test "lines are numbered on demand" {
    printf 'one\ntwo\n' >f.txt
    equal $'     1\tone\n     2\ttwo' "$(agent-context --numbers f.txt </dev/null | jq -r .text)"
}

@test "a folder gives what git does not ignore; binary files are left out and named" {
    repository
    run -0 --separate-stderr agent-context . </dev/null
    equal 'src/colour.py src/retry.py' "$(sources "$output")"
    # shellcheck disable=SC2154  # set by run
    equal 'agent-context: left out: src/blob.bin: binary' "$stderr"
}

@test "a folder without git honours its .gitignore files, the nested ones too" {
    mkdir -p d/sub && echo '*.log' >d/.gitignore && echo 'secret*' >d/sub/.gitignore
    touch d/a.txt d/b.log d/sub/secret.txt d/sub/c.txt d/.hidden
    equal 'd/a.txt d/sub/c.txt' "$(sources "$(agent-context d </dev/null)")"
}

@test "a link that leads out of the folder is not followed" {
    repository
    echo outside >"$SCRATCH/outside.txt"
    ln -s "$SCRATCH/outside.txt" src/link.txt
    lacks "$(agent-context --quiet src </dev/null)" outside
}

@test "a repository's own programs are not run" {
    repository
    printf '#!/bin/sh\ntouch %s/ran\n' "$SCRATCH" >hook && chmod +x hook
    git config core.fsmonitor "$PWD/hook" && git config diff.external "$PWD/hook"
    echo more >>src/retry.py
    agent-context --diff HEAD --quiet . </dev/null >/dev/null
    [ ! -e "$SCRATCH/ran" ]
}

@test "globs are matched, and one that matches nothing is an error" {
    mkdir -p a/b && touch a/x.py a/b/y.py a/z.txt
    equal 'a/b/y.py a/x.py' "$(sources "$(agent-context 'a/**/*.py' </dev/null)")"
    run -2 agent-context 'a/*.nothing' </dev/null
    equal 'agent-context: a/*.nothing: no such file or folder' "$output"
}

@test "the most relevant come first, and the whole budget holds" {
    repository
    for i in {1..20}; do seq 300 >"src/n$i.txt"; done
    run -0 --separate-stderr agent-context --for 'where is the retry?' --max-tokens 700 src </dev/null
    equal 'src/retry.py' "$(jq -r .source <<<"${lines[0]}")"
    [ "${#output}" -lt 3500 ]
    has "$stderr" 'no room left in 700 tokens (estimated at 4 bytes each)'
    has "$stderr" 'left out: 9 more'
}

@test "a long file is cut at a line end, with a message" {
    seq 10000 >long.txt
    run -0 --separate-stderr agent-context --max-file-tokens 100 long.txt </dev/null
    has "$(jq -r .text <<<"$output" | tail -2)" 'more lines]'
    has "$stderr" 'over 100 tokens'
}

@test "a diff is what git says has changed, and an unknown revision is an error" {
    repository
    echo 'more' >>src/retry.py
    has "$(agent-context --diff </dev/null | jq -r .text)" '+more'
    run -2 agent-context --diff no-such </dev/null
    run -2 agent-context --diff=--output=x </dev/null
    [ ! -e x ]
}

@test "the tree lists what was found" {
    mkdir d && touch d/a d/b
    equal $'d/a\nd/b' "$(agent-context --tree d </dev/null | jq -r 'select(.source=="tree").text')"
}

@test "a stream goes first and unchanged; - is plain text" {
    echo x >f
    run -0 agent-context f <<<'{"type":"other" , "n":1}'
    equal '{"type":"other" , "n":1}' "${lines[0]}"
    equal '{"type":"input","text":"{\"type\":\"tool\"}\n","source":"stdin"}' "$(echo '{"type":"tool"}' | agent-context -)"
}

# packages NAME...: from here on a copy of the suite to whose environment these packages were added.
packages() {
    local here there name
    cp -R "$ROOT/." "$SCRATCH/suite"
    there=$(echo "$SCRATCH"/suite/.venv/lib/python3.*/site-packages)
    here=$(echo "$TESTS"/../.venv/lib/python3.*/site-packages)
    for name in "$@"; do cp -R "$here/$name" "$there"; done
    PATH=$SCRATCH/suite/bin:$PATH
}

@test "an image becomes a part; a PDF and a page become text" {
    packages inscriptis lxml pypdf requests urllib3 charset_normalizer
    printf '\x89PNG\r\n\x1a\nrest' >i.png
    equal '"image/png"' "$(agent-context i.png </dev/null | jq -c .part.media_type)"
    echo '<!doctype html><html><body><h1>Head</h1><p>text <b>bold</b></p></body></html>' >p.html
    run -0 agent-context p.html </dev/null
    lacks "$output" '<b>'
    has "$output" 'text bold'
    echo '%PDF-1.4 broken' >b.pdf
    run -2 agent-context b.pdf </dev/null
    has "$output" 'b.pdf: not a PDF that can be read'
    equal 1 "${#lines[@]}"
}

@test "a page in a file is read without a package, by the charset that it names, also in UTF-16 or broken" {
    printf '\xef\xbb\xbf<!-- x --><html><p>caf\xc3\xa9</p>' >mark.html
    printf '<html><meta charset=koi8-r><p>\xc4 \0&#99999999999;<table><li' >koi.html
    printf '<?xml version="1.0" encoding="latin-1"?><html><p>caf\xe9</p></html>' >xml.html
    printf '<html><meta charset=x-user-defined><p>plain</p>' >odd.html
    python3 -c 'open("wide.html","wb").write("<html><p>wide é</p>".encode("utf-16"))'
    for pair in mark:café koi:д xml:café odd:plain 'wide:wide é'; do
        run -0 --separate-stderr agent-context "${pair%%:*}.html" </dev/null
        has "$(jq -r .text <<<"$output")" "${pair#*:}"
        equal "text/html " "$(jq -r .media_type <<<"$output") $stderr"
    done
}

@test "skills: a catalogue and a tool that reads one" {
    mkdir -p skills/release/scripts
    printf -- '---\nname: release\ndescription: How to make\n  a release\n---\nFirst tag.\n' >skills/release/SKILL.md
    touch skills/release/scripts/tag.sh
    run -0 agent-context --skills skills </dev/null
    has "$(jq -r .text <<<"${lines[0]}")" '- release: How to make a release'
    equal skill "$(jq -r .name <<<"${lines[1]}")"
    mapfile -t command < <(jq -r '.command[]' <<<"${lines[1]}")
    run -0 "${command[@]}" <<<'{"name":"release"}'
    equal 'First tag.' "${lines[0]}"
    has "$output" 'scripts/tag.sh'
    run -100 "${command[@]}" <<<'{"name":"other"}'
    echo 'exit 0' >skills/release/scripts/tag.sh
    run -0 "${command[@]}" <<<'{"name":"release","file":"scripts/tag.sh"}'
    equal 'exit 0' "$output"
    run -100 "${command[@]}" <<<'{"name":"release","file":"../../bad"}'
    has "$output" '../../bad: not a file of the skill release'
    run -0 "${command[@]}" --skills gone <<<'{"name":"release"}' # a skill that is gone takes no other away
    mkdir skills/bad && echo nothing >skills/bad/SKILL.md
    mkdir skills/marked && printf '\xef\xbb\xbf---\nname: marked\ndescription: M\n---\n' >skills/marked/SKILL.md
    run -0 agent-context --skills skills </dev/null # one that is broken hides no other
    has "$output" 'left out: skills/bad/SKILL.md: line 1'
    has "$output" '- marked: M\n- release: How to make'
}

@test "instructions are the AGENTS.md files from the top of the project down, as system messages" {
    repository
    echo 'Use tabs.' >AGENTS.md && echo 'Here, blanks.' >src/AGENTS.md
    cd src
    run -0 agent-context --instructions </dev/null
    has "$(jq -r .content <<<"${lines[0]}")" 'Use tabs.'
    has "$(jq -r .content <<<"${lines[1]}")" 'Here, blanks.'
    equal system "$(jq -r .role <<<"${lines[1]}")"
    rm AGENTS.md && ln -s /etc/passwd AGENTS.md
    lacks "$(agent-context --instructions </dev/null)" root:
}

@test "a pipe given as a file does not hang" {
    mkfifo p
    run -111 timeout 60 agent-context p </dev/null
    has "$output" "p: nobody writes to this pipe"
}

@test "a pipe is read until its writer ends, also one that starts late or pauses, but not for ever" {
    run -0 --separate-stderr agent-context <(sleep 0.3; printf 'one\n'; sleep 0.3; printf 'two\n') </dev/null
    equal $'one\ntwo' "$(jq -r .text <<<"$output")"
    run -0 agent-context <(true) </dev/null
    mkfifo pipe
    { sleep 0.3; echo late >pipe; } &
    run -0 --separate-stderr agent-context pipe </dev/null
    wait
    equal late "$(jq -r .text <<<"$output")"
    cat >soon.py <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from programs import loaded
program = loaded(sys.argv[2])
program.SILENCE = 0.3
try:
    program.load("pipe")
except program.Fault as fault:
    print(fault.kind, fault.message)
END
    { printf x; exec sleep 60; } >pipe &
    equal "timeout pipe: its writer keeps silent, and has not ended" "$(timeout 60 python3 soon.py "$BATS_TEST_DIRNAME" "$ROOT/bin/agent-context")"
    kill $!
    run -1 --separate-stderr agent-context /dev/zero </dev/null
    has "$stderr" "/dev/zero: over 20 MiB"
}

@test "a repository that git does not read says why" {
    ((EUID == 0)) || skip "only root can make a folder another user's"
    git init -q theirs
    echo x | tee theirs/seen theirs/hidden >/dev/null
    echo hidden >theirs/.gitignore
    chown -R 65534 theirs
    run -0 --separate-stderr agent-context theirs </dev/null
    equal theirs/seen "$(jq -r .source <<<"$output")"
    has "$stderr" "agent-context: theirs: git: detected dubious ownership"
    cd theirs
    run -2 agent-context --diff </dev/null
    has "$output" "--diff: detected dubious ownership"
}

@test "what holds secrets is left out, by name or content, and named; as an operand it is an error" {
    mkdir -p d/sub
    for name in id_rsa credentials.json sub/server.key notes.txt; do
        printf -- '-----BEGIN PRIVATE KEY-----\nSECRET\n' >"d/$name"
    done
    echo 'token: ghp_0123456789abcdefghijABCDEFGHIJ012345' >d/settings.yaml
    echo plain >d/plain.txt
    run -0 --separate-stderr agent-context d </dev/null
    equal 'd/plain.txt' "$(sources "$output")"
    equal "agent-context: left out: 5 with secrets: d/credentials.json, d/id_rsa, d/notes.txt, d/settings.yaml, d/sub/server.key (--include-secrets includes them)" "$stderr"
    lacks "$(agent-context 'd/*' d/sub </dev/null 2>&1)" SECRET
    run -2 agent-context d/id_rsa </dev/null
    equal 'agent-context: d/id_rsa holds secrets: --include-secrets includes it' "$output"
    has "$(agent-context --include-secrets d/id_rsa </dev/null)" SECRET
}

@test "a diff leaves out the files of secrets" {
    repository
    mkdir conf && echo 'K=SECRET' >conf/.env.local && echo more >>src/retry.py && git add -Af
    has "$(agent-context --diff </dev/null)" '+more'
    lacks "$(agent-context --diff </dev/null)" SECRET
    has "$(agent-context --diff --include-secrets </dev/null)" SECRET
}

@test "a pipe is read whole: to see whether it is a secret takes nothing from it" {
    run -0 agent-context <(seq 10; sleep 0.3; seq 10) </dev/null
    equal 20 "$(jq -j .text <<<"$output" | wc -l)"
}

# unprivileged COMMAND...: as somebody whom the modes of files stop, also where the tests run as root.
unprivileged() {
    if ((EUID)); then "$@"; else setpriv --bounding-set=-dac_override,-dac_read_search -- "$@"; fi
}

@test "a folder that cannot be read is reported, in a repository and without, and not taken for a missing one" {
    git init -q . && mkdir new known open && touch new/a known/b open/c
    git add known open && chmod 0 new known
    [[ ! -r known ]] || ((!EUID)) || skip "modes stop nobody here"
    for _ in git none; do
        run --separate-stderr unprivileged agent-context . </dev/null
        equal open/c "$(sources "$output")"
        has "$stderr" "agent-context: known: Permission denied: left out"
        has "$stderr" "agent-context: new: Permission denied: left out"
        run unprivileged agent-context known/b </dev/null
        has "$output" "agent-context: known/b: Permission denied"
        run unprivileged "$ROOT/tools/list_files" <<<'{"recursive":true}'
        equal $'known/\nnew/\nopen/\nopen/c\n[not listed: what is in 2 folders that cannot be read]' "$output"
        run unprivileged "$ROOT/tools/list_files" <<<'{"path":"known/b"}'
        equal "list_files: known/b: permission denied" "$output"
        run unprivileged "$ROOT/tools/search_files" <<<'{"text":"x"}'
        has "$output" "[not searched: 2 Permission denied]"
        run unprivileged "$ROOT/tools/search_files" <<<'{"text":"x","path":"known/b"}'
        has "$output" "known/b: Permission denied"
        for name in run_linter scan_security; do # on standard output, where a model sees it
            run --separate-stderr unprivileged "$ROOT/tools/$name" <<<'{"path":"."}'
            has "$output" "known: Permission denied: left out"
        done
        rm -rf .git
    done
    chmod 755 new known
}

@test "what is not UTF-8 is read as Latin-1 or with U+FFFD, with a message; what is not text is refused, everywhere alike" {
    printf 'caf\xe9 \x96 na\xefve\n' >latin
    printf 'caf\xc3\xa9 cr\xc3\xa8me \xe9 x\n' >mixed
    printf '\x89\x01\x02\xfe\xff%s' abc >binary
    run --separate-stderr agent-context - <latin
    equal $'café – naïve' "$(jq -r .text <<<"$output")"
    equal "agent-context: standard input is not UTF-8: read as Latin-1" "$stderr"
    run --separate-stderr agent-context latin </dev/null
    equal $'café – naïve' "$(jq -r .text <<<"$output")"
    equal "agent-context: latin is not UTF-8: read as Latin-1" "$stderr"
    run --separate-stderr agent-discover - <mixed
    equal $'café crème \ufffd x' "$(jq -r 'select(.type == "input").text' <<<"$output")"
    has "$stderr" "agent-discover: standard input: 1 places are not UTF-8: each stands as "
    for program in "agent-llm - hi" "agent-react - hi" "agent-plan - hi" "agent-context -" "agent-memory remember k -"; do
        # shellcheck disable=SC2086  # words
        run -2 --separate-stderr $program <binary
        equal "${program%% *}: standard input is not text: give a picture or document by agent-context" "$stderr"
    done
    run agent-context binary </dev/null
    has "$output" "agent-context: binary: binary"
    for program in text-processor commit-message assistant architect; do
        run --separate-stderr "$program" - hi <binary
        ((status))
        has "$stderr" "standard input is not text"
    done
}
