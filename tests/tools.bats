#!/usr/bin/env bats
# tools/: each does its work, and is careful with what it is given
load helper
load tools

@test "every tool holds the mark by which it may be asked, wherever it is copied to" {
    run grep -L -- --agent-schema "$ROOT"/tools/*
    equal "" "$output"
}

@test "wordcount counts as wc does" {
    local text
    for text in '' 'one' $'one two\n\tthree\v four\f' $'caf\xc3\xa9 \xe2\x80\x83 nbsp\xc2\xa0x\n' $'\xff\xfe bad \x01\n' $'a\0b c\n' '   '; do
        printf '%s' "$text" >file
        tool wordcount '{"path":"file"}'
        equal "$(wc -lwc <file | xargs printf '{"lines":%s,"words":%s,"bytes":%s}')" "$output"
    done
    tool wordcount '{"text":"two words\n"}'
    equal '{"lines":1,"words":2,"bytes":10}' "$output"
}

@test "wordcount says what it cannot count" {
    tool wordcount '{"path":"nosuch"}'
    fails 1 "wordcount: nosuch: No such file or directory"
    tool wordcount '{"path":"."}'
    fails 1 "wordcount: .: is a folder"
    mkfifo fifo
    tool wordcount '{"path":"fifo"}'
    fails 1 "wordcount: fifo: not a regular file"
    tool wordcount '{"path":"/dev/zero"}'
    fails 1 "wordcount: /dev/zero: not a regular file"
    tool wordcount '{}'
    fails 100 "wordcount: give one of 'path' and 'text'"
    tool wordcount '{"path":"a","text":"b"}'
    fails 100 "wordcount: give one of 'path' and 'text', not both"
}

@test "every file tool refuses a name with a NUL" {
    local name more
    for name in wordcount read_file search_files list_files json_query edit_file write_file; do
        case $name in
        search_files) more='"text":"x",' ;;
        json_query) more='"query":".",' ;;
        edit_file) more='"old":"x","new":"y",' ;;
        write_file) more='"content":"x",' ;;
        *) more= ;;
        esac
        tool "$name" "{$more\"path\":\"a\\u0000b\"}"
        ((status != 0))
        equal "" "$output"
        equal 1 "$(wc -l <<<"$stderr")"
    done
    equal "" "$(ls)"
}

@test "an argument that is unknown, missing or of the wrong type is named by every tool" {
    uses node
    local name
    for name in "$ROOT"/tools/*; do
        name=${name##*/}
        [[ -z $("$ROOT/tools/$name" --agent-schema | jq -r 'select(.kind=="plugin")') ]] || continue
        tool "$name" '{"no_such_argument":1}'
        equal 100 "$status"
        has "$stderr" "$name: "
        equal 1 "$(wc -l <<<"$stderr")"
    done
    tool calculator '{"expression":5}'
    fails 100 "calculator: 'expression' is 5, not of type string"
    tool reverse '{"text":5}'
    fails 100 "reverse: 'text' is not of type string"
    tool list_files '{"path":true}'
    fails 100 "list_files: 'path' is not of type string"
    tool read_file '{"path":"x","start":0}'
    has "$stderr" "'start' is 0"
}

@test "uppercase follows Unicode" {
    tool uppercase '{"text":"straße, ﬁne, ǆ, éa\ud83d\ude00"}'
    equal 'STRASSE, FINE, Ǆ, ÉA😀' "$output"
}

@test "reverse turns around what a reader sees as characters" {
    tool reverse '{"text":"hello"}'
    equal olleh "$output"
    tool reverse '{"text":"e\u0301a🇩🇪👨‍👩‍👧x"}'
    equal $'x👨‍👩‍👧🇩🇪ae\xcc\x81' "$output"
    tool reverse '{"text":"12"}'
    equal 21 "$output"
}

@test "half a surrogate pair in a text does not break the output" {
    local name
    for name in uppercase reverse; do
        tool "$name" '{"text":"a\ud800b"}'
        iconv -f UTF-8 -t UTF-8 <<<"$output$stderr" >/dev/null
    done
    tool uppercase '{"text":"a\ud800b"}'
    equal 'A�B' "$output"
}

