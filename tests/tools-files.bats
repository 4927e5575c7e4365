#!/usr/bin/env bats
# tools/: those that read, list, search and write files
load helper
load tools

@test "read_file gives a range of lines, and says where it cut" {
    seq 100000 >numbers
    tool read_file '{"path":"numbers","start":3,"end":5}'
    equal $'3\n4\n5' "$output"
    tool read_file '{"path":"numbers"}'
    equal "[cut in line 45542: read on with start 45542]" "${lines[-1]}"
    ((${#output} < 270000))
    tool read_file '{"path":"numbers","start":100001}'
    fails 1 "read_file: numbers: has 100000 lines, no line 100001"
    tool read_file '{"path":"numbers","start":5,"end":3}'
    fails 100 "read_file: 'end' is 3, before 'start', 5"
    : >empty
    tool read_file '{"path":"empty"}'
    equal 0 "$status"
}

@test "read_file tells a binary file, and opens no FIFO" {
    printf 'a\0b' >binary
    tool read_file '{"path":"binary"}'
    fails 1 "read_file: binary: a binary file of 3 bytes"
    truncate -s 1T sparse
    tool read_file '{"path":"sparse"}'
    fails 1 "read_file: sparse: a binary file of 1099511627776 bytes"
    rm sparse
    printf 'GIF\x01\x02\xfe\x03' >picture
    tool read_file '{"path":"picture"}'
    fails 1 "read_file: picture: a binary file of 7 bytes"
    mkfifo fifo
    tool read_file '{"path":"fifo"}'
    fails 1 "read_file: fifo: not a regular file"
}

@test "list_files sorts, marks folders, leaves hidden ones out unless asked" {
    mkdir -p d/sub/deep d/.git
    touch d/b d/.hidden d/-n d/sub/x d/$'new\nline'
    tool list_files '{"path":"d"}'
    equal $'-n\nb\nnew?line\nsub/' "$output"
    tool list_files '{"path":"d","hidden":true,"recursive":true}'
    equal $'-n\n.git/\n.hidden\nb\nnew?line\nsub/\nsub/deep/\nsub/x' "$output"
    tool list_files '{"path":"nosuch"}'
    fails 1 "list_files: nosuch: no such file or folder"
    tool list_files '{"path":"d/b"}'
    fails 1 "list_files: d/b: not a folder"
    tool list_files '{}'
    equal d/ "$output"
}

@test "list_files stops at a thousand names" {
    mkdir many
    (cd many && seq 1500 | xargs touch)
    tool list_files '{"path":"many"}'
    equal 1001 "${#lines[@]}"
    equal "[500 more]" "${lines[-1]}"
}

@test "search_files finds text and patterns, and leaves binary files and .git out" {
    mkdir -p src/.git
    printf 'def one():\n    pass\nDEF two\n' >src/a.py
    printf 'def in text\n' >src/b.txt
    printf 'def \0' >src/binary
    printf 'def\n' >src/.git/c
    tool search_files '{"text":"def","path":"src"}'
    equal $'src/a.py:1: def one():\nsrc/b.txt:1: def in text' "$output"
    tool search_files '{"pattern":"^DEF\\s","path":"src","name":"*.py","ignore_case":true}'
    equal $'src/a.py:1: def one():\nsrc/a.py:3: DEF two' "$output"
    tool search_files '{"text":"nowhere"}'
    equal "nothing found" "$output"
    tool search_files '{"pattern":"("}'
    has "$stderr" "'pattern' is no regular expression"
    tool search_files '{"text":"x","path":"nosuch"}'
    fails 1 "search_files: nosuch: no such file or folder"
}

@test "search_files takes a name with folders, ** and braces, and says what it could not search" {
    mkdir -p src/a/b lib
    for file in src/a/x.ts src/a/b/y.tsx src/z.c lib/z.h; do echo needle >"$file"; done
    while read -r name found; do
        tool search_files "$(jq -cn --arg name "$name" '{text:"needle",name:$name}')"
        output=${output//:1: needle/}
        equal "$name: $found" "$name: ${output//$'\n'/ }"
    done <<'END'
**/*.ts src/a/x.ts
src/**/*.ts src/a/x.ts
src/a/x.ts src/a/x.ts
./src/a/* src/a/x.ts
src/ src/z.c src/a/x.ts src/a/b/y.tsx
*.{ts,tsx} src/a/x.ts src/a/b/y.tsx
{src,lib}/*.[ch] lib/z.h src/z.c
[!l].c src/z.c
**/b/** src/a/b/y.tsx
x nothing found
END
    tool search_files '{"text":"needle","path":"src","name":"a/*.ts"}'
    equal "src/a/x.ts:1: needle" "$output"
    mkdir $'a\nz:9: b' && echo 'a needle' >$'a\nz:9: b/f'
    tool search_files '{"text":"a needle"}'
    equal "a?z:9: b/f:1: a needle" "$output"
    rm -r a?z*
    printf 'caf\xe9' >latin
    head -c 11000000 /dev/zero | tr '\0' x >large
    printf 'one\x0btwo\r\nthree needle\n' >lines
    tool search_files '{"text":"needle","path":"lines"}'
    equal "lines:2: three needle" "$output"
    tool search_files '{"text":"nowhere"}'
    equal "nothing found
[not searched: 1 larger than 10 MiB]" "$output"
    if ((EUID)); then
        chmod 0 latin src/a
        tool search_files '{"text":"nowhere"}'
        has "$output" "2 Permission denied"
    fi
}

@test "search_files ends a pattern that takes for ever" {
    python3 -c 'print("a" * 40 + "b")' >letters
    sed 's/^SECONDS = .*/SECONDS = 1/' "$ROOT/tools/search_files" >hasty
    sed -i "s|os.path.dirname(os.path.realpath(__file__)), \"..\"|\"$ROOT\"|" hasty
    chmod +x hasty
    run --separate-stderr timeout 60 ./hasty <<<'{"pattern":"(a+)+$","path":"letters"}'
    equal 1 "$status"
    has "$stderr" "not done after 1 s"
}

@test "write_file makes folders, replaces whole files and keeps the mode" {
    tool write_file '{"path":"a/b/c.txt","content":"é\n"}'
    equal "made a/b/c.txt: 3 bytes" "$output"
    chmod 640 a/b/c.txt
    tool write_file '{"path":"a/b/c.txt","content":"new"}'
    equal "replaced a/b/c.txt: 3 bytes" "$output"
    equal "640 new" "$(stat -c %a a/b/c.txt) $(<a/b/c.txt)"
    equal c.txt "$(ls -A a/b)"
}

@test "write_file appends lines of their own, with the line ends of the file" {
    tool write_file '{"path":"a","content":"one","append":true}'
    equal "made a: 3 bytes" "$output"
    tool write_file '{"path":"a","content":"two","append":true}'
    equal "added to a: 8 bytes" "$output"
    equal $'one\ntwo' "$(<a)"
    printf 'one\r\ntwo\r\n' >b
    tool write_file '{"path":"b","content":"three\n","append":true}'
    cmp b <(printf 'one\r\ntwo\r\nthree\r\n')
}

@test "write_file and edit_file stay in the working folder, whatever links there are" {
    mkdir outside work
    echo old >outside/file
    ln -s ../outside work/link
    ln -s ../outside/file work/filelink
    cd work || return
    local path
    for path in ../outside/file "$SCRATCH/here/outside/file" link/file filelink link/new /etc/passwd ../../../../../../etc/passwd; do
        tool write_file "$(jq -cn --arg p "$path" '{path:$p,content:"evil"}')"
        equal 100 "$status"
        has "$stderr" "not beneath the working folder"
        tool edit_file "$(jq -cn --arg p "$path" '{path:$p,old:"old",new:"evil"}')"
        ((status != 0))
    done
    equal "old file" "$(cat ../outside/file) $(ls ../outside)"
}

@test "write_file refuses folders, FIFOs and read-only files" {
    mkdir d
    mkfifo f
    echo x >ro && chmod 444 ro
    tool write_file '{"path":"d","content":"x"}'
    fails 1 "write_file: d: not a regular file"
    tool write_file '{"path":"f","content":"x"}'
    fails 1 "write_file: f: not a regular file"
    tool write_file '{"path":"ro","content":"x"}'
    fails 1 "write_file: ro: the file is read-only"
    tool write_file '{"path":"ro/x","content":"x"}'
    fails 1 "write_file: ro/x: ro: Not a directory"
}

@test "edit_file replaces exactly one place, or says why not" {
    printf 'one\ntwo\n  three\ntwo\n' >f
    tool edit_file '{"path":"f","old":"one","new":"1"}'
    equal "changed f: 1 place (line 1)" "$output"
    tool edit_file '{"path":"f","old":"two","new":"2"}'
    fails 1 "edit_file: f: the old text stands 2 times, in lines 2, 4; give more of the text around it, or all: true"
    tool edit_file '{"path":"f","old":"two","new":"2","all":true}'
    equal $'1\n2\n  three\n2' "$(<f)"
    tool edit_file '{"path":"f","old":"\tthree","new":"3"}'
    fails 1 "edit_file: f: the old text is not in the file: line 3 has it with other white space"
    tool edit_file '{"path":"f","old":"","new":"3"}'
    fails 100 "edit_file: 'old' is empty; give the text to replace"
    printf 'a\r\nb\r\n' >crlf
    tool edit_file '{"path":"crlf","old":"a\nb","new":"c\nd\ne"}'
    equal $'c\r\nd\r\ne\r' "$(<crlf)"
    tool edit_file '{"path":"crlf","old":"c","new":"c"}'
    fails 100 "edit_file: 'old' and 'new' are the same: nothing would change"
    printf '\tif x:\n\t\ty()\n' >tabbed
    tool edit_file '{"path":"tabbed","old":"    if x:\n        y()","new":"z"}'
    fails 1 "edit_file: tabbed: the old text is not in the file: line 1 has it with other white space"
    printf 'say \xe2\x80\x9chi\xe2\x80\x9d\n' >quotes
    tool edit_file '{"path":"quotes","old":"say \"hi\"","new":"z"}'
    fails 1 "edit_file: quotes: the old text is not in the file: line 1 has it with other quotation marks or dashes"
}

@test "files are kept as they are: encoding, line ends, mode, hard links, owner" {
    printf 'caf\xe9 one\n' >latin
    tool edit_file '{"path":"latin","old":"one","new":"zwei für"}'
    equal "café zwei für" "$(iconv -f latin1 -t utf-8 latin)"
    tool edit_file '{"path":"latin","old":"zwei","new":"今"}'
    fails 1 "edit_file: the file is latin-1, which has no '今'"
    tool read_file '{"path":"latin"}'
    equal "café zwei für" "$output"
    printf '\xff\xfea\0\r\0\n\0' >wide
    tool read_file '{"path":"wide"}'
    equal a "$output"
    printf '\xef\xbb\xbfone\r\ntwo\r\n' >marked
    tool write_file '{"path":"marked","content":"a\nb\n"}'
    cmp marked <(printf '\xef\xbb\xbfa\r\nb\r\n')
    echo x >one && ln one two && chmod 640 one
    tool write_file '{"path":"one","content":"y\n"}'
    equal "y y 640" "$(<one) $(<two) $(stat -c %a one)"
    tool write_file '{"path":"~/x","content":"y"}'
    fails 100 "write_file: ~/x: ~ is no folder here; give the path itself"
}
