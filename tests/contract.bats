#!/usr/bin/env bats
# The promises that every executable of the project keeps (docs/protocol.md), registered in a loop over all of them.
load helper

# How a program that reads records is asked to read them: its arguments, if it is not simply run without any.
arguments() {
    case ${1##*/} in
    agent-react) echo "say hi" ;;
    agent-memory) echo load ;;
    agent-mcp) echo list cat ;; # which is a server that never answers
    agent-parallel) echo "--local 1" ;;
    esac
}

# Programs in Python whose standard input is nobody's, or goes to the command they run as it is. (The agents in bash
# read plain text.)
readers_of_no_records=" agent-acp agent-acp-prompt agent-bundle agent-eval agent-every agent-mcp-connect agent-mcp-hold agent-mcp-http agent-mcp-login agent-mcp-serve agent-reflect agent-schedule agent-vote "
readers_of_no_records+="agent-discover-check agent-parallel-ray agent-parallel-ssh "

# ask FILE ARGUMENT... : runs it under a bound, without standard input, output and messages apart.
ask() { run --separate-stderr timeout 60 "$@" </dev/null; }

no_traceback() { lacks "$stderr$output" "Traceback (most recent call last)" && lacks "$stderr" "internal error"; }

# The whole of line two without its comment sign or quotes: `name - purpose`.
line_two() {
    local line
    line=$(sed -n 2p "$1")
    line=${line#\"\"\"} line=${line%\"\"\"}
    line=${line#\# } line=${line#// }
    printf '%s\n' "$line"
}

# Whether it is written in Python. (No process for it: this file is read again for each of its tests.)
python() {
    local first
    IFS= read -r first <"$1"
    [[ $first == *python3* ]]
}

help_begins_with_line_two() {
    ask "$1" --help
    equal 0 "$status"
    equal "" "$stderr"
    has "$output" "$(line_two "$1")"
}

version_is_the_suites() {
    ask "$1" --version
    equal 0 "$status"
    equal "" "$stderr"
    local version from=" from $ROOT"
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$ROOT/lib/agentlib/__init__.py")
    python "$1" || [[ $1 == "$ROOT/bin/"* ]] || from='' # a program that knows nothing of the suite
    equal "${1##*/} $version$from" "$output"
}

schema_is_json_with_line_two() {
    mkfifo silent
    exec 4<>silent # a standard input that never says anything and never ends
    run --separate-stderr timeout 60 "$1" --agent-schema <&4
    exec 4>&-
    equal 0 "$status"
    equal "" "$stderr"
    LINE_TWO=$(line_two "$1") python3 - "${1##*/}" "$output" <<'PYTHON'
import json, os, sys
name, text = sys.argv[1:]
told = [json.loads(line) for line in text.splitlines()]
assert told, "nothing on standard output"
for one in told:
    assert isinstance(one, dict) and one["name"] and one["description"], one
    assert one.get("inputSchema", {"type": "object"})["type"] == "object", one
if len(told) == 1:
    purpose = os.environ["LINE_TWO"].partition(" - ")[2]
    assert told[0]["name"] == name, told[0]["name"]
    assert told[0]["description"] == purpose[:1].upper() + purpose[1:], told[0]["description"]
else:   # several tools in one program: each says what to put after the path
    assert all(one.get("args") for one in told), "several tools, one without `args`"
    assert len({one["name"] for one in told}) == len(told), "two tools of one name"
PYTHON
}

unknown_flag_is_one_line_and_status_2() {
    ask "$1" --no-such-flag
    equal 2 "$status"
    equal "" "$output"
    equal 1 "$(wc -l <<<"$stderr")"
    [[ $stderr == "${1##*/}: "* || $stderr == "agent-react: "* && $(head -n 1 "$1") == *bash* ]]
    no_traceback
}

closed_pipe_is_silent() {
    local question
    mkfifo nobody
    # shellcheck disable=SC2094
    exec 4<>nobody 5>nobody 4>&- # descriptor 5 is a pipe that nobody reads
    for question in --help --agent-schema; do
        run --separate-stderr bash -c 'exec env --default-signal=PIPE timeout 60 "$@" >&5' - "$1" "$question" </dev/null
        equal 141 "$status"
        equal "" "$stderr"
    done
    exec 5>&-
}

full_disk_is_told() {
    local question
    for question in --help --agent-schema; do
        run --separate-stderr bash -c 'exec timeout 60 "$@" >/dev/full' - "$1" "$question" </dev/null
        ((status != 0 && status != 124))
        has "$stderr" "No space left"
        no_traceback
    done
}

closed_standard_input_is_none() {
    run --separate-stderr bash -c 'exec timeout 60 "$@" <&-' - "$1" --agent-schema
    equal 0 "$status"
    equal "" "$stderr"
    python "$1" || return 0 # a shell without descriptor 0 gives its number to the pipes that it makes
    # shellcheck disable=SC2046  # no argument or one word and more
    run --separate-stderr bash -c 'exec timeout 60 "$@" <&-' - "$1" $(arguments "$1")
    ((status != 124))
    no_traceback
}

start_imports_nothing_slow() {
    local question
    for question in --help --agent-schema --version; do
        timeout 60 python3 -X importtime -IS "$1" "$question" </dev/null >/dev/null 2>imports
        grep -q "encodings" imports # the log is there
        run ! grep -E '\| +(httpx|socket|asyncio|orjson|ssl|typing|dataclasses|pydantic|numpy)$' imports
    done
}

broken_record_is_named_by_its_line() {
    local wrong
    for wrong in 'not json' '["a","list"]' '{"no":"type"}' '{"type":7}' '{"type":"x","n":NaN}'; do
        [[ $wrong != *NaN* ]] || python "$1" || continue # jq takes it for null
        printf '{"type":"unknown-to-all","x":1}\n\n%s\n' "$wrong" >stream.jsonl
        # shellcheck disable=SC2046
        run --separate-stderr timeout 60 "$1" $(arguments "$1") <stream.jsonl
        equal 2 "$status"
        has "$stderr" "${1##*/}: "
        has "$stderr" "line 3"
        no_traceback
    done
}

broken_arguments_are_an_error() {
    local wrong
    for wrong in 'not json' '["a","list"]' '"text"' '{"path":' ''; do
        run --separate-stderr timeout 60 "$1" <<<"$wrong"
        ((status != 0 && status != 124 && status < 126))
        equal "" "$output"
        has "$stderr" "${1##*/}: "
        no_traceback
    done
}

# Two are written for programs that a user may not have.
keeps() {
    case $2 in
    */current_time) uses node ;;
    */openai-sh) uses curl jq ;;
    esac
    "$1" "$2"
}

promise() { bats_test_function --description "${2#"$ROOT"/} $1" -- keeps "${3:-${1// /_}}" "$2"; }

for file in "$ROOT"/{bin,providers,tools,plugins}/*; do
    [[ -f $file && -x $file ]] || continue
    promise "help begins with line two" "$file"
    promise "schema is JSON with line two" "$file" schema_is_json_with_line_two
    promise "unknown flag is one line and status 2" "$file"
    promise "closed pipe is silent" "$file"
    promise "full disk is told" "$file"
    promise "closed standard input is none" "$file"
    if python "$file"; then
        promise "start imports nothing slow" "$file"
    fi
    if python "$file" || [[ $file == */bin/* ]]; then
        promise "version is the suite's" "$file" version_is_the_suites
    fi
    case $file in
    */tools/*) promise "broken arguments are an error" "$file" ;;
    */providers/*) promise "broken record is named by its line" "$file" ;;
    */bin/*)
        if python "$file" && [[ $readers_of_no_records != *" ${file##*/} "* ]]; then
            promise "broken record is named by its line" "$file"
        fi
        ;;
    esac
done