@test "calculator is exact where it can be" {
    local row
    while IFS='=' read -r row want; do
        tool calculator "$(jq -cn --arg e "$row" '{expression:$e}')"
        equal "$row=$want" "$row=$output"
    done <<'END'
0.1+0.2=0.3
2^100=1267650600228229401496703205376
-2^2=-4
2**-1=0.5
(1+2)*3/4=2.25
10 % 3=1
7//2=3
1/3=0.333333333333333
sqrt(16)=4
round(2.345, 2)=2.35
5! - 20=100
max(1, 2.5)=2.5
2 × 3 ÷ 4 − 1=0.5
1e3=1000
END
}

@test "calculator refuses what is no arithmetic, and bounds what is large" {
    local row
    for row in '1/0' '9^9^9' '2^100001' '__import__("os")' '1 +' '(1' '1 2' '' 'exp(1e9)' '(-8)^(1/3)' "$(printf '(%.0s' {1..500})" \
        'factorial(10^9)' '1e999999999' 'sqrt(-1)' 'x'; do
        tool calculator "$(jq -cn --arg e "$row" '{expression:$e}')"
        ((status == 1 || status == 100))
        equal "" "$output"
        equal 1 "$(wc -l <<<"$stderr")"
    done
}

@test "run_command gives both outputs and the exit status" {
    tool run_command '{"command":"echo out; echo err >&2; exit 3"}'
    equal 0 "$status"
    equal $'out\nerr\n[ended with status 3]' "$output"
    tool run_command '{"command":"cat","stdin":"given"}'
    equal given "$output"
    tool run_command '{"command":"true"}'
    equal "[done, nothing printed]" "$output"
    tool run_command '{"command":"kill -9 $$"}'
    equal "[ended by SIGKILL: killed, perhaps for want of memory]" "$output"
    tool run_command '{"command":" "}'
    fails 100 "run_command: 'command' is empty or holds a NUL"
}

@test "run_command ends what takes too long or prints too much, with all that it started" {
    local before=$SECONDS
    tool run_command '{"command":"sleep 300 & sleep 300","timeout":1}'
    fails 1 "run_command: timed out after 1 s"
    ((SECONDS - before < 60))
    no_survivors
    tool run_command '{"command":"yes"}'
    equal "[cut after 64 KiB, and the command ended]" "${lines[-1]}"
}

@test "json_query runs jq programs on a file or a text" {
    echo '{"items":[{"n":1},{"n":12345678901234567}]}' >f.json
    tool json_query '{"query":".items[0].n","path":"f.json"}'
    equal 1 "$output"
    tool json_query '{"query":".[] | ascii_upcase","text":"[\"a\",\"é\"]"}'
    equal $'"A"\n"é"' "$output"
    tool json_query '{"query":".a[","text":"{}"}'
    equal 100 "$status"
    has "$stderr" "'query' is no jq program"
    tool json_query '{"query":".","text":"{oops"}'
    equal 1 "$status"
    tool json_query '{"query":".a","text":"5"}'
    has "$stderr" "Cannot index number"
    tool json_query '{"query":"range(1e9)|tostring","text":"1"}'
    equal "[cut after 256 KiB: ask for less]" "${lines[-1]}"
}

@test "json_query ends a program that loops for ever or eats the memory" {
    sed "s/^SECONDS = 10/SECONDS = 1/; s|os.path.dirname(os.path.realpath(__file__)), \"..\"|\"$ROOT\"|" \
        "$ROOT/tools/json_query" >hasty
    chmod +x hasty
    run --separate-stderr timeout 60 ./hasty <<<'{"query":"last(repeat(1))","text":"1"}'
    equal 1 "$status"
    has "$stderr" "timed out after 1 s"
    tool json_query '{"query":"[limit(1e9; repeat(\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"))]","text":"1"}'
    equal 1 "$status"
}

@test "current_time knows the zones" {
    uses node
    local before
    before=$(date -u +%F)
    tool current_time '{}'
    has "$before $(date -u +%F)" "${output:0:10}" # it may be midnight
    has "$output" "+00:00"
    tool current_time '{"zone":"Asia/Kolkata"}'
    has "$output" "+05:30"
    tool current_time '{"zone":"../../etc/passwd"}'
    fails 100 'current_time: "../../etc/passwd" is no IANA time zone, such as Europe/Paris'
}

