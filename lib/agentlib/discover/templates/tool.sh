#!/bin/sh
# NAME - say what this tool does
#
# Reads a text on standard input, and prints the answer ("invoke":"text": the argument `input`, not as JSON).
if [ "${1-}" = --agent-schema ]; then
    cat <<'END'
{"name":"NAME","description":"Say what this tool does","invoke":"text","inputSchema":{"type":"object","properties":{"input":{"type":"string","description":"the text to work on"}},"required":["input"],"additionalProperties":false},"annotations":{"readOnlyHint":true},"examples":[{"request":"Do it with: good morning","arguments":{"input":"good morning"}}]}
END
    exit
fi
if [ $# -gt 0 ]; then
    echo "NAME: unrecognized arguments: $*" >&2
    exit 2
fi

text=$(cat)
[ -n "$text" ] || { echo 'NAME: give a text on standard input' >&2; exit 100; }
printf '%s\n' "$text"