@test "column_stats reads a file, and finds a column by its heading" {
    printf 'day,Height\nmon,210\ntue,"245"\r\n' >tides.csv
    tool column_stats '{"path":"tides.csv","column":"height"}'
    equal '{"count":2,"sum":455,"average":227.5,"smallest":210,"largest":245,"skipped":1}' "$output"
    tool column_stats '{"path":"tides.csv","column":2}'
    has "$output" '"largest":245'
    tool column_stats '{"path":"tides.csv","column":"depth"}'
    fails 100 "column_stats: no column has the heading 'depth'; the first line is: day,Height"
    tool column_stats '{"path":"none.csv"}'
    fails 1 "column_stats: none.csv: cannot be read"
    tool column_stats '{"path":"/inet/tcp/0/localhost/80"}'
    fails 100 "column_stats: /inet/tcp/0/localhost/80: no file"
    tool column_stats '{"path":"a","text":"b"}'
    fails 100 "column_stats: give one of 'path' and 'text'"
}

@test "column_stats sums a column and counts what is no number" {
    tool column_stats '{"text":"name,n\na,5\nb,7.5\nc,\n","column":2,"separator":","}'
    equal '{"count":2,"sum":12.5,"average":6.25,"smallest":5,"largest":7.5,"skipped":2}' "$output"
    tool column_stats '{"text":"1 -3\n2 1e2\n","column":2}'
    equal '{"count":2,"sum":97,"average":48.5,"smallest":-3,"largest":100,"skipped":0}' "$output"
    local separator
    # shellcheck disable=SC1003  # a backslash
    for separator in '|' '^' '\\' ']' '.' '\t'; do
        tool column_stats "{\"text\":\"1${separator}2\",\"column\":2,\"separator\":\"$separator\"}"
        has "$output" '"sum":2,'
    done
    tool column_stats '{"text":"none"}'
    fails 1 "column_stats: no number in column 1"
}

@test "fetch_url refuses this machine, private networks and other schemes" {
    local url
    for url in http://127.0.0.1/ http://localhost/ http://169.254.169.254/latest/meta-data http://10.0.0.1/ http://192.168.1.1/ \
        'http://[::1]/' 'http://[::ffff:127.0.0.1]/' 'http://[fe80::1]/' 'http://[64:ff9b::7f00:1]/' http://0/ http://2130706433/ \
        http://0x7f000001/ http://100.64.0.1/ http://224.0.0.1/ file:///etc/passwd gopher://x/ ftp://x/ data:text/plain,x; do
        tool fetch_url "{\"url\":\"$url\"}"
        equal "$url 100" "$url $status"
        equal "" "$output"
    done
    tool fetch_url '{"url":"http://user:secret@example.org/"}'
    equal 100 "$status"
}

@test "fetch_url turns HTML into text, follows redirects, tells binary and errors, and caps" {
    cat >server.py <<'PYTHON'
import http.server, sys, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        port = self.server.server_port
        pages = {"/html": ("text/html; charset=latin-1", "<title>T</title><style>x</style><p>caf\u00e9 &amp; <b>tea</b><script>no()</script><ul><li>a<li>b</ul>".encode("latin-1")),
                 "/text": ("text/plain", b"plain\n"), "/image": ("image/png", b"\x89PNG"), "/big": ("text/plain", b"x" * 3000000)}
        if self.path in ("/loop", "/inside", "/file"):
            self.send_response(302)
            self.send_header("Location", {"/loop": "/loop", "/inside": f"http://127.0.0.2:{port}/text", "/file": "file:///etc/passwd"}[self.path])
            self.end_headers()
            return
        if self.path not in pages:
            self.send_error(404)
            return
        kind, data = pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
print(server.server_port, flush=True)
threading.Timer(60, server.shutdown).start()
server.serve_forever()
PYTHON
    mkfifo port
    python3 server.py >port &
    local server=$! at
    read -r at <port
    export AGENT_FETCH_PRIVATE=127.0.0.1:$at
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/html\"}"
    equal $'T\ncafé & tea\n- a\n- b' "$output"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/html\",\"raw\":true}"
    has "$output" "<b>tea</b>"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/image\"}"
    fails 1 "fetch_url: http://127.0.0.1:$at/image: image/png, 4 bytes, is not text"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/nosuch\"}"
    fails 1 "fetch_url: http://127.0.0.1:$at/nosuch: HTTP 404 Not Found"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/big\"}"
    equal "[cut after 1 MiB]" "${lines[-1]}"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/loop\"}"
    has "$stderr" "more than 5 redirects"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/inside\"}"
    equal 100 "$status"
    has "$stderr" "127.0.0.2 is not an address of the public internet"
    tool fetch_url "{\"url\":\"http://127.0.0.1:$at/file\"}"
    has "$stderr" "only http and https"
    kill "$server"
}

@test "every tool says whether it only reads, and has two examples" {
    local name
    for name in wordcount uppercase reverse calculator read_file list_files search_files write_file edit_file run_command \
        fetch_url json_query current_time column_stats; do
        "$ROOT/tools/$name" --agent-schema |
            jq -e '(.examples | length) >= 2 and (.annotations.readOnlyHint | type) == "boolean"' >/dev/null ||
            { echo "$name" >&2; return 1; }
    done
}

@test "the tools are written in five languages at least" {
    local languages
    languages=$(head -qn 1 "$ROOT"/tools/* | grep -oE 'python3|perl|node|/sh' | sort -u)
    grep -lq '^LC_ALL=C exec awk' "$ROOT"/tools/* && languages+=$'\nawk'
    ((5 <= $(wc -l <<<"$languages")))
}

@test "numbers keep their digits, and 2.0 is an integer" {
    run -0 "$ROOT/tools/column_stats" <<<'{"text":"1234567890123456789\n3.10"}'
    has "$output" '"smallest":3.10,"largest":1234567890123456789,'
    printf 'a\nb\nc\n' >lines
    run -0 "$ROOT/tools/read_file" <<<'{"path":"lines","start":2.0,"end":2.0}'
    equal b "$output"
    run -100 "$ROOT/tools/read_file" <<<'{"path":"lines","start":2.5}'
    run -0 "$ROOT/tools/json_query" <<<'{"text":"[1234567890123456789,3.10]","query":".[]"}'
    equal $'1234567890123456789\n3.10' "$output"
    run -1 agent-memory import --store s.db <<<'{"type":"memory","key":"a","value":1,"namespace":{}}'
    has "$output" "line 1: a memory's \`namespace\` must be a string"
}

@test "a file keeps its group, its byte order and its mark; a folder ~name is refused" {
    for order in utf-16-le utf-16-be; do
        python3 -c 'import sys; open("w", "wb").write("\ufeffone\r\ntwo\r\n".encode(sys.argv[1]))' $order
        run -0 "$ROOT/tools/edit_file" <<<'{"path":"w","old":"one\n","new":"1\n3\n"}'
        equal "$(python3 -c 'import sys; print(ascii("\ufeff1\r\n3\r\ntwo\r\n"))')" "$(python3 -c 'import sys; print(ascii(open("w", "rb").read().decode(sys.argv[1])))' $order)"
        run -0 "$ROOT/tools/write_file" <<<'{"path":"w","content":"x\n"}'
        equal "$(python3 -c 'import sys; print(ascii("\ufeffx\r\n"))')" "$(python3 -c 'import sys; print(ascii(open("w", "rb").read().decode(sys.argv[1])))' $order)"
    done
    run -100 "$ROOT/tools/write_file" <<<'{"path":"~root/x","content":"x"}'
    [ ! -e '~root' ]
    ((EUID == 0)) || skip "only root can give a file to another group"
    echo a >g && chgrp 12345 g
    run -0 "$ROOT/tools/edit_file" <<<'{"path":"g","old":"a","new":"b"}'
    equal "b 12345" "$(cat g) $(stat -c %g g)"
}

@test "arguments with a byte order mark are read by every tool, in each of its languages" {
    local name arguments
    while read -r name arguments; do
        run "$ROOT/tools/$name" < <(printf '\xef\xbb\xbf%s' "$arguments")
        equal 0 "$status"
    done <<'END'
wordcount {"text":"a"}
list_files {"path":"."}
column_stats {"text":"1"}
reverse {"text":"ab"}
END
}

@test "column_stats gives sums with all their digits" {
    tool column_stats '{"text":"8007199254740001\n0"}'
    has "$output" '"sum":8007199254740001,'
    tool column_stats '{"text":"1234567890.12\n0.01"}'
    has "$output" '"sum":1234567890.13,'
}
